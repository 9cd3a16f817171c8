"""One HTTP/1.1 connection as a client, on `asyncio.Protocol` and `httptools`.

With `pool` this is the one place where our own code replaces a well-kept client, because it is what a gateway spends
its time on: 0.02 ms of CPU a call where `httpx2` takes 0.6 (docs/adr/0002). It knows nothing of MCP. A response is
delivered to a `Reply` piece by piece, synchronously, so that nothing has to be buffered to be bounded.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from gateway.last_head import LONGEST, LastHead
from gateway.telemetry.cells import Traffic
from gateway.upstream.transport.chunks import head_of, whole_chunks

MUCH: Final = 256_000
"""Bytes, after which others get their turn before more is read: as many as the event loop reads at once, so that less
is all there was."""
MAX_OVERHEAD: Final = 64 * 1024
"""Most bytes of a response between two pieces of its body: status line, headers, chunk extensions, trailers."""


class WireError(Exception):
    """The exchange failed below HTTP's semantics. `delivered` is False when no byte of the request was sent."""

    def __init__(self, reason: str, *, delivered: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delivered = delivered


class ResponseHeaders(dict[bytes, bytes]):
    """The headers of a response. Names are lower-case; of a repeated header the last counts, but for
    `WWW-Authenticate`, of which all do, with commas between."""

    __slots__ = ("are_plain", "is_stream")

    def __init__(self) -> None:
        super().__init__()
        self.are_plain = False
        """Whether a reply found nothing in them that matters to it. The next response may have the same object."""
        self.is_stream = False
        """Whether it found that an event stream follows, and nothing else."""


class Reply(Protocol):
    """Receives one response. Every method is called on the loop and must not block; after `on_end` or `on_lost` comes
    nothing more."""

    def on_head(self, status: int, headers: ResponseHeaders) -> None: ...

    def on_data(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_lost(self, error: WireError) -> None: ...

    def on_plain(self, body: bytes) -> bool:
        """All of a response with status 200, whose headers are plain to whoever had them before. Returns whether that
        was all; else it is told again, in pieces."""
        return False


class ConnectionOwner(Protocol):
    """Who owns the connection: the pool."""

    traffic: Traffic

    def opened(self, wire: "HttpConnection", sock: socket.socket | None) -> None: ...

    def release(self, wire: "HttpConnection") -> None:
        """The exchange ended and the connection can serve another."""
        ...

    def forget(self, wire: "HttpConnection") -> None:
        """The connection closed."""
        ...


class HttpConnection(asyncio.Protocol):
    """One connection; at most one exchange at a time."""

    def __init__(self, keeper: ConnectionOwner) -> None:
        self._keeper = keeper
        self._traffic = keeper.traffic
        self._reply: Reply | None = None
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self.idle_since = 0.0
        """When it was last released, in the loop's time."""
        self.holder: str | None = None
        """The tenant that holds one of the pool's places with it, if any does."""
        self.is_closing: Callable[[], bool] = _not_yet
        self._last = LastHead[ResponseHeaders]()
        self._chunked_head = b""
        """The head of the last response whose body came in chunks, …"""
        self._chunked_headers = ResponseHeaders()
        """… and what it means."""
        self._is_unparsed = False
        """Whether the response under way has that head, and the parser knows nothing of it."""
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        """A response begins, which is parsed."""
        self._is_awaited = self._is_unparsed = False
        """Whether nothing of the response has come yet."""
        self._first = b""
        """How it begins."""
        self._headers = ResponseHeaders()
        self._overhead = 0
        self._status = 0
        self._in_head = True
        self._complete = False
        self._surplus = False

    @property
    def usable(self) -> bool:
        """Whether it is open."""
        return not self._closed and self._transport is not None and not self.is_closing()

    def start(self, request: bytes, reply: Reply) -> None:
        """Write a whole request; its response goes to `reply`."""
        assert self._transport is not None
        assert self._reply is None
        self._reply, self._is_awaited = reply, True
        self._traffic.sent += len(request)
        self._transport.write(request)

    def abort(self) -> None:
        """Close at once; the reply under way hears nothing more."""
        self._reply = None
        self._shut()

    def _shut(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not inherit from it
        self.is_closing = transport.is_closing
        self._keeper.opened(self, transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self._shut()  # bytes nobody asked for
            return
        size = len(data)
        self._traffic.received += size
        is_first = self._is_awaited
        if is_first or self._is_unparsed:
            if size < MUCH and self._receive_known(reply, data):
                return
            self._begin()
            if is_first:
                self._first = data[:LONGEST]
            else:
                self._parse_chunked_head(reply)
        self._overhead += size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it answered with a protocol upgrade")
        except httptools.HttpParserError as error:
            self._fail(f"its response is not HTTP ({error.__context__ or error})")
        else:
            if self._surplus:
                self._shut()
            elif self._complete:
                if self._status == 200 and not self._closed:
                    self._keep(data, is_first)
            elif self._overhead > MAX_OVERHEAD:
                self._fail(f"its response has more than {MAX_OVERHEAD} bytes of headers")
        if size >= MUCH and self._transport is not None and self.usable:
            # The event loop would read on as long as there is something to read, and nobody else had a turn meanwhile.
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None and self.usable:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)
        del self._parser  # which knows us

    def _lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._keeper.forget(self)
        if exc is None and not self._is_awaited and not self._in_head and self._until_close():
            self._finish()
        else:
            self._fail(str(exc) or type(exc).__name__ if exc else "it closed the connection")

    def _until_close(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112, 6.3)."""
        return b"content-length" not in self._headers and b"transfer-encoding" not in self._headers

    # --- What needs no parser -------------------------------------------------------------------------------------

    def _keep(self, data: bytes, is_whole: bool) -> None:
        """The response that ended with `data` may be followed by others with the same head."""
        coding = self._headers.get(b"transfer-encoding")
        if coding is None:
            if is_whole:
                self._last.keep(data, self._headers)
        elif coding.lower() == b"chunked" and (head := head_of(self._first)):
            self._chunked_head, self._chunked_headers = head, self._headers

    def _receive_known(self, reply: Reply, data: bytes) -> bool:
        """Take in `data` if that can be done without the parser: a head that was parsed before, and a whole body behind
        it, or whole chunks. Returns whether it was."""
        at = 0
        if self._is_awaited:
            head = self._chunked_head
            if not head or not data.startswith(head):
                again = self._last.match(data)
                if again is not None:
                    self._receive_whole(reply, *again)
                return again is not None
            at = len(head)
        chunks = whole_chunks(data, at)
        if chunks is not None:
            self._receive_chunks(reply, *chunks)
        return chunks is not None

    def _receive_chunks(self, reply: Reply, body: bytes, is_end: bool) -> None:
        """Some of the body of a response with the head that was kept; before the first of it, that head."""
        try:
            if self._is_awaited:
                self._is_awaited, self._is_unparsed, self._in_head = False, True, False
                self._headers = self._chunked_headers
                reply.on_head(200, self._headers)
            if body and self._reply is reply:
                reply.on_data(body)
            if is_end and self._reply is reply:
                self._is_unparsed = False
                self._finish()
        except Exception as error:  # as the parser does it
            self._fail(f"its response is not HTTP ({error})")

    def _parse_chunked_head(self, reply: Reply) -> None:
        """Have the parser where it would be, had it parsed the head and the chunks that came: between two chunks."""
        self._reply = None  # which has heard of all that
        self._parser.feed_data(self._chunked_head)
        self._reply = reply

    def _receive_whole(self, reply: Reply, headers: ResponseHeaders, body: bytes) -> None:
        """A whole response with status 200, and with a head that was parsed before."""
        try:
            if headers.are_plain and reply.on_plain(body):
                self._reply = None
                self._keeper.release(self)
                return
            reply.on_head(200, headers)
            if self._reply is reply:
                reply.on_data(body)
            if self._reply is reply:
                self._finish()
        except Exception as error:  # as the parser does it
            self._fail(f"its response is not HTTP ({error})")

    # --- httptools ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._surplus = self._complete  # a second response to one request: trust nothing after it

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # not a trailer
            name = name.lower()
            if name == b"www-authenticate" and name in self._headers:
                value = b"%s, %s" % (self._headers[name], value)
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._headers = ResponseHeaders()
            return
        self._in_head = False
        self._status = status
        if self._reply is not None:
            self._reply.on_head(status, self._headers)

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        if self._reply is not None:
            self._reply.on_data(body)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # an informational response; the real one follows
        self._complete = True
        self._closed = self._closed or not self._parser.should_keep_alive()
        self._finish()
        if self._closed:
            self._shut()

    # --- Ends -----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            if not self._closed:
                self._keeper.release(self)
            reply.on_end()

    def _fail(self, reason: str) -> None:
        reply, self._reply = self._reply, None
        self._shut()
        if reply is not None:
            reply.on_lost(WireError(reason))


def _not_yet() -> bool:
    """Before there is a connection."""
    return False
