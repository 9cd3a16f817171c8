"""Clients that are slow, large, hostile or too many, against a real gateway: each is refused, others are served."""

import json
import socket
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from gateway.errors import Overloaded
from gateway.frontend.overload import LOOKS, Overload
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import BOTH, JSON, post, posted, sent, sse
from tests.interaction._wire import request
from tests.support import wait_until

HEADER_BYTES: Final = 8192
LIST: Final = request("tools/list", id=1)
CLOSED_SECONDS: Final = 10.0
"""Within this a slow client is got rid of; the gateway under test has much shorter deadlines."""
POST: Final = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nContent-Type: application/json\r\n"
REGISTER: Final = POST.replace(b"/mcp", b"/agents/register")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    bounds = {"header_timeout": 0.5, "read_timeout": 1, "max_header_bytes": HEADER_BYTES, "max_request_bytes": "16MiB"}
    servers = {"raw": child("tests.servers.raw")}
    with http_gateway(tmp_path_factory.mktemp("load"), servers, **bounds, **PATIENT) as gateway:
        assert post(f"{gateway.base}/mcp", LIST)[0] == 200
        yield gateway.base


def connect(base: str) -> socket.socket:
    parts = urlsplit(base)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=CLOSED_SECONDS)


def rest_of(connection: socket.socket, drip: bytes = b"") -> bytes:
    """All that comes until the other side closes, to whom a byte is sent now and then."""
    received, deadline = b"", time.monotonic() + CLOSED_SECONDS
    connection.settimeout(0.05 if drip else CLOSED_SECONDS)
    while time.monotonic() < deadline:
        try:
            if drip:
                connection.send(drip)
            piece = connection.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return received
        if not piece:
            return received
        received += piece
    raise AssertionError(f"not closed within {CLOSED_SECONDS:g} s")


# --- Slow ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        b"POST /mcp",
        POST + b"X-Slow: ",
        POST + b"Content-Length: 1000\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n{",
        REGISTER + b"Content-Length: 1000\r\n\r\n{",
    ],
    ids=["request-line", "header", "body", "chunk", "rest"],
)
@pytest.mark.parametrize("drip", [b"", b"a"], ids=["silent", "dripping"])
def test_a_slow_request_is_ended(base: str, start: bytes, drip: bytes) -> None:
    with connect(base) as connection:
        connection.sendall(start)
        answer = rest_of(connection, drip)
        # A byte that crosses the answer on its way makes TCP reset the connection, which can take the answer with it.
        assert answer.startswith(b"HTTP/1.1 408 ") or (drip and not answer)


def test_who_says_nothing_is_closed(base: str) -> None:
    with connect(base) as connection:
        assert rest_of(connection) == b""


def test_a_second_request_has_a_deadline_of_its_own(base: str) -> None:
    body = json.dumps(LIST).encode()
    with connect(base) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(POST)
        assert b"HTTP/1.1 408 " in rest_of(connection)


def test_many_slow_requests_keep_nobody_out(base: str) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(base)) for _ in range(200)]
        for number, connection in enumerate(slow):
            connection.sendall(POST if number % 2 else POST + b"Content-Length: 1000\r\n\r\n{")
        assert post(f"{base}/mcp", LIST)[0] == 200
        for connection in slow:
            assert rest_of(connection).startswith(b"HTTP/1.1 408 ")


# --- Large -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        b"GET /" + b"a" * HEADER_BYTES,
        POST + b"X-Large: " + b"a" * HEADER_BYTES,
        POST + b"X-Large: " + b"a" * HEADER_BYTES + b"\r\nContent-Length: 0\r\n\r\n",
        POST + b"X: y\r\n" * (HEADER_BYTES // 6),
    ],
    ids=["url", "header", "whole", "many"],
)
def test_headers_are_capped(base: str, start: bytes) -> None:
    with connect(base) as connection:
        connection.sendall(start)
        assert rest_of(connection).startswith(b"HTTP/1.1 431 ")


def test_trailers_are_capped_too(base: str) -> None:
    with connect(base) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX-Trailer: ")
        answer = rest_of(connection, b"a" * (HEADER_BYTES // 2))
        assert answer.startswith(b"HTTP/1.1 431 ") or not answer


def test_headers_within_the_cap_are_let_in_and_so_is_a_large_body_behind_them(base: str) -> None:
    arguments = {"text": "a," * HEADER_BYTES * 100}
    message = request("nonesuch", arguments, id=1)
    assert post(f"{base}/mcp", message, {"X-Large": "a" * (HEADER_BYTES - 1024)})[1]["error"]["code"] == -32601


def inside(value: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":' + value + b"}"


BOMBS: Final = {
    "deep-lists": inside(b"[" * 100_000 + b"]" * 100_000),
    "deep-objects": inside(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "never-closed": b"[" * 100_000,
    "digits": inside(b'{"a":' + b"9" * 10_000_000 + b"}"),
    "keys": inside(b"{" + b",".join(b'"%d":1' % number for number in range(1_000_000)) + b"}"),
    "strings": inside(b'{"a":[' + b",".join([b'""'] * 1_000_000) + b"]}"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_does_not_go_off(base: str, bomb: str) -> None:
    with sent("POST", f"{base}/mcp", BOMBS[bomb], BOTH | JSON) as response:
        assert response.status == 400
        assert json.loads(response.read())["error"]["code"] in (-32700, -32600)
    assert post(f"{base}/mcp", LIST)[0] == 200


@pytest.mark.parametrize("path", ["/mcp", "/agents/register"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_nothing_is_decompressed(base: str, path: str, encoding: str) -> None:
    with sent("POST", base + path, b"{}", BOTH | JSON | {"Content-Encoding": encoding}) as response:
        assert response.status == 415


def test_schemas_are_handed_on_and_not_gone_by(tmp_path: Path) -> None:
    """What a schema would take for ever to check, the gateway never does: that is the upstream's business."""
    servers = {"bad": child("tests.servers.bad", "--list", "hostile_schemas")}
    with http_gateway(tmp_path, servers, **PATIENT) as gateway:
        url = f"{gateway.base}/mcp"
        tools = post(url, LIST)[1]["result"]["tools"]
        assert {tool["name"] for tool in tools} == {f"bad__{n}" for n in ("pattern", "chain", "circle", "deep", "wide")}
        for modern in (False, True):
            for tool in tools:
                call = {"name": tool["name"], "arguments": {"text": "a" * 5000}}
                answer = post(url, request("tools/call", call, modern=modern))[1]
                assert answer["result"]["content"] == [{"type": "text", "text": tool["name"].removeprefix("bad__")}]


# --- Many ------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_one_principal_has_so_many_requests_in_flight_and_no_more(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"key": f"key-{n}", "owner": n, "rate_limit_rpm": -1} for n in ("alice", "bob")]))
    settings = {"auth": {"enabled": True, "api_keys_file": str(keys)}, "max_requests_per_principal": 2}
    alice, bob = {"X-Api-Key": "key-alice"}, {"X-Api-Key": "key-bob"}
    call = {"name": "all__slow", "arguments": {"seconds": 60, "steps": 600}, "_meta": {"progressToken": "t"}}
    with http_gateway(tmp_path, {"all": child("tests.servers.everything")}, **settings, **PATIENT) as gateway:
        url = f"{gateway.base}/mcp"
        assert post(url, LIST, alice)[0] == 200
        with ExitStack() as stack:
            for _ in range(2):  # once there is progress, it runs
                response = stack.enter_context(posted(url, request("tools/call", call, modern=True), alice))
                assert response.readline()
            with posted(url, LIST, alice) as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
                assert "max_requests_per_principal" in json.loads(refused.read())["error"]["message"]
            assert post(url, LIST, bob)[0] == 200
        await wait_until(lambda: post(url, LIST, alice)[0] == 200)


@pytest.mark.parametrize("legacy", [False, True], ids=["/mcp", "/messages"])
def test_a_body_that_is_arriving_is_in_flight(tmp_path: Path, legacy: bool) -> None:
    with ExitStack() as stack:
        raw = {"raw": child("tests.servers.raw")}
        base = stack.enter_context(http_gateway(tmp_path, raw, max_requests=2, **PATIENT)).base
        url = stack.enter_context(sse(base)).endpoint if legacy else f"{base}/mcp"
        start = POST.replace(b"/mcp", url.removeprefix(base).encode())
        for _ in range(2):
            connection = stack.enter_context(connect(base))
            connection.sendall(start + b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 100 "), "now it is read"
        with posted(url, LIST) as refused:
            assert refused.status == 503
            assert "max_requests" in json.loads(refused.read())["error"]["message"]


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform != "linux", reason="memory in use is known on Linux only")
async def test_an_overloaded_gateway_takes_on_nothing_new_and_says_so(tmp_path: Path) -> None:
    with http_gateway(tmp_path, {"raw": child("tests.servers.raw")}, max_memory="1MiB", **PATIENT) as gateway:
        url = f"{gateway.base}/mcp"
        await wait_until(lambda: post(url, LIST)[0] == 503)
        with posted(url, LIST) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            assert "max_memory" in json.loads(refused.read())["error"]["message"]
        with sent("GET", f"{gateway.base}/health") as health:
            assert health.status == 200


def test_a_loop_that_is_late_once_is_not_overloaded_and_one_always_late_is() -> None:
    refusals: list[tuple[str, bool]] = []
    overload = Overload(0.5, None, lambda limit, allowed: refusals.append((limit, allowed)))
    for lag in [3.0] * (LOOKS - 1) + [0.1] + [3.0] * (LOOKS - 1):
        overload.look(lag, 0)
        overload.check()
    overload.look(0.6, 0)
    with pytest.raises(Overloaded, match="max_lag"):
        overload.check()
    assert refusals == [("overload", False)]
    overload.look(0.1, 0)
    overload.check()
