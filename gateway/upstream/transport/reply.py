"""What an HTTP response means to the request it answers: JSON, or an event stream that ends with the answer.

Source: 2026-07-28 and 2025-11-25, basic/transports/streamable-http.
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio

from gateway import jsonrpc
from gateway.call import NO_HEADERS
from gateway.errors import GatewayError, UpstreamLost, UpstreamOversized, UpstreamProtocolError
from gateway.jsonrpc import as_object
from gateway.protocol import INVALID_REQUEST, METHOD_NOT_FOUND, Era
from gateway.upstream.transport.events import EventParser, EventTooLarge
from gateway.upstream.transport.pending import HttpRefusal, Pending, RefusedError, SessionLost
from gateway.upstream.transport.wire import HttpConnection, Reply, ResponseHeaders, WireError

if TYPE_CHECKING:
    from gateway.upstream.transport.http import HttpDispatcher

SUCCESSES: Final = (200, 201, 203)
"""HTTP statuses under which an answer comes. Frameworks say 201 to a POST."""
MAX_REDIRECTS: Final = 3
MAX_ERROR_BODY: Final = 64 * 1024
MAX_RESUMES: Final = 10
"""How often in a row, with nothing heard in between, a broken stream is taken up again."""
MAX_ERROR_TEXT: Final = 1024
"""How much is looked at of an error that is no JSON-RPC."""

SESSION_NOT_FOUND: Final = -32001
"""What SDKs answer with when they do not know a session, under whatever HTTP status."""
_SESSION: Final = re.compile(r"\bsession\b", re.IGNORECASE)
_GONE: Final = re.compile(
    r"not found|unknown|expired|invalid|missing|no valid|closed|terminated|required", re.IGNORECASE
)
"""What is said of a session that is gone; without it, text that mentions one may be about anything."""


class CallReply(Reply):
    """The response to one request, over as many HTTP exchanges as it takes."""

    sent = False
    """Whether the upstream may have heard of the request."""
    _wire: HttpConnection | None = None
    _connecting: anyio.CancelScope | None = None
    _aborted = False
    _redirects = 0
    _resumes = 0
    _last_event_id: bytes | None = None
    _resume_seconds: float | None = None
    """How long the upstream wants us to wait before its stream is taken up again."""
    due = math.inf
    """When its connection is closed, though its stream has not ended: the answer has come, and so long was waited."""
    _status = 0
    _location: str | None = None
    _size = 0
    _parser: EventParser | None = None
    _skipped = ""
    """What came on its stream that was no message."""
    _proof: Mapping[str, str] = NO_HEADERS
    """What the request proved itself with when it was sent."""

    def __init__(self, dispatcher: "HttpDispatcher", call: Pending, body: bytes) -> None:
        self._dispatcher = dispatcher
        self._call = call
        self._body = body

    def _begin(self) -> None:
        """A response begins."""
        self._status = self._size = 0
        self._location = self._parser = None
        self._pieces: list[bytes] = []
        self._skipped = ""

    @property
    def _upstream(self) -> str:
        return self._dispatcher.upstream

    @property
    def _cap(self) -> int:
        return self._dispatcher.endpoint.max_response_bytes

    def send(self) -> None:
        """POST the request, again if need be."""
        self.exchange(self._dispatcher.post(self._call.headers, self._body))

    def exchange(self, request: bytes) -> None:
        """Send an HTTP request: at once where a connection is idle, else as soon as one can be had."""
        dispatcher = self._dispatcher
        self._proof = dispatcher.proof
        self._wire = wire = dispatcher.pool.take(self._call.tenant)
        if wire is not None:
            self.sent = True
            wire.start(request, self)
        else:
            dispatcher.spawn(self._connect, request)

    async def _connect(self, request: bytes) -> None:
        with anyio.CancelScope() as self._connecting:
            if self._aborted:
                return
            try:
                wire = await self._dispatcher.pool.acquire(self._call.tenant)
            except WireError as error:
                self.on_lost(error)
                return
            if self._aborted:
                self._dispatcher.pool.release(wire)
            else:
                self._wire, self.sent = wire, True
                wire.start(request, self)

    def abort(self) -> None:
        """The caller is gone: whatever still comes is not wanted."""
        self._aborted = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    # --- Reply ------------------------------------------------------------------------------------------------------

    def on_plain(self, body: bytes) -> bool:
        if len(body) > self._dispatcher.endpoint.max_response_bytes:
            return False
        self._wire = None
        if not self._call.future.done():
            self._on_json(body)
        return True

    def on_head(self, status: int, headers: ResponseHeaders) -> None:
        self._begin()
        self._status = status
        if headers.is_stream:
            self._parser = EventParser(self._cap)
            return
        if status not in SUCCESSES:
            self._on_failure(status, headers)
        self._location = headers.get(b"location", b"").decode("latin-1") or None
        if status in SUCCESSES and is_event_stream(headers):
            self._parser = EventParser(self._cap)
        session, dispatcher = headers.get(b"mcp-session-id"), self._dispatcher
        if self._call.method == "initialize" and session is not None and session.isascii():
            dispatcher.adopt_session(session)
        if status in SUCCESSES and headers.get(b"content-encoding", b"identity").lower() != b"identity":
            self._refuse(UpstreamProtocolError(self._upstream, "a compressed answer, though identity was asked for"))
        elif dispatcher.era is not None:  # before that, a session may be opened
            is_plain = status in SUCCESSES and self._location is None
            headers.are_plain = is_plain and self._parser is None
            headers.is_stream = is_plain and self._parser is not None

    def _on_failure(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """The head says that it failed; the body may say why."""

    def on_data(self, data: bytes) -> None:
        if self._parser is not None:
            self._on_events(self._parser, data)
            return
        self._size += len(data)
        if self._size <= (self._cap if self._status in SUCCESSES else MAX_ERROR_BODY):
            self._pieces.append(data)
        elif self._status in SUCCESSES:
            self._refuse(UpstreamOversized(self._upstream, self._cap))
        else:
            self._refuse(HttpRefusal(self._upstream, self._status))

    def on_end(self) -> None:
        self._leave()
        if self._call.future.done():
            return
        if self._parser is None and self._status in SUCCESSES:
            self._on_json(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
        elif self._parser is not None:
            call = self._call.call
            if self._last_event_id is not None and call is not None and call.pause is not None:
                call.pause()
            if self._skipped and not self._may_resume():
                self._call.fail(UpstreamProtocolError(self._upstream, f"{self._skipped}, and no answer"))
            else:
                self._resume(WireError("its stream ended without an answer"))
        elif 300 <= self._status < 400 and self._location is not None:
            self._redirect(self._location)
        else:
            self._on_status(b"".join(self._pieces))

    def on_lost(self, error: WireError) -> None:
        self._leave()
        if not self._call.future.done():
            self._resume(error)

    def _leave(self) -> None:
        self._wire = None
        self._dispatcher.lingering.discard(self)

    def expire(self) -> None:
        self._dispatcher.lingering.discard(self)
        self.abort()

    # --- What the response means ------------------------------------------------------------------------------------

    def _on_json(self, body: bytes) -> None:
        if self._is_answered(body):
            return
        call = self._call
        try:
            message = jsonrpc.unusual_answer(body)
        except jsonrpc.TooManyValues:
            call.fail(UpstreamOversized(self._upstream, jsonrpc.MAX_VALUES, "values"))
            return
        except ValueError:
            message = None
        if not isinstance(message, dict):
            call.fail(UpstreamProtocolError(self._upstream, "a body that is not one JSON object"))
            return
        self._receive(message, len(body))
        if not call.future.done():
            call.fail(UpstreamProtocolError(self._upstream, "a message that is no answer"))

    def _is_answered(self, data: bytes) -> bool:
        """Whether that is the answer to an agent's call, and one as nearly all are."""
        call, usual = self._call, jsonrpc.usual_answer(data)
        if usual is None or usual[0] != call.id or call.call is None:
            return False
        call.call.result_bytes = len(data)
        call.future.set_result(usual[1])
        return True

    def _on_events(self, parser: EventParser, data: bytes) -> None:
        try:
            for event in parser.feed(data):
                if event.id is not None:
                    self._last_event_id = event.id or None
                    self._resumes = 0
                if event.retry is not None:
                    timing = self._dispatcher.timing
                    wanted = max(event.retry / 1000, timing.min_resume_seconds)
                    self._resume_seconds = min(wanted, timing.max_resume_seconds)
                if event.data and event.name == b"message" and not self._call.future.done():
                    self._on_event(event.data)
        except EventTooLarge:
            self._refuse(UpstreamOversized(self._upstream, self._cap))
        except jsonrpc.TooManyValues:
            self._refuse(UpstreamOversized(self._upstream, jsonrpc.MAX_VALUES, "values"))
        if self._call.future.done() and self._wire is not None and self.due == math.inf:
            self._dispatcher.linger(self)

    def _on_event(self, data: bytes) -> None:
        """What is no message (heartbeats, `[DONE]`) is skipped: the answer may follow."""
        if self._dispatcher.drops(data) or self._is_answered(data):
            return
        try:
            message = jsonrpc.unusual_answer(data)
        except jsonrpc.TooManyValues:
            raise
        except ValueError:
            self._skipped = "an event that is not JSON"
        else:
            if is_message(message):
                self._receive(message, len(data))
                return
            self._skipped = "an event that is no message"
        self._dispatcher.on_noise(f"{self._skipped}: {data[:200].decode('utf-8', 'replace')}")

    def _resume(self, error: WireError) -> None:
        """A stream that broke after an event with an id can be taken up again (2025-11-25, resumability; the modern
        era has done away with it)."""
        if self._aborted:
            return
        if not self._may_resume():
            self._call.fail(UpstreamLost(self._upstream, error.reason, delivered=error.delivered or self.sent))
            return
        assert self._last_event_id is not None
        self._resumes += 1
        self._dispatcher.spawn(self._reopen, self._last_event_id)

    def _may_resume(self) -> bool:
        return (
            self._last_event_id is not None and self._resumes < MAX_RESUMES and self._dispatcher.era is not Era.MODERN
        )

    async def _reopen(self, last_event_id: bytes) -> None:
        wanted = self._resume_seconds
        await anyio.sleep(wanted if wanted is not None else self._dispatcher.timing.resume_seconds)
        if not self._call.future.done():
            self.exchange(self._dispatcher.request(b"GET", {"last-event-id": last_event_id.decode("latin-1")}))

    def _redirect(self, location: str) -> None:
        self._redirects += 1
        if self._redirects > MAX_REDIRECTS:
            self._call.fail(UpstreamProtocolError(self._upstream, f"more than {MAX_REDIRECTS} redirects"))
        elif self._status not in (307, 308) or not self._dispatcher.follow(location):
            hint = ", a redirect that is not followed: if the new address is right, put it into its `url`"
            self._call.fail(HttpRefusal(self._upstream, self._status, hint))
        else:
            self.sent = False
            self.send()

    def _on_status(self, body: bytes) -> None:
        if self._status == 401:
            self._dispatcher.on_unauthorized()
        error = jsonrpc_error(self._status, body)
        text = body[:MAX_ERROR_TEXT].decode("utf-8", "replace") if error is None else ""
        lost = None
        if self._dispatcher.session_id is not None:
            lost = session_lost(self._upstream, self._status, error, text)
        if self._last_event_id is not None:
            reason = f"its stream broke and could not be taken up again (HTTP status {self._status})"
            self._call.fail(UpstreamLost(self._upstream, reason))
        elif lost is not None:
            self._call.fail(lost)
        elif error is not None:
            self._call.fail(error)
        else:
            hint = ": check the credentials in its `headers`" if self._status in (401, 403) else ""
            self._call.fail(HttpRefusal(self._upstream, self._status, hint, text))
        if lost is not None:
            self._dispatcher.close(lost)

    def _receive(self, message: Any, size: int = 0) -> None:
        """A message of this call's own response."""
        error = as_object(as_object(message).get("error"))
        says_so = error.get("code") == SESSION_NOT_FOUND and bool(_SESSION.search(str(error.get("message"))))
        if says_so and self._dispatcher.session_id is not None:
            lost = SessionLost(self._upstream)
            self._call.fail(lost)
            self._dispatcher.close(lost)
        else:
            self._dispatcher.receive(message, self._call, size)

    def _refuse(self, error: GatewayError) -> None:
        """Fail the call and hear no more of its response."""
        self._call.fail(error)
        self.abort()


def is_message(value: object) -> bool:
    """Whether it is a JSON-RPC message, at least in outline."""
    message = as_object(value)
    return isinstance(message.get("method"), str) or "result" in message or "error" in message


def is_event_stream(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"text/event-stream"


def session_lost(upstream: str, status: int, error: RefusedError | None, text: str) -> SessionLost | None:
    """Whether an HTTP error says that our session is gone, and with it whether the request may have been acted on.

    By the specification that is 404. In the field it is 410 too, or 400 with words, or a code under any status.
    """
    if error is not None and error.code == METHOD_NOT_FOUND:
        return None
    says_so = bool(_SESSION.search(error.message if error is not None else text))
    if status in (404, 410) or (error is not None and error.code == SESSION_NOT_FOUND and says_so):
        return SessionLost(upstream)
    if status == 400 and says_so:
        return SessionLost(upstream)
    if error is None and says_so and (status not in (401, 403) and _GONE.search(text)):
        return SessionLost(upstream, delivered=status >= 500)
    return None


def jsonrpc_error(status: int, body: bytes) -> RefusedError | None:
    """The JSON-RPC error in an HTTP error's body, if there is one."""
    try:
        error: Any = jsonrpc.loads(body)["error"]
        code = jsonrpc.error_code(error["code"], INVALID_REQUEST)
        return RefusedError(status, code, str(error["message"]), error.get("data"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
