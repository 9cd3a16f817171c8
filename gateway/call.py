"""One request of an agent, from its first byte to its answer: everything that is known of it stands here.

A front makes the call, `pipeline` answers it. The upstream that works on it says and asks things on its behalf through
the same object, so that whoever wants to know what became of it asks nobody else.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from gateway import request_id
from gateway.errors import GatewayError, InvalidParams, RequestCancelled
from gateway.jsonrpc import RequestId, as_object
from gateway.protocol import Era
from gateway.request import Agent, Ask, Notify, Principal, as_agent_knows, wants

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
LASTING_PREFIX: Final = "lasting-"
"""What progress tokens begin with that are good for longer than their request."""


class ClientRequester(Protocol):
    """Takes what an upstream asks on behalf of a call (sampling, elicitation, roots) to whoever sent it."""

    async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """The agent's result.

        Raises:
            GatewayError: it has none; what the upstream is to be told instead.
        """
        ...


class AttemptPermit(Protocol):
    """What the breakers gave an attempt at an upstream."""

    def passed(self) -> None:
        """The upstream has said something on behalf of the call; it need not be the answer."""
        ...


class PausableLease(Protocol):
    """The call's place among those that its upstream works on."""

    def release(self) -> None:
        """The attempt is over."""
        ...

    def pause(self) -> None:
        """The upstream waits for somebody: the place is others' meanwhile."""
        ...

    def resume(self) -> None: ...


class Trace(Protocol):
    """The spans of one call: see `telemetry.spans`."""

    trace_id: str
    """32 hexadecimal digits."""
    is_sampled: bool

    def event(self, name: str, attributes: Mapping[str, str | int | float] | None = None) -> None: ...
    def question(self, method: str) -> None:
        """The upstream asks something."""
        ...

    def send(
        self, upstream: str, version: str, params: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """An attempt at an upstream begins; returns its parameters and headers, with the context."""
        ...

    def answered(self, id: RequestId, answer: asyncio.Future[dict[str, Any]]) -> None:
        """The attempt is over, with or without an answer."""
        ...

    def apart(self) -> "Trace":
        """For what may go on when the call has been answered."""
        ...

    def resume(self, parked: "Trace | None") -> None:
        """The call goes on with what another began."""
        ...

    def end(self, call: "Call") -> None: ...


class LoggedLine(Protocol):
    """A line of the access log that has yet to be written."""

    bytes_out: int | None
    """How many bytes the answer's body has."""


class HttpExchange(Protocol):
    """What logs want to know of the HTTP request that a call came by."""

    id: str
    """What it is called in logs, and in its answer's `X-Request-Id`."""
    logged: LoggedLine | None
    """Is to say `bytes_out`, once the answer has been written."""
    rate_limit: str
    """Lines of its answer's head that say what the sender has left of a rate limit; they can be empty."""

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name."""
        ...

    @property
    def address(self) -> str: ...
    @property
    def received(self) -> int:
        """Bytes of its body."""
        ...


class Call(msgspec.Struct, eq=False):
    """One request of an agent's.

    A `Struct`, so that what most calls do not need costs nothing to have: it is constructed in C.
    """

    id: RequestId
    method: str
    params: dict[str, Any]
    agent: Agent
    principal: Principal
    """On whose behalf it is carried out, from its first byte to its answer: whose credential it came with."""
    notify: Notify
    """Sends a notification on the call's own stream; never blocks."""
    ask: Ask | None = None
    """Asks the agent something while the call is in progress; None where the era or the front has no way to."""
    pause: Callable[[], None] | None = None
    """Ends the connection, but not the stream, where the agent can come back for the rest."""
    http: HttpExchange | None = None
    """The HTTP request that it came by; None on other fronts."""
    agent_headers: Mapping[str, str] | None = None
    """Those that a modern agent sent, by lower-case name; None where there are none."""
    mirrored_headers: Mapping[str, str] = NO_HEADERS
    """HTTP headers that its upstream is sent besides: arguments that are mirrored into `Mcp-Param-*`."""
    began: float = msgspec.field(default_factory=time.perf_counter)
    upstream: str | None = None
    """The owner, once the catalogue has found it."""
    outcome: str = "cancelled"
    """What logs and metrics call what became of it."""
    code: int | None = None
    """The JSON-RPC code, if it failed."""
    result_bytes: int = 0
    """How large its upstream's answer was."""
    counted: bool = False
    """Whether it counts against the limits on requests in flight."""
    lasting_token: str | None = None
    """The progress token that its upstream gets, if progress goes on once it has been answered (a task)."""
    client_requester: ClientRequester | None = None
    """Answers what the upstream asks; None if nobody can."""
    spoke: bool = False
    """Whether the agent has heard anything of it, or was asked something for it. It is not sent again then."""
    questions: int = 0
    """How many of the upstream's questions the agent has yet to answer."""
    permit: AttemptPermit | None = None
    lease: PausableLease | None = None
    task: asyncio.Task[Any] | None = None
    """The task that answers it."""
    is_cancelled: bool = False
    """Whether its agent no longer waits for it."""
    received: int | None = None
    """Bytes of its message, on fronts that are not HTTP."""
    logged: LoggedLine | None = None
    """Its line of the access log, once there is one, which is to say `bytes_out` where no HTTP answer does."""
    trace: Trace | None = None
    """Its spans; None where it is not traced."""
    trace_id: str | None = None
    """32 hexadecimal digits, where it is traced."""
    queue_seconds: float = 0.0
    """How long it waited for a place at its upstream, or for the upstream's connection."""
    upstream_seconds: float = 0.0
    """How long its upstream took, all attempts together."""
    _request_id: str = ""
    _interrupted: GatewayError | None = None

    __repr__ = object.__repr__  # what it carries is nobody's but its agent's

    @property
    def request_id(self) -> str:
        """What it is called in logs; made when it is asked for, unless its HTTP request has a name."""
        if not self._request_id:
            self._request_id = self.http.id if self.http is not None and self.http.id else request_id.make()
        return self._request_id

    @property
    def view(self) -> str | None:
        return self.agent.view

    @property
    def era(self) -> Era:
        return self.agent.era

    @property
    def meta(self) -> dict[str, Any]:
        """`params._meta`, or an empty dict."""
        return as_object(self.params.get("_meta"))

    @property
    def progress_token(self) -> RequestId | None:
        meta = self.params.get("_meta")
        return meta.get("progressToken") if isinstance(meta, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    # --- What its upstream says and asks ------------------------------------------------------------------------------

    def on_notification(self, method: str, params: dict[str, Any] | None) -> None:
        """The upstream says something on behalf of the call: progress and wanted log messages go to the agent. Nothing
        else belongs to a request in either era; what does not, must not look as if it did."""
        self.spoken()
        if params is not None and "_meta" in params:
            params = as_agent_knows(self.agent, self.upstream, params)
        if method == "notifications/progress":
            token = self.progress_token
            if token is not None:
                self.notify(method, {**(params or {}), "progressToken": token})
        elif (method == "notifications/message" and wants(self.agent, params or {})) or (
            method == "notifications/elicitation/complete" and self.agent.era is Era.HANDSHAKE
        ):
            self.notify(method, params)

    async def put_question(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """The upstream asks something on behalf of the call. While the agent thinks, the call's place is others'.

        Raises:
            GatewayError: there is no answer; what the upstream is to be told instead.
        """
        self.spoken()
        if self.trace is not None:
            self.trace.question(method)
        lease = self.lease
        if lease is not None:
            lease.pause()
        self.questions += 1
        try:
            return await self.answer(method, params)
        finally:
            self.questions -= 1
            if lease is not None:
                lease.resume()

    async def answer(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """The agent's answer to a question; see `put_question`."""
        assert self.client_requester is not None
        return await self.client_requester.ask(method, params)

    @property
    def can_be_asked(self) -> bool:
        """Whether anybody answers what its upstream asks."""
        return self.client_requester is not None

    def spoken(self) -> None:
        """The upstream has said something on its behalf."""
        self.spoke = True
        if self.permit is not None:
            self.permit.passed()

    # --- Its end ------------------------------------------------------------------------------------------------------

    def interrupt(self, reason: GatewayError) -> None:
        """End it where it stands, with that answer. If nobody is at work on it yet, it is not begun."""
        if self._interrupted is None:
            self._interrupted = reason
            self.is_cancelled = isinstance(reason, RequestCancelled)
            if self.task is not None:
                self.task.cancel()

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.interrupt(RequestCancelled())

    def begin(self) -> None:
        """This task answers it.

        Raises:
            GatewayError: it was interrupted already.
        """
        self.task = asyncio.current_task()
        if self._interrupted is not None:
            raise self._take_interruption()

    def interruption(self) -> GatewayError | None:
        """Why it was cancelled, if that was an `interrupt` and nothing else. Asked once."""
        if self._interrupted is None or self.task is None or self.task.uncancel() > 0:
            return None
        return self._take_interruption()

    def _take_interruption(self) -> GatewayError:
        """An error that is raised refers to this call, which must not refer back."""
        assert self._interrupted is not None
        interruption, self._interrupted = self._interrupted, None
        return interruption


Answerer = Callable[[Call], Awaitable[dict[str, Any]]]


def string(params: Mapping[str, Any], key: str) -> str:
    """A parameter that must be text.

    Raises:
        InvalidParams: it is missing, or something else.
    """
    value = params.get(key)
    if not isinstance(value, str):
        raise InvalidParams(f"{key} must be a string")
    return value
