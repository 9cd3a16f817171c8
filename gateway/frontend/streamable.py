"""Streamable HTTP: one POST a message, in both eras; GET and DELETE for the handshake era's sessions.

Source: 2026-07-28 and 2025-11-25, basic/transports/streamable-http. The request's own header decides the era; the body
has to agree. Of what methods mean, it is known here that `initialize` opens a session and that listening takes events.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

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
from gateway.frontend.body import (
    NO_BATCHES,
    check_batch,
    check_size,
    messages_of,
    unusual_messages_of,
)
from gateway.frontend.call_response import EVENTS, CallResponse, EventStream
from gateway.frontend.http_head import field_lines
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.post_head import Form, Http, form_of
from gateway.frontend.relay import Forward
from gateway.frontend.replies import reply_failure, reply_json, status_of
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
    Era,
)
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent, OnNotification, carries_envelope, modern_agent

log = structlog.stdlib.get_logger("gateway.frontend")

Handler = Callable[[Call], Awaitable[dict[str, Any]]]

Work = Coroutine[Any, Any, object]

PRIMING_VERSION: Final = "2025-11-25"
"""The first revision whose clients know events without a message."""

RATE_LIMIT_HEADERS: Final = ("ratelimit-policy", "ratelimit")


class OnRefused(Protocol):
    def __call__(self, request: HttpRequest, error: GatewayError, status: int | None = None) -> None:
        """
        Args:
            status: of the answer, where that is another than the error's own.
        """
        ...


def _nobody(request: HttpRequest, error: GatewayError, status: int | None = None) -> None:
    """Is told."""


class Streamable:
    """The endpoint behind `/mcp` and `/mcp/{upstream}`.

    Args:
        handle: answers a request (the whole chain).
        in_flight: what bodies that arrive are counted by; `handle` counts what comes after.
        count_notification: counts what a principal says unasked against its limit; raises `RateLimited`.
        on_notification: told what an agent with a session says unasked.
        tasks: outlives any one request.
        waiting: counts what waits for clients.
        on_refused: told of each request that ended with an error before it became a call.
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
        on_refused: OnRefused = _nobody,
    ) -> None:
        self._settings = settings
        self._on_refused = on_refused
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
        request, cap = http.request, self._settings.max_request_bytes
        form: Form | None = request.head.form
        if form is None:
            form = request.head.form = form_of(request.head)
        if not request.whole:
            check_size(http.headers, cap)
            return self._post_when_read(http, form, cap)
        body = request.body_within(cap)
        usual = jsonrpc.usual_request(body)
        if usual is not None and form.is_modern and "id" in usual:
            return self._post_modern(http, form, usual)
        return self._post(http, form, usual or unusual_messages_of(body))

    async def _post_when_read(self, http: Http, form: Form, cap: int) -> None:
        with self._in_flight.held(http.principal):
            messages = messages_of(await http.request.read(cap))
        if (work := self._post(http, form, messages)) is not None:
            await work

    def _post(self, http: Http, form: Form, message: Message | list[object]) -> Work | None:
        if isinstance(message, list):
            return self._post_batch(http, form, message)
        if "method" not in message:
            return self._post_unanswered(http, form, message)
        if "id" not in message:
            return self._post_notification(http, form, message)
        if form.is_modern or carries_envelope(message.get("params")):
            return self._post_modern(http, form, message)
        if message["method"] == "initialize":
            return self._open_session(http, form, message)
        if form.session is None:
            return self._post_alone(http, form, message)
        session = self._sessions.get(form.session, http.principal, http.view)
        if session is None:
            return self._resume(http, partial(self._answer_in, http, form, message))
        return self._answer(http, form, message, session.agent, session)

    async def _post_notification(self, http: Http, form: Form, message: Message) -> None:
        await self._count_notification(http.principal, message["method"])
        if (work := self._post_unanswered(http, form, message)) is not None:
            await work

    def _post_unanswered(self, http: Http, form: Form, message: Message) -> Work | None:
        """A notification, or the answer to a question."""
        if form.is_modern or carries_envelope(message.get("params")):
            if "method" not in message:
                raise InvalidRequest("A response cannot be posted in 2026-07-28.")
            if Era.of(form.version or "") is not Era.MODERN:
                raise UnsupportedVersion(form.version or "")
            http.request.reply(202)  # the era has no client notifications; closing the stream cancels
        elif form.session is not None:
            session = self._session(http)
            if session is None:
                return self._resume(http, partial(self._take_up, http, message))
            self._take_up(http, message, session)
        else:
            _check_alone(form)
            http.request.reply(202)
        return None

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
        stream.open(also=session.header)
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

    async def _open_session(self, http: Http, form: Form, message: Message) -> None:
        try:
            session = self._sessions.open(http.principal, http.view, as_object(message.get("params")))
        except InvalidParams as error:
            self._on_refused(http.request, error, 200)
            reply_json(http.request, 200, jsonrpc.error(message["id"], error.code, error.message, error.data))
            return
        opened, response = False, self._response(http, form)

        def finish(answer: Message, status: int) -> None:
            nonlocal opened
            if opened := "result" in answer:
                self._sessions.opened(session)
                response.also = session.header
            response.finish(answer, status)

        try:
            await self._answer(http, form, message, session.agent, session, response, finish)
        finally:
            if not opened:
                with anyio.CancelScope(shield=True):
                    await self._sessions.discard(session)

    def _answer_in(self, http: Http, form: Form, message: Message, session: HandshakeSession) -> Work:
        return self._answer(http, form, message, session.agent, session)

    async def _post_batch(self, http: Http, form: Form, batch: list[object]) -> None:
        """Several messages at once, as 2025-03-26 has it: answered in one piece, or one by one on a stream."""
        if form.session is None:
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
        response = self._response(http, form, session)
        self._silence.watch(response)
        answers: list[Message] = []
        held = self._waiting.open(http.principal)

        def add(answer: Message, status: int) -> None:
            size = len(jsonrpc.dumps(answer))
            if held.has_room(size, must=True):
                held.add(size)
            else:
                error = Overloaded("the answers to this batch are too large together", "max_backlog_per_stream")
                answer = jsonrpc.error(answer["id"], error.code, error.message, error.data)
            answers.append(answer)

        try:
            async with anyio.create_task_group() as tg:
                for message in requests:
                    tg.start_soon(self._answer, http, form, message, session.agent, session, response, add)
        finally:
            self._silence.forget(response)
            held.clear()
        response.finish(answers)

    def _take_up(self, http: Http, message: Message, session: HandshakeSession) -> None:
        self._take(message, session, http.principal)
        http.request.reply(202)

    def _take(self, message: Message, session: HandshakeSession, sender: Principal) -> None:
        """A notification or a response; nobody is owed an answer."""
        method, params = message.get("method"), as_object(message.get("params"))
        if method is None:
            session.answer(message, sender)
        elif method == "notifications/cancelled":
            session.cancel(params.get("requestId"))
        else:
            self._tasks.start_soon(self._on_notification, session.agent, method, params)

    def _post_alone(self, http: Http, form: Form, message: Message) -> Work:
        """A request that belongs to no session, as plain HTTP tools send it: served on its own."""
        _check_alone(form)
        agent = ConnectedAgent(http.principal, http.view, DEFAULT_VERSION, lasting=False)
        return self._answer(http, form, message, agent)

    # --- Modern era -------------------------------------------------------------------------------------------------

    def _post_modern(self, http: Http, form: Form, message: Message) -> Work | None:
        try:
            agent = modern_agent(message, http.principal, http.view, http.headers, form.routing)
        except GatewayError as error:
            self._on_refused(http.request, error)
            reply_failure(http.request, error, message["id"])
            return None
        if message["method"] == "subscriptions/listen" and not form.streams:
            raise NotAcceptable("Accept must include text/event-stream.")
        return self._answer(http, form, message, agent)

    # --- Both -------------------------------------------------------------------------------------------------------

    async def _answer(
        self,
        http: Http,
        form: Form,
        message: Message,
        agent: ConnectedAgent,
        session: HandshakeSession | None = None,
        response: CallResponse | None = None,
        finish: Callable[[Message, int], None] | None = None,
    ) -> None:
        """Handle one request and send what comes of it.

        Args:
            response: what is said ahead of the answer goes there, …
            finish: … and here the answer, with its HTTP status; both to one of its own if these are None.
        """
        id, request, is_modern = message["id"], http.request, agent.era is Era.MODERN
        if response is None:
            response = self._response(http, form, session, id)
            self._silence.begin(response)
        params: dict[str, Any] = message.get("params") or {}
        call = Call(
            id,
            message["method"],
            params,
            agent,
            http.principal,
            response.notify,
            None,
            response.pause,
            request,
            http.headers if is_modern else None,
        )
        status = 200
        try:
            if session is not None:
                call.ask = partial(session.ask, response, call)
                session.begin(call)
            elif is_modern:
                request.on_gone = call.cancel
                if request.gone:
                    call.cancel()
            answer = jsonrpc.result(id, await self._handle(call))
        except GatewayError as error:
            _add_headers(response, error)
            code = error.code_in(agent.era)
            status = error.status if error.ends_exchange else status_of(code, agent.era)
            answer = jsonrpc.error(id, code, error.message, error.data)
        except Exception:
            log.exception("request failed", method=Clipped(call.method, 100))
            answer = jsonrpc.error(id, INTERNAL_ERROR, "Internal error")
        except BaseException:
            self._silence.forget(response)
            raise
        finally:
            request.on_gone = None
            if session is not None:
                call.ask = None
                session.end(call)
        if finish is None:
            response.finish(answer, status)
        else:
            finish(answer, status)

    def _response(
        self, http: Http, form: Form, session: HandshakeSession | None = None, request: RequestId | None = None
    ) -> CallResponse:
        streams, principal = form.streams, http.principal
        if session is None:
            return CallResponse(http.request, self._silence, {}, streams, self._waiting, principal)
        channel, prime = None, False
        if streams:
            channel = session.streams.open(principal, request)
            # Who names the type can read it; `*/*` is what plain HTTP tools send.
            prime = form.names_events and _primes(session.agent)
        return CallResponse(
            http.request, self._silence, {}, streams, self._waiting, principal, session.header, channel, prime
        )


def _check_alone(form: Form) -> None:
    """
    Raises:
        InvalidRequest: its client speaks of a session.
    """
    if form.version is not None:
        raise InvalidRequest("Mcp-Session-Id is missing. Open a session with initialize.")


def _add_headers(response: CallResponse, error: GatewayError) -> None:
    """What an error says of a rate limit stands in the place of what was left of another."""
    headers = dict(error.headers)
    if limit := [(name, headers.pop(name)) for name in RATE_LIMIT_HEADERS if name in headers]:
        response.request.rate_limit = field_lines(limit)
    response.headers.update(headers)


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
