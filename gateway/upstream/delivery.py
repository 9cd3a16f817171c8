"""One request's way over a link: past the breakers, by its deadline, and once more where that is safe."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio

from gateway.config.models import ServerConfig
from gateway.errors import CircuitOpen, GatewayError, UpstreamLost
from gateway.upstream import retry
from gateway.upstream.breakers import Breakers
from gateway.upstream.calls import Asker, Dropped, Refused, RefusedError, SessionLost
from gateway.upstream.link import Link
from gateway.upstream.trial import UNABLE, Trial

if TYPE_CHECKING:
    from gateway.upstream.calls import CallOptions
    from gateway.upstream.session import Session


@dataclass(frozen=True, slots=True)
class Errand:
    """A request and what is said along with it; see `Session.forward`."""

    method: str
    params: Mapping[str, Any]
    capabilities: Mapping[str, Any] | None = None
    log_level: str | None = None
    headers: Mapping[str, str] | None = None


@dataclass(slots=True)
class Deadline:
    """When a request must be answered, whatever of that time goes by before it is sent. In seconds."""

    timeout: float
    """Without progress, which starts it anew."""
    max_timeout: float
    """Whatever progress is shown."""
    began: float
    """In the event loop's time."""

    @classmethod
    def after(cls, timeout: float, max_timeout: float) -> "Deadline":
        return cls(timeout, max_timeout, _now())

    def spent(self) -> float:
        return _now() - self.began

    def left(self) -> float:
        return max(0.0, self.timeout - self.spent())

    def put_off(self, seconds: float) -> None:
        self.began += seconds


class Delivery:
    """Carries the requests to one upstream.

    Args:
        breakers: the upstream's.
        tool: its description of a tool, by its own name.
        suspect: told of a link on which a request could not be delivered, though it seems to be up.
    """

    def __init__(
        self,
        config: ServerConfig,
        breakers: Breakers,
        tool: Callable[[str], Mapping[str, Any] | None],
        suspect: Callable[[Link], None],
    ) -> None:
        self._breakers = breakers
        self.retries = 0
        """How many requests were sent once more."""
        self._config = config
        self._tool = tool
        self._suspect = suspect
        self._budget = retry.RetryBudget()

    async def carry(self, errand: Errand, link: Link, options: "CallOptions", deadline: Deadline) -> dict[str, Any]:
        """The raw result.

        Raises:
            CircuitOpen: the upstream, or this link, has failed too often.
            GatewayError: the upstream's own error, or why there is no answer.
        """
        self._budget.requested(_now())
        witness = Witness(options)
        failure: GatewayError | None = None
        for attempt in count(1):
            try:
                return await self._attempt(errand, link, witness, deadline, is_first=attempt == 1)
            except CircuitOpen as refusal:
                raise failure or refusal from None
            except GatewayError as error:
                if attempt == retry.MAX_ATTEMPTS or witness.spoke or not self._may_repeat(errand, error):
                    raise
                failure = error
            wait = retry.delay(attempt, random.random())  # noqa: S311 - jitter is no secret
            if wait >= deadline.left() or not self._budget.take(_now()):
                raise failure
            self.retries += 1
            await anyio.sleep(wait)
        raise AssertionError  # `count` does not end

    async def reach(self, link: Link, tenant: str) -> "Session":
        """The session, as soon as there is one.

        Raises:
            CircuitOpen, UpstreamUnavailable: there is none.
        """
        link.check()
        with Trial(link, self._breakers, tenant):
            return await link.ready(self._config.connect_timeout)

    async def _attempt(
        self, errand: Errand, link: Link, witness: "Witness", deadline: Deadline, *, is_first: bool
    ) -> dict[str, Any]:
        link.check()  # while it backs off, it knows better than the breaker when it is tried again
        with Trial(link, self._breakers, witness.options.get("root", "")) as trial:
            witness.trial = trial
            trial.session = link.current() or await self._connected(link, deadline, is_first=is_first)
            try:
                return await self._send(errand, link, trial.session, witness, deadline)
            except SessionLost as lost:
                # If the session was refused, the request was not acted on, and is sent on a new one.
                if (lost.delivered or witness.spoke) and not self._is_repeatable(errand):
                    raise
            trial.session = await link.ready(min(self._config.connect_timeout, deadline.left()), after=trial.session)
            return await self._send(errand, link, trial.session, witness, deadline)

    async def _connected(self, link: Link, deadline: Deadline, *, is_first: bool) -> "Session":
        """Starting an upstream takes what it takes (`connect_timeout`), which is no part of its time to answer."""
        if not is_first:
            return await link.ready(min(self._config.connect_timeout, deadline.left()))
        began = _now()
        session = await link.ready(self._config.connect_timeout)
        deadline.put_off(_now() - began)
        return session

    async def _send(
        self, errand: Errand, link: Link, session: "Session", witness: "Witness", deadline: Deadline
    ) -> dict[str, Any]:
        options: CallOptions = {
            **witness.options,
            "timeout": deadline.timeout,
            "max_timeout": deadline.max_timeout,
            "spent": deadline.spent(),
        }
        try:
            return await session.forward(
                errand.method,
                errand.params,
                options,
                capabilities=errand.capabilities,
                log_level=errand.log_level,
                headers=errand.headers,
            )
        except UpstreamLost as error:
            if not error.delivered and session.connection.closed is None:
                self._suspect(link)
            raise

    def _may_repeat(self, errand: Errand, error: GatewayError) -> bool:
        if isinstance(error, SessionLost | Dropped):
            return False  # it was repeated already; or we have hung up ourselves
        if isinstance(error, UpstreamLost) and not error.delivered:
            return True
        is_transient = isinstance(error, UpstreamLost) or (
            isinstance(error, Refused | RefusedError) and error.status in UNABLE
        )
        return is_transient and self._is_repeatable(errand)

    def _is_repeatable(self, errand: Errand) -> bool:
        return retry.is_repeatable(errand.method, errand.params, self._trusted(errand))

    def _trusted(self, errand: Errand) -> Mapping[str, Any] | None:
        """The tool that is called, if its annotations are to be believed."""
        if errand.method != "tools/call" or not self._config.trust_annotations:
            return None
        return self._tool(str(errand.params.get("name")))


class Witness:
    """Hears what an upstream says on behalf of one request, and passes it on. Is an `Asker` for it, if it has one."""

    def __init__(self, options: "CallOptions") -> None:
        self.spoke = False
        """Whether the agent has heard anything of the request, or was asked something for it; it must not be twice."""
        self.trial: Trial | None = None
        self.options: CallOptions = {**options}
        if (notify := options.get("on_notification")) is not None:
            self._notify = notify
            self.options["on_notification"] = self._on_notification
        if (asker := options.get("asker")) is not None:
            self._asker: Asker = asker
            self.options["asker"] = self

    @property
    def agent(self) -> str:
        return self._asker.agent

    async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        self._on_word()
        trial = self.trial
        assert trial is not None
        trial.questions += 1
        try:
            return await self._asker.ask(method, params)
        finally:
            trial.questions -= 1

    def _on_notification(self, method: str, params: dict[str, Any] | None) -> None:
        self._on_word()
        self._notify(method, params)

    def _on_word(self) -> None:
        self.spoke = True
        if self.trial is not None:
            self.trial.alive()


def _now() -> float:
    return asyncio.get_running_loop().time()
