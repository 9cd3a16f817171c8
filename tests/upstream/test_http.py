"""Streamable HTTP, one exchange at a time: what is sent, what counts as an answer, and that each call fails alone."""

import gzip
import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from gateway.call import Call
from gateway.errors import (
    GatewayError,
    UpstreamError,
    UpstreamLost,
    UpstreamOversized,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from gateway.jsonrpc import MAX_VALUES, loads
from gateway.protocol import META_CLIENT_CAPABILITIES, META_VERSION, MODERN_VERSIONS
from gateway.server.agents import ConnectedAgent
from gateway.upstream.session import MAX_ENVELOPES, UpstreamSession
from gateway.upstream.transport.http import HttpDispatcher, HttpEndpoint
from gateway.upstream.transport.pending import HttpRefusal
from gateway.upstream.transport.pool import Pool
from gateway.upstream.transport.reply import MAX_ERROR_BODY
from tests.servers.wire import encode
from tests.support import free_port, wait_until
from tests.upstream.ends import (
    DEADLINE,
    LAST_CHUNK,
    STREAM_HEAD,
    Ears,
    Got,
    Mcp,
    Script,
    Up,
    byte_server,
    chunk,
    connected,
    event,
    nobody,
    reply_to,
    response,
    service,
)

pytestmark = pytest.mark.anyio

CAP = 4096


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


# --- What is sent --------------------------------------------------------------------------------------------------


async def test_a_modern_request() -> None:
    async with byte_server(Mcp(service("modern"))) as server:
        async with connected(server.url + "?key=a b", headers={"Authorization": "Bearer x"}) as up:
            await up.session.request("tools/call", {"name": "a☃", "_meta": {"k": None}}, {})
        got = server.got[-1]
        assert (got.method, got.target) == ("POST", "/mcp?key=a%20b")
        assert got.headers["authorization"] == "Bearer x"
        assert got.headers["accept-encoding"] == "identity"
        assert got.headers["accept"] == "application/json, text/event-stream"
        assert got.headers["content-type"] == "application/json"
        assert got.headers["mcp-protocol-version"] == "2026-07-28"
        assert got.headers["mcp-method"] == "tools/call"
        assert got.headers["mcp-name"] == "=?base64?YeKYgw==?="
        assert got.headers["host"] == server.url.split("/")[2]
        assert "mcp-session-id" not in got.headers
        assert got.json()["params"]["_meta"]["k"] is None
        assert got.json()["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"] == "mcp-gateway"


async def test_a_handshake_request_and_the_whole_session() -> None:
    async with byte_server(Mcp(service("handshake"))) as server:
        async with connected(server.url) as up:
            await up.call("a")
            await wait_until(lambda: len(server.got) == 5)
        opening, call, end = server.got[1], server.got[-2], server.got[-1]
        assert opening.json()["method"] == "initialize"
        assert "mcp-session-id" not in opening.headers
        assert sorted(got.method for got in server.got[2:5]) == ["GET", "POST", "POST"]
        for got in server.got[2:]:
            assert got.headers["mcp-session-id"] == "session-1"
            assert got.headers["mcp-protocol-version"] == "2025-11-25"
        assert call.method in ("GET", "POST")
        assert end.method == "DELETE"


async def test_one_connection_serves_one_call_after_the_other() -> None:
    async with byte_server(Mcp(service("modern"))) as server, connected(server.url) as up:
        for _ in range(5):
            assert await up.call("a") == "a"
        assert server.connections == 1


async def test_results_are_not_touched() -> None:
    odd: dict[str, Any] = {
        "content": [{"type": "hologram", "x": [None, {}]}],
        "big": 2**70,
        "x": None,
        "resultType": "unheard of",
    }
    async with byte_server(Mcp(service("handshake", odd=lambda params: odd))) as server, connected(server.url) as up:
        assert await up.session.request("odd", {}, {}) == odd


def able(number: int) -> dict[str, Any]:
    return {f"x{number}": "x" * (number % 3 // 2) * 2000}


async def send_for(capabilities: dict[str, Any], up: Up) -> None:
    """Have the tool called twice for an agent that can do that."""
    opener = nobody().opener
    agent = ConnectedAgent(opener, None, MODERN_VERSIONS[-1], capabilities)
    for _ in range(2):
        call = Call(1, "tools/call", {"name": "a"}, agent, opener, lambda method, params: None)
        pending = up.session.send(call, call.params, DEADLINE, DEADLINE, anyio.current_time())
        assert "content" in await pending.future
        up.dispatcher.end(pending)


async def test_each_agent_is_said_to_be_able_to_do_what_it_can() -> None:
    mcp, numbers = Mcp(service("modern")), range(5 * MAX_ENVELOPES)
    async with byte_server(mcp) as server, connected(server.url) as up:
        before = len(mcp.heard)
        for number in numbers:
            await send_for(able(number), up)
    said = [message["params"]["_meta"] for message in mcp.heard[before:]]
    assert [meta[META_CLIENT_CAPABILITIES] for meta in said] == [able(number) for number in numbers for _ in range(2)]
    assert {meta[META_VERSION] for meta in said} == {MODERN_VERSIONS[-1]}


async def test_what_another_agent_could_do_is_not_said_again() -> None:
    """Though what the next one can do may be at the same place in memory."""
    async with byte_server(Mcp(service("modern"))) as server, connected(server.url) as up:
        stamp = up.session._stamp_for("tools/call", {"name": "a"})  # pyright: ignore[reportPrivateUsage]
        for number in range(100):
            envelope = loads(bytes(stamp.envelope({"x": number})))
            assert envelope[META_CLIENT_CAPABILITIES] == {"x": number}


async def test_what_an_agent_can_do_is_kept_once_whatever_it_names() -> None:
    async with byte_server(Mcp(service("modern"))) as server, connected(server.url) as up:
        stamp_for, can = up.session._stamp_for, able(1)  # pyright: ignore[reportPrivateUsage]
        stamps = [stamp_for("resources/read", {"uri": f"a://{number}"}) for number in range(3)]
        stamps.append(stamp_for("tools/call", {"name": "a"}))
        assert len({id(stamp) for stamp in stamps}) == 4
        assert len({id(stamp.envelope(can)) for stamp in stamps}) == 1


BREAKS = ["\r\n", "\n", "\r", "\0"]


@pytest.mark.parametrize("line_end", BREAKS)
async def test_line_breaks_in_headers_are_refused(line_end: str) -> None:
    async with byte_server(Mcp(service("modern"))) as server, connected(server.url) as up:
        before = len(server.got)
        for headers in ({"Mcp-Param-A": f"x{line_end}Evil: 1"}, {f"A{line_end}Evil": "1"}):
            call = Call(1, "tools/call", {"name": "a"}, nobody(), nobody().opener, lambda method, params: None)
            call.mirrored_headers = headers
            with pytest.raises(ValueError, match="line break"):
                up.session.send(call, call.params, DEADLINE, DEADLINE, anyio.current_time())
            assert not up.dispatcher.pending
        assert await up.call("a") == "a"
        assert len(server.got) == before + 1
    with pytest.raises(ValueError, match="line break"):
        HttpDispatcher("up", HttpEndpoint(server.url, {"A": f"x{line_end}Evil: 1"}), Ears())


# --- What comes back -----------------------------------------------------------------------------------------------


def saying(data: bytes) -> Script:
    async def script(got: Got) -> None:
        await got.send(data)

    return script


def mangled(change: Callable[[bytes], bytes]) -> Script:
    """The good answer, changed."""

    async def script(got: Got) -> None:
        await got.send(change(encode(reply_to(got))))

    return script


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "203 Non-Authoritative Information"])
async def test_statuses_under_which_an_answer_comes(status: str) -> None:
    async def created(got: Got) -> None:
        await got.send(response(encode(reply_to(got)), status))

    async def streamed(got: Got) -> None:
        head = STREAM_HEAD.replace(b"200 OK", status.encode())
        await got.send(head, event(reply_to(got)), b"0\r\n\r\n")

    mcp = Mcp(service("modern"), on={"created": created, "streamed": streamed})
    async with byte_server(mcp) as server, connected(server.url) as up:
        assert await up.call("created")
        assert await up.call("streamed")


async def drop_mid_body(got: Got) -> None:
    await got.send(response(encode(reply_to(got)))[:-5])
    await got.drop()


async def drop_mid_event(got: Got) -> None:
    await got.send(STREAM_HEAD, event(reply_to(got))[:-10])
    await got.drop()


async def end_without_answer(got: Got) -> None:
    await got.send(STREAM_HEAD, event({"jsonrpc": "2.0", "method": "notifications/message"}), b"0\r\n\r\n")


async def endless_body(got: Got) -> None:
    await got.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await got.send(chunk(b" " * 1000))


async def endless_event(got: Got) -> None:
    await got.send(STREAM_HEAD)
    while True:
        await got.send(chunk(b": " + b"x" * 1000 + b"\n"))


BAD: dict[str, tuple[Script, type[GatewayError], str]] = {
    "dropped mid-body": (drop_mid_body, UpstreamLost, "closed the connection"),
    "dropped mid-event": (drop_mid_event, UpstreamLost, "closed the connection"),
    "no answer": (end_without_answer, UpstreamLost, "without an answer"),
    "endless body": (endless_body, UpstreamOversized, "4096 bytes"),
    "endless event": (endless_event, UpstreamOversized, "4096 bytes"),
    "oversized": (mangled(lambda body: response(body + b" " * CAP)), UpstreamOversized, "4096 bytes"),
    "gzip": (
        mangled(lambda body: response(gzip.compress(body), headers={"Content-Encoding": "gzip"})),
        UpstreamProtocolError,
        "compressed",
    ),
    "too short a length": (
        mangled(lambda body: response(body, headers={"Content-Length": str(len(body) - 3)})),
        UpstreamProtocolError,
        "not one JSON object",
    ),
    "HTML": (saying(response(b"<html>", type="text/html")), UpstreamProtocolError, "not one JSON object"),
    "nothing": (saying(response()), UpstreamProtocolError, "not one JSON object"),
    "no UTF-8": (mangled(lambda body: response(body[:-2] + b',"x":"\xff"}}')), UpstreamProtocolError, "JSON object"),
    "a batch": (mangled(lambda body: response(b"[" + body + b"]")), UpstreamProtocolError, "JSON object"),
    "deep": (saying(response(b'{"id":1,"result":' + b"[" * 2000)), UpstreamProtocolError, "JSON object"),
    "another id": (saying(response(b'{"id":"z","result":{}}')), UpstreamProtocolError, "another request"),
    "a notification": (saying(response(b'{"method":"x"}')), UpstreamProtocolError, "no answer"),
    "no JSON in an event": (
        saying(STREAM_HEAD + chunk(b"data: {no\n\n") + LAST_CHUNK),
        UpstreamProtocolError,
        "not JSON, and no answer",
    ),
    "no message in an event": (
        saying(STREAM_HEAD + chunk(b"data: {}\n\n") + LAST_CHUNK),
        UpstreamProtocolError,
        "no message, and no answer",
    ),
    "accepted": (saying(response(status="202 Accepted")), HttpRefusal, "HTTP status 202"),
    "401": (saying(response(status="401 Unauthorized")), HttpRefusal, "credentials in its `headers`"),
    "500": (saying(response(b"oh", "500 No", type="text/plain")), HttpRefusal, "HTTP status 500"),
    "a long 500": (saying(response(b"x" * (MAX_ERROR_BODY + 1), "500 No")), HttpRefusal, "HTTP status 500"),
    "404": (saying(response(status="404 Not Found")), HttpRefusal, "HTTP status 404"),
    "302": (saying(response(status="302 Found", headers={"Location": "/x"})), HttpRefusal, "not followed"),
    "307 without a location": (saying(response(status="307 T")), HttpRefusal, "HTTP status 307"),
    "no HTTP": (saying(b"hello\r\n"), UpstreamLost, "not HTTP"),
}


@pytest.mark.parametrize("noise", [b"ping", b'{"type":"heartbeat","timestamp":"now"}', b"[DONE]", b"7", b"{no"])
async def test_what_is_no_message_on_an_event_stream_is_skipped(noise: bytes) -> None:
    async def beat(got: Got) -> None:
        await got.send(STREAM_HEAD, chunk(b"data: %b\n\n" % noise), event(reply_to(got)), LAST_CHUNK)

    async with byte_server(Mcp(service("modern"), on={"x": beat})) as server, connected(server.url) as up:
        assert await up.call("x") == "here"
        assert noise.decode() in up.ears.noise[0]


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_answer_fails_its_call_and_no_other(kind: str) -> None:
    script, error, words = BAD[kind]
    asked, go_on = anyio.Event(), anyio.Event()

    async def good(got: Got) -> None:
        asked.set()
        await go_on.wait()
        await got.send(response(encode(reply_to(got, "good"))))

    mcp = Mcp(service("modern"), on={"bad": script, "good": good})
    async with byte_server(mcp) as server, connected(server.url, max_response_bytes=CAP) as up:
        outcome: list[str] = []

        async def other() -> None:
            outcome.append(await up.call("good"))

        async with anyio.create_task_group() as tg:
            tg.start_soon(other)
            await asked.wait()
            with pytest.raises(error, match=words) as caught:
                await up.call("bad")
            assert type(caught.value) is error
            go_on.set()
        assert outcome == ["good"]
        assert await up.call("a") == "a"
        assert up.dispatcher.closed is None


@pytest.mark.parametrize("streams", [False, True], ids=["json", "event"])
async def test_an_answer_of_too_many_values_is_not_decoded(streams: bool) -> None:
    """Nor does it speak against the upstream: it may be what was asked for."""

    async def script(got: Got) -> None:
        answer = b'{"id":%d,"result":{"x":[0%b]}}' % (got.json()["id"], b",0" * MAX_VALUES)
        await got.send(STREAM_HEAD + chunk(b"data: " + answer + b"\n\n") if streams else response(answer))

    async with byte_server(Mcp(service("modern"), on={"bad": script})) as server, connected(server.url) as up:
        with pytest.raises(UpstreamOversized, match=f"{MAX_VALUES} values. Ask for less"):
            await up.call("bad")
        assert await up.call("a") == "a"


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Internal Server Error"])
async def test_an_upstreams_own_error_is_passed_on_whatever_the_status(status: str) -> None:
    error = {"code": -32021, "message": "needs a capability", "data": {"x": [None]}}

    async def script(got: Got) -> None:
        await got.send(response(encode({"jsonrpc": "2.0", "id": got.json()["id"], "error": error}), status))

    async with byte_server(Mcp(service("modern"), on={"bad": script})) as server, connected(server.url) as up:
        with pytest.raises(UpstreamError) as caught:
            await up.call("bad")
        assert {"code": caught.value.code, "message": caught.value.message, "data": caught.value.data} == error


async def test_nobody_there() -> None:
    with pytest.raises(UpstreamLost, match="cannot connect") as caught:
        async with connected(f"http://127.0.0.1:{free_port()}/mcp"):
            pass
    assert not caught.value.delivered


# --- Redirects -----------------------------------------------------------------------------------------------------


def redirecting(location: str, status: str = "307 Temporary Redirect") -> Script:
    return saying(response(status=status, headers={"Location": location}))


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "308 Permanent Redirect"])
@pytest.mark.parametrize("location", ["/new place?x=1", "{origin}/new%20place?x=1", "new place?x=1#fragment"])
async def test_a_redirect_within_the_origin(status: str, location: str) -> None:
    mcp = Mcp(service("modern"))

    async def script(got: Got) -> None:
        if got.target == "/mcp":
            await redirecting(location.replace("{origin}", f"http://{got.headers['host']}"), status)(got)
        else:
            await mcp(got)

    async with byte_server(script) as server, connected(server.url, headers={"Authorization": "x"}) as up:
        assert await up.call("a") == "a"
        assert [got.target for got in server.got] == ["/mcp", "/new%20place?x=1", "/new%20place?x=1"]
        assert {got.headers["authorization"] for got in server.got} == {"x"}
        assert server.connections == 1


ELSEWHERE = [
    "http://localhost:{port}/mcp",
    "https://127.0.0.1:{port}/mcp",
    "http://127.0.0.1:1/mcp",
    "//[::1]:{port}/mcp",
    "http://127.0.0.1:99999/mcp",
    "http://[bad/mcp",
    "file:///etc/passwd",
    "\\\\host\\share",
]


@pytest.mark.parametrize("location", ELSEWHERE)
async def test_a_redirect_elsewhere_is_not_followed(location: str) -> None:
    mcp = Mcp(service("modern"))
    async with byte_server(mcp) as server, connected(server.url) as up:
        port = server.url.split(":")[2].split("/")[0]
        mcp.on["bad"] = redirecting(location.replace("{port}", port))
        if location.startswith("\\"):
            mcp.on["bad"] = redirecting("http://127.0.0.1:1/" + location)
        before = len(server.got)
        with pytest.raises(HttpRefusal, match=r"not followed.*put it into its `url`"):
            await up.call("bad")
        assert len(server.got) == before + 1
        assert await up.call("a") == "a"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "300 Choices", "304 Same"])
async def test_a_redirect_that_would_lose_the_request_is_not_followed(status: str) -> None:
    mcp = Mcp(service("modern"), on={"bad": redirecting("/elsewhere", status)})
    async with byte_server(mcp) as server, connected(server.url) as up:
        with pytest.raises(HttpRefusal):
            await up.call("bad")
        assert {got.target for got in server.got} == {"/mcp"}


async def test_redirects_in_a_circle() -> None:
    mcp = Mcp(service("modern"), on={"bad": redirecting("/mcp")})
    async with byte_server(mcp) as server, connected(server.url) as up:
        with pytest.raises(UpstreamProtocolError, match="redirects"):
            await up.call("bad")
        assert len(server.got) == 1 + 4


# --- Deadlines -----------------------------------------------------------------------------------------------------


async def test_a_silent_upstream() -> None:
    async def never(got: Got) -> None:
        await anyio.sleep_forever()

    async with byte_server(Mcp(service("modern"), on={"bad": never})) as server, connected(server.url) as up:
        with pytest.raises(UpstreamTimeout):
            await up.call("bad", timeout=0.05)
        assert await up.call("a") == "a"


async def test_a_dripping_body() -> None:
    async def drip(got: Got) -> None:
        await got.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await got.send(b" ")
            await anyio.sleep(0.005)

    async with byte_server(Mcp(service("modern"), on={"bad": drip})) as server, connected(server.url) as up:
        with pytest.raises(UpstreamTimeout):
            await up.call("bad", timeout=0.1)
        await wait_until(lambda: server.open == 0)


async def test_the_deadline_holds_while_connecting() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        dispatcher = HttpDispatcher("up", HttpEndpoint(url, connect_timeout=DEADLINE * 2), Ears())
        async with UpstreamSession(dispatcher, {}):
            with anyio.fail_after(DEADLINE), pytest.raises(UpstreamTimeout):
                await dispatcher.send_raw_request("m", {}, {"timeout": 0.05})
        await dispatcher.aclose()
        for filler in fillers:
            filler.close()


async def test_the_deadline_holds_while_waiting_for_a_connection() -> None:
    release = anyio.Event()

    async def hold(got: Got) -> None:
        await release.wait()
        await got.send(response(encode(reply_to(got))))

    async with byte_server(Mcp(service("modern"), on={"hold": hold})) as server, connected(server.url) as up:
        up.dispatcher.pool = Pool(up.dispatcher.pool.origin, DEADLINE, limit=1)
        async with anyio.create_task_group() as tg:
            tg.start_soon(up.call, "hold")
            await wait_until(lambda: len(server.got) == 2)
            with anyio.fail_after(DEADLINE), pytest.raises(UpstreamTimeout):
                await up.call("a", timeout=0.05)
            release.set()
        assert await up.call("a") == "a"
        assert [got.json()["params"].get("name") for got in server.got] == [None, "hold", "a"]
