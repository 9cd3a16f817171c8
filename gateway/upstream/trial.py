"""One attempt at an upstream, as its breakers see it: let through or not, and what its outcome says of the upstream.

A connection that one client has to itself has a breaker of its own beside the upstream's. What that client suffers may
be its own doing (a process of its own that it has wedged, a session that only it broke), so it opens its own breaker
after as many failures as ever, but counts only once with the upstream's, until anybody is answered. When as many
clients fail as failures are allowed, and nobody succeeds, it is the upstream, and the breaker of all opens.
"""

import asyncio
from collections.abc import Hashable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from gateway.errors import (
    CircuitOpen,
    GatewayError,
    UpstreamError,
    UpstreamLost,
    UpstreamOversized,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.upstream.breaker import Breaker, Permit
from gateway.upstream.calls import Dropped, Refused, RefusedError
from gateway.upstream.link import Link, reason_of

if TYPE_CHECKING:
    from gateway.upstream.session import Session

UNABLE: Final = frozenset({502, 503, 504})
"""HTTP statuses that say of the upstream, not of the request, that it does not work now."""


class Trial:
    """One attempt; a context manager around it.

    Args:
        shared: the upstream's breaker.

    Raises:
        CircuitOpen: on entering; a breaker is open.
    """

    def __init__(self, link: Link, shared: Breaker) -> None:
        self._link = link
        self._breakers = [shared] if link.breaker is None else [link.breaker, shared]
        self._permits: list[tuple[Breaker, Permit]] = []
        self.session: Session | None = None
        """What the request is sent on, once that is known."""
        self.questions = 0
        """How many of the upstream's questions the agent has yet to answer."""

    def __enter__(self) -> "Trial":
        now = _now()
        for breaker in self._breakers:
            permit = breaker.admit(now)
            if permit is None:
                self._abandon()
                raise CircuitOpen(self._link.upstream, breaker.reason, breaker.retry_after(now) or 0.0)
            self._permits.append((breaker, permit))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or is_answer(error):
            self.alive()
        elif isinstance(error, GatewayError) and is_failure(error) and not self._waits_for_agent(error):
            reason = reason_of(error, self._link.upstream)
            for breaker, permit in self._permits:
                breaker.failed(permit, _now(), reason, self._cause(breaker))
        else:
            self._abandon()

    def alive(self) -> None:
        """The upstream has said something on behalf of the request; it need not be the answer."""
        for breaker, permit in self._permits:
            breaker.passed(permit)

    def _abandon(self) -> None:
        for breaker, permit in self._permits:
            breaker.abandoned(permit)

    def _waits_for_agent(self, error: GatewayError) -> bool:
        return self.questions > 0 and isinstance(error, UpstreamTimeout)

    def _cause(self, breaker: Breaker) -> Hashable:
        if self._link.breaker not in (None, breaker):
            return self._link  # see above: one client counts once
        if self.session is not None and self.session.connection.closed is not None:
            return self.session.connection
        return object()


def is_answer(error: BaseException) -> bool:
    """Whether the upstream answered, though not with what was wished for. A client's mistake ends so."""
    if isinstance(error, Refused):
        return error.status < 500
    if isinstance(error, RefusedError):
        return error.status not in UNABLE  # an error of the request's own often comes with a 500
    return isinstance(error, UpstreamError | UpstreamOversized)


def is_failure(error: GatewayError) -> bool:
    """Whether it is the upstream's doing that there is no answer."""
    if isinstance(error, Dropped):
        return False
    kinds = UpstreamLost | UpstreamTimeout | UpstreamUnavailable | UpstreamProtocolError | RefusedError
    return isinstance(error, kinds) and not is_answer(error)


def _now() -> float:
    return asyncio.get_running_loop().time()
