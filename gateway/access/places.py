"""How many connections agents may hold open: sessions, legacy event streams, listen streams. Pure bookkeeping.

All count alike, whatever their era: each is an agent that stays. Agents with tokens of their own count for whoever is
behind them, or registering some would be a way around the cap.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from gateway.errors import TooManySessions
from gateway.request import ANONYMOUS, Principal


class SessionQuota:
    """
    Args:
        cap_each: most places of one principal, so that one cannot keep the others out.
    """

    def __init__(self, cap: int, cap_each: int) -> None:
        self._cap = cap
        self._cap_each = cap_each
        self._taken = Counter[str]()
        self.total = 0

    def take(self, principal: Principal) -> None:
        """
        Raises:
            TooManySessions: the cap is reached.
        """
        if self.total >= self._cap:
            raise TooManySessions(self._cap, "max_sessions")
        if principal != ANONYMOUS and self._taken[principal.root_id] >= self._cap_each:
            raise TooManySessions(self._cap_each, "max_sessions_per_principal")
        self._taken[principal.root_id] += 1
        self.total += 1

    def give(self, principal: Principal) -> None:
        """Give back what the principal took."""
        self._taken[principal.root_id] -= 1
        self.total -= 1
        if not self._taken[principal.root_id]:
            del self._taken[principal.root_id]

    @contextmanager
    def held(self, principal: Principal) -> Generator[None]:
        """A place for as long as the block runs."""
        self.take(principal)
        try:
            yield
        finally:
            self.give(principal)
