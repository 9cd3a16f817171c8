"""A connection's bounds, without a socket: bytes in, bytes out, and a clock that a test sets."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.frontend.connection import MAX_PIPELINED, STALL_BYTES, STALL_SECONDS, Bounds, Connection, connection_class

BOUNDS = Bounds(header_timeout=5, read_timeout=9, header_bytes=2048, connections=2)
HEAD = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
WHOLE = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"POST /mcp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Timer:
    def __init__(self, at: float, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self.at, self.callback, self.args = at, callback, args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Task:
    """One that never ends."""

    def add_done_callback(self, callback: Callable[..., object]) -> None: ...


class Loop:
    """As much of an event loop as a connection uses. Applications are not run: the test answers."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, callback: Callable[..., object], *args: object) -> Timer:
        self._timers.append(Timer(at, callback, args))
        return self._timers[-1]

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        return self.call_at(self.now + delay, callback, *args)

    def create_task(self, work: Coroutine[Any, Any, None]) -> "Task":
        work.close()
        return Task()

    @property
    def timers(self) -> int:
        return sum(not timer.cancelled for timer in self._timers)

    def pass_time(self, seconds: float) -> None:
        """Let time go by, and what is due happen when it is."""
        until = self.now + seconds
        while due := [timer for timer in self._timers if not timer.cancelled and timer.at <= until]:
            timer = min(due, key=lambda one: one.at)
            timer.cancelled = True
            self.now = timer.at
            timer.callback(*timer.args)
        self.now = until


class Transport:
    """Where a connection writes to, and whether it was closed."""

    def __init__(self) -> None:
        self.written = b""
        self.unread = 0
        self.closed = self.aborted = self.paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Client:
    """The other end of a connection, and everything around it."""

    def __init__(self, state: ServerState | None = None, bounds: Bounds = BOUNDS) -> None:
        self.loop, self.transport = Loop(), Transport()
        config = uvicorn.Config(_never, lifespan="off", log_config=None, ws="none")
        made: Any = connection_class(bounds)
        self.connection: Connection = made(config, state or ServerState(), {}, self.loop)
        transport: Any = self.transport
        self.connection.connection_made(transport)

    def send(self, *pieces: bytes, every: float = 0.0) -> None:
        for piece in pieces:
            self.connection.data_received(piece)
            self.loop.pass_time(every)

    def answer(self) -> None:
        """The application has answered the request whose turn it is."""
        cycle = self.connection.cycle
        cycle.response_started = cycle.response_complete = True
        self.connection.on_response_complete()

    @property
    def status(self) -> int:
        """Of what was written; 0 for nothing."""
        return int(self.transport.written.split(b" ")[1]) if self.transport.written else 0

    def refused(self) -> dict[str, Any]:
        """The body of what was written as the last there is to say."""
        assert self.transport.closed
        head, _, body = self.transport.written.partition(b"\r\n\r\n")
        assert b"connection: close" in head
        assert b"content-length: %d" % len(body) in head
        return json.loads(body)


async def _never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("applications are not run here")


# --- Time -------------------------------------------------------------------------------------------------------------


def test_who_says_nothing_is_not_waited_for() -> None:
    client = Client()
    client.loop.pass_time(4.9)
    assert not client.transport.closed
    client.loop.pass_time(0.2)
    assert (client.transport.closed, client.status) == (True, 0)


@pytest.mark.parametrize("sent", [HEAD[:-1], b"\r\n" * 60, b"P" * 30], ids=["headers", "empty lines", "method"])
def test_slow_headers(sent: bytes) -> None:
    client = Client()
    client.send(*(sent[at : at + 1] for at in range(len(sent))), every=5.1 / len(sent))
    assert client.transport.closed
    assert client.status in (408, 400)


def test_slow_headers_are_told_so() -> None:
    client = Client()
    client.send(HEAD[:-1])
    client.loop.pass_time(5.1)
    assert client.status == 408
    assert client.refused()["error"]["code"] == -32600


@pytest.mark.parametrize("start", [HEAD, CHUNKED + b"A\r\n"], ids=["declared", "chunked"])
def test_a_slow_body(start: bytes) -> None:
    client = Client()
    client.send(start)
    client.send(*[b"x"] * 8, every=1.1)
    assert not client.transport.closed
    client.send(b"x", every=0.3)
    assert client.status == 408
    client.refused()


def test_a_slow_body_after_slow_headers_has_what_they_left_it() -> None:
    client = Client()
    client.loop.pass_time(2)
    client.send(HEAD[:20], every=2)
    client.send(HEAD[20:], every=4.9)
    assert not client.transport.closed
    client.loop.pass_time(0.2)
    assert client.status == 408


def test_a_body_nobody_wants_is_not_waited_for_either() -> None:
    client = Client()
    client.send(HEAD)
    client.answer()
    client.send(*[b"x"] * 9, every=1)
    assert client.transport.closed


def test_a_request_that_came_whole_has_no_deadline() -> None:
    client = Client()
    client.send(WHOLE)
    client.loop.pass_time(10_000)
    assert not client.transport.closed


def test_each_request_of_a_connection_has_its_own_time() -> None:
    client = Client()
    for _ in range(5):
        client.send(WHOLE[:30], every=4)
        client.send(WHOLE[30:])
        client.answer()
        client.loop.pass_time(4)
    assert not client.transport.closed
    client.send(WHOLE[:30], every=5.1)
    assert client.status == 408


def test_an_idle_connection_is_closed() -> None:
    client = Client()
    client.send(WHOLE)
    client.answer()
    client.loop.pass_time(6)
    assert (client.transport.closed, client.status) == (True, 0)


def test_an_earlier_request_in_flight_is_not_given_up_for_a_slow_one_behind_it() -> None:
    client = Client()
    client.send(WHOLE + WHOLE[:30])
    client.loop.pass_time(60)
    assert not client.transport.closed
    client.answer()
    client.loop.pass_time(10)
    assert client.status == 408


def test_a_body_that_we_do_not_read_is_not_the_clients_fault() -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b"x" * 90_000)
    assert client.transport.paused
    client.loop.pass_time(60)
    assert not client.transport.closed
    client.connection.flow.resume_reading()
    client.loop.pass_time(60)
    assert client.status == 408


def test_who_waits_for_100_continue_is_not_slow() -> None:
    client = Client()
    client.send(HEAD.replace(b"Host", b"Expect: 100-continue\r\nHost"))
    client.loop.pass_time(60)
    assert not client.transport.closed


def test_a_response_that_is_not_read_is_given_up() -> None:
    client = Client()
    client.send(WHOLE)
    client.transport.unread = 10 * STALL_BYTES
    client.connection.pause_writing()
    for _ in range(5):
        client.loop.pass_time(STALL_SECONDS)
        client.transport.unread -= STALL_BYTES
    assert not client.transport.aborted, "it is slow, but it reads"
    client.loop.pass_time(STALL_SECONDS)
    client.transport.unread -= 1
    client.loop.pass_time(STALL_SECONDS)
    assert client.transport.aborted


def test_a_response_that_is_read_after_all_is_not() -> None:
    client = Client()
    client.connection.pause_writing()
    client.loop.pass_time(1)
    client.connection.resume_writing()
    client.send(WHOLE)
    client.loop.pass_time(1000)
    assert not client.transport.aborted


@pytest.mark.parametrize("sent", [b"", HEAD[:-1], HEAD, WHOLE])
def test_a_lost_connection_leaves_no_timer(sent: bytes) -> None:
    client = Client()
    if sent:
        client.send(sent)
    client.connection.pause_writing()
    client.connection.connection_lost(ConnectionResetError())
    assert client.loop.timers == 0


# --- Size -------------------------------------------------------------------------------------------------------------

LARGE = b"X-Large: " + b"x" * 2048 + b"\r\n"
MANY = b"".join(b"X-%d: y\r\n" % number for number in range(500))


@pytest.mark.parametrize("lines", [LARGE, MANY], ids=["large", "many"])
@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["unfinished", "whole"])
@pytest.mark.parametrize("split", [False, True])
def test_large_headers(lines: bytes, end: bytes, split: bool) -> None:
    client = Client()
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + end
    client.send(*(head[at : at + 100] for at in range(0, len(head), 100)) if split else (head,))
    assert client.status == 431
    assert "max_header_bytes" in client.refused()["error"]["message"]


def test_a_large_address() -> None:
    client = Client()
    client.send(b"GET /" + b"x" * 2048 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.status == 431


def test_headers_that_fit_before_a_large_body() -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)
    client.send(b"")
    assert (client.transport.closed, client.status) == (False, 0)


@pytest.mark.parametrize("sent", [b"1;" + b"x" * 3000, b"0\r\n" + b"X: y\r\n" * 500], ids=["extension", "trailers"])
def test_what_stands_around_a_body_is_bounded_too(sent: bytes) -> None:
    client = Client()
    client.send(CHUNKED, sent)
    assert client.status == 431


def test_a_pipeline_has_an_end() -> None:
    client = Client()
    client.send(WHOLE * (1 + MAX_PIPELINED))
    assert not client.transport.closed
    client.send(WHOLE)
    assert (client.transport.closed, client.status) == (True, 0), "nothing can be said before the first answer"


def test_too_many_connections() -> None:
    state = ServerState()
    first, second, third = (Client(state) for _ in range(3))
    assert (third.status, first.transport.closed, second.transport.closed) == (503, False, False)
    assert "max_connections" in third.refused()["error"]["message"]
    third.send(WHOLE)
    third.connection.connection_lost(None)
    first.connection.connection_lost(None)
    assert not Client(state).transport.closed


# --- Form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\rb",
        b"X: a\nb",
        b"X: a\0b",
        b"X\0: a",
        b"X : a",
        b"X y: a",
        b": a",
        b"Content-Length: 3",
        b"Content-Length: -1",
        b"Content-Length: 1_0",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
    ],
)
def test_headers_that_two_readers_might_read_differently(line: bytes) -> None:
    client = Client()
    client.send(b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + line + b"\r\n\r\n{}")
    assert client.status == 400
    assert client.refused()["error"]["message"] == "The request is not HTTP."


def test_a_refusal_is_not_taken_for_the_answer_to_an_earlier_request() -> None:
    client = Client()
    client.send(WHOLE + b"\0\0\0")
    assert (client.transport.closed, client.status) == (True, 0)
