"""Streamable HTTP as a client: one POST a request, answered by JSON or by an event stream.

Source: 2026-07-28 and 2025-11-25, basic/transports/streamable-http. What the SDK's transport gets wrong for a gateway,
and this does not: a response dropped mid-body fails its own call alone (python-sdk#915, #3522), bodies and events are
capped (#3332), nothing is decompressed, and a lost session is reported as such (#1676).
"""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

import anyio

from gateway import __version__, jsonrpc
from gateway.jsonrpc import Message
from gateway.protocol import Era
from gateway.upstream.backoff import Backoff
from gateway.upstream.credentials import Credentials
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.deadlines import Deadlines
from gateway.upstream.transport.events import Event, EventParser, EventTooLarge
from gateway.upstream.transport.pending import (
    HeaderLines,
    LoginLost,
    MessageHandler,
    Pending,
    SessionLost,
    header_lines,
)
from gateway.upstream.transport.pool import Origin, Pool
from gateway.upstream.transport.proved import ProvedReply
from gateway.upstream.transport.receipt import Receipt
from gateway.upstream.transport.reply import CallReply, is_event_stream
from gateway.upstream.transport.table import CallTable
from gateway.upstream.transport.wire import ResponseHeaders, WireError

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions


LEAVE_STEP_SECONDS: Final = 0.02
LISTEN: Final = "subscriptions/listen"
"""A request that is not waited for: it ends when the connection does."""


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """Where the upstream is and what it is told on each request."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    connect_timeout: float = 30.0
    max_response_bytes: int = 16 * 1024 * 1024


class HttpDispatcher(CallTable):
    """A `Dispatcher` whose every request is an HTTP exchange of its own.

    Raises:
        ValueError: a configured header contains a line break.
    """

    def __init__(
        self, upstream: str, endpoint: HttpEndpoint, peer: MessageHandler, timing: UpstreamTiming = USUAL
    ) -> None:
        super().__init__(upstream, peer)
        self.endpoint = endpoint
        self.timing = timing
        self.pool = Pool(Origin.of(endpoint.url), endpoint.connect_timeout, timing=timing)
        self.era: Era | None = None
        """None until it is negotiated."""
        self.on_unauthorized: Callable[[], None] = _nobody
        """Told of every answer with HTTP status 401."""
        self.credentials: Credentials | None = None
        """What requests prove themselves with; None if they need not."""
        self.proof: Mapping[str, str] = {}
        """The headers that requests carry because of that."""
        self._proof_changed = anyio.Event()
        self._being_refused = 0
        self._has_lost_login = False
        self._reply_type = CallReply
        self.lingering = set[CallReply]()
        """Those whose answer has come, and whose stream has not ended."""
        self._lingers = Deadlines(self.lingering)
        self._session_id: bytes | None = None
        self._session_header = b""
        self._version_header = b""
        self._no_headers = HeaderLines({})
        self._aim(endpoint.url)

    @property
    def session_id(self) -> str | None:
        return self._session_id.decode() if self._session_id else None

    def adopt_session(self, session_id: bytes) -> None:
        """The upstream opened a session; every further request names it."""
        self._session_id = session_id
        self._session_header = b"mcp-session-id: %s\r\n" % session_id
        self._fix()

    def negotiated(self, version: str, era: Era) -> None:
        """Negotiation is over: from now on every message says `version`. In the handshake era, listen for what the
        upstream says unasked (the standing GET stream)."""
        self.era = era
        self._version_header = b"mcp-protocol-version: %s\r\n" % version.encode()
        self._fix()
        if era is Era.HANDSHAKE:
            self.hears = anyio.Event()
            self.spawn(self._stand)

    def use(self, credentials: Credentials) -> Callable[[], None]:
        """Prove ourselves with these, whatever they become. Returns how to follow them no longer."""
        self.credentials = credentials
        self._reply_type = ProvedReply
        self._on_proof()
        return credentials.follow(self._on_proof)

    def _on_proof(self) -> None:
        assert self.credentials is not None
        before, self.proof = self.proof, dict(self.credentials.headers)
        if self.proof:
            self._has_lost_login = False
        elif before:
            self.lost_login()
        self._fix()
        self._proof_changed.set()
        self._proof_changed = anyio.Event()

    def lost_login(self) -> None:
        """No proof is left that the upstream takes: hang up, once those who are refused have been told why."""
        if not self._has_lost_login:
            self._has_lost_login = True
            self._leave(asyncio.get_running_loop().time() + self.timing.leave_seconds)

    def _leave(self, latest: float) -> None:
        if self.closed is not None or not self._has_lost_login:
            return
        loop = asyncio.get_running_loop()
        is_awaited = (
            any(each.method != LISTEN and not each.future.done() for each in self.pending.values())
            and loop.time() < latest
        )
        if self._being_refused or is_awaited:
            loop.call_later(LEAVE_STEP_SECONDS, self._leave, latest)
        else:
            self.close(LoginLost(self.upstream))

    @contextlib.contextmanager
    def being_refused(self) -> Generator[None]:
        """While it is found out what to say of a refusal."""
        self._being_refused += 1
        try:
            yield
        finally:
            self._being_refused -= 1

    async def aclose(self) -> None:
        """End the upstream's session, if it has one, and close every connection."""
        if self._session_id is not None and not isinstance(self.closed, SessionLost):
            with anyio.CancelScope(shield=True):
                await self._exchange(self.request(b"DELETE"), self.timing.farewell_seconds)
        self.pool.close()

    # --- CallTable ------------------------------------------------------------------------------------------------

    def _transmit(self, message: Message, pending: Pending) -> None:
        body = jsonrpc.dumps_spliced(message)
        pending.reply = reply = self._reply_type(self, pending, body)
        reply.exchange(self.post(pending.headers, body))

    def _withdraw(self, pending: Pending, *, tell: bool) -> None:
        # Closing the connection is how a modern request is cancelled; in the handshake era it means nothing, and a
        # notification says it.
        if isinstance(pending.reply, CallReply):
            pending.reply.abort()
            if tell and pending.reply.sent and self.era is Era.HANDSHAKE:
                params = {"requestId": pending.id, "reason": "no longer awaited"}
                self.spawn(self.notify, "notifications/cancelled", params)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None) -> None:
        message = jsonrpc.notification(method, dict(params) if params is not None else None)
        await self._post(message, method, (opts or {}).get("headers") or {})

    async def _answer(self, message: Message) -> None:
        await self._post(message, "answer", {})

    def linger(self, reply: CallReply) -> None:
        """Let its stream end by itself, for a while: the connection can be used again then."""
        reply.due = asyncio.get_running_loop().time() + self.timing.linger_seconds
        self.lingering.add(reply)
        self._lingers.watch(reply.due)

    def on_noise(self, text: str) -> None:
        self._peer.on_noise(text)

    # --- Requests ---------------------------------------------------------------------------------------------------

    def post(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """A whole POST, as bytes. Its head is written once for headers that are `HeaderLines`.

        Raises:
            ValueError: a header contains a line break.
        """
        if not isinstance(headers, HeaderLines):
            headers = HeaderLines(headers) if headers else self._no_headers
        if headers.behind is not self._fixed:
            headers.behind, headers.head = self._fixed, self._head(b"POST", headers, headers.lines) + _POST_HEADERS
        return b"%s%d\r\n\r\n%s" % (headers.head, len(body), body)

    def request(self, method: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        """A whole HTTP request without a body, as bytes. GET asks for an event stream.

        Raises:
            ValueError: a header contains a line break.
        """
        head = self._head(method, headers or {}, header_lines(headers or {}))
        return head + (_GET_HEADERS if method == b"GET" else b"") + b"\r\n"

    def _head(self, method: bytes, headers: Mapping[str, str], lines: bytes) -> bytes:
        version = b"" if "mcp-protocol-version" in headers else self._version_header
        return b"%s %s%s%s" % (method, self._fixed, version, lines)

    def follow(self, location: str) -> bool:
        """Follow a redirect, now and from now on, if it stays within the origin (credentials must not travel)."""
        origin = self.pool.origin
        try:
            url = urljoin(f"{origin.scheme}://{origin.authority}{self._target}", location)
            if Origin.of(url) != origin:
                return False
        except ValueError:
            return False
        self._aim(url)
        return True

    def _aim(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_URL_SAFE)
        self._fix()

    def _fix(self) -> None:
        """What all requests begin with. Another object means that it has changed, or the version has."""
        fixed = {
            "host": self.pool.origin.authority,
            "user-agent": f"mcp-gateway/{__version__}",
            "accept-encoding": "identity",
            **{name.lower(): value for name, value in self.endpoint.headers.items()},
            **self.proof,
        }
        self._fixed = b"%s HTTP/1.1\r\n%s%s" % (self._target.encode(), header_lines(fixed), self._session_header)

    async def _post(self, message: Message, name: str, headers: Mapping[str, str]) -> None:
        """POST something that is owed no answer. Failures are noted, never raised: there is nobody to tell."""
        failure = await self._exchange(self.post(headers, jsonrpc.dumps(message)), self.timing.note_seconds)
        if failure:
            self._peer.on_noise(f"{name} could not be delivered: {failure}")

    async def _exchange(self, request: bytes, seconds: float) -> str:
        """One exchange whose response does not matter. Returns why there was none, or nothing."""
        reply = Receipt()
        try:
            with anyio.fail_after(seconds):
                reply.start(await self.pool.acquire(), request)
                await reply.ended
        except WireError as error:
            return error.reason
        except TimeoutError:
            return f"not accepted within {seconds:g} s"
        finally:
            if not reply.ended.done():
                reply.abort()
        return ""

    # --- The standing stream ----------------------------------------------------------------------------------------

    async def _stand(self) -> None:
        """Keep the GET stream of the handshake era open; an upstream without one answers 405, and that is fine."""
        backoff, last_event_id, stood = Backoff(self.timing), None, False
        while True:
            stream, opened_at = _Stream(self, last_event_id), anyio.current_time()
            proof_changed = self._proof_changed
            with contextlib.suppress(WireError):
                await stream.run()
            if stream.is_stream:
                stood, last_event_id = True, stream.last_event_id
            elif stood and stream.status in (400, 404, 410):
                self.close(SessionLost(self.upstream))
            elif stream.status == 401 and self.credentials is not None:
                self.hears.set()
                await proof_changed.wait()  # what this stream makes of it says nothing of the login
                continue
            elif 200 <= stream.status < 500 and stream.status != 429:
                self.hears.set()
                return
            lived = float("inf") if stream.spoke else anyio.current_time() - opened_at
            await anyio.sleep(max(backoff.after(lived, 1.0), stream.retry_seconds))

    def on_standing(self, *, resumed: bool) -> None:
        """The GET stream is open. `resumed`: the upstream was told what we heard last, and sends what came since."""
        if self.hears.is_set() and not resumed:
            self.on_gap()
        self.hears.set()


class _Stream(Receipt):
    """An event stream that belongs to no request."""

    def __init__(self, dispatcher: HttpDispatcher, last_event_id: bytes | None) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self.last_event_id = last_event_id
        self.retry_seconds = 0.0
        self.is_stream = False
        self.spoke = False
        """Whether an event came."""
        self._parser = EventParser(dispatcher.endpoint.max_response_bytes)

    async def run(self) -> None:
        """Open it and read to its end.

        Raises:
            WireError: it could not be opened, or broke.
        """
        resume = {"last-event-id": self.last_event_id.decode("latin-1")} if self.last_event_id else None
        request = self._dispatcher.request(b"GET", resume)
        self.start(await self._dispatcher.pool.acquire(standing=True), request)
        await self.ended

    def on_head(self, status: int, headers: ResponseHeaders) -> None:
        super().on_head(status, headers)
        self.is_stream = status == 200 and is_event_stream(headers)
        if self.is_stream:
            self._dispatcher.on_standing(resumed=self.last_event_id is not None)

    def on_data(self, data: bytes) -> None:
        if not self.is_stream:
            super().on_data(data)
            return
        try:
            for event in self._parser.feed(data):
                self._on_event(event)
        except EventTooLarge:
            self.abort()
            self.on_lost(WireError("an event on its standing stream is too large"))

    def _on_event(self, event: Event) -> None:
        self.spoke = True
        if event.id is not None:
            self.last_event_id = event.id
        if event.retry is not None:
            self.retry_seconds = min(event.retry / 1000, self._dispatcher.timing.max_resume_seconds)
        if event.data and event.name == b"message" and not self._dispatcher.drops(event.data):
            try:
                message = jsonrpc.loads(event.data)
            except ValueError:
                return
            self._dispatcher.receive(message, size=len(event.data))


def _nobody() -> None:
    """Is told."""


_POST_HEADERS: Final = (
    b"content-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: "
)
_GET_HEADERS: Final = b"accept: text/event-stream\r\n"
_URL_SAFE: Final = "/:?#[]@!$&'()*+,;=%~-._"
