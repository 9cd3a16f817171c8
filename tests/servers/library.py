"""An HTTP API and no MCP server: FastAPI, with parameters in every place and style, bodies of every kind, and answers
of every kind. Its document is at `/openapi.json`, with an ETag.

Run as a module: `--port N`. `GET /seen` has the requests that it got, as they came.
"""

import argparse
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import anyio
import uvicorn
from fastapi import (
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
    UploadFile,
)
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer
from pydantic import BaseModel

PIXEL: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fcffff3f0300050001"
    "5ff3c5d00000000049454e44ae426082"
)
"""A PNG of one pixel."""


class Author(BaseModel):
    name: str
    mentor: "Author | None" = None
    """In a circle."""


class Work(BaseModel):
    """A book, and who wrote it."""

    id: int
    title: str
    author: Author | None = None
    tags: list[str] = []


class NewWork(BaseModel):
    title: str
    author: Author | None = None


def extra(name: str, place: str, style: str, explode: bool, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A parameter in a style that FastAPI does not know, for `openapi_extra`."""
    parameter = {"name": name, "in": place, "style": style, "explode": explode, "schema": schema, **more}
    return {"parameters": [parameter]}


OBJECT: Final = {"type": "object", "additionalProperties": {"type": "string"}}
NESTED: Final = {"type": "object"}
LIST: Final = {"type": "array", "items": {"type": "string"}}

app = FastAPI(title="Library", version="1.2", description="Books, and who wrote them.")
seen: list[dict[str, Any]] = []
edition = {"number": 1, "down": 0}
bearer = HTTPBearer()
key_header = APIKeyHeader(name="X-Library-Key")
key_query = APIKeyQuery(name="key")


@app.middleware("http")
async def note(request: Request, call_next: Any) -> Response:
    body = await request.body()
    if request.url.path not in ("/seen", "/edition"):
        seen.append(
            {
                "method": request.method,
                "path": request.scope["raw_path"].decode(),
                "query": request.scope["query_string"].decode(),
                "headers": {name.decode(): value.decode("latin-1") for name, value in request.scope["headers"]},
                "body": body.decode("latin-1"),
            }
        )
    if edition["down"] > 0 and request.url.path.startswith("/works"):
        edition["down"] -= 1
        return PlainTextResponse("Closed for stocktaking.", 503, {"retry-after": "7"})
    return await call_next(request)


@app.get("/seen", include_in_schema=False)
async def get_seen() -> list[dict[str, Any]]:
    return seen


@app.delete("/seen", include_in_schema=False)
async def forget_seen() -> None:
    seen.clear()


@app.put("/edition", include_in_schema=False)
async def put_edition(change: Annotated[dict[str, int], Body()]) -> None:
    """`number`: another document. `down`: so many requests fail."""
    edition.update(change)


# --- Works ------------------------------------------------------------------------------------------------------------


@app.get("/works", operation_id="listWorks")
async def list_works(
    response: Response,
    tag: Annotated[list[str] | None, Query(description="Those with all of them.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    sort: Literal["title", "id"] = "id",
) -> list[Work]:
    """All works, in pages."""
    response.headers["link"] = f'</works?limit={limit}&page=2>; rel="next"'
    return [Work(id=1, title="Middlemarch", tags=tag or [])]


@app.get("/works/{work_id}", operation_id="getWork")
async def get_work(work_id: str, x_request_note: Annotated[str | None, Header()] = None) -> Work:
    if work_id == "404":
        raise HTTPException(404, {"reason": "There is no such work.", "looked_for": work_id})
    return Work(id=7, title=work_id, author=Author(name=x_request_note or "", mentor=Author(name="M")))


@app.post("/works", operation_id="createWork", status_code=201)
async def create_work(work: NewWork, response: Response) -> Work:
    response.headers["location"] = "/works/8"
    return Work(id=8, **work.model_dump())


@app.put("/works/{work_id}", operation_id="replaceWork")
async def replace_work(work_id: int, work: NewWork) -> Work:
    return Work(id=work_id, **work.model_dump())


@app.delete("/works/{work_id}", operation_id="deleteWork", status_code=204)
async def delete_work(work_id: int) -> None: ...


# --- Styles -----------------------------------------------------------------------------------------------------------


def path_and_query(request: Request) -> dict[str, str]:
    return {"path": request.scope["raw_path"].decode(), "query": request.scope["query_string"].decode()}


@app.get("/label/{value}", openapi_extra=extra("value", "path", "label", True, LIST, required=True))
async def label(request: Request, value: str) -> dict[str, str]:
    return path_and_query(request)


@app.get("/matrix/{value}", openapi_extra=extra("value", "path", "matrix", False, OBJECT, required=True))
async def matrix(request: Request, value: str) -> dict[str, str]:
    return path_and_query(request)


@app.get("/deep", openapi_extra=extra("filter", "query", "deepObject", True, NESTED))
async def deep(request: Request) -> dict[str, str]:
    return path_and_query(request)


@app.get("/piped", openapi_extra=extra("ids", "query", "pipeDelimited", False, LIST))
async def piped(request: Request) -> dict[str, str]:
    return path_and_query(request)


@app.get("/spaced", openapi_extra=extra("ids", "query", "spaceDelimited", False, LIST))
async def spaced(request: Request) -> dict[str, str]:
    return path_and_query(request)


@app.get("/exploded", openapi_extra=extra("about", "query", "form", True, OBJECT))
async def exploded(request: Request, safe: bool = True) -> dict[str, str]:
    return path_and_query(request)


@app.get("/cookies")
async def cookies(shelf: Annotated[str | None, Cookie()] = None) -> dict[str, str | None]:
    return {"shelf": shelf}


@app.get("/headers")
async def headers(
    x_trace_note: Annotated[str | None, Header()] = None,
    authorization: Annotated[str | None, Header()] = None,
    host: Annotated[str | None, Header()] = None,
    x_api_key: Annotated[str | None, Header()] = None,
) -> dict[str, str | None]:
    return {"note": x_trace_note, "authorization": authorization, "host": host, "key": x_api_key}


# --- Bodies -----------------------------------------------------------------------------------------------------------


@app.post("/form")
async def form(title: Annotated[str, Form()], copies: Annotated[list[int], Form()]) -> dict[str, Any]:
    return {"title": title, "copies": copies}


@app.post("/covers")
async def covers(
    cover: Annotated[UploadFile, File()], pages: list[UploadFile], note: Annotated[str, Form()] = ""
) -> dict[str, Any]:
    content = await cover.read()
    lengths = [len(await page.read()) for page in pages]
    found = {"name": cover.filename, "type": cover.content_type, "sha": sha256(content).hexdigest()}
    return {**found, "pages": lengths, "note": note}


@app.post("/echo", openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {}}}}})
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


# --- Answers ----------------------------------------------------------------------------------------------------------


@app.get("/cover.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
async def cover() -> Response:
    return Response(PIXEL, media_type="image/png")


@app.get("/poem", response_class=PlainTextResponse)
async def poem() -> str:
    return "Two roads diverged"


@app.get("/moved")
async def moved() -> RedirectResponse:
    return RedirectResponse("/poem", 302)


@app.get("/away")
async def away(to: str) -> RedirectResponse:
    return RedirectResponse(to, 302)


@app.get("/slow")
async def slow() -> str:
    await anyio.sleep(30)
    return "late"


@app.get("/guarded", dependencies=[Depends(bearer)])
async def guarded(request: Request) -> dict[str, str]:
    return {"authorization": request.headers["authorization"]}


@app.get("/keyed", dependencies=[Depends(key_header), Depends(key_query)])
async def keyed(request: Request) -> dict[str, str]:
    return {"header": request.headers["x-library-key"], "query": request.query_params["key"]}


# --- The document -----------------------------------------------------------------------------------------------------


def document() -> dict[str, Any]:
    app.openapi_schema = None
    found = FastAPI.openapi(app)
    for node in found["paths"].values():
        for operation in node.values():
            styled = {(each["name"], each["in"]) for each in operation.get("parameters", []) if "style" in each}
            operation["parameters"] = [
                each
                for each in operation.get("parameters", [])
                if "style" in each or (each["name"], each["in"]) not in styled
            ]
    if edition["number"] > 1:
        found["paths"]["/works/{work_id}"]["get"]["summary"] = f"Edition {edition['number']}"
    return found


@app.middleware("http")
async def with_etag(request: Request, call_next: Any) -> Response:
    if request.url.path != "/openapi.json":
        return await call_next(request)
    etag = f'"{edition["number"]}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return JSONResponse(document(), headers={"etag": etag})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    uvicorn.run(app, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
