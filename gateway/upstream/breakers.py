"""The breakers of one upstream: one for all, and one for each tenant. Pure: the clock is passed in.

What a tenant suffers may be his own doing: calls that must time out, a tool that answers with garbage. It opens his own
breaker, and nobody else's. The breaker for all opens when the connection itself fails as often, or when at least two
tenants fail and none succeeds (`Breaker.failed`).
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.upstream.breaker import Breaker, BreakerState

MAX_TENANTS: Final = 10_000
"""Most that are remembered. Who has asked nothing for longest is forgotten first, and starts over."""


class Breakers:
    """
    Args:
        make: makes a breaker that tells of its changes.
        on_change: `(whose, breaker)`, told what operators should know: changes of what all are subject to (`whose` is
            empty), and those for one tenant of several.
        on_shared: told of every change of the breaker for all.
    """

    def __init__(
        self,
        make: Callable[[Callable[[Breaker], None]], Breaker],
        on_change: Callable[[str, Breaker], None],
        on_shared: Callable[[Breaker], None] = lambda breaker: None,
    ) -> None:
        self._make = make
        self._on_change = on_change
        self._on_shared = on_shared
        self.shared = make(self._changed)
        """For all."""
        self.openings = 0
        """How often it has opened for all."""
        self._own: OrderedDict[str, Breaker] = OrderedDict()
        self._said = BreakerState.CLOSED

    def of(self, tenant: str) -> Breaker:
        """A tenant's own."""
        own = self._own.get(tenant)
        if own is None:
            own = self._own[tenant] = self._make(self._changed)
            if len(self._own) == 2:
                self._said = self.shared.state  # what the only one did is no longer what befalls all
            elif len(self._own) > MAX_TENANTS:
                self._own.popitem(last=False)
        elif len(self._own) > 1:
            self._own.move_to_end(tenant)
        return own

    @property
    def shown(self) -> Breaker:
        """What applies to all. Where there is but one tenant, his own does."""
        if self.shared.state is BreakerState.CLOSED and len(self._own) == 1:
            return next(iter(self._own.values()))
        return self.shared

    def renewed(self) -> None:
        """There is a new connection: see `Breaker.renewed`."""
        for breaker in (self.shared, *self._own.values()):
            breaker.renewed()

    def _changed(self, breaker: Breaker) -> None:
        if breaker is self.shared:
            self._on_shared(breaker)
        if breaker is not self.shared and len(self._own) > 1:
            self._on_change(" for one principal", breaker)
            return
        shown = self.shown
        if shown.state is not self._said:
            self.openings += self._said is BreakerState.CLOSED
            self._said = shown.state
            self._on_change("", shown)
