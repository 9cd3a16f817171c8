"""Streamable HTTP as a client: one POST a request, answered by JSON or by an event stream.

Source: 2026-07-28 and 2025-11-25, basic/transports/streamable-http. What the SDK's transport gets wrong for a gateway,
and this does not: a response dropped mid-body fails its own call alone (python-sdk#915, #3522), bodies and events are
capped (#3332), nothing is decompressed, and a lost session is reported as such (#1676).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import anyio

from gateway import __version__, jsonrpc
from gateway.errors import GatewayError, UpstreamError, UpstreamLost, UpstreamOversized, UpstreamProtocolError
from gateway.jsonrpc import Message
from gateway.protocol import Era
from gateway.upstream.calls import Call, CallTable, Peer
from gateway.upstream.events import Event, EventParser, EventTooLarge
from gateway.upstream.wire import Origin, Pool, Reply, Wire, WireError

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions

    from gateway.upstream.calls import CallOptions

MAX_REDIRECTS: Final = 3
MAX_ERROR_BODY: Final = 64 * 1024
MAX_RESUMES: Final = 10
LINGER_SECONDS: Final = 1.0
"""How long a stream may stay open after its answer before we close it."""
DEFAULT_RETRY_MS: Final = 1000


class SessionLost(UpstreamLost):
    """The upstream no longer knows our session. The request was refused, not acted on."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, "it no longer knows this session", delivered=False)


class Refused(UpstreamProtocolError):
    """An HTTP error status with no JSON-RPC error in its body."""

    def __init__(self, upstream: str, status: int, hint: str = "") -> None:
        super().__init__(upstream, f"HTTP status {status}{hint}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the upstream is and what it is told on each request."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    connect_timeout: float = 30.0
    max_response_bytes: int = 16 * 1024 * 1024


class HttpDispatcher(CallTable):
    """A `Dispatcher` whose every request is an HTTP exchange of its own."""

    def __init__(self, upstream: str, endpoint: Endpoint, peer: Peer) -> None:
        super().__init__(upstream, peer)
        self.endpoint = endpoint
        self._pool = Pool(Origin.of(endpoint.url), endpoint.connect_timeout)
        self._session_id: bytes | None = None
        self._version_header = b""
        self._era: Era | None = None
        self._set_target(endpoint.url)

    @property
    def session_id(self) -> str | None:
        return self._session_id.decode() if self._session_id else None

    def adopt_session(self, session_id: bytes) -> None:
        """The upstream opened a session; every further request names it."""
        self._session_id = session_id

    def negotiated(self, version: str, era: Era) -> None:
        """Negotiation is over: from now on every message says `version`. In the handshake era, listen for what the
        upstream says unasked (the standing GET stream)."""
        self._era = era
        self._version_header = b"mcp-protocol-version: %s\r\n" % version.encode()
        if era is Era.HANDSHAKE:
            self.spawn(self._stand)

    async def aclose(self) -> None:
        """End the upstream's session, if it has one, and close every connection."""
        if self._session_id is not None and self._closed is None:
            with anyio.move_on_after(1, shield=True):
                reply = _StatusReply()
                await self.exchange(self.head(b"DELETE"), b"", reply)
                await reply.ended
        self._pool.close()

    # --- CallTable ------------------------------------------------------------------------------------------------

    async def _transmit(self, message: Message, call: Call, options: "CallOptions") -> None:
        reply = _CallReply(self, call, message, options.get("headers") or {})
        call.reply = reply
        await reply.send()

    def _withdraw(self, call: Call, *, tell: bool) -> None:
        # Closing the connection is how a modern request is cancelled; in the handshake era it means nothing, and a
        # notification says it.
        if isinstance(call.reply, _CallReply):
            call.reply.abort()
        if tell and self._era is Era.HANDSHAKE:
            self.spawn(self.notify, "notifications/cancelled", {"requestId": call.id, "reason": "no longer awaited"})

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None) -> None:
        headers = (opts or {}).get("headers") or {}
        await self._post(jsonrpc.notification(method, dict(params) if params is not None else None), headers)

    async def _answer(self, message: Message) -> None:
        await self._post(message, {})

    # --- Exchanges ------------------------------------------------------------------------------------------------

    async def _post(self, message: Message, headers: Mapping[str, str]) -> None:
        """POST something that is owed no answer. Failures are noted, never raised: there is nobody to tell."""
        reply = _StatusReply()
        try:
            await self.exchange(self.head(b"POST", headers), jsonrpc.dumps(message), reply)
            await reply.ended
        except WireError as error:
            self._peer.on_noise(f"a {message.get('method', 'response')} could not be delivered: {error.reason}")

    async def exchange(self, head: bytes, body: bytes, reply: Reply, *, standing: bool = False) -> Wire:
        wire = await self._pool.acquire(standing=standing)
        wire.start(b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body) if body else head + b"\r\n", reply)
        return wire

    def _set_target(self, url: str) -> None:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fixed = {
            "host": self._pool.origin.authority,
            "user-agent": f"mcp-gateway/{__version__}",
            "accept-encoding": "identity",
            **{name.lower(): value for name, value in self.endpoint.headers.items()},
        }
        self._target = target.encode("ascii", "strict") if target.isascii() else _percent(target)
        self._fixed = _header_lines(fixed)

    def head(self, method: bytes, headers: Mapping[str, str] | None = None, *, stream: bool = False) -> bytes:
        parts = [method, b" ", self._target, b" HTTP/1.1\r\n", self._fixed]
        if method == b"POST":
            parts.append(b"content-type: application/json\r\naccept: application/json, text/event-stream\r\n")
        elif stream:
            parts.append(b"accept: text/event-stream\r\n")
        if self._session_id is not None:
            parts.append(b"mcp-session-id: %s\r\n" % self._session_id)
        if headers:
            parts.append(_header_lines(headers))
        if not headers or "mcp-protocol-version" not in headers:
            parts.append(self._version_header)
        return b"".join(parts)

    def follow(self, location: str) -> bool:
        """Follow a redirect, if it stays within the origin (credentials must not travel)."""
        url = urljoin(f"{self._pool.origin.scheme}://{self._pool.origin.authority}{self._target.decode()}", location)
        if Origin.of(url) != self._pool.origin:
            return False
        self._set_target(url)
        return True

    # --- The standing stream ----------------------------------------------------------------------------------------

    async def _stand(self) -> None:
        """Keep the GET stream of the handshake era open; an upstream without one answers 405, and that is fine."""
        last_event_id, failures = None, 0
        while failures < 5:
            reply = _StreamReply(self, last_event_id)
            try:
                await reply.open()
                await reply.ended
            except WireError:
                failures += 1
            else:
                if not reply.is_stream:
                    return
                failures = 0
                last_event_id = reply.last_event_id
            await anyio.sleep((reply.retry_ms * 2**failures) / 1000)


class _StatusReply:
    """A reply of which only the arrival matters."""

    def __init__(self) -> None:
        self.status = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        self.status = status

    def on_data(self, data: bytes) -> None:
        pass

    def on_end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def on_lost(self, error: WireError) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


class _StreamReply(_StatusReply):
    """An event stream that belongs to no request."""

    def __init__(self, dispatcher: HttpDispatcher, last_event_id: bytes | None) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self.last_event_id = last_event_id
        self.retry_ms = DEFAULT_RETRY_MS
        self.is_stream = False
        self._wire: Wire | None = None
        self._parser = EventParser(dispatcher.endpoint.max_response_bytes)

    async def open(self) -> None:
        resume = {"last-event-id": self.last_event_id.decode("latin-1")} if self.last_event_id else None
        head = self._dispatcher.head(b"GET", resume, stream=True)
        self._wire = await self._dispatcher.exchange(head, b"", self, standing=True)

    def on_head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        self.is_stream = status == 200 and headers.get(b"content-type", b"").startswith(b"text/event-stream")

    def on_data(self, data: bytes) -> None:
        if not self.is_stream:
            return
        try:
            for event in self._parser.feed(data):
                self._on_event(event)
        except EventTooLarge:
            if self._wire is not None:
                self._wire.abort()
            self.on_lost(WireError("an event on its standing stream is too large"))

    def _on_event(self, event: Event) -> None:
        self.last_event_id = event.id or self.last_event_id
        self.retry_ms = event.retry if event.retry is not None else self.retry_ms
        if event.data:
            with contextlib.suppress(ValueError):
                self._dispatcher.receive(jsonrpc.loads(event.data))


class _CallReply:
    """The response to one request: JSON, or an event stream that ends with the answer."""

    def __init__(self, dispatcher: HttpDispatcher, call: Call, message: Message, headers: Mapping[str, str]) -> None:
        self._dispatcher = dispatcher
        self._upstream = dispatcher.upstream
        self._call = call
        self._method: str = message["method"]
        self._body = jsonrpc.dumps(message)
        self._headers = headers
        self._cap = dispatcher.endpoint.max_response_bytes
        self._wire: Wire | None = None
        self._aborted = False
        self._redirects = 0
        self._resumes = 0
        self._last_event_id: bytes | None = None
        self._retry_ms = DEFAULT_RETRY_MS
        self._begin()

    def _begin(self) -> None:
        self._status = 0
        self._location: str | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._parser: EventParser | None = None

    async def send(self) -> None:
        await self._open(lambda: self._dispatcher.head(b"POST", self._headers), self._body)

    async def _open(self, head: Callable[[], bytes], body: bytes) -> None:
        try:
            wire = await self._dispatcher.exchange(head(), body, self)
        except WireError as error:
            self._call.fail(UpstreamLost(self._upstream, error.reason, delivered=False))
            return
        self._wire = wire
        if self._aborted:
            wire.abort()

    def abort(self) -> None:
        """The caller is gone: whatever still comes is not wanted."""
        self._aborted = True
        if self._wire is not None:
            self._wire.abort()

    # --- Reply ------------------------------------------------------------------------------------------------------

    def on_head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        self._status = status
        self._location = headers.get(b"location", b"").decode("latin-1") or None
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if status == 200 and kind == b"text/event-stream":
            self._parser = EventParser(self._cap)
        if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
            self._refuse(UpstreamProtocolError(self._upstream, "a compressed answer, though identity was asked for"))
        session = headers.get(b"mcp-session-id")
        if session is not None and self._method == "initialize" and session.isascii():
            self._dispatcher.adopt_session(session)

    def on_data(self, data: bytes) -> None:
        if self._parser is not None:
            self._on_events(data)
            return
        self._size += len(data)
        if self._size > (self._cap if self._status == 200 else MAX_ERROR_BODY):
            self._refuse(UpstreamOversized(self._upstream, self._cap))
        else:
            self._pieces.append(data)

    def on_end(self) -> None:
        self._wire = None
        if self._call.future.done():
            return
        if self._parser is not None:
            self._resume(WireError("its stream ended without an answer"))
        elif self._status == 200:
            self._on_json(b"".join(self._pieces))
        elif self._status in (307, 308) and self._location is not None:
            self._redirect(self._location)
        else:
            self._on_status(b"".join(self._pieces))

    def on_lost(self, error: WireError) -> None:
        self._wire = None
        if not self._call.future.done():
            self._resume(error)

    # --- What the response means ------------------------------------------------------------------------------------

    def _on_json(self, body: bytes) -> None:
        try:
            message = jsonrpc.loads(body)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._call.fail(UpstreamProtocolError(self._upstream, "a body that is not one JSON object"))
            return
        self._dispatcher.receive(message, self._call)
        self._call.fail(UpstreamProtocolError(self._upstream, "an answer to another request"))  # unless it was answered

    def _on_events(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            for event in self._parser.feed(data):
                self._last_event_id = event.id or self._last_event_id
                self._retry_ms = event.retry if event.retry is not None else self._retry_ms
                if event.data and not self._call.future.done():
                    self._dispatcher.receive(jsonrpc.loads(event.data), self._call)
        except EventTooLarge:
            self._refuse(UpstreamOversized(self._upstream, self._cap))
        except ValueError:
            self._refuse(UpstreamProtocolError(self._upstream, "an event that is not JSON"))
        if self._call.future.done() and self._wire is not None:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end_stream)

    def _end_stream(self) -> None:
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    def _resume(self, error: WireError) -> None:
        """A stream that broke after an event with an id can be taken up again (2025-11-25, resumability)."""
        if self._last_event_id is None or self._resumes >= MAX_RESUMES or self._aborted:
            self._call.fail(UpstreamLost(self._upstream, error.reason, delivered=error.delivered))
            return
        self._resumes += 1
        self._dispatcher.spawn(self._reopen, self._last_event_id)

    async def _reopen(self, last_event_id: bytes) -> None:
        await anyio.sleep(self._retry_ms / 1000)
        if not self._call.future.done():
            self._begin()
            resume = {"last-event-id": last_event_id.decode("latin-1")}
            await self._open(lambda: self._dispatcher.head(b"GET", resume, stream=True), b"")

    def _redirect(self, location: str) -> None:
        self._redirects += 1
        if self._redirects > MAX_REDIRECTS:
            self._call.fail(UpstreamProtocolError(self._upstream, f"more than {MAX_REDIRECTS} redirects"))
        elif not self._dispatcher.follow(location):
            hint = " to another origin, which is not followed: if it is right, put the new address into its `url`"
            self._call.fail(Refused(self._upstream, self._status, hint))
        else:
            self._begin()
            self._dispatcher.spawn(self.send)

    def _on_status(self, body: bytes) -> None:
        error = _jsonrpc_error(body)
        if self._dispatcher.session_id is not None and _is_session_lost(self._status, error):
            lost = SessionLost(self._upstream)
            self._call.fail(lost)
            self._dispatcher.close(lost)
        elif error is not None:
            self._call.fail(error)
        elif self._status in (401, 403):
            self._call.fail(Refused(self._upstream, self._status, ": check the credentials in its `headers`"))
        else:
            self._call.fail(Refused(self._upstream, self._status))

    def _refuse(self, error: GatewayError) -> None:
        """Fail the call and hear no more of its response."""
        self._call.fail(error)
        self.abort()


def _is_session_lost(status: int, error: UpstreamError | None) -> bool:
    """404 by the specification; some servers in the field say 400 and mention the session."""
    return status == 404 or (status == 400 and error is not None and "session" in error.message.lower())


def _jsonrpc_error(body: bytes) -> UpstreamError | None:
    """The JSON-RPC error in an HTTP error's body, if there is one."""
    try:
        message: Any = jsonrpc.loads(body)
        error: Any = message["error"]
        return UpstreamError(int(error["code"]), str(error["message"]), error.get("data"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _header_lines(headers: Mapping[str, str]) -> bytes:
    """Ready header lines.

    Raises:
        ValueError: a line break in a name or value. They are refused where they enter (configuration, header codec) and
            here once more, because this is where one would do harm.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if lines.count("\n") != len(headers) or "\0" in lines:
        raise ValueError("a header contains a line break")
    return lines.encode("latin-1", "replace")


def _percent(target: str) -> bytes:
    return "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in target).encode()
