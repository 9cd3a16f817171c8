"""An agent's HTTP/1.1 connection: an `asyncio.Protocol` on httptools, with bounds on how long and how large a request
may be as it arrives, and on how long an answer may lie unread.

Requests are answered in the order they came. One is handed on when `feed_data` has returned, so that the usual one has
its whole body by then. There is one timer a connection, and it is set anew when it goes off, not with every request.
"""

import asyncio
import math
from collections import deque
from typing import Final, cast

import httptools

from gateway import jsonrpc
from gateway.errors import GatewayError, HeadersTooLarge, InvalidRequest, Overloaded, SlowRequest
from gateway.frontend.connections import Connections
from gateway.frontend.http_head import CONTINUE, NAMES, RequestHead, whole
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.plain_http import PlainParser
from gateway.frontend.slow_reader import SlowReader
from gateway.last_head import LastHead
from gateway.request import Principal

MAX_PIPELINED: Final = 16
"""Requests that may wait on one connection for the answer to an earlier one. Hardly a client sends any."""
KEEP_ALIVE_SECONDS: Final = 5.0
"""How long a connection may be idle after an answer."""
WRITE_AHEAD: Final = 64 * 1024
"""Bytes that are written before a client has to read."""
PROBE_SECONDS: Final = (0.1, 1.0, 5.0)
"""When a client that has ended its side is asked again whether it is there to hear its answer."""


class AgentConnection(asyncio.Protocol):
    """One connection. A request that would cross a bound is refused, and the connection closed."""

    __slots__ = (
        "_advancing",
        "_arriving",
        "_began",
        "_connections",
        "_current",
        "_drained",
        "_ending",
        "_headers",
        "_heads",
        "_held",
        "_idle_until",
        "_in_head",
        "_last",
        "_overhead",
        "_parser",
        "_pieces",
        "_probes",
        "_reader",
        "_refusal",
        "_repeated",
        "_requests",
        "_timer",
        "_transport",
        "_url",
        "_write_paused",
        "address",
        "closing",
        "owner",
        "write",
    )

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._parser = PlainParser(self)
        self._requests = deque[HttpRequest]()
        """Those that are not answered yet, in their order. Nobody is at work on any but the first."""
        self._current: HttpRequest | None = None
        """The one whose body arrives, answered or not."""
        self._url = b""
        self._headers: dict[str, str] = {}
        self._repeated: list[str] | tuple[()] = ()
        self._pieces: list[bytes] = []
        """Of a body, as they came in one read. A client can make them as small as a byte."""
        self._heads = 0
        """How many came."""
        self._last = LastHead[RequestHead]()
        self._overhead = 0
        """Bytes since the last piece of a body."""
        self._in_head = True
        self._arriving = False
        """Whether a request has begun and not ended."""
        self._began: float | None = None
        """When the request that is arriving began, or, if it is the first, when the connection was opened."""
        self._idle_until = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._probes: asyncio.TimerHandle | None = None
        self._refusal: GatewayError | None = None
        """Why the parser was stopped, if we did it."""
        self._advancing = False
        self._held = False
        """Whether we do not read, for the client has sent more than we want for now."""
        self.owner: Principal | None = None
        """Whose bytes wait to be read."""
        self._write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._ending = False
        """Whether there will be no requests but those that are here."""
        self.closing = False

    # --- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not inherit from it
        self._transport.set_write_buffer_limits(WRITE_AHEAD)  # TLS has another idea of it
        self._reader = SlowReader(self._transport, self._connections.waiting.open(), self._connections.loop, self.abort)
        self.write = self._connections.counting(self._transport.write)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        is_full = len(self._connections.open) >= self._connections.bounds.connections
        self._connections.open.add(self)
        if is_full:
            self._refuse(Overloaded("too many connections are open", "max_connections"))
            return
        self._began = self._connections.loop.time()
        self._go_idle(self._connections.bounds.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.open.discard(self)
        self.closing = True
        for timer in (self._timer, self._probes):
            if timer is not None:
                timer.cancel()
        self._reader.leave()
        self._on_writable()
        self._lose_all()
        self._current = None
        del self._parser  # which knows us

    def eof_received(self) -> bool:
        """The client has ended its side: it has left, or has nothing more to ask. Who has left answers what is written
        with a reset, which the next write meets."""
        first = self._requests[0] if self._requests else None
        if first is None or first.started or self._arriving or self.closing or self.scheme == "https":
            return False
        self._ending = True
        if first.version != "1.0":
            self._probe(0)
        return True

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self._connections.traffic.received += len(data)
        is_first = not (self._arriving or self._requests)
        if is_first and (again := self._last.match(data)) is not None:
            request = HttpRequest(self, *again)
            self._requests.append(request)
            if not self._write_paused:
                request.begun = True
                self._connections.run(request)
            return
        heads = self._heads
        self._arriving = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidRequest("The request is not HTTP."))
            return
        if self._arriving:  # hardly ever: it came in one piece
            if self._pieces:
                self._pass_on()
            if self._overhead > self._connections.bounds.header_bytes:
                self._refuse(HeadersTooLarge(self._connections.bounds.header_bytes))
                return
            self._set_timer(self._due())
        elif is_first and self._heads == heads + 1 and self._requests and _may_come_again(self._requests[0].head):
            self._last.keep(data, self._requests[0].head)
        self._advance()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._reader.fall_behind()

    def resume_writing(self) -> None:
        self._reader.catch_up()
        self._on_writable()
        if self._requests and (on_writable := self._requests[0].on_writable) is not None:
            on_writable()
        self._advance()

    # --- httptools ----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._in_head = self._arriving = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = NAMES.get(name) or name.lower().decode("latin-1")
        text = value.decode("latin-1").strip(" \t")  # RFC 9110, 5.5: not part of the value
        if lower in self._headers:
            self._repeated = [*self._repeated, lower]
            text = f"{self._headers[lower]}, {text}"
        self._headers[lower] = text

    def on_headers_complete(self) -> None:
        self._in_head = False
        cap = self._connections.bounds.header_bytes
        if self._overhead > cap and self._head_size() > cap:
            self._stop_parser(HeadersTooLarge(cap))
        if len(self._requests) > MAX_PIPELINED:
            self._stop_parser(InvalidRequest("Too many requests on one connection wait for their answers."))
        parser, method = self._parser, self._parser.get_method()
        if method == b"CONNECT":
            self._stop_parser(InvalidRequest("This is no proxy."))
        if parser.should_upgrade():
            parser.ignore_offer(self._url, self._headers)
            return
        version, keep_alive = parser.get_http_version(), parser.should_keep_alive()
        try:
            head = RequestHead(
                method.decode(), self._url, version, self._headers, self._repeated, keep_alive=keep_alive
            )
        except GatewayError as error:
            self._stop_parser(error)
            return
        self._repeated = ()
        self._heads += 1
        self._current = request = HttpRequest(self, head)
        self._requests.append(request)

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._parser.is_repeating:
            return
        if self._pieces:
            self._pass_on()
        if self._current is not None:
            self._current.complete()
            self._current = None
        self._arriving = False
        self._overhead = 0
        self._began = None
        if not self._requests:  # it was answered before it was all there
            self._go_idle(KEEP_ALIVE_SECONDS)

    def _pass_on(self) -> None:
        pieces, self._pieces = self._pieces, []
        if self._current is not None and not self._current.answered:
            self._current.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) for name, value in self._headers.items())

    def _stop_parser(self, refusal: GatewayError) -> None:
        """End the parsing, from within one of the parser's callbacks."""
        self._refusal = refusal
        raise refusal

    # --- Requests -----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Hand on the request whose turn it is. The answer to the one before must have been read, but for a little."""
        if self._advancing:  # it was answered at once
            return
        self._advancing = True
        while self._requests and not self._write_paused and not (request := self._requests[0]).begun:
            request.begun = True
            self._connections.run(request)
        self._advancing = False
        if self._held or self._current is not None or len(self._requests) > 1:
            self.on_wanted()

    def on_wanted(self) -> None:
        """Read on, or read no further, as there is somebody who wants it."""
        current = self._current
        held = len(self._requests) > 1 or (current is not None and current.holds_up)
        if held is not self._held and not self.closing:
            self._held = held
            if held:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def on_answered(self, *, close: bool) -> None:
        requests = self._requests
        requests.popleft()
        if close or (self._ending and not requests):
            self._close()
            return
        if not (requests or self._arriving):
            self._go_idle(KEEP_ALIVE_SECONDS)
        if requests or self._held:
            self._advance()

    def ends_with_this(self) -> bool:
        return self._connections.is_ending or (self._ending and len(self._requests) == 1)

    @property
    def scheme(self) -> str:
        return self._connections.scheme

    @property
    def is_writable(self) -> bool:
        return not self._write_paused

    @property
    def is_new(self) -> bool:
        """Whether no request has come yet."""
        return not self._heads

    def finish(self) -> None:
        """Close when what is here has been answered."""
        self._ending = True
        if not self._requests:
            self._close()

    def abort(self) -> None:
        """Close at once."""
        self.closing = True
        self._transport.abort()
        self._lose_all()

    def belongs_to(self, principal: Principal | None) -> None:
        self.owner = principal
        self._reader.backlog.belongs_to(principal)

    def future(self) -> asyncio.Future[None]:
        return self._connections.loop.create_future()

    async def drain(self) -> None:
        while self._write_paused:
            if self._drained is None:
                self._drained = self._connections.loop.create_future()
            await asyncio.shield(self._drained)

    def _on_writable(self) -> None:
        self._write_paused = False
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _lose_all(self) -> None:
        requests, self._requests = self._requests, deque[HttpRequest]()
        for request in requests:
            request.lose()

    # --- Deadlines ----------------------------------------------------------------------------------------------------

    def _go_idle(self, seconds: float) -> None:
        """It is the client's turn."""
        self._idle_until = at = self._connections.loop.time() + seconds
        if self._timer is None or self._timer.when() > at:
            self._set_timer(at)

    def _set_timer(self, at: float) -> None:
        """Have the timer go off then at the latest."""
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._connections.loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._connections.loop.time()
        if self._arriving:
            if self._waits_for_us():
                self._began = now
            due = self._due()
        else:
            due = math.inf if self._requests else self._idle_until
        if now < due < math.inf:
            self._set_timer(due)
        elif self._arriving:
            self._refuse(SlowRequest("The request did not arrive in time."))
        elif due < math.inf:
            self._close()

    def _due(self) -> float:
        """When the request that is arriving must be there."""
        if self._began is None:
            self._began = self._connections.loop.time()
        bounds = self._connections.bounds
        return self._began + (bounds.header_timeout if self._in_head else bounds.read_timeout)

    def _waits_for_us(self) -> bool:
        """Whether it is not the client that is slow: we do not read on, or have an earlier request of its to answer."""
        if self._current is None:
            return self._held or bool(self._requests)
        return self._held or (self._current.expects_continue and not self._current.answered)

    def _probe(self, turn: int) -> None:
        self._probes = None
        if self._requests and not self._requests[0].started:
            self.write(CONTINUE)  # which every client of HTTP/1.1 can hear before its answer
            if turn < len(PROBE_SECONDS):
                self._probes = self._connections.loop.call_later(PROBE_SECONDS[turn], self._probe, turn + 1)

    # --- Refusals -----------------------------------------------------------------------------------------------------

    def _refuse(self, error: GatewayError) -> None:
        """Answer the request that is arriving, if it is its turn to be answered, and close the connection."""
        first, current = self._requests[0] if self._requests else None, self._current
        if current is None or not current.started:
            self._connections.on_refused(self.address, current, error)
        if first is current and (first is None or not first.started):
            body = jsonrpc.dumps(jsonrpc.error(None, error.code, error.message, error.data))
            self.write(whole(error.status, body, error.headers.items()))
        self._arriving = False
        self._close()

    def _close(self) -> None:
        if self.closing:
            return
        self.closing = True
        if self._transport.get_write_buffer_size():
            self._reader.watch()
        self._transport.close()
        self._lose_all()


def _may_come_again(head: RequestHead) -> bool:
    return head.keep_alive and head.headers.keys().isdisjoint(("transfer-encoding", "expect", "upgrade"))
