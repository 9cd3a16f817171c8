"""One HTTP request, and the answer to it: in one piece if it can be, as a stream if it must.

What is usual costs little: a request that came in one read has its body at once, and its answer is one write. Only who
waits for the rest of a body, for a slow reader, or for a client to leave, makes a future for that.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gateway.call import LoggedLine
from gateway.errors import InvalidRequest, PayloadTooLarge
from gateway.frontend.http_head import CONTINUE, JSON, STATUS_LINES, Fields, RequestHead, field_lines
from gateway.request import Principal
from gateway.request_id import HEADER as REQUEST_ID

BODILESS: Final = frozenset({204, 304})
READ_AHEAD: Final = 64 * 1024
"""Bytes of a body that are taken before somebody asks for it."""
ONE_PIECE: Final = 256 * 1024
"""Bytes of a body that is joined with its head: to copy so many takes less than another system call."""


class RequestConnection(Protocol):
    """What a request needs of the connection that it came by."""

    owner: Principal | None
    """Whose bytes wait to be read."""

    @property
    def address(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def is_writable(self) -> bool:
        """Whether the client has read what was written, but for a little."""
        ...

    def ends_with_this(self) -> bool:
        """Whether the answer to this request is the connection's last."""
        ...

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def belongs_to(self, principal: Principal | None) -> None: ...
    def future(self) -> asyncio.Future[None]: ...
    def on_wanted(self) -> None: ...
    def on_answered(self, *, close: bool) -> None: ...
    async def drain(self) -> None: ...


class HttpRequest:
    """Made by a connection when the headers are there.

    It is answered by `reply`, or by `start`, `write` and `end`. When the client has left, all of these do nothing.

    Args:
        body: all of it, if it is there; None while it arrives.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_connection",
        "_left",
        "_limit",
        "_more",
        "_over",
        "answered",
        "begun",
        "expects_continue",
        "extra_headers",
        "gone",
        "head",
        "id",
        "keep_alive",
        "logged",
        "on_gone",
        "on_writable",
        "rate_limit",
        "received",
        "sent",
        "started",
        "user",
        "whole",
    )

    _chunked: bool
    _left: int | None
    """Bytes of the answer that its content-length promises still; None where there is no such promise."""
    received: int
    """Bytes of the body that have come."""
    sent: int
    """Bytes of the answer's body that were written. Like the two above, from the answer's beginning."""

    def __init__(self, connection: RequestConnection, head: RequestHead, body: bytes | None = None) -> None:
        self._connection = connection
        self.head = head
        self.keep_alive = head.keep_alive
        """Whether the connection is to go on after the answer."""
        self.expects_continue = False
        """Whether the client waits for a word from us before it sends the body."""
        self.id = ""
        """What it is called in logs, and in its answer's `X-Request-Id`, once somebody named it."""
        self.user: Principal | None = None
        """Who sent it, once that is known."""
        self.logged: LoggedLine | None = None
        """See `gateway.call.HttpExchange`."""
        self.rate_limit = ""
        """See `gateway.call.HttpExchange`."""
        self.extra_headers: Fields = ()
        """Further headers of the answer, whatever it will be."""
        self.on_gone: Callable[[], object] | None = None
        """Called when the client has left before it was answered."""
        self.on_writable: Callable[[], object] | None = None
        """Called when the client has read enough of the answer for more of it, and when it has left."""
        self.begun = False
        """Whether somebody is at work on it."""
        self.whole = True
        """Whether all of its body is there."""
        self.started = False
        """Whether its answer has begun."""
        self.answered = False
        """Whether its answer has been written."""
        self.gone = False
        """Whether there is nobody to answer any more."""
        self._over: asyncio.Future[None] | None = None
        self._buffer: bytes | bytearray
        if body is not None:
            self._buffer, self.received = body, len(body)
        else:
            self._buffer, self.received = b"", 0
            self.whole = False
            self.expects_continue = head.headers.get("expect", "").lower() == "100-continue"
            self._limit = -1
            """How much of the body is wanted; -1 while nobody asks for it."""
            self._more: asyncio.Future[None] | None = None

    # --- The request ------------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; see `RequestHead`."""
        return self.head.headers

    @property
    def version(self) -> str:
        """Of HTTP, `1.1` or `1.0`."""
        return self.head.version

    @property
    def path(self) -> str:
        """Without escapes."""
        return self.head.path

    @property
    def raw_path(self) -> bytes:
        """As it came."""
        return self.head.raw_path

    @property
    def query(self) -> bytes:
        return self.head.query

    @property
    def repeated(self) -> Sequence[str]:
        """The names of headers that came more than once."""
        return self.head.repeated

    @property
    def address(self) -> str:
        """The client's, or that of whoever speaks for it."""
        return self._connection.address

    @property
    def scheme(self) -> str:
        """`http`, or `https` where we speak TLS ourselves."""
        return self._connection.scheme

    @property
    def body(self) -> bytes:
        """What there is of the body; all of it if `whole`."""
        return bytes(self._buffer)

    def body_within(self, limit: int) -> bytes:
        """The body, which is `whole`.

        Raises:
            PayloadTooLarge: it is larger than that.
        """
        if self.received > limit:
            raise PayloadTooLarge(limit)
        return bytes(self._buffer)

    async def read(self, limit: int) -> bytes:
        """The whole body. Where it is `whole` already this does not wait.

        Raises:
            PayloadTooLarge: it is larger than that.
            InvalidRequest: the client left.
        """
        while not self.whole and len(self._buffer) <= limit:
            self._limit = limit
            if self.gone:
                raise InvalidRequest("The client left before its request was complete.")
            self._more = self._connection.future()
            self._connection.on_wanted()
            if self.expects_continue:
                self.expects_continue = False
                self._connection.write(CONTINUE)
            await self._more
        return self.body_within(limit)

    async def until_over(self) -> None:
        """Wait until it is answered, or the client has left."""
        if not (self.gone or self.answered):
            if self._over is None:
                self._over = self._connection.future()
            await asyncio.shield(self._over)

    def belongs_to(self, principal: Principal | None) -> None:
        """Whose bytes those are that wait for the client to read them; None for nobody's."""
        if principal is not self._connection.owner:
            self._connection.belongs_to(principal)

    # --- The answer -------------------------------------------------------------------------------------------------

    def reply(self, status: int, body: bytes = b"", headers: Fields = (), kind: str = JSON, also: str = "") -> None:
        """Answer in one piece.

        Args:
            kind: the body's media type.
            also: further headers, as `field_lines` makes them.
        """
        if self.gone:
            return
        first, size = STATUS_LINES[status], len(body)
        if size:
            first = f"{first}content-type: {kind}\r\ncontent-length: {size}\r\n"
        elif status not in BODILESS:
            first += "content-length: 0\r\n"
        head = self._head(first, headers, also)
        if self.head.method == "HEAD" or status in BODILESS:
            body, size = b"", 0
        self.sent = size
        if size <= ONE_PIECE:
            self._connection.write(head + body)
        else:
            self._connection.write(head)
            if not self.gone:
                self._connection.write(body)
        self._finish()

    def start(self, status: int, headers: Fields, also: str = "") -> None:
        """Begin an answer of which more is written later. Its length is what `content-length` says, or open.

        Args:
            also: see `reply`.
        """
        if self.gone:
            return
        self.sent, self._chunked, self._left = 0, False, None
        headers = list(headers)
        first = STATUS_LINES[status]
        length = next((value for name, value in headers if name == "content-length"), None)
        if self.method == "HEAD" or status in BODILESS:
            pass
        elif length is not None:
            self._left = int(length)
        elif self.version == "1.0":
            self.keep_alive = False  # its end is the connection's
        else:
            self._chunked = True
            first += "transfer-encoding: chunked\r\n"
        self._connection.write(self._head(first, headers, also))

    def write(self, data: bytes) -> None:
        """
        Raises:
            ValueError: it is more than the content-length that was announced.
        """
        if self.gone or not data or self.method == "HEAD":
            return
        self.sent += len(data)
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("The answer is longer than its content-length.")
        self._connection.write(data)

    @property
    def writable(self) -> bool:
        """Whether more may be written; whoever writes all the same has it kept in memory."""
        return self._connection.is_writable

    async def drain(self) -> None:
        """Wait until what was written is read, but for a little."""
        await self._connection.drain()

    def end(self) -> None:
        """What was written is all of it."""
        if self.gone:
            return
        if self._left:
            self.abort()
            return
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")
        self._finish()

    def abort(self) -> None:
        """End the connection at once."""
        self._connection.abort()

    def _head(self, first: str, headers: Fields, also: str) -> bytes:
        if self.started:
            raise RuntimeError("The request has an answer already.")
        if headers:
            also += field_lines(headers)
        if self.extra_headers:
            also += field_lines(self.extra_headers)
        if self.expects_continue or self._connection.ends_with_this():
            self.keep_alive = False
        if not self.keep_alive:
            also += "connection: close\r\n"
        elif self.head.version == "1.0":
            also += "connection: keep-alive\r\n"
        if self.id:  # which `accepted` has seen, or is our own
            also = f"{also}{REQUEST_ID}: {self.id}\r\n"
        self.started = True
        return f"{first}{self.rate_limit}{also}\r\n".encode("latin-1", "replace")

    def _finish(self) -> None:
        if self.gone:  # it does not read
            return
        self.answered = True
        if self.logged is not None:
            self.logged.bytes_out = self.sent
            self.logged = None
        self.on_gone = self.on_writable = None
        if self._over is not None:
            self._over.set_result(None)
        self._connection.on_answered(close=not self.keep_alive)

    # --- The connection's side --------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """More of the body has come."""
        if not self._buffer:
            self._buffer = data
        else:
            if not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer)
            self._buffer += data
        self.received = len(self._buffer)
        if len(self._buffer) > self._limit:
            self._wake()

    def complete(self) -> None:
        """All of it is there."""
        self.whole = True
        self.expects_continue = False
        self._buffer = bytes(self._buffer)
        self._wake()

    @property
    def holds_up(self) -> bool:
        """Whether the client has sent more of the body than anybody wants for now."""
        return self._more is None and not self.answered and len(self._buffer) > READ_AHEAD

    def lose(self) -> None:
        """The client has left, or was refused."""
        if self.gone or self.answered:
            return
        self.gone = True
        if not self.whole:
            self._wake()
        if self._over is not None:
            self._over.set_result(None)
        if (on_gone := self.on_gone) is not None:
            self.on_gone = None
            on_gone()
        if self.on_writable is not None:
            self.on_writable()

    def _wake(self) -> None:
        if self._more is not None:
            if not self._more.done():
                self._more.set_result(None)
            self._more = None
