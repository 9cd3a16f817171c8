"""What the connections of one listener have in common: their bounds, and the requests that are being answered."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from gateway import jsonrpc
from gateway.config.models import GatewaySettings
from gateway.errors import GatewayError, InternalError
from gateway.frontend.backlog import Backlogs
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.tasks import TASK_OPTIONS
from gateway.telemetry.cells import Traffic

if TYPE_CHECKING:
    from gateway.frontend.connection import AgentConnection

log = structlog.stdlib.get_logger("gateway.frontend")

Handle = Callable[[HttpRequest], Coroutine[Any, Any, object] | None]
"""Answers a request at once, or returns a coroutine that does. A stream that was begun may end after that."""


class Write(Protocol):
    def __call__(self, data: bytes) -> None: ...


Fail = Callable[[HttpRequest, BaseException], None]
"""Answers a request whose handler raised an error, as far as it has not."""


def fail(request: HttpRequest, error: BaseException) -> None:
    log.error("request failed", path=request.path, exc_info=error)
    if request.started:
        request.abort()
    else:
        defect = InternalError()
        request.reply(500, jsonrpc.dumps(jsonrpc.error(None, defect.code, defect.message)))


OnConnectionRefused = Callable[[str, HttpRequest | None, GatewayError], None]
"""`(address, request, error)`: a connection is closed, with the request that was arriving if its head was there."""


def nobody(address: str, request: HttpRequest | None, error: GatewayError) -> None:
    """Is told."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a client may take of us before its request is there. Times are in seconds."""

    header_timeout: float
    """For the headers, from the first byte, or from the opening of the connection."""
    read_timeout: float
    """For the whole request, from the same moment."""
    header_bytes: int
    """Of request line and headers; also of what stands between two pieces of a body, and of trailers."""
    connections: int
    """Open at a time."""


def bounds_of(settings: GatewaySettings) -> Bounds:
    """As configured; of all files that the process may open, some are left for upstreams and the gateway's own."""
    files = sys.maxsize
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = soft if soft != resource.RLIM_INFINITY else sys.maxsize
    connections = min(settings.max_connections, files * 4 // 5)
    return Bounds(settings.header_timeout, settings.read_timeout, settings.max_header_bytes, connections)


@dataclass(eq=False, slots=True)
class Connections:
    """The connections of one listener, and the tasks that answer their requests."""

    handle: Handle
    bounds: Bounds
    waiting: Backlogs
    """Counts what clients have not read."""
    loop: asyncio.AbstractEventLoop
    fail: Fail = fail
    on_refused: OnConnectionRefused = nobody
    """Told of each that is closed because a client goes beyond a bound."""
    open: "set[AgentConnection]" = field(default_factory=set["AgentConnection"])
    tasks: dict[HttpRequest, asyncio.Task[None]] = field(default_factory=dict[HttpRequest, asyncio.Task[None]])
    """Requests that could not be answered at once."""
    handshakes: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    """Connections that are not open yet."""
    traffic: Traffic = field(default_factory=Traffic)
    scheme: str = "http"
    is_ending: bool = False
    """Whether each answer is the last of its connection."""

    def __len__(self) -> int:
        return len(self.open) + len(self.handshakes)

    @property
    def is_full(self) -> bool:
        """Whether one that is not open yet cannot be, either."""
        return len(self) >= self.bounds.connections

    @property
    def has_new(self) -> bool:
        """Whether there are any on which no request has come yet."""
        return bool(self.handshakes) or any(each.is_new for each in self.open)

    def shake_hands(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what opens a connection."""
        task = self.loop.create_task(work)
        self.handshakes.add(task)
        task.add_done_callback(self.handshakes.discard)

    def counting(self, write: Write) -> Write:
        """The same, and what is written is counted."""
        traffic = self.traffic

        def counted(data: bytes) -> None:
            traffic.sent += len(data)
            write(data)

        return counted

    def run(self, request: HttpRequest) -> None:
        """Have it answered."""
        try:
            work = self.handle(request)
        except Exception as error:
            self._on_error(request, error)
            return
        if work is None:
            return
        task = asyncio.Task(self._answer(request, work), loop=self.loop, **TASK_OPTIONS)
        if not task.done():
            self.tasks[request] = task

    def finish(self) -> None:
        """Close those that are idle, and the others when they have been answered."""
        self.is_ending = True
        for task in self.handshakes:
            task.cancel()
        for connection in list(self.open):
            connection.finish()

    async def _answer(self, request: HttpRequest, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
            if not (request.started or request.gone):
                raise RuntimeError("Nobody has answered the request.")
        except asyncio.CancelledError:
            self._on_error(request, InternalError())
            raise
        except Exception as error:
            self._on_error(request, error)
        finally:
            self.tasks.pop(request, None)

    def _on_error(self, request: HttpRequest, error: BaseException) -> None:
        if request.gone or request.answered:
            if not isinstance(error, GatewayError):
                log.error("request failed", path=request.path, exc_info=error)
        else:
            self.fail(request, error)
