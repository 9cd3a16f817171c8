"""One attempt at an upstream, as its breakers see it: let through or not, and what its outcome says of the upstream.

A request passes the breaker of its tenant and that of all (`breakers.py`). For all counts what no tenant can bring
about by what he asks: that the connection itself failed. That a call timed out does not.

A connection that one client has to itself has a breaker of its own beside these. What that client suffers may be its
own doing (a process of its own that it has wedged, a session that only it broke), so it opens its own breaker after as
many failures as ever, but counts only once with the others, until anybody is answered. When as many clients fail as
failures are allowed, and nobody succeeds, it is the upstream, and the breaker of their tenant opens, or of all.
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
from gateway.upstream.breakers import Breakers
from gateway.upstream.calls import Dropped, Refused, RefusedError
from gateway.upstream.link import Link, reason_of

if TYPE_CHECKING:
    from gateway.upstream.session import Session

UNABLE: Final = frozenset({502, 503, 504})
"""HTTP statuses that say of the upstream, not of the request, that it does not work now."""


class Trial:
    """One attempt; a context manager around it.

    Args:
        breakers: the upstream's.
        tenant: whom the request is for.

    Raises:
        CircuitOpen: on entering; a breaker is open.
    """

    def __init__(self, link: Link, breakers: Breakers, tenant: str) -> None:
        self._link = link
        self._tenant = tenant
        self._shared = breakers.shared
        own = breakers.of(tenant)
        self._breakers = [own, self._shared] if link.breaker is None else [link.breaker, own, self._shared]
        self._permits: list[tuple[Breaker, Permit]] = []
        self.session: Session | None = None
        """What the request is sent on, once that is known."""
        self.questions = 0
        """How many of the upstream's questions the agent has yet to answer."""

    def __enter__(self) -> "Trial":
        now = _now()
        for breaker in self._breakers:
            permit = breaker.admit(now, self._tenant)
            if permit is None:
                self._abandon()
                wait = breaker.retry_after(now, self._tenant) or 0.0
                raise CircuitOpen(self._link.upstream, breaker.reason, wait)
            self._permits.append((breaker, permit))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or is_answer(error):
            self.alive()
        elif isinstance(error, GatewayError) and is_failure(error) and not self._waits_for_agent(error):
            reason = reason_of(error, self._link.upstream)
            may_be_his_own = self._link.breaker is not None or not self._is_of_connection(error)
            for breaker, permit in self._permits:
                tenant = self._tenant if breaker is self._shared and may_be_his_own else None
                breaker.failed(permit, _now(), reason, self._cause(breaker), tenant)
        else:
            self._abandon()

    def alive(self) -> None:
        """The upstream has said something on behalf of the request; it need not be the answer."""
        for breaker, permit in self._permits:
            breaker.passed(permit)

    def _abandon(self) -> None:
        for breaker, permit in self._permits:
            breaker.abandoned(permit, self._tenant)

    def _is_of_connection(self, error: GatewayError) -> bool:
        """Whether there is no connection, or it broke with all that was on it."""
        if isinstance(error, UpstreamLost):
            return not error.delivered or (self.session is not None and self.session.connection.closed is not None)
        return isinstance(error, UpstreamUnavailable)

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
