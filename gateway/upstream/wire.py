"""HTTP/1.1 as a client: pooled keep-alive connections on `asyncio.Protocol` and `httptools`.

This is the one place where our own code replaces a well-kept client, because it is what a gateway spends its time on:
0.02 ms of CPU a call where `httpx2` takes 0.6 (docs/adr/0002). It knows nothing of MCP. A response is delivered to a
`Reply` piece by piece, synchronously, so that nothing has to be buffered to be bounded.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

import httptools

MAX_HEAD: Final = 64 * 1024
"""Most bytes of status line and headers."""

IDLE_SECONDS: Final = 4.0
"""How long a connection is kept for reuse: less than the 5 s after which common servers close theirs, so that a request
is not written into a connection that is just being closed."""

MAX_CONNECTIONS: Final = 256
"""Most connections to one origin at a time; further requests wait for one. Standing streams do not count."""


class WireError(Exception):
    """The exchange failed below HTTP's semantics. `delivered` is False when no byte of the request was sent."""

    def __init__(self, reason: str, *, delivered: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delivered = delivered


class Reply(Protocol):
    """Receives one response. Every method is called on the loop and must not block; after `on_end` or `on_lost` comes
    nothing more."""

    def on_head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Header names are lower-case; of a repeated header the last counts."""
        ...

    def on_data(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_lost(self, error: WireError) -> None: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what a connection belongs to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        parts = urlsplit(url)
        return cls(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

    @property
    def authority(self) -> str:
        """The `Host` header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


class Wire(asyncio.Protocol):
    """One connection; at most one exchange at a time."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._reply: Reply | None = None
        self._transport: asyncio.Transport | None = None
        self.closed = False
        self.idle_since = 0.0
        self.counted = False
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._head_size = 0
        self._in_head = True
        self._complete = False
        self._surplus = False

    def start(self, request: bytes, reply: Reply) -> None:
        """Write a whole request; its response goes to `reply`."""
        assert self._transport is not None
        self._begin()
        self._reply = reply
        self._transport.write(request)

    def abort(self) -> None:
        """Close at once; the reply under way hears nothing more."""
        self._reply = None
        self._shut()

    def _shut(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not inherit from it

    def data_received(self, data: bytes) -> None:
        if self._reply is None:
            self._shut()  # bytes nobody asked for
            return
        if self._in_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it answered with a protocol upgrade")
        except httptools.HttpParserError as error:
            self._fail(f"its response is not HTTP ({error})")
        else:
            if self._in_head and self._head_size > MAX_HEAD:
                self._fail(f"its response headers are over {MAX_HEAD} bytes")
            elif self._surplus:
                self._shut()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        if self._reply is not None and not self._in_head and self._until_close():
            self._finish()
        else:
            self._fail(str(exc) or type(exc).__name__ if exc else "it closed the connection")

    def _until_close(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112, 6.3)."""
        return b"content-length" not in self._headers and b"transfer-encoding" not in self._headers

    # --- httptools ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._surplus = self._complete  # a second response to one request: trust nothing after it

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._headers.clear()
            return
        self._in_head = False
        if self._reply is not None:
            self._reply.on_head(status, self._headers)

    def on_body(self, body: bytes) -> None:
        if self._reply is not None:
            self._reply.on_data(body)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # an informational response; the real one follows
        self._complete = True
        self.closed = self.closed or not self._parser.should_keep_alive()
        self._finish()
        if self.closed:
            self._shut()

    # --- Ends -----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            if not self.closed:
                self._pool.release(self)
            reply.on_end()

    def _fail(self, reason: str) -> None:
        reply, self._reply = self._reply, None
        self._shut()
        if reply is not None:
            reply.on_lost(WireError(reason))


class Pool:
    """The connections to one origin.

    Args:
        connect_timeout: seconds for TCP and TLS together.
    """

    def __init__(self, origin: Origin, connect_timeout: float, limit: int = MAX_CONNECTIONS) -> None:
        self.origin = origin
        self._connect_timeout = connect_timeout
        self._limit = limit
        self._idle: list[Wire] = []
        self._open: set[Wire] = set()
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tls = _tls_context() if origin.scheme == "https" else None

    async def acquire(self, *, standing: bool = False) -> Wire:
        """A connection ready for one exchange. A `standing` one is not counted against the limit.

        Raises:
            WireError: no connection could be made; nothing was delivered.
        """
        if not standing:
            await self._take_turn()
        now = asyncio.get_running_loop().time()
        while self._idle:
            wire = self._idle.pop()
            if not wire.closed and now - wire.idle_since < IDLE_SECONDS:
                wire.counted = not standing
                return wire
            wire.abort()
        try:
            wire = await self._connect()
        except BaseException:
            if not standing:
                self._yield_turn()
            raise
        wire.counted = not standing
        self._open.add(wire)
        return wire

    def release(self, wire: Wire) -> None:
        """The exchange ended and the connection can serve another."""
        self._settle(wire)
        wire.idle_since = asyncio.get_running_loop().time()
        self._idle.append(wire)

    def forget(self, wire: Wire) -> None:
        """The connection closed."""
        self._settle(wire)
        self._open.discard(wire)

    def close(self) -> None:
        """Close every connection, busy or not."""
        for wire in list(self._open):
            wire.abort()
        self._idle.clear()

    def _settle(self, wire: Wire) -> None:
        if wire.counted:
            wire.counted = False
            self._yield_turn()

    async def _take_turn(self) -> None:
        if self._busy < self._limit:
            self._busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._yield_turn()
            raise

    def _yield_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1

    async def _connect(self) -> Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, wire = await loop.create_connection(
                    lambda: Wire(self), self.origin.host, self.origin.port, ssl=self._tls
                )
        except TimeoutError:
            raise WireError(f"no connection within {self._connect_timeout:g} s", delivered=False) from None
        except ssl.SSLCertVerificationError as error:
            raise WireError(f"its certificate is not trusted ({error.verify_message})", delivered=False) from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise WireError(f"cannot connect to {self.origin.authority} ({reason})", delivered=False) from None
        return wire


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
