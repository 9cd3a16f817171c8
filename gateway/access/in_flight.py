"""How many requests may be in flight: of one principal, and of all together. Bookkeeping, without a clock or I/O.

A request counts while its body arrives and while it is answered. Listen streams do not: they last, and have places of
their own (`frontend/places.py`). Agents with tokens of their own count for whoever is behind them.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from gateway.errors import Overloaded, TooManyRequests
from gateway.request import ANONYMOUS, Principal


class InFlight:
    """
    Args:
        cap_each: most requests of one principal, so that one cannot take all there are.
        observe: `(limit, allowed)`, told of refusals.
    """

    def __init__(self, cap: int, cap_each: int, observe: Callable[[str, bool], None]) -> None:
        self._cap = cap
        self._cap_each = cap_each
        self._observe = observe
        self._count: dict[str, int] = {}
        self.total = 0

    def take(self, principal: Principal) -> None:
        """
        Raises:
            TooManyRequests: of this principal.
            Overloaded: of all together.
        """
        if self.total >= self._cap:
            self._observe("in_flight", False)
            raise Overloaded(f"{self._cap} requests are in flight", "max_requests")
        root = principal.root_id
        count = self._count.get(root, 0)
        if count >= self._cap_each and principal != ANONYMOUS:
            self._observe("in_flight_principal", False)
            raise TooManyRequests(self._cap_each)
        self._count[root] = count + 1
        self.total += 1

    def give(self, principal: Principal) -> None:
        """Give back what the principal took."""
        root, self.total = principal.root_id, self.total - 1
        if (count := self._count[root] - 1) > 0:
            self._count[root] = count
        else:
            del self._count[root]

    @contextmanager
    def held(self, principal: Principal) -> Generator[None]:
        """Count one request for as long as the block runs."""
        self.take(principal)
        try:
            yield
        finally:
            self.give(principal)
