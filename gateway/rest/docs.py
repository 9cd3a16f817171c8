"""`/docs`: Swagger UI from an installed package. The page loads nothing from elsewhere and has no inline code."""

from collections.abc import AsyncGenerator
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from gateway.errors import NotFound

PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mcp-gateway</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
"""Addresses are relative, so that it works behind a proxy that adds a prefix."""

START: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
});
"""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

PACKAGE: Final = "fastapi_offline"
"""Keeps Swagger UI's files; nothing else of it is used."""
TYPES: Final = {"swagger-ui-bundle.js": "text/javascript; charset=utf-8", "swagger-ui.css": "text/css; charset=utf-8"}
SLICE: Final = 16 * 1024
"""Bytes that are sent at a time, each once the last was read: anybody may ask for these, and not read them."""
KEPT: Final = {"cache-control": "max-age=3600"}


def docs_routes() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    folder = files(PACKAGE) / "static"
    read: dict[str, bytes] = {}

    @router.get("/docs")
    async def page() -> Response:
        return Response(PAGE, media_type="text/html", headers={"content-security-policy": POLICY})

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(START, media_type="text/javascript", headers=KEPT)

    @router.get("/docs/{name}")
    def asset(name: str) -> Response:  # in a thread: it reads a file
        if name not in TYPES:
            raise NotFound("Nothing here. The page is /docs.")
        if name not in read:
            read[name] = (folder / name).read_bytes()
        size = str(len(read[name]))
        return StreamingResponse(
            _sliced(read[name]), headers=KEPT | {"content-type": TYPES[name], "content-length": size}
        )

    return router


async def _sliced(data: bytes) -> AsyncGenerator[bytes]:
    for start in range(0, len(data), SLICE):
        yield data[start : start + SLICE]
