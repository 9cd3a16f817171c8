"""Streamable HTTP: one POST a message, in both eras; GET and DELETE for the handshake era's sessions.

Source: 2026-07-28 and 2025-11-25, basic/transports/streamable-http. The request's own header decides the era; the body
has to agree. Nothing here knows what a method means, except for `initialize`, which opens a session.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.access.delegation import covers
from gateway.access.expiry import at_expiry
from gateway.access.in_flight import InFlight
from gateway.call import Call
from gateway.config.models import GatewaySettings
from gateway.errors import (
    GatewayError,
    HeaderMismatch,
    InvalidParams,
    InvalidRequest,
    MethodNotAllowed,
    NotAcceptable,
    Overloaded,
    SessionNotFound,
    StreamExists,
    UnsupportedVersion,
)
from gateway.frontend.backlog import Backlogs
from gateway.frontend.body import NO_BATCHES, check_batch, check_encoding, check_form, check_size, messages_of
from gateway.frontend.call_response import EVENTS, CallResponse, EventStream
from gateway.frontend.http_head import JSON, Fields, RequestHead
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.relay import Forward
from gateway.frontend.resuming import resume
from gateway.frontend.session import HandshakeSession
from gateway.frontend.sessions import Sessions
from gateway.frontend.silence import Silence
from gateway.frontend.streams import FormerStream
from gateway.harmless import Clipped
from gateway.jsonrpc import Message, RequestId, as_object
from gateway.protocol import (
    DEFAULT_VERSION,
    HANDSHAKE_VERSIONS,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Era,
)
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent, OnNotification, carries_envelope, modern_agent

log = structlog.stdlib.get_logger("gateway.frontend")

Handler = Callable[[Call], Awaitable[dict[str, Any]]]

Work = Coroutine[Any, Any, object]

MODERN_STATUSES: Final = {PARSE_ERROR: 400, INVALID_REQUEST: 400, INVALID_PARAMS: 400, METHOD_NOT_FOUND: 404}
"""HTTP status by error code, for answers of the modern era; all others are 200. Codes of the specification's own range
(−32020 …) are 400."""

PRIMING_VERSION: Final = "2025-11-25"
"""The first revision whose clients know events without a message."""

ROUTING_HEADERS: Final = frozenset(
    {"mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "host", "origin", "content-type"}
)


@dataclass(slots=True)
class Http:
    """One HTTP request, and who sent it."""

    request: HttpRequest
    principal: Principal
    view: str | None
    headers: dict[str, str]
    """By lower-case name."""

    def accepts(self, kind: str) -> bool:
        return accepts(self.request.head, kind)


@dataclass(frozen=True, slots=True)
class Form:
    """What the head of a POST says of it."""

    version: str | None
    """`MCP-Protocol-Version`."""
    streams: bool
    """Whether its client accepts an event stream."""
    names_events: bool
    """Whether it does so by name."""


def accepts(head: RequestHead, kind: str) -> bool:
    accept = head.headers.get("accept", "*/*").lower()
    return kind in accept or "*/*" in accept or kind.partition("/")[0] + "/*" in accept


def _form(head: RequestHead) -> Form:
    """
    Raises:
        NotAcceptable, UnsupportedMediaType: it cannot be answered, or read.
    """
    if not accepts(head, JSON):
        raise NotAcceptable("Accept must include application/json and text/event-stream.")
    check_form(head.headers)
    check_encoding(head.headers)
    version = head.headers.get("mcp-protocol-version")
    return Form(version, accepts(head, EVENTS), EVENTS in head.headers.get("accept", ""))


def check_routing(head: RequestHead) -> None:
    """
    Raises:
        HeaderMismatch: a routing header stands there twice, so that two readers might read two things.
    """
    for name in head.repeated:
        if name in ROUTING_HEADERS:
            raise HeaderMismatch(f"{name} header appears more than once")


class Streamable:
    """The endpoint behind `/mcp` and `/mcp/{upstream}`.

    Args:
        handle: answers a request (the whole chain).
        in_flight: what bodies that arrive are counted by; `handle` counts what comes after.
        count_notification: counts what a principal says unasked against its limit; raises `RateLimited`.
        on_notification: told what such an agent says unasked.
        tasks: outlives any one request.
        waiting: counts what waits for clients.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        handle: Handler,
        sessions: Sessions,
        in_flight: InFlight,
        count_notification: Callable[[Principal, str], Awaitable[None]],
        on_notification: OnNotification,
        tasks: TaskGroup,
        waiting: Backlogs,
    ) -> None:
        self._settings = settings
        self._silence = Silence(settings.keepalive)
        self._waiting = waiting
        self._handle = handle
        self._sessions = sessions
        self._in_flight = in_flight
        self._count_notification = count_notification
        self._on_notification = on_notification
        self._tasks = tasks

    def post(self, http: Http) -> Work | None:
        """Answer at once, or return what does.

        Raises:
            GatewayError: the exchange itself failed; answered with the error's own HTTP status.
        """
        form, cap = http.request.head.once(_form), self._settings.max_request_bytes
        if not http.request.whole:
            check_size(http.headers, cap)
            return self._post_when_read(http, form, cap)
        return self._post(http, form, messages_of(http.request.body_within(cap)))

    async def _post_when_read(self, http: Http, form: Form, cap: int) -> None:
        with self._in_flight.held(http.principal):
            messages = messages_of(await http.request.read(cap))
        if (work := self._post(http, form, messages)) is not None:
            await work

    def _post(self, http: Http, form: Form, message: Message | list[object]) -> Work | None:
        if isinstance(message, list):
            return self._post_batch(http, message)
        if "id" not in message and "method" in message:
            return self._post_notification(http, form, message)
        return self._post_message(http, form, message)

    async def _post_notification(self, http: Http, form: Form, message: Message) -> None:
        await self._count_notification(http.principal, message["method"])
        if (work := self._post_message(http, form, message)) is not None:
            await work

    def _post_message(self, http: Http, form: Form, message: Message) -> Work | None:
        version = form.version
        if (version is not None and version not in HANDSHAKE_VERSIONS) or carries_envelope(message.get("params")):
            return self._post_modern(http, message, version or "")
        if message.get("method") == "initialize" and "id" in message:
            return self._open_session(http, message)
        if "mcp-session-id" in http.headers:
            session = self._session(http)
            if session is None:
                return self._resume(http, partial(self._post_in_session, http, message))
            return self._post_in_session(http, message, session)
        return self._post_alone(http, message, version)

    def get(self, http: Http) -> Work | None:
        """The standing stream of a session, or with `Last-Event-ID` the rest of any stream of it. When the credential
        that it was opened with expires the connection ends, and its client can come back for the rest with another."""
        if http.headers.get("mcp-protocol-version", DEFAULT_VERSION) not in HANDSHAKE_VERSIONS:
            raise MethodNotAllowed("2026-07-28 has no GET; use subscriptions/listen.", ["POST"])
        if not http.accepts(EVENTS):
            raise NotAcceptable("Accept must include text/event-stream.")
        session = self._session(http)
        if session is None:
            return self._resume(http, partial(self._stream, http))
        return self._stream(http, session)

    def _stream(self, http: Http, session: HandshakeSession) -> Work | None:
        if not covers(http.principal, session.agent.opener):
            raise SessionNotFound  # by now they have less than what the session may say
        channel, after, found = session.streams.standing, None, None
        if (last_event_id := http.headers.get("last-event-id")) is not None:
            found = session.streams.find(last_event_id)
            if isinstance(found, FormerStream) and not found.is_standing:
                make = partial(EventStream, http.request, self._silence, self._waiting.open(http.principal))
                return resume(http.request, session, found, http.principal, make, prime=_primes(session.agent))
            channel, after = (channel, None) if isinstance(found, FormerStream) else found
            if channel.sender is not None and not covers(http.principal, channel.sender):
                raise SessionNotFound  # it was said to another credential of theirs, which grants more
        elif channel.connection is not None and not isinstance(channel.connection, Forward):
            raise StreamExists("This session has a standing stream already.")

        def pause() -> None:
            channel.detach(stream)
            stream.end()

        def on_over() -> None:
            channel.detach(stream)
            session.used_at = time.monotonic()
            if expiry is not None:
                expiry.cancel()
            if channel is session.streams.standing and channel.connection is None:
                self._sessions.stream_closed(session)

        stream = EventStream(http.request, self._silence, self._waiting.open(http.principal), on_over)
        expiry = at_expiry(http.principal, pause)
        channel.attach(stream, after, prime=_primes(session.agent) and after is not None)
        if channel is session.streams.standing:
            self._sessions.stream_opened(session, found if isinstance(found, FormerStream) else None)
        stream.open(_session_header(session).items())
        return None

    async def delete(self, http: Http) -> None:
        """End a session."""
        if http.headers.get("mcp-protocol-version", DEFAULT_VERSION) not in HANDSHAKE_VERSIONS:
            raise MethodNotAllowed("2026-07-28 has no sessions to DELETE.", ["POST"])
        await self._sessions.end(_session_id(http), http.principal, http.view)
        http.request.reply(200)

    # --- Handshake era ----------------------------------------------------------------------------------------------

    def _session(self, http: Http) -> HandshakeSession | None:
        """The session that is named, if it is open here; else see `_resume`."""
        return self._sessions.get(_session_id(http), http.principal, http.view)

    async def _resume(self, http: Http, then: Callable[[HandshakeSession], Work | None]) -> None:
        """Go on in a session that is not open here."""
        with self._in_flight.held(http.principal):
            session = await self._sessions.take_up(_session_id(http), http.principal, http.view)
        if (work := then(session)) is not None:
            await work

    async def _open_session(self, http: Http, message: Message) -> None:
        try:
            session = self._sessions.open(http.principal, http.view, as_object(message.get("params")))
        except InvalidParams as error:
            reply_json(http.request, 200, jsonrpc.error(message["id"], error.code, error.message, error.data))
            return
        opened, response = False, self._response(http, None)
        try:
            answer, status = await self._handled(http, message, session.agent, session, response)
            if opened := "result" in answer:
                self._sessions.opened(session)
                response.headers["mcp-session-id"] = session.id
            response.finish(answer, status)
        finally:
            if not opened:
                with anyio.CancelScope(shield=True):
                    await self._sessions.discard(session)

    def _post_in_session(self, http: Http, message: Message, session: HandshakeSession) -> Work | None:
        if "id" in message and "method" in message:
            return self._answer(http, message, session.agent, session)
        self._take(message, session, http.principal)
        http.request.reply(202)
        return None

    async def _post_batch(self, http: Http, batch: list[object]) -> None:
        """Several messages at once, as 2025-03-26 has it: answered in one piece, or one by one on a stream."""
        if "mcp-session-id" not in http.headers:
            raise InvalidRequest(NO_BATCHES)
        session = self._session(http) or await self._sessions.take_up(_session_id(http), http.principal, http.view)
        messages = check_batch(batch, session.agent.version)
        requests = [message for message in messages if "id" in message and "method" in message]
        for message in messages:
            if "id" not in message:
                await self._count_notification(http.principal, message["method"])
            if "id" not in message or "method" not in message:
                self._take(message, session, http.principal)
        if not requests:
            http.request.reply(202)
            return
        response = self._response(http, session)
        self._silence.watch(response)
        answers: list[Message] = []
        held = self._waiting.open(http.principal)

        async def answer(message: Message) -> None:
            one, _ = await self._handled(http, message, session.agent, session, response)
            size = len(jsonrpc.dumps(one))
            if held.has_room(size, must=True):
                held.add(size)
            else:
                error = Overloaded("the answers to this batch are too large together", "max_backlog_per_stream")
                one = jsonrpc.error(message["id"], error.code, error.message, error.data)
            answers.append(one)

        try:
            async with anyio.create_task_group() as tg:
                for message in requests:
                    tg.start_soon(answer, message)
        finally:
            self._silence.forget(response)
            held.clear()
        response.finish(answers)

    def _take(self, message: Message, session: HandshakeSession, sender: Principal) -> None:
        """A notification or a response; nobody is owed an answer."""
        method, params = message.get("method"), as_object(message.get("params"))
        if method is None:
            session.answer(message, sender)
        elif method == "notifications/cancelled":
            session.cancel(params.get("requestId"))
        else:
            self._tasks.start_soon(self._on_notification, session.agent, method, params)

    def _post_alone(self, http: Http, message: Message, version: str | None) -> Work | None:
        """A message that belongs to no session, as plain HTTP tools send it: served on its own."""
        if version is not None:
            raise InvalidRequest("Mcp-Session-Id is missing. Open a session with initialize.")
        if "id" not in message or "method" not in message:
            http.request.reply(202)
            return None
        agent = ConnectedAgent(http.principal, http.view, DEFAULT_VERSION, lasting=False)
        return self._answer(http, message, agent, None)

    # --- Modern era -------------------------------------------------------------------------------------------------

    def _post_modern(self, http: Http, message: Message, version: str) -> Work | None:
        if "method" not in message:
            raise InvalidRequest("A response cannot be posted in 2026-07-28.")
        if "id" not in message:
            if Era.of(version) is not Era.MODERN:
                raise UnsupportedVersion(version)
            http.request.reply(202)  # the era has no client notifications; closing the stream cancels
            return None
        try:
            agent = modern_agent(message, http.principal, http.view, http.headers)
        except GatewayError as error:
            reply_failure(http.request, error, message["id"])
            return None
        if message["method"] == "subscriptions/listen" and not http.accepts(EVENTS):
            raise NotAcceptable("Accept must include text/event-stream.")
        return self._answer(http, message, agent, None, http.headers)

    # --- Both -------------------------------------------------------------------------------------------------------

    async def _answer(
        self,
        http: Http,
        message: Message,
        agent: ConnectedAgent,
        session: HandshakeSession | None,
        http_headers: Mapping[str, str] | None = None,
    ) -> bool:
        """Handle one request and send what comes of it. Returns whether it succeeded."""
        response = self._response(http, session, message["id"])
        self._silence.watch(response)
        try:
            answer, status = await self._handled(http, message, agent, session, response, http_headers)
        except BaseException:
            self._silence.forget(response)
            raise
        response.finish(answer, status)
        return "result" in answer

    async def _handled(
        self,
        http: Http,
        message: Message,
        agent: ConnectedAgent,
        session: HandshakeSession | None,
        response: CallResponse,
        http_headers: Mapping[str, str] | None = None,
    ) -> tuple[Message, int]:
        """The answer to one request, and its HTTP status."""
        id: RequestId = message["id"]
        params: dict[str, Any] = message.get("params") or {}
        headers = response.headers
        said = id, message["method"], params, agent, http.principal, response.notify
        call = Call(*said, None, response.pause, http.request, headers, http_headers)
        try:
            if session is not None:
                call.ask = partial(session.ask, response, call)
                session.begin(call)
            elif agent.era is Era.MODERN:
                http.request.on_gone = call.cancel
                if http.request.gone:
                    call.cancel()
            return jsonrpc.result(id, await self._handle(call)), 200
        except GatewayError as error:
            headers.update(error.headers)
            status = error.status if error.ends_exchange else _status(error.code_in(agent.era), agent.era)
            return jsonrpc.error(id, error.code_in(agent.era), error.message, error.data), status
        except Exception:
            log.exception("request failed", method=Clipped(call.method, 100))
            return jsonrpc.error(id, INTERNAL_ERROR, "Internal error"), 200
        finally:
            http.request.on_gone = call.ask = None
            if session is not None:
                session.end(call)

    def _response(self, http: Http, session: HandshakeSession | None, request: RequestId | None = None) -> CallResponse:
        form = http.request.head.once(_form)
        streams = form.streams
        channel, prime = None, False
        if session is not None and streams:
            channel = session.streams.open(http.principal, request)
            # Who names the type can read it; `*/*` is what plain HTTP tools send.
            prime = _primes(session.agent) and form.names_events
        return CallResponse(
            http.request,
            self._silence,
            {"mcp-session-id": session.id} if session is not None else {},
            streams=streams,
            channel=channel,
            prime=prime,
            backlogs=self._waiting,
            principal=http.principal,
        )


def _status(code: int, era: Era) -> int:
    """HTTP status of a JSON-RPC error that answers a request."""
    if era is Era.HANDSHAKE:
        return 200
    return MODERN_STATUSES.get(code, 400 if -32099 <= code <= -32020 else 200)


def _primes(agent: ConnectedAgent) -> bool:
    """Whether its client knows events without a message; older ones take them for broken JSON."""
    return agent.version >= PRIMING_VERSION


def _session_id(http: Http) -> str:
    """
    Raises:
        InvalidRequest: none is named.
    """
    id = http.headers.get("mcp-session-id")
    if id is None:
        raise InvalidRequest("Mcp-Session-Id is missing. Open a session with initialize.")
    return id


def _session_header(session: HandshakeSession) -> dict[str, str]:
    return {"mcp-session-id": session.id}


def reply_failure(request: HttpRequest, error: GatewayError, id: RequestId | None = None) -> None:
    """End the exchange with an error, its HTTP status and its headers."""
    reply_json(request, error.status, jsonrpc.error(id, error.code, error.message, error.data), error.headers.items())


def reply_json(request: HttpRequest, status: int, value: Any, headers: Fields = ()) -> None:
    request.reply(status, jsonrpc.dumps(value), headers)
