"""The two ends of an agent's connection without a socket: bytes in, bytes out, and a clock that a test sets."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from gateway.frontend.backlog import Backlogs
from gateway.frontend.connection import Bounds, Connection, connection_class

BOUNDS: Final = Bounds(header_timeout=5, read_timeout=9, header_bytes=2048, connections=2)


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
        self.running: RequestResponseCycle | None = None
        """The request whose turn it is, or was last."""
        self._timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, callback: Callable[..., object], *args: object) -> Timer:
        self._timers.append(Timer(at, callback, args))
        return self._timers[-1]

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        return self.call_at(self.now + delay, callback, *args)

    def create_task(self, work: Coroutine[Any, Any, None]) -> "Task":
        self.running = work.cr_frame.f_locals["self"]  # type: ignore[attr-defined]
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

    def __init__(
        self, state: ServerState | None = None, bounds: Bounds = BOUNDS, waiting: Backlogs | None = None
    ) -> None:
        self.loop, self.transport = Loop(), Transport()
        config = uvicorn.Config(_never, lifespan="off", log_config=None, ws="none")
        made: Any = connection_class(bounds, waiting)
        self.connection: Connection = made(config, state or ServerState(), {}, self.loop)
        transport: Any = self.transport
        self.connection.connection_made(transport)

    def send(self, *pieces: bytes, every: float = 0.0) -> None:
        for piece in pieces:
            self.connection.data_received(piece)
            self.loop.pass_time(every)

    def answer(self) -> None:
        """The application has answered the request whose turn it is."""
        cycle = self.loop.running
        assert cycle is not None
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.connection.on_response_complete()

    @property
    def scope(self) -> dict[str, Any]:
        """What the application is given."""
        scope: Any = self.connection.scope
        return scope

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
