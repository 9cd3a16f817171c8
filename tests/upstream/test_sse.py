"""The older HTTP+SSE transport: a failed POST fails its own call, and every way the stream can end is noticed."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from gateway.errors import GatewayError, UpstreamLost, UpstreamTimeout
from gateway.upstream.transport.pending import HttpRefusal, SessionLost
from tests.servers.wire import encode
from tests.support import free_port, http_server, wait_until
from tests.upstream.ends import (
    DEADLINE,
    STREAM_HEAD,
    Got,
    Mcp,
    byte_server,
    chunk,
    event,
    exchange,
    legacy,
    reply_to,
    response,
    service,
)

pytestmark = pytest.mark.anyio


class Legacy:
    """A server of the older transport: GET opens the stream, POSTs are accepted, answers come on the stream."""

    def __init__(self, endpoint: str = "/messages?session=1", **on: Callable[[Got], Awaitable[None]]) -> None:
        self.mcp = Mcp(service("both"))
        self.endpoint = endpoint
        self.on = on
        """By tool."""
        self.stream: Got | None = None

    async def __call__(self, got: Got) -> None:
        if got.method == "GET":
            self.stream = got
            await got.send(STREAM_HEAD, chunk(b"event: endpoint\ndata: %b\n\n" % self.endpoint.encode()))
            return
        message = got.json()
        self.mcp.heard.append(message)
        tool = message.get("params", {}).get("name")
        if tool in self.on:
            await self.on[tool](got)
            return
        await got.send(response(status="202 Accepted"))
        reply = self.mcp.service.answer(message)
        if reply is not None:
            await self.say(reply)

    async def say(self, message: dict[str, Any]) -> None:
        assert self.stream is not None
        await self.stream.send(chunk(b"event: message\ndata: %b\n\n" % encode(message)))


async def test_calls_and_what_belongs_to_them() -> None:
    with http_server("tests.servers.everything", transport="sse", path="/sse") as url:
        async with legacy(url) as up:
            assert up.agreed.version == "2025-11-25"
            heard: list[str] = []

            def hear(method: str, params: Any) -> None:
                heard.append(method)

            arguments = {"x": [None, 2**70], "ü": 1.5}
            assert (await up.ask("echo", arguments))["structuredContent"] == arguments
            slow = {"name": "slow", "arguments": {"seconds": 0.02, "steps": 3}}
            await exchange(up.dispatcher, "tools/call", slow, hear, progress=True)
            assert heard == ["notifications/progress"] * 3
            async with anyio.create_task_group() as tg:
                tg.start_soon(up.ask, "slow", {"seconds": 60})

                async def running(count: int) -> bool:
                    return (await up.ask("cancelled_calls"))["structuredContent"]["running"] == count

                await wait_until(lambda: running(1))
                tg.cancel_scope.cancel()
            await wait_until(lambda: running(0))


async def server_error(got: Got) -> None:
    await got.send(response(b"oh", "500 No", type="text/plain"))


async def drop(got: Got) -> None:
    await got.drop()


async def redirect(got: Got) -> None:
    await got.send(response(status="307 T", headers={"Location": "http://127.0.0.1:1/"}))


FAILED: dict[str, tuple[Callable[[Got], Awaitable[None]], type[GatewayError], str]] = {
    "500": (server_error, HttpRefusal, "HTTP status 500"),
    "redirect": (redirect, HttpRefusal, "HTTP status 307"),
    "dropped": (drop, UpstreamLost, "."),
}


@pytest.mark.parametrize("kind", FAILED)
async def test_a_post_that_fails_fails_its_call_alone(kind: str) -> None:
    script, error, words = FAILED[kind]
    upstream = Legacy(bad=script)
    async with byte_server(upstream) as server, legacy(server.url) as up:
        with pytest.raises(error, match=words) as caught:
            await up.ask("bad")
        assert type(caught.value) is error
        assert await up.call("a") == "a"
        assert up.dispatcher.closed is None


async def to_stream_elsewhere(got: Got, elsewhere: str) -> None:
    await got.send(response(status="307 T", headers={"Location": elsewhere}))


async def to_endpoint_elsewhere(got: Got, elsewhere: str) -> None:
    await got.send(STREAM_HEAD, chunk(b"event: endpoint\ndata: %b\n\n" % elsewhere.encode()))


async def to_posts_elsewhere(got: Got, elsewhere: str) -> None:
    if got.method == "GET":
        await to_endpoint_elsewhere(got, "/messages")
    else:
        await to_stream_elsewhere(got, elsewhere)


@pytest.mark.parametrize("lead", [to_stream_elsewhere, to_endpoint_elsewhere, to_posts_elsewhere])
async def test_an_upstream_leads_nowhere_but_to_itself(lead: Callable[[Got, str], Awaitable[None]]) -> None:
    """What it names may be inside our network, and the credentials in our headers are its own alone."""
    async with byte_server(Legacy()) as canary:
        async with byte_server(lambda got: lead(got, canary.url)) as server:
            with pytest.raises((GatewayError, TimeoutError)):
                async with legacy(server.url, headers={"Authorization": "x"}, connect_timeout=1):
                    raise AssertionError("connected")
            assert server.got
        assert canary.connections == 0


async def test_a_notification_that_fails_is_noted() -> None:
    async def refuse(got: Got) -> None:
        if got.method == "POST" and got.json().get("method") == "notifications/x":
            await server_error(got)
        else:
            await upstream(got)

    upstream = Legacy()
    async with byte_server(refuse) as server, legacy(server.url) as up:
        await up.session.connection.notify("notifications/x", {})
        assert await up.call("a") == "a"
        await wait_until(lambda: any("could not be delivered" in noise for noise in up.ears.noise))


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "400 Bad Request"])
async def test_a_lost_session(status: str) -> None:
    async def forgotten(got: Got) -> None:
        await got.send(response(b"Could not find session", status, type="text/plain"))

    async with byte_server(Legacy(bad=forgotten)) as server, legacy(server.url) as up:
        with pytest.raises(SessionLost):
            await up.ask("bad")
        assert isinstance(await up.dispatcher.wait_closed(), SessionLost)


async def test_the_end_of_the_stream_fails_what_is_in_flight() -> None:
    async def accept(got: Got) -> None:
        await got.send(response(status="202 Accepted"))

    upstream = Legacy(bad=accept)
    async with byte_server(upstream) as server, legacy(server.url) as up, anyio.create_task_group() as tg:

        async def end() -> None:
            await wait_until(lambda: upstream.mcp.methods() == ["tools/call"])
            assert upstream.stream is not None
            await upstream.stream.drop()

        tg.start_soon(end)
        with pytest.raises(UpstreamLost) as caught:
            await up.ask("bad")
        assert caught.value.delivered
        assert up.dispatcher.closed is not None


async def endless(got: Got) -> None:
    await got.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await got.send(chunk(b"x" * 65536))


async def test_the_answer_to_a_post_is_not_read_to_its_end() -> None:
    ended = anyio.Event()

    async def post(got: Got) -> None:
        await upstream.say(reply_to(got))
        try:
            await endless(got)
        finally:
            ended.set()

    upstream = Legacy(x=post)
    async with byte_server(upstream) as server, legacy(server.url) as up:
        assert await up.call("x") == "here"
        with anyio.fail_after(DEADLINE):
            await ended.wait()
        assert await up.call("a") == "a"


async def test_the_deadline() -> None:
    async def accept(got: Got) -> None:
        await got.send(response(status="202 Accepted"))

    upstream = Legacy(bad=accept)
    async with byte_server(upstream) as server, legacy(server.url) as up:
        with pytest.raises(UpstreamTimeout):
            await up.ask("bad", timeout=0.05)
        assert await up.call("a") == "a"
        await wait_until(lambda: "notifications/cancelled" in upstream.mcp.methods())


async def test_large_events_pass_up_to_the_cap() -> None:
    async def large(got: Got) -> None:
        await got.send(response(status="202 Accepted"))
        await upstream.say(reply_to(got, "x" * (2 << 20)))

    upstream = Legacy(x=large)
    async with byte_server(upstream) as server:
        async with legacy(server.url, max_response_bytes=3 << 20) as up:
            assert await up.call("x") == "x" * (2 << 20)
        async with legacy(server.url, max_response_bytes=1 << 20) as up:
            with pytest.raises(UpstreamLost):
                await up.ask("x")
            reason = await up.dispatcher.wait_closed()
            assert "an event of more than 1048576 bytes" in reason.message


@pytest.mark.parametrize("size", [1 << 20, 64 << 20])
async def test_a_large_answer_to_a_post_is_not_kept(size: int) -> None:
    """Nothing of it matters but its status, so nothing of it is held."""

    async def flood(got: Got) -> None:
        await upstream.say(reply_to(got))
        await got.send(response(b"x" * size, status="202 Accepted"))

    upstream = Legacy(x=flood)
    async with byte_server(upstream) as server, legacy(server.url) as up:
        assert await up.call("x") == "here"


async def test_what_is_no_message_is_noted() -> None:
    async def garble(got: Got) -> None:
        await got.send(response(status="202 Accepted"))
        assert upstream.stream is not None
        await upstream.stream.send(chunk(b"event: message\ndata: {no JSON\n\n"), chunk(b"event: odd\ndata: x\n\n"))
        await upstream.say(reply_to(got))

    upstream = Legacy(x=garble)
    async with byte_server(upstream) as server, legacy(server.url) as up:
        assert await up.call("x") == "here"
        assert len(up.ears.noise) == 1


# --- Opening -------------------------------------------------------------------------------------------------------


async def test_nobody_there() -> None:
    with pytest.raises(UpstreamLost) as caught:
        async with legacy(f"http://127.0.0.1:{free_port()}/sse"):
            pass
    assert not caught.value.delivered


async def test_refused() -> None:
    async with byte_server(server_error) as server:
        with pytest.raises(HttpRefusal, match="HTTP status 500"):
            async with legacy(server.url):
                pass


@pytest.mark.parametrize("head", [b"", STREAM_HEAD, STREAM_HEAD + chunk(b": hello\n\n")])
async def test_opening_is_bounded(head: bytes) -> None:
    async def silent(got: Got) -> None:
        await got.send(head) if head else None

    async with byte_server(silent) as server:
        with anyio.fail_after(DEADLINE), pytest.raises(UpstreamLost) as caught:
            async with legacy(server.url, connect_timeout=0.1):
                pass
        assert not caught.value.delivered
        await wait_until(lambda: server.open == 0)


async def test_messages_go_to_no_other_origin() -> None:
    async with byte_server(Legacy()) as other:
        async with byte_server(Legacy(other.url)) as server:
            with pytest.raises(UpstreamLost):
                async with legacy(server.url, connect_timeout=0.2):
                    pass
        assert other.got == []


async def test_leaving_in_haste_closes_everything() -> None:
    async with byte_server(Legacy()) as server:
        with anyio.CancelScope() as scope:
            async with legacy(server.url):
                scope.cancel()
                await anyio.sleep_forever()
        await wait_until(lambda: server.open == 0)


async def test_messages_of_events_with_ids() -> None:
    async def script(got: Got) -> None:
        await got.send(response(status="202 Accepted"))
        assert upstream.stream is not None
        await upstream.stream.send(event(reply_to(got), id="5"))

    upstream = Legacy(x=script)
    async with byte_server(upstream) as server, legacy(server.url) as up:
        assert await up.call("x") == "here"
