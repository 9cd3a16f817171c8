"""What the breakers give one attempt at an upstream: let through or not, and what its outcome says of the upstream.

A request passes the breaker of its tenant and that of all (`breakers.py`). For all counts what no tenant can bring
about by what he asks: that the connection itself failed. That a call timed out does not.

A connection that one client has to itself has a breaker of its own beside these. What that client suffers may be its
own doing (a process of its own that it has wedged, a session that only it broke), so it opens its own breaker after as
many failures as ever, but counts only once with the others, until anybody is answered. When as many clients fail as
failures are allowed, and nobody succeeds, it is the upstream, and the breaker of their tenant opens, or of all.
"""

import asyncio
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Self

import msgspec

from gateway.errors import (
    CircuitOpen,
    GatewayError,
    UpstreamLost,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.upstream.breaker import Breaker, BreakerState, Permit
from gateway.upstream.breakers import Breakers
from gateway.upstream.link import Link, reason_of

if TYPE_CHECKING:
    from gateway.call import Call
    from gateway.upstream.session import UpstreamSession


class BreakerPermit(msgspec.Struct, eq=False):
    """One attempt."""

    _link: Link
    _tenant: str
    """Whom the request is for."""
    _call: "Call | None"
    """What the attempt is made for; None where somebody only wants the connection."""
    _admitted_by: Sequence[tuple[Breaker, Permit]]
    """The breakers that let it through, that of all last, and what they gave it."""
    session: "UpstreamSession | None" = None
    """What the request is sent on, once that is known."""

    @classmethod
    def of(cls, link: Link, breakers: Breakers, tenant: str, call: "Call | None" = None) -> Self:
        """
        Raises:
            CircuitOpen: a breaker is open.
        """
        own, shared = breakers.of(tenant), breakers.shared
        if link.breaker is None and own.state is BreakerState.CLOSED is shared.state:
            return cls(link, tenant, call, ((own, own.term), (shared, shared.term)))  # as nearly always
        now, passed = asyncio.get_running_loop().time(), list[tuple[Breaker, Permit]]()
        permit = cls(link, tenant, call, passed)
        for breaker in (own, shared) if link.breaker is None else (link.breaker, own, shared):
            given = breaker.admit(now, tenant)
            if given is None:
                permit.abandon()
                raise CircuitOpen(link.upstream, breaker.reason, breaker.retry_after(now, tenant) or 0.0)
            passed.append((breaker, given))
        return permit

    def passed(self) -> None:
        """The upstream has said something on behalf of the request; it need not be the answer."""
        for breaker, given in self._admitted_by:
            if breaker.is_troubled:
                breaker.passed(given)

    def failed(self, error: GatewayError) -> None:
        """The attempt ended with that error, which may say that the upstream works."""
        if error.is_answer:
            self.passed()
        elif error.counts_for_breaker and not self._waits_for_agent(error):
            reason, now = reason_of(error, self._link.upstream), asyncio.get_running_loop().time()
            may_be_his_own = self._link.breaker is not None or not self._is_of_connection(error)
            shared = self._admitted_by[-1][0]
            for breaker, given in self._admitted_by:
                tenant = self._tenant if breaker is shared and may_be_his_own else None
                breaker.failed(given, now, reason, self._cause(breaker), tenant)
        else:
            self.abandon()

    def abandon(self) -> None:
        """What became of it says nothing of the upstream."""
        for breaker, given in self._admitted_by:
            breaker.abandoned(given, self._tenant)

    def _is_of_connection(self, error: GatewayError) -> bool:
        """Whether there is no connection, or it broke with all that was on it."""
        if isinstance(error, UpstreamLost):
            return not error.delivered or (self.session is not None and self.session.connection.closed is not None)
        return isinstance(error, UpstreamUnavailable)

    def _waits_for_agent(self, error: GatewayError) -> bool:
        return self._call is not None and self._call.questions > 0 and isinstance(error, UpstreamTimeout)

    def _cause(self, breaker: Breaker) -> Hashable:
        if self._link.breaker not in (None, breaker):
            return self._link  # see above: one client counts once
        if self.session is not None and self.session.connection.closed is not None:
            return self.session.connection
        return object()
