"""An agent's HTTP connection: uvicorn's own, with bounds on how long and how large a request may be as it arrives, and
on how long a response may lie unread.

uvicorn waits for ever for the rest of a request (Kludex/uvicorn#157), keeps whatever a header, a trailer or a pipeline
of requests brings, and lets a client that does not read hold its response.
"""

import asyncio
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway import jsonrpc
from gateway.config.models import GatewaySettings
from gateway.errors import GatewayError, HeadersTooLarge, InvalidRequest, Overloaded, SlowRequest
from gateway.frontend.backlog import Backlogs
from gateway.frontend.exchange import encode
from gateway.frontend.plain_http import PlainParser

MAX_PIPELINED: Final = 16
"""Requests that may wait on one connection for the answer to an earlier one. Hardly a client sends any."""
STALL_SECONDS: Final = 30.0
"""How long a client may take to read `STALL_BYTES` of what was written to it."""
STALL_BYTES: Final = 64 * 1024


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


def connection_class(bounds: Bounds, waiting: Backlogs | None = None) -> type[HttpToolsProtocol]:
    """What `uvicorn.Config` takes as `http`. `waiting` counts what clients have not read."""
    waiting = waiting if waiting is not None else Backlogs()
    return type("BoundedConnection", (Connection,), {"bounds": bounds, "waiting": waiting})


class Connection(HttpToolsProtocol):
    """One connection. A request that would cross a bound is refused, and the connection closed."""

    bounds: ClassVar[Bounds]
    waiting: ClassVar[Backlogs]

    if TYPE_CHECKING:  # uvicorn declares it as what asyncio's transports are
        transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._parser = PlainParser(self)
        self.parser = cast("Any", self._parser)
        self._in_head = True
        self._arriving = False
        """Whether a request has begun and not ended."""
        self._overhead = 0
        """Bytes since the last piece of a body."""
        self._pieces: list[bytes] = []
        """Of a body, as they came in one go. A client can make them as small as a byte, and each that uvicorn is given
        costs four times as much as keeping it here."""
        self._unread = self.waiting.open()
        self._began = 0.0
        self._clock: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._refusal: GatewayError | None = None
        """Why the parser was stopped, if we did it."""
        if len(self.connections) > self.bounds.connections:
            self._refuse(Overloaded("too many connections are open", "max_connections"))
        else:
            self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        if self._stall is not None:
            self._stall.cancel()
        self._unread.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._arriving = True
        self._overhead += len(data)
        super().data_received(data)
        self._pass_on()
        if not self._arriving:
            return  # as nearly always: it came in one piece
        if self._overhead > self.bounds.header_bytes:
            self._refuse(HeadersTooLarge(self.bounds.header_bytes))
        elif self._clock is None:
            self._start_clock()

    # --- httptools ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._arriving = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._overhead > self.bounds.header_bytes and self._head_size() > self.bounds.header_bytes:
            self._stop_parser(HeadersTooLarge(self.bounds.header_bytes))
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parser(InvalidRequest("Too many requests on one connection wait for their answers."))
        if self._parser.get_method() == b"CONNECT":
            self._stop_parser(InvalidRequest("This is no proxy."))
        if self._names_another_host():
            self._stop_parser(InvalidRequest("The request's target names another host than its Host header."))
        if self._parser.should_upgrade():
            self._parser.ignore_offer(self.url, self.headers)
            return
        cast("dict[str, Any]", self.scope).update(abort=self.transport.abort, unread=self._unread)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        self._pieces.append(body)

    def _pass_on(self) -> None:
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            super().on_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def on_message_complete(self) -> None:
        if self._parser.is_repeating:
            return
        self._pass_on()
        self._arriving = False
        self._overhead = 0
        self._stop_clock()
        super().on_message_complete()

    def _names_another_host(self) -> bool:
        """Whether the target is an absolute one whose host is not the one that the request is checked by."""
        if self.url.startswith((b"/", b"*")):
            return False
        authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        return [value for name, value in self.headers if name == b"host"] != [authority]

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    # --- Deadlines ------------------------------------------------------------------------------------------------

    def _start_clock(self) -> None:
        self._began = self.loop.time()
        self._clock = self.loop.call_at(self._began + self.bounds.header_timeout, self._on_clock)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _on_clock(self) -> None:
        now = self.loop.time()
        if self._waits_for_us():
            self._began = now
        due = self._began + (self.bounds.header_timeout if self._in_head else self.bounds.read_timeout)
        if now < due:
            self._clock = self.loop.call_at(due, self._on_clock)
        elif self._arriving:
            self._refuse(SlowRequest("The request did not arrive in time."))
        else:
            self.transport.close()

    def _waits_for_us(self) -> bool:
        """Whether it is not the client that is slow: we do not read on, or have an earlier request of its to answer."""
        if self.flow.read_paused:
            return True
        cycle = self.cycle
        if not cycle or cycle.response_complete:
            return False
        return cycle.waiting_for_100_continue or not cycle.more_body

    def pause_writing(self) -> None:
        """The client is slower than we are: what it has yet to read is counted from here on."""
        super().pause_writing()
        unread = self.transport.get_write_buffer_size()
        if not self._unread.has_room(unread, must=True):
            self._unread.lose()
            self.transport.abort()
            return
        self._unread.add(unread)
        if self._stall is None:
            self._stall = self.loop.call_later(STALL_SECONDS, self._on_stall, math.inf)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.clear()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _on_stall(self, before: float) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread > before - STALL_BYTES:
            self.transport.abort()
        else:
            self._stall = self.loop.call_later(STALL_SECONDS, self._on_stall, unread)

    # --- Refusals -------------------------------------------------------------------------------------------------

    def _stop_parser(self, refusal: GatewayError) -> None:
        """End the parsing, from within one of the parser's callbacks."""
        self._refusal = refusal
        raise refusal

    def send_400_response(self, msg: str) -> None:
        """Where uvicorn goes when its parser stops."""
        self._refuse(self._refusal or InvalidRequest("The request is not HTTP."))

    def _refuse(self, error: GatewayError) -> None:
        """Answer the request that is arriving, if it is its turn to be answered, and close the connection."""
        self._arriving = False
        self._stop_clock()
        if self._is_next():
            body = jsonrpc.dumps(jsonrpc.error(None, error.code, error.message, error.data))
            fields = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
            head = b"".join(b"%s: %s\r\n" % field for field in encode(fields | error.headers))
            self.transport.write(STATUS_LINE[error.status] + head + b"\r\n" + body)
        self.transport.close()

    def _is_next(self) -> bool:
        cycle = self.cycle
        if not cycle or cycle.response_complete:
            return True
        return cycle.more_body and not cycle.response_started and not self.pipeline
