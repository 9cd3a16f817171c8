"""HTTP responses as results of tools, and as contents of resources."""

import base64
from typing import Any

import pytest

from gateway.openapi.answers import MAX_ERROR, contents_of, result_of
from gateway.openapi.model import Operation, SecurityScheme
from gateway.openapi.security import NO_PROOF, Proof, proof_of

URI = "https://api.example/x"


def result(
    body: bytes, media: str = "", status: int = 200, *, wraps: bool = False, owes: bool = False, **headers: str
) -> dict[str, Any]:
    operation = Operation("op", "GET", "/x", {"outputSchema": {}} if owes else {}, wraps=wraps)
    given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    if media:
        given[b"content-type"] = media.encode()
    return result_of(operation, status, given, body, URI)


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


@pytest.mark.parametrize(
    ("body", "media", "content", "structured"),
    [
        (b'{"a": 1.50}', "application/json", [text('{"a": 1.50}')], {"a": 1.5}),
        (b"[1]", "application/json; charset=utf-8", [text("[1]")], {"result": [1]}),
        (b'{"a":1}', "application/hal+json", [text('{"a":1}')], {"a": 1}),
        (b'{"a":1}', "", [text('{"a":1}')], {"a": 1}),
        (b'{"a":1}', "text/plain", [text('{"a":1}')], {"a": 1}),
        (b"{broken", "application/json", [text("{broken")], None),
        (b"a,b", "text/csv", [text("a,b")], None),
        (b"<a/>", "application/xml", [text("<a/>")], None),
        ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", [text("é")], None),
        (b"\xff", "text/plain; charset=none-such", [text("�")], None),
        (b"", "", [text("HTTP 200 OK")], None),
        (b"hello", "", [text("hello")], None),
    ],
)
def test_text_and_json(body: bytes, media: str, content: list[Any], structured: Any) -> None:
    found = result(body, media)
    assert found["content"] == content
    assert found.get("structuredContent") == structured
    assert found["isError"] is False


def test_numbers_are_what_the_api_wrote() -> None:
    from gateway import jsonrpc

    found = result(b'{"n": 12345678901234567890123, "d": 1.10}', "application/json")
    assert jsonrpc.dumps(found["structuredContent"]) == b'{"n":12345678901234567890123,"d":1.10}'


@pytest.mark.parametrize("media", ["image/png", "audio/mpeg"])
def test_images_and_sound(media: str) -> None:
    assert result(b"\x89\0", media)["content"] == [{"type": media.partition("/")[0], "data": "iQA=", "mimeType": media}]


@pytest.mark.parametrize("media", ["application/pdf", "application/octet-stream", ""])
def test_files(media: str) -> None:
    (content,) = result(b"\x89\0\xff", media)["content"]
    expected = media or "application/octet-stream"
    assert content == {"type": "resource", "resource": {"uri": URI, "mimeType": expected, "blob": "iQD/"}}


def test_what_an_output_schema_promised_is_there() -> None:
    assert result(b'{"a":1}', "application/json", owes=True, wraps=True)["structuredContent"] == {"result": {"a": 1}}
    for body, media in ((b"", ""), (b"<a/>", "text/xml"), (b"{", "application/json"), (b"\x89", "image/png")):
        assert result(body, media, owes=True)["structuredContent"] == {}


@pytest.mark.parametrize(
    ("status", "body", "media", "expected"),
    [
        (404, b'{"error": "no such pet"}', "application/json", 'HTTP 404 Not Found\n{"error": "no such pet"}'),
        (500, b"<h1>Oops</h1>", "text/html", "HTTP 500 Internal Server Error\n<h1>Oops</h1>"),
        (422, b"", "", "HTTP 422 Unprocessable Content"),
        (599, b"", "", "HTTP 599"),
        (304, b"", "", "HTTP 304 Not Modified"),
    ],
)
def test_errors_are_the_apis_own_words(status: int, body: bytes, media: str, expected: str) -> None:
    found = result(body, media, status, owes=True)
    assert found == {"content": [text(expected)], "isError": True} or status == 422  # whose phrase has changed
    assert found["isError"] is True


def test_how_to_go_on_is_told() -> None:
    found = result(b"[]", "application/json", link='</x?page=2>; rel="next"')
    assert found["content"] == [text("[]"), text('Link: </x?page=2>; rel="next"')]
    assert "Retry-After: 7" in result(b"", "", 429, retry_after="7")["content"][0]["text"]


def test_long_errors_are_cut() -> None:
    assert len(result(b"x" * 10 * MAX_ERROR, "text/plain", 500)["content"][0]["text"]) < 2 * MAX_ERROR


def test_resources() -> None:
    assert contents_of({b"content-type": b"application/json"}, b"{}", "openapi://a/x") == {
        "contents": [{"uri": "openapi://a/x", "mimeType": "application/json", "text": "{}"}]
    }
    (blob,) = contents_of({b"content-type": b"image/png"}, b"\x89", "openapi://a/x")["contents"]
    assert base64.b64decode(blob["blob"]) == b"\x89"


# --- Proof ------------------------------------------------------------------------------------------------------------

SCHEMES = {
    "header": SecurityScheme("apiKey", "header", "X-Key"),
    "query": SecurityScheme("apiKey", "query", "key"),
    "cookie": SecurityScheme("apiKey", "cookie", "sid"),
    "basic": SecurityScheme("http", scheme="basic"),
    "bearer": SecurityScheme("http", scheme="bearer"),
    "oauth": SecurityScheme("oauth2"),
}


@pytest.mark.parametrize(
    ("security", "credentials", "expected"),
    [
        ([["header"]], {"header": "v"}, Proof({"x-key": "v"})),
        ([["query"]], {"query": "v"}, Proof(query={"key": "v"})),
        ([["cookie"]], {"cookie": "v"}, Proof(cookies={"sid": "v"})),
        ([["basic"]], {"basic": "u:p"}, Proof({"authorization": "Basic dTpw"})),
        ([["bearer"]], {"bearer": "v"}, Proof({"authorization": "Bearer v"})),
        ([["oauth"]], {"oauth": "v"}, Proof({"authorization": "Bearer v"})),
        ([["header", "query"]], {"header": "a", "query": "b"}, Proof({"x-key": "a"}, {"key": "b"})),
        ([["header", "query"]], {"header": "a"}, NO_PROOF),
        ([["header"], ["bearer"]], {"bearer": "v"}, Proof({"authorization": "Bearer v"})),
        ([["header"], ["query"]], {"header": "a", "query": "b"}, Proof({"x-key": "a"}, {"key": "b"})),
        (
            [["bearer"], ["basic", "query"]],
            {"bearer": "v", "basic": "u:p", "query": "q"},
            Proof({"authorization": "Bearer v"}),
        ),
        ([[], ["bearer"]], {"bearer": "v"}, Proof({"authorization": "Bearer v"})),
        ([], {"bearer": "v"}, NO_PROOF),
        ([["unknown"]], {"unknown": "v"}, NO_PROOF),
    ],
)
def test_credentials_go_where_the_document_wants_them(
    security: list[list[str]], credentials: dict[str, str], expected: Proof
) -> None:
    operation = Operation("op", "GET", "/", {}, security=tuple(map(tuple, security)))
    assert proof_of(operation, SCHEMES, credentials) == expected
