"""The two ends of an agent's connection without a socket: bytes in, bytes out, and a clock that a test sets."""

import json
from collections.abc import Callable, Generator
from typing import Any, Final

from gateway.frontend.backlog import Backlogs
from gateway.frontend.connection import AgentConnection
from gateway.frontend.connections import Bounds, Connections
from gateway.frontend.http_request import HttpRequest

BOUNDS: Final = Bounds(header_timeout=5, read_timeout=9, header_bytes=2048, connections=2)


class Timer:
    def __init__(self, at: float, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self.at, self.callback, self.args = at, callback, args
        self.cancelled = False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.cancelled = True


class Future:
    """Waited for by nobody; whoever made it is told that it is there."""

    def __init__(self) -> None:
        self._done = False

    def done(self) -> bool:
        return self._done

    def set_result(self, result: object) -> None:
        self._done = True

    def __await__(self) -> Generator[None, None, None]:
        while not self._done:
            yield


class Loop:
    """As much of an event loop as a connection uses."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[Timer] = []

    def create_future(self) -> Future:
        return Future()

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, callback: Callable[..., object], *args: object) -> Timer:
        self._timers.append(Timer(at, callback, args))
        return self._timers[-1]

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        return self.call_at(self.now + delay, callback, *args)

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

    def set_write_buffer_limits(self, high: int) -> None: ...

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

    def __init__(
        self, together: Connections | None = None, bounds: Bounds = BOUNDS, waiting: Backlogs | None = None
    ) -> None:
        loop: Any = Loop()
        self.loop: Loop = loop
        self.transport = Transport()
        self.running: HttpRequest | None = None
        """The request whose turn it is, or was last."""
        self.connection = AgentConnection(
            together if together is not None else Connections(self.handle, bounds, waiting or Backlogs(), loop)
        )
        transport: Any = self.transport
        self.connection.connection_made(transport)

    def handle(self, request: HttpRequest) -> None:
        self.running = request

    def send(self, *pieces: bytes, every: float = 0.0) -> None:
        for piece in pieces:
            self.connection.data_received(piece)
            self.loop.pass_time(every)

    def answer(self) -> None:
        """Answer the request whose turn it is; what is written for it is not looked at."""
        assert self.running is not None
        before = self.transport.written
        self.running.reply(200)
        self.transport.written = before

    def ask(self, *pieces: bytes) -> HttpRequest:
        """Send one request; returns what was made of it."""
        self.send(*(pieces or (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",)))
        assert self.running is not None
        return self.running

    @property
    def pipelined(self) -> int:
        """Requests that wait for the answer to an earlier one."""
        return len(self.connection._requests) - 1  # pyright: ignore[reportPrivateUsage]

    @property
    def status(self) -> int:
        """Of what was written; 0 for nothing."""
        return int(self.transport.written.split(b" ")[1]) if self.transport.written else 0

    @property
    def answered(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of what was written, if it was one answer."""
        head, _, body = self.transport.written.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").splitlines()[1:])
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(chunks(body))
        return headers, body

    def refused(self) -> dict[str, Any]:
        """The body of what was written as the last there is to say."""
        assert self.transport.closed
        head, _, body = self.transport.written.partition(b"\r\n\r\n")
        assert b"connection: close" in head
        assert b"content-length: %d" % len(body) in head
        return json.loads(body)


def chunks(rest: bytes) -> Generator[bytes]:
    """Of a chunked body, as far as it was written."""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        yield rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
