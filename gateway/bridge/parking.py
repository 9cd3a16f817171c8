"""Calls of modern agents at handshake-era upstreams, parked while a question of the upstream's is with the agent.

The upstream asks live and waits; the agent is answered `input_required`, and what it brings with its retry goes to the
call that still waits. A parked call that nobody comes back for is cancelled upstream.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Final, Self

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.bridge import questions
from gateway.bridge.state import StateSeal
from gateway.bridge.timing import USUAL, BridgeTiming
from gateway.call import Call
from gateway.errors import AgentCannot, AgentGone, GatewayError, InternalError, InvalidRequestState, TooManyParked
from gateway.jsonrpc import as_object
from gateway.protocol import INPUT_REQUIRED, Era
from gateway.request import Agent

log = structlog.stdlib.get_logger("gateway.bridge")

MAX_PARKED: Final = 1000
MAX_PARKED_EACH: Final = 100
"""Most parked calls in all, and of one principal with all its agents."""
MAX_PARKED_BYTES: Final = 128 << 20
MAX_PARKED_BYTES_EACH: Final = 32 << 20
"""Most bytes of what they were called with and of the questions they wait with, counted likewise. One alone may have
more."""
MAX_ASKED: Final = 100
"""Most questions of one call that wait for answers at a time."""
MAX_ASKED_BYTES: Final = 128 << 20
MAX_ASKED_BYTES_EACH: Final = 32 << 20
"""Most bytes of the questions that wait, also those of calls that are not parked yet, counted likewise. One alone may
have more."""

Run = Callable[["ParkedCall"], Awaitable[dict[str, Any]]]


class _Question:
    def __init__(self, method: str, params: dict[str, Any]) -> None:
        self.content = {"method": method, "params": params} if params else {"method": method}
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()


def _numbers() -> Iterator[int]:
    return count(1)


class Asked:
    """Bytes of the questions that wait for answers, of all calls."""

    def __init__(self) -> None:
        self._total = 0
        self._of = Counter[str]()

    @contextmanager
    def held(self, root: str, size: int) -> Generator[None]:
        """Room for one of a principal's.

        Raises:
            AgentCannot: there is none.
        """
        own = self._of[root]
        if (own and own + size > MAX_ASKED_BYTES_EACH) or (self._total and self._total + size > MAX_ASKED_BYTES):
            raise AgentCannot("too much waits for answers already")
        self._total += size
        self._of[root] += size
        try:
            yield
        finally:
            self._total -= size
            self._of[root] -= size
            if not self._of[root]:
                del self._of[root]


class ParkedCall(Call, eq=False, kw_only=True):
    """One call at the upstream, over as many of the agent's as it takes to answer what is asked."""

    request: Call | None
    """The agent's call that is being answered; None while this one is parked."""
    owner: str
    """Whom it counts for."""
    _client: Agent
    _asked: Asked
    _timing: BridgeTiming
    key: str = msgspec.field(default_factory=partial(secrets.token_urlsafe, 16))
    round: int = 0
    size: int = 0
    """Bytes that are kept for it while it is parked."""
    scope: anyio.CancelScope = msgspec.field(default_factory=anyio.CancelScope)
    expiry: asyncio.TimerHandle | None = None
    _own_size: int = 0
    _numbers: Iterator[int] = msgspec.field(default_factory=_numbers)
    _waiting: dict[str, _Question] = msgspec.field(default_factory=dict[str, _Question])
    _result: dict[str, Any] | GatewayError | None = None
    _changed: anyio.Event = msgspec.field(default_factory=anyio.Event)

    @classmethod
    def of(cls, request: Call, upstream: str, asked: Asked, timing: BridgeTiming = USUAL) -> Self:
        """
        Args:
            asked: what all calls have asked.
        """
        return cls(
            *(request.id, request.method, request.params, request.agent, request.principal, request.notify),
            mirrored_headers=request.mirrored_headers,
            upstream=upstream,
            trace=request.trace.apart() if request.trace is not None else None,
            request=request,
            owner=request.principal.root_id,
            _client=request.agent,
            _asked=asked,
            _timing=timing,
        )

    def on_notification(self, method: str, params: dict[str, Any] | None) -> None:
        """For the agent's call that is there; while this one is parked, for nobody."""
        self.spoken()
        if self.request is not None:
            self.request.on_notification(method, params)

    @property
    def can_be_asked(self) -> bool:
        return True

    def is_of(self, principals: Collection[str]) -> bool:
        return self.principal.is_one_of(principals)

    def attend(self, request: Call) -> None:
        """From now on this is what is being answered; what its agent declares now is what it can be asked."""
        self.request = request
        self._client = request.agent

    async def answer(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """
        Raises:
            AgentCannot: the agent did not declare that it can answer this, or has too much to answer.
        """
        questions.check(self._client, method, params or {})
        if len(self._waiting) >= MAX_ASKED:
            raise AgentCannot(f"{MAX_ASKED} questions of this call wait for answers already")
        question = _Question(method, questions.outgoing(method, params, Era.MODERN))
        with self._asked.held(self.owner, len(jsonrpc.dumps(question.content))):
            key = f"question-{next(self._numbers)}"
            self._waiting[key] = question
            self._wake()
            try:
                return await question.answer
            finally:
                self._waiting.pop(key, None)

    async def run(self, run: Run) -> None:
        """The call itself, from its beginning to its end."""
        try:
            with self.scope:
                self._result = await run(self)
        except GatewayError as error:
            self._result = error
        except Exception:
            log.exception("call failed", upstream=self.upstream)
            self._result = InternalError()
        finally:
            if self._result is None:
                self._result = AgentGone()
            self._wake()

    async def next(self) -> dict[str, Any] | None:
        """The result; or None when the upstream waits for answers.

        Raises:
            GatewayError: how the call failed.
        """
        while self._result is None:
            if asked := len(self._waiting):
                await anyio.sleep(self._timing.together_seconds)
                if len(self._waiting) == asked:
                    break
            else:
                self._changed = anyio.Event()
                await self._changed.wait()
        if isinstance(self._result, GatewayError):
            raise self._result
        return self._result

    def pending(self) -> dict[str, Any]:
        """The questions that wait for an answer, as `inputRequests`."""
        return {key: question.content for key, question in self._waiting.items()}

    def weigh(self) -> None:
        """Find out its size. What it was called with, it is parked with from the first time to the last."""
        self._own_size = self._own_size or len(jsonrpc.dumps(self.params))
        self.size = self._own_size + len(jsonrpc.dumps(self.pending()))

    def take_answers(self, responses: dict[str, Any]) -> None:
        """Give the answers there are; what has none stays asked."""
        for key, question in list(self._waiting.items()):
            if isinstance(responses.get(key), dict) and not question.answer.done():
                question.answer.set_result(responses[key])
                del self._waiting[key]

    def _wake(self) -> None:
        self._changed.set()


class Parking:
    """All such calls. Use `run` beside them: it owns their tasks.

    Args:
        node: where they wait, as other nodes know it.
    """

    def __init__(self, seal: StateSeal, node: str = "", timing: BridgeTiming = USUAL) -> None:
        self._seal = seal
        self._timing = timing
        self.node = node
        self._calls: dict[str, ParkedCall] = {}
        self._asked = Asked()
        self._tasks: TaskGroup | None = None

    @property
    def parked(self) -> int:
        """How many wait for their agents."""
        return sum(call.request is None for call in self._calls.values())

    async def run(self) -> None:
        """The owner of all calls. Ends by cancellation."""
        async with anyio.create_task_group() as self._tasks:
            await anyio.sleep_forever()

    async def start(self, request: Call, upstream: str, run: Run) -> dict[str, Any]:
        """Begin a call; returns its result, or the upstream's questions.

        Raises:
            GatewayError: how the call failed.
        """
        assert self._tasks is not None
        call = ParkedCall.of(request, upstream, self._asked, self._timing)
        self._calls[call.key] = call
        self._tasks.start_soon(call.run, run)
        return await self._attend(call, request)

    async def resume(self, id: object, round: object, request: Call) -> dict[str, Any]:
        """Go on with a parked call: the agent came back with answers.

        Raises:
            InvalidRequestState: it does not wait here, or no longer at that round.
            GatewayError: how the call failed.
        """
        call = self._calls.get(str(id))
        if call is None:
            raise InvalidRequestState(
                "The call that this requestState continues does not wait here: it expired, has ended, or waits at "
                "another node. Start the request again, without it."
            )
        if call.round != round or call.request is not None:
            raise InvalidRequestState("This requestState was used already. Start the request again, without it.")
        if call.expiry is not None:
            call.expiry.cancel()
        if request.trace is not None:
            request.trace.resume(call.trace)
        call.take_answers(as_object(request.params.get("inputResponses")))
        return await self._attend(call, request)

    def end_those_of(self, principals: Collection[str]) -> None:
        """Cancel the parked calls of principals (ids) that are no longer good, and of their agents. What is under way
        ends by itself."""
        self._end([call for call in self._calls.values() if call.is_of(principals)])

    def end_all(self) -> None:
        """Cancel all parked calls: the gateway stops, and nobody can come back for them."""
        self._end([*self._calls.values()])

    def _end(self, calls: Iterable[ParkedCall]) -> None:
        for call in calls:
            if call.request is None:
                self._drop(call)

    async def _attend(self, call: ParkedCall, request: Call) -> dict[str, Any]:
        call.attend(request)
        try:
            result = await call.next()
        except BaseException:  # it failed, or the agent left, which cancels it
            self._drop(call)
            raise
        if result is None:
            return self._park(call, request)
        request.result_bytes = call.result_bytes
        self._drop(call)
        return result

    def _park(self, call: ParkedCall, request: Call) -> dict[str, Any]:
        call.weigh()
        parked = [other for other in self._calls.values() if other.request is None]
        own = [other for other in parked if other.owner == call.owner]
        for some, cap, max_bytes in (
            (parked, MAX_PARKED, MAX_PARKED_BYTES),
            (own, MAX_PARKED_EACH, MAX_PARKED_BYTES_EACH),
        ):
            if len(some) >= cap or (some and sum(other.size for other in some) + call.size > max_bytes):
                self._drop(call)
                raise TooManyParked(len(some))
        if request.trace is not None:
            request.trace.event("parked")
        call.request = None
        call.round += 1
        call.expiry = asyncio.get_running_loop().call_later(self._timing.lifetime_seconds, self._expire, call)
        content = {"call": call.key, "round": call.round, "node": self.node}
        state = self._seal.seal(content, request, call.upstream or "")
        return {"resultType": INPUT_REQUIRED, "inputRequests": call.pending(), "requestState": state}

    def _expire(self, call: ParkedCall) -> None:
        log.info("parked call expired", upstream=call.upstream, principal=call.principal.id)
        self._drop(call)

    def _drop(self, call: ParkedCall) -> None:
        """Forget a call; if it still runs, cancel it upstream."""
        self._calls.pop(call.key, None)
        if call.expiry is not None:
            call.expiry.cancel()
        call.scope.cancel()
