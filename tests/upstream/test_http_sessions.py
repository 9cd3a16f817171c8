"""Cancelling over HTTP, each era in its way; notifications; and what becomes of the upstream's session."""

from typing import Any

import anyio
import pytest

from gateway.errors import UpstreamError, UpstreamLost
from gateway.upstream.timing import UpstreamTiming
from gateway.upstream.transport.pending import HttpRefusal, SessionLost
from gateway.upstream.transport.pool import Pool
from tests.servers.wire import encode
from tests.support import wait_until
from tests.upstream.ends import DEADLINE, STREAM_HEAD, Got, Mcp, Up, byte_server, connected, response, service

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


async def never(got: Got) -> None:
    """Not even the end of the connection is noticed by a server that does not read; ours does."""


async def silent_stream(got: Got) -> None:
    await got.send(STREAM_HEAD)


async def give_up(up: Up, tool: str, mcp: Mcp) -> None:
    """Call a tool, and stop waiting once the server has heard of it."""
    async with anyio.create_task_group() as tg:
        tg.start_soon(up.call, tool)
        await wait_until(lambda: any(m.get("params", {}).get("name") == tool for m in mcp.heard))
        tg.cancel_scope.cancel()


@pytest.mark.parametrize("script", [never, silent_stream])
async def test_a_modern_request_is_cancelled_by_closing_its_connection(script: Any) -> None:
    mcp = Mcp(service("modern"), on={"x": script})
    async with byte_server(mcp) as server, connected(server.url) as up:
        await give_up(up, "x", mcp)
        await wait_until(lambda: server.open == 0)
        assert await up.call("a") == "a"
        assert mcp.methods() == ["tools/call", "tools/call"]


@pytest.mark.parametrize("script", [never, silent_stream])
async def test_a_handshake_request_is_cancelled_by_saying_so(script: Any) -> None:
    mcp = Mcp(service("handshake"), on={"x": script})
    async with byte_server(mcp) as server, connected(server.url) as up:
        await give_up(up, "x", mcp)
        await wait_until(lambda: mcp.methods() == ["tools/call", "notifications/cancelled"])
        cancelled = mcp.heard[-1]["params"]
        assert cancelled["requestId"] == next(m["id"] for m in mcp.heard if m.get("method") == "tools/call")
        assert server.got[-1].headers["mcp-session-id"] == "session-1"
        assert await up.call("a") == "a"


async def test_initialize_is_never_cancelled() -> None:
    mcp = Mcp(service("handshake"), on={"initialize": never})
    async with byte_server(mcp) as server:
        with anyio.move_on_after(0.1):
            async with connected(server.url):
                pass
        await wait_until(lambda: server.open == 0)
        assert [m["method"] for m in mcp.heard] == ["server/discover", "initialize"]


async def test_what_was_never_sent_is_not_cancelled() -> None:
    mcp = Mcp(service("handshake"), on={"x": never})
    async with byte_server(mcp) as server, connected(server.url) as up:
        up.dispatcher.pool = Pool(up.dispatcher.pool.origin, DEADLINE, limit=1)
        async with anyio.create_task_group() as tg:
            tg.start_soon(up.call, "x")
            await wait_until(lambda: mcp.methods() == ["tools/call"])
            with anyio.move_on_after(0.02):
                await up.call("a")
            await anyio.wait_all_tasks_blocked()
            assert mcp.methods() == ["tools/call"]
            tg.cancel_scope.cancel()


async def test_a_notification_that_is_never_accepted_is_bounded() -> None:
    mcp = Mcp(service("handshake"), on={"notifications/initialized": silent_stream})
    async with byte_server(mcp) as server, connected(server.url, timing=UpstreamTiming(note_seconds=0.05)) as up:
        assert "notifications/initialized could not be delivered" in up.ears.noise[0]
        assert await up.call("a") == "a"


async def test_a_notification_that_is_lost_fails_nothing() -> None:
    async def drop(got: Got) -> None:
        await got.drop()

    mcp = Mcp(service("modern"), on={"notifications/x": drop})
    async with byte_server(mcp) as server, connected(server.url) as up:
        await up.session.connection.notify("notifications/x", {"a": 1})
        assert "notifications/x could not be delivered" in up.ears.noise[0]
        assert await up.call("a") == "a"


@pytest.mark.parametrize("what", ["notifications/x", "GET"])
async def test_a_body_that_nobody_wants_is_not_read_to_its_end(what: str) -> None:
    ended = anyio.Event()

    async def endless(got: Got) -> None:
        await got.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await got.send(b"%x\r\n%b\r\n" % (65536, b"x" * 65536))
        finally:
            ended.set()

    mcp = Mcp(service("handshake"), on={what: endless})
    async with byte_server(mcp) as server, connected(server.url) as up:
        await up.session.connection.notify("notifications/x", {})
        with anyio.fail_after(DEADLINE):
            await ended.wait()
        assert await up.call("a") == "a"


# --- Sessions ------------------------------------------------------------------------------------------------------


def refusing(status: str, body: Any = None) -> Any:
    content = body if isinstance(body, bytes) else encode(body) if body else b""

    async def refuse(got: Got) -> None:
        await got.send(response(content, status))

    return refuse


def error(code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}


LOST = {
    "404": refusing("404 Not Found"),
    "404 with words": refusing("404 Not Found", error(-32001, "Session not found")),
    "400": refusing("400 Bad Request", error(-32000, "Bad Request: No valid session ID provided")),
    "400 in plain text": refusing("400 Bad Request", b"Invalid or missing session ID"),
    "400 in other JSON": refusing("400 Bad Request", {"detail": "Session not found or expired"}),
    "404 in HTML": refusing("404 Not Found", b"<html>not here</html>"),
    "410": refusing("410 Gone", b"Gone"),
    "401 with its code": refusing("401 Unauthorized", error(-32001, "Session not found")),
    "503 with its code": refusing("503 Busy", error(-32001, "MCP session is unknown or expired on this instance")),
    "200 with its code": refusing("200 OK", error(-32001, "Session not found")),
    "409 in plain text": refusing("409 Conflict", b"session closed"),
}


@pytest.mark.parametrize("kind", LOST)
async def test_a_lost_session(kind: str) -> None:
    mcp = Mcp(service("handshake"), on={"x": LOST[kind], "slow": never})
    async with byte_server(mcp) as server, connected(server.url) as up:
        outcome: list[UpstreamLost] = []
        async with anyio.create_task_group() as tg:

            async def other() -> None:
                try:
                    await up.call("slow")
                except UpstreamLost as lost:
                    outcome.append(lost)

            tg.start_soon(other)
            await wait_until(lambda: mcp.methods() == ["tools/call"])
            with pytest.raises(SessionLost) as caught:
                await up.call("x")
            assert not caught.value.delivered  # it was refused: safe to repeat
        assert outcome[0].delivered  # this one was not
        assert isinstance(up.dispatcher.closed, SessionLost)
    assert all(got.method != "DELETE" for got in server.got)


NOT_LOST = {
    "method not found": refusing("404 Not Found", error(-32601, "Method not found")),
    "another word": refusing("400 Bad Request", error(-32602, "sessionTitle is required")),
    "400": refusing("400 Bad Request"),
    "500": refusing("500 No", error(-32603, "oops")),
    "its code for something else": refusing("200 OK", error(-32001, "Request timed out")),
    "another code": refusing("200 OK", error(-32000, "Session not found: 7")),
    "a login that ran out": refusing("401 Unauthorized", b"Your session expired, log in"),
    "a session of another kind": refusing("500 No", b"could not store the session's data"),
}


@pytest.mark.parametrize("kind", NOT_LOST)
async def test_other_refusals_leave_the_session_alone(kind: str) -> None:
    mcp = Mcp(service("handshake"), on={"x": NOT_LOST[kind]})
    async with byte_server(mcp) as server, connected(server.url) as up:
        with pytest.raises((UpstreamError, HttpRefusal)):
            await up.call("x")
        assert await up.call("a") == "a"
        assert mcp.session == 1


async def test_whether_it_may_have_been_acted_on() -> None:
    mcp = Mcp(service("handshake"), on={"x": refusing("500 No", b"session expired")})
    async with byte_server(mcp) as server, connected(server.url) as up:
        with pytest.raises(SessionLost) as caught:
            await up.call("x")
        assert caught.value.delivered, "a 500 is said by who was at work"


async def test_an_upstream_that_does_not_let_go_is_left() -> None:
    mcp = Mcp(service("handshake"), on={"DELETE": never})
    async with byte_server(mcp) as server:
        with anyio.fail_after(DEADLINE):
            async with connected(server.url, timing=UpstreamTiming(farewell_seconds=0.05)):
                pass
        await wait_until(lambda: server.open == 0)


async def test_leaving_in_haste_still_ends_the_session() -> None:
    async with byte_server(Mcp(service("handshake"))) as server:
        with anyio.CancelScope() as scope:
            async with connected(server.url):
                scope.cancel()
                await anyio.sleep_forever()
        await wait_until(lambda: server.got[-1].method == "DELETE")
        await wait_until(lambda: server.open == 0)


@pytest.mark.parametrize("line", ["é", "\t x"])
async def test_only_a_visible_session_id_is_adopted(line: str) -> None:
    mcp = Mcp(service("handshake"))

    async def initialize(got: Got) -> None:
        reply = mcp.service.answer(got.json())
        assert reply is not None
        await got.send(response(encode(reply), headers={"Mcp-Session-Id": line}))

    mcp.on["initialize"] = initialize
    async with byte_server(mcp) as server, connected(server.url) as up:
        assert up.dispatcher.session_id in (None, "x")


async def test_the_session_of_a_server_that_says_so_in_each_answer_is_adopted() -> None:
    """The head of its answer to `initialize` is the one of the answer before, and still looked into."""
    mcp = Mcp(service("handshake"))

    async def answer(got: Got) -> None:
        message = got.json()
        unknown = {"error": {"code": -32601, "message": "unknown"}}
        reply = unknown if message["method"] == "server/discover" else mcp.service.answer(message)
        body = encode({"jsonrpc": "2.0", **(reply or {}), "id": message.get("id")})
        await got.send(response(body, headers={"Mcp-Session-Id": "always"}))

    mcp.on = dict.fromkeys(("server/discover", "initialize", "notifications/initialized", "a"), answer)
    async with byte_server(mcp) as server, connected(server.url) as up:
        for _ in range(3):
            assert await up.call("a") == "a"
        assert up.dispatcher.session_id == "always"
        posts = [got for got in server.got if got.method == "POST"]
        assert [got.headers.get("mcp-session-id") for got in posts[2:]] == ["always"] * len(posts[2:])
        assert [got.headers.get("mcp-protocol-version") for got in posts[2:]] == [up.session.version] * len(posts[2:])
