"""Event streams over HTTP: answers on them, taking up a broken one, and the handshake era's standing stream."""

from functools import partial
from typing import Any

import anyio
import pytest

from gateway.errors import UpstreamLost, UpstreamTimeout
from gateway.upstream.timing import UpstreamTiming
from gateway.upstream.transport import reply
from gateway.upstream.transport.pending import SessionLost
from tests.servers.wire import Message, encode
from tests.support import wait_until
from tests.upstream import ends
from tests.upstream.ends import (
    DEADLINE,
    LAST_CHUNK,
    STREAM_HEAD,
    Got,
    Mcp,
    byte_server,
    chunk,
    event,
    reply_to,
    response,
    service,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


BRISK = UpstreamTiming(resume_seconds=0.01, min_resume_seconds=0.01, backoff_base_seconds=0.01)
"""Waits between attempts that a test can wait for."""
connected = partial(ends.connected, timing=BRISK)


NOTE: Message = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "☃"}}


class Heard:
    """A listener to one call's notifications."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Any]] = []

    def __call__(self, method: str, params: dict[str, Any] | None) -> None:
        self.notes.append((method, params))


def events(got: Got, end: str = "\n") -> bytes:
    """A comment, a notification and the answer, as the bytes of a stream."""
    lines = [": hello", "event: message", f"data: {encode(NOTE).decode()}", "", "event: ping", "data: no JSON", ""]
    head, _, tail = encode(reply_to(got)).decode().partition(",")
    return end.join([*lines, f"data:{head},", f"data: {tail}", "", ""]).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("width", [1, 7, 10_000])
async def test_an_answer_on_a_stream_however_it_is_cut(end: str, width: int) -> None:
    async def script(got: Got) -> None:
        body = b"\xef\xbb\xbf" + events(got, end)
        await got.send(STREAM_HEAD, *(chunk(body[at : at + width]) for at in range(0, len(body), width)), LAST_CHUNK)

    async with byte_server(Mcp(service("modern"), on={"x": script})) as server, connected(server.url) as up:
        heard = Heard()
        assert await up.call("x", on_notification=heard) == "here"
        assert heard.notes == [(NOTE["method"], NOTE["params"])]


async def test_a_stream_that_stays_open_after_its_answer_is_closed() -> None:
    async def script(got: Got) -> None:
        await got.send(STREAM_HEAD, event(reply_to(got)), chunk(b": still here\n\n"))

    async with (
        byte_server(Mcp(service("modern"), on={"x": script})) as server,
        connected(server.url, timing=UpstreamTiming(linger_seconds=0.02)) as up,
    ):
        assert await up.call("x") == "here"
        await wait_until(lambda: server.open == 0)


async def test_a_stream_that_ends_soon_after_its_answer_is_kept() -> None:
    async def script(got: Got) -> None:
        await got.send(STREAM_HEAD, event(reply_to(got)))
        await anyio.sleep(0.01)
        await got.send(LAST_CHUNK)

    async with byte_server(Mcp(service("modern"), on={"x": script})) as server, connected(server.url) as up:
        assert await up.call("x") == "here"
        await wait_until(lambda: len(up.dispatcher.pool._idle) == 1)  # pyright: ignore[reportPrivateUsage]
        assert await up.call("a") == "a"
        assert server.connections == 1


async def test_the_upstream_may_ask_on_a_calls_stream() -> None:
    answered = anyio.Event()

    async def script(got: Got) -> None:
        await got.send(STREAM_HEAD, event({"jsonrpc": "2.0", "id": "q", "method": "ping"}))
        await answered.wait()
        await got.send(event(reply_to(got)), LAST_CHUNK)

    mcp = Mcp(service("handshake"), on={"x": script})
    async with byte_server(mcp) as server, connected(server.url) as up, anyio.create_task_group() as tg:
        tg.start_soon(up.call, "x")
        await wait_until(lambda: mcp.heard[-1] == {"jsonrpc": "2.0", "id": "q", "result": {}})
        assert server.got[-1].headers["mcp-session-id"] == "session-1"
        answered.set()


# --- Taking up again -----------------------------------------------------------------------------------------------


class Resumable:
    """Answers tool `x` on a stream that breaks after each event; `later` are the GETs that take it up again."""

    def __init__(self, *later: bytes, first: bytes = chunk(b"id: 1\nretry: 0\n\n")) -> None:
        self.later = list(later)
        self.first = first
        self.asked: list[str | None] = []
        self.call: Got | None = None

    async def post(self, got: Got) -> None:
        self.call = got
        await got.send(STREAM_HEAD, self.first)
        await got.drop()

    async def get(self, got: Got) -> None:
        if "last-event-id" not in got.headers:
            await got.send(response(status="405 No"))
            return
        self.asked.append(got.headers["last-event-id"])
        assert self.call is not None
        sent = self.later.pop(0) if self.later else STREAM_HEAD + event(reply_to(self.call)) + LAST_CHUNK
        await got.send(sent)
        if not sent.endswith(LAST_CHUNK):
            await got.drop()

    def mcp(self, era: str = "handshake") -> Mcp:
        return Mcp(service(era), on={"x": self.post, "GET": self.get})


async def test_a_broken_stream_is_taken_up_again() -> None:
    upstream = Resumable(b"", STREAM_HEAD + event(NOTE, id="2"))
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        heard = Heard()
        assert await up.call("x", on_notification=heard) == "here"
        assert upstream.asked == ["1", "1", "2"]
        assert len(heard.notes) == 1
        assert sum(got.method == "POST" and b'"x"' in got.body for got in server.got) == 1


async def test_a_stream_that_ends_in_good_order_without_an_answer_is_too() -> None:
    upstream = Resumable(STREAM_HEAD + event(NOTE, id="2") + LAST_CHUNK)
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        assert await up.call("x") == "here"
        assert upstream.asked == ["1", "2"]


async def test_it_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "MAX_RESUMES", 3)
    upstream = Resumable(*[b""] * 10)
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        with pytest.raises(UpstreamLost) as caught:
            await up.call("x")
        assert caught.value.delivered
        assert len(upstream.asked) == 3


@pytest.mark.parametrize("status", ["404 Not Found", "400 Bad Request", "405 No"])
async def test_it_cannot_be_taken_up_again_and_must_not_be_repeated(status: str) -> None:
    upstream = Resumable(response(status=status) + LAST_CHUNK)
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        with pytest.raises(UpstreamLost, match="could not be taken up again") as caught:
            await up.call("x")
        assert type(caught.value) is UpstreamLost
        assert caught.value.delivered
        assert isinstance(up.dispatcher.closed, SessionLost) == status.startswith("404")


async def test_streams_without_ids_and_modern_ones_are_not() -> None:
    for upstream, era in ((Resumable(first=event(NOTE)), "handshake"), (Resumable(), "modern")):
        async with byte_server(upstream.mcp(era)) as server, connected(server.url) as up:
            with pytest.raises(UpstreamLost):
                await up.call("x")
            assert upstream.asked == []


async def test_the_deadline_holds_over_all_attempts() -> None:
    upstream = Resumable(*[STREAM_HEAD + event(NOTE, id="2")] * 1000)
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        with pytest.raises(UpstreamTimeout):
            await up.call("x", timeout=0.2)
        assert upstream.asked


# --- The standing stream -------------------------------------------------------------------------------------------


class Standing:
    """Answers each GET with the next of `answers`, and leaves the last open."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.ids: list[str | None] = []
        self.last: Got | None = None

    async def get(self, got: Got) -> None:
        self.ids.append(got.headers.get("last-event-id"))
        if not self.answers:
            self.last = got
            await got.send(STREAM_HEAD)
            return
        sent = self.answers.pop(0)
        await got.send(sent)
        if sent.startswith(STREAM_HEAD):
            await got.drop()

    def mcp(self) -> Mcp:
        return Mcp(service("handshake"), on={"GET": self.get})


async def test_notifications_on_the_standing_stream() -> None:
    upstream = Standing()
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        await wait_until(lambda: upstream.last is not None)
        assert upstream.last is not None
        await upstream.last.send(chunk(b"data: no JSON\n\n"), chunk(b"event: ping\ndata: {}\n\n"), event(NOTE))
        await wait_until(lambda: up.ears.notifications == [(NOTE["method"], NOTE["params"])])
        assert await up.call("a") == "a"
    assert server.got[-1].method == "DELETE"


@pytest.mark.parametrize("capability", ["sampling", "elicitation", "roots"])
async def test_who_may_be_asked_listens_before_it_says_anything(capability: str) -> None:
    upstream, heard = Standing(), list[Message]()

    async def slow(got: Got) -> None:
        await anyio.sleep(0.05)
        heard.extend(mcp.heard)
        await upstream.get(got)

    mcp = Mcp(service("handshake"), on={"GET": slow})
    async with byte_server(mcp) as server, connected(server.url, capabilities={capability: {}}) as up:
        assert upstream.last is not None
        assert await up.call("a") == "a"
        assert [message["method"] for message in heard][-1] == "notifications/initialized"


async def test_a_standing_stream_that_does_not_open_is_not_waited_for_long() -> None:
    async def silent(got: Got) -> None: ...

    timing = UpstreamTiming(question_stream_seconds=0.05)
    mcp = Mcp(service("handshake"), on={"GET": silent})
    async with byte_server(mcp) as server, connected(server.url, capabilities={"roots": {}}, timing=timing) as up:
        assert await up.call("a") == "a"


async def test_the_standing_stream_is_opened_again_where_it_broke() -> None:
    upstream = Standing(STREAM_HEAD + event(NOTE, id="7"), b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        await wait_until(lambda: upstream.last is not None)
        assert upstream.ids[0] is None
        assert upstream.ids[-1] == "7"
        assert up.dispatcher.closed is None


@pytest.mark.parametrize("status", ["405 Method Not Allowed", "404 Not Found", "400 Bad Request", "200 OK"])
async def test_an_upstream_without_one_is_left_in_peace(status: str) -> None:
    upstream = Standing(response(status=status))
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        await wait_until(lambda: len(upstream.ids) == 1)
        for _ in range(10):
            assert await up.call("a") == "a"
        await anyio.sleep(0.05)
        assert len(upstream.ids) == 1


async def test_a_standing_stream_that_is_no_longer_known_means_the_session_is_lost() -> None:
    upstream = Standing(STREAM_HEAD + event(NOTE), response(status="404 Not Found"))
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        with anyio.fail_after(DEADLINE):
            assert isinstance(await up.dispatcher.wait_closed(), SessionLost)
    assert all(got.method != "DELETE" for got in server.got)


async def test_an_event_too_large_breaks_the_standing_stream_alone() -> None:
    upstream = Standing(STREAM_HEAD + chunk(b"data: " + b"x" * 5000))
    async with byte_server(upstream.mcp()) as server, connected(server.url, max_response_bytes=4096) as up:
        await wait_until(lambda: upstream.last is not None)
        assert await up.call("a") == "a"


async def test_streams_that_end_at_once_are_opened_less_and_less_often() -> None:
    upstream = Standing(*[STREAM_HEAD] * 100)
    async with byte_server(upstream.mcp()) as server, connected(server.url) as up:
        await wait_until(lambda: len(upstream.ids) == 5)
        started = anyio.current_time()
        await wait_until(lambda: len(upstream.ids) == 7)
        assert anyio.current_time() - started > 0.3  # 0.16 s and 0.32 s, with 0.01 s to begin with
        assert await up.call("a") == "a"
