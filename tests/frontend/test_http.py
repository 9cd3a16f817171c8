"""The HTTP front on the wire: which requests are let in, and how the others are refused."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.frontend.conftest import MAX_BODY
from tests.interaction._http import BOTH, JSON, fields, post, posted, sent
from tests.interaction._requirements import requirement
from tests.interaction._wire import Message, request
from tests.servers.peers import OPENING, SECONDS

LIST = request("tools/list", id=1)
MODERN_LIST = request("tools/list", modern=True, id=1)


def post_bytes(url: str, body: bytes | Iterator[bytes], **headers: str) -> tuple[int, Any]:
    """Status and JSON of the response to a body that need not be a message."""
    with sent("POST", url, body, BOTH | JSON | headers) as response:
        return response.status, json.loads(response.read())


def raw_http(url: str, *lines: str, body: bytes = b"") -> bytes:
    """All that comes back for a request written by hand; the connection is closed after it."""
    parts = urlsplit(url)
    head = [*lines, f"Host: {parts.netloc}", "Connection: close", f"Content-Length: {len(body)}", "", ""]
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=SECONDS) as connection:
        connection.sendall("\r\n".join(head).encode() + body)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# --- Where -----------------------------------------------------------------------------------------------------------


@requirement("http:paths")
def test_what_is_served_where(base: str) -> None:
    assert post(f"{base}/mcp", LIST)[0] == 200
    assert post(f"{base}/mcp/", LIST)[0] == 200
    status, message = post(f"{base}/mcp/raw", LIST)
    assert status == 200
    assert "raw" in [tool["name"] for tool in message["result"]["tools"]]
    for path in ("/mcp/nonesuch", "/mcp/raw/more", "/nonesuch", "/mcpx"):
        assert post(f"{base}{path}", LIST)[0] == 404, path


@requirement("http:methods")
@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/mcp"), ("PATCH", "/mcp/raw"), ("POST", "/sse"), ("DELETE", "/sse"), ("GET", "/messages")],
)
def test_a_method_that_is_not_there_is_405(base: str, method: str, path: str) -> None:
    with sent(method, f"{base}{path}", b"{}", BOTH | JSON) as response:
        assert response.status == 405
        assert response.headers["Allow"]
        assert json.loads(response.read())["error"]["message"]


# --- What ------------------------------------------------------------------------------------------------------------


@requirement("http:accept")
@pytest.mark.parametrize("message", [LIST, MODERN_LIST], ids=["handshake", "modern"])
def test_what_the_client_accepts_is_asked(url: str, message: Message) -> None:
    for accept in ("*/*", "application/*", "application/json", "text/event-stream, application/json;q=0.5", ""):
        assert post(url, message, {"Accept": accept})[0] == 200, accept
    for accept in ("text/html", "text/event-stream", "image/*"):
        status, answer = post(url, message, {"Accept": accept})
        assert (status, answer["error"]["code"]) == (406, -32600), accept


@requirement("http:accept")
def test_several_accept_headers_count_as_one(url: str) -> None:
    body = json.dumps(LIST).encode()
    accept = ("Accept: application/json", "Accept: text/event-stream")
    answer = raw_http(url, "POST /mcp HTTP/1.1", *accept, "Content-Type: application/json", body=body)
    assert answer.startswith(b"HTTP/1.1 200")


@requirement("http:content-type")
def test_anything_but_json_is_415(url: str) -> None:
    assert post(url, LIST, {"Content-Type": "application/json; charset=utf-8"})[0] == 200
    assert post(url, LIST, {"Content-Type": "Application/JSON"})[0] == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
        status, answer = post(url, LIST, {"Content-Type": kind})
        assert (status, answer["error"]["code"]) == (415, -32600), kind


@requirement("http:size")
def test_a_body_over_the_cap_is_413_whether_declared_or_not(url: str) -> None:
    fits = json.dumps(LIST).encode().ljust(MAX_BODY)
    assert post_bytes(url, fits)[0] == 200
    assert post_bytes(url, iter([fits[:100], fits[100:]]))[0] == 200
    for body in (fits + b" ", iter([fits, b" "])):
        status, answer = post_bytes(url, body)
        assert (status, answer["error"]["code"]) == (413, -32014)
        assert "max_request_bytes" in answer["error"]["message"]


@requirement("http:malformed")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping"} x', -32700),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "p\xff"}', -32700),
        (b"[" * 5000 + b"]" * 5000, -32700),
        (b"null", -32600),
        (b"[]", -32600),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
        (b"7", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
        (b'{"id": 1, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": [], "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 7}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [{}]}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ""}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
    ],
)
def test_a_body_that_is_no_message_is_400(url: str, body: bytes, code: int) -> None:
    status, answer = post_bytes(url, body)
    assert (status, answer["id"], answer["error"]["code"]) == (400, None, code)


@requirement("http:routing-headers")
@pytest.mark.parametrize("name", ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id"])
def test_a_routing_header_that_stands_there_twice_is_refused(url: str, name: str) -> None:
    message = request("tools/call", {"name": "raw__raw"}, modern=True)
    lines = [f"{key}: {value}" for key, value in fields(message).items()]
    again = fields(message).get(name, "x")
    body = json.dumps(message).encode()
    assert raw_http(url, "POST /mcp HTTP/1.1", *lines, body=body).startswith(b"HTTP/1.1 200")
    answer = raw_http(url, "POST /mcp HTTP/1.1", *lines, f"{name}: {again}", f"{name}: {again}", body=body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"-32020" in answer


# --- Who -------------------------------------------------------------------------------------------------------------


@requirement("http:host")
def test_a_host_that_is_not_ours_is_421(url: str) -> None:
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8080", "10.1.2.3"):
        assert post(url, LIST, {"Host": host})[0] == 200, host
    for host in ("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"):
        status, answer = post(url, LIST, {"Host": host})
        assert status == 421, host
        assert "allowed_hosts" in answer["error"]["message"]


@requirement("http:origin")
def test_an_origin_that_is_not_allowed_is_403_everywhere(base: str) -> None:
    for origin in ("http://localhost:3000", "https://127.0.0.1", "http://[::1]:1"):
        with posted(f"{base}/mcp", LIST, {"Origin": origin}) as response:
            assert response.status == 200, origin
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert "mcp-session-id" in response.headers["Access-Control-Expose-Headers"]
            assert response.headers["Vary"].lower() == "origin"
    for origin in ("http://evil.example", "null", "file://", "http://localhost.evil.example", "localhost"):
        for method, path in (("POST", "/mcp"), ("GET", "/sse"), ("POST", "/messages"), ("OPTIONS", "/mcp")):
            with sent(method, f"{base}{path}", b"{}", {"Origin": origin}) as response:
                assert response.status == 403, (method, path, origin)
                assert "Access-Control-Allow-Origin" not in response.headers
                assert b"allowed_origins" in response.read()


@requirement("http:cors")
def test_a_preflight_is_answered_for_an_allowed_origin(url: str) -> None:
    asked = {
        "Origin": "http://localhost:6274",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, mcp-protocol-version, mcp-param-region",
    }
    with sent("OPTIONS", url, headers=asked) as response:
        assert (response.status, response.read()) == (204, b"")
        assert response.headers["Access-Control-Allow-Origin"] == asked["Origin"]
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        allowed = response.headers["Access-Control-Allow-Headers"]
        assert "*" in allowed
        assert "authorization" in allowed, "which the asterisk leaves out"
    with posted(url, LIST) as response:
        assert "Access-Control-Allow-Origin" not in response.headers, "who is no browser needs none"


# --- Spelling ---------------------------------------------------------------------------------------------------------


@requirement("http:host")
@pytest.mark.parametrize("second", ["evil.example", "127.0.0.1"])
def test_a_second_host_is_refused(url: str, second: str) -> None:
    for path in ("/health", "/mcp"):
        answer = raw_http(url, f"GET {path} HTTP/1.1", f"Host: {second}")
        assert answer.startswith(b"HTTP/1.1 400")


@requirement("http:paths")
@pytest.mark.parametrize("path", ["/mcp%2fraw", "/mcp/%72aw", "/%6dcp", "/upstreams%2Fraw", "/mcp/raw%2f..%2fall"])
def test_a_path_with_escapes_that_it_does_not_need_is_refused(url: str, path: str) -> None:
    assert raw_http(url, f"POST {path} HTTP/1.1", "Content-Type: application/json").startswith(b"HTTP/1.1 400")


# --- Size -------------------------------------------------------------------------------------------------------------


@requirement("http:small")
def test_what_is_kept_of_a_client_is_small(url: str) -> None:
    huge = {"sampling": {"x": "x" * 9000}}
    _, answer = post(url, request("initialize", {**OPENING, "capabilities": huge}))
    assert answer["error"]["code"] == -32602
    call = request("tools/list", modern=True)
    call["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = huge
    assert post(url, call)[1]["error"]["code"] == -32602
    info = {"name": "x" * 50_000, "version": "1", "icons": [{"src": "data:,"}] * 100}
    assert post(url, request("initialize", {**OPENING, "clientInfo": info}))[1]["result"]["serverInfo"]


@requirement("http:small")
def test_ids_and_tokens_are_short_for_they_are_repeated(url: str) -> None:
    for message in (request("ping", id="x" * 1025), request("ping", {"_meta": {"progressToken": "x" * 1025}})):
        status, answer = post(url, message)
        assert (status, answer["error"]["code"]) == (400, -32600)
    assert post(url, request("ping", id="x" * 1024))[1]["id"] == "x" * 1024


@requirement("http:small")
def test_what_is_repeated_to_a_client_is_clipped(url: str) -> None:
    for message in (request("x" * 50_000), request("tools/call", {"name": "x" * 50_000})):
        assert len(json.dumps(post(url, message)[1])) < 1000
