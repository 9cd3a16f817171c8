"""Places that tenants (root principals) share: who may have one, and whose turn it is. Pure: no clock, no I/O.

The order is round robin between tenants, first come first served within one. But a fair order alone does not help who
comes when all places are taken for long. So one tenant never takes all of them: it may hold three times as many as it
leaves free (dynamic thresholds, Choudhury and Hahne 1998), which is three quarters if it is alone, three sevenths each
if they are two; and the last free place is for who has none. The same holds for the places in the queue.
"""

from collections import deque
from typing import Final, Generic, TypeVar

from gateway.request import ANONYMOUS

Ticket = TypeVar("Ticket")

SHARE: Final = 3
"""How many times as many places as are free one tenant may hold."""

ALL: Final = ""
"""The gateway itself, which may have all places."""
ALONE: Final = frozenset({ALL, ANONYMOUS.id})
"""Beside the anonymous principal there is nobody: authentication is off."""


class FairPlaces(Generic[Ticket]):
    """
    Args:
        limit: places there are; None for any number.
        queue: most tickets that wait; None for any number.
    """

    def __init__(self, limit: int | None, queue: int | None = None) -> None:
        self._limit = limit
        self._queue = queue
        self._taken = 0
        self._held: dict[str, int] = {}
        """Tenant → places it holds; none holds 0."""
        self._waiting: dict[str, deque[Ticket]] = {}
        """Tenant → its tickets. The first in this order has its turn first."""
        self.waiting = 0
        """Tickets in all."""

    def enter(self, tenant: str) -> bool:
        """Take a place now, if there is one for this tenant. It does not overtake its own tickets."""
        if self._waiting and tenant in self._waiting:
            return False
        held = self._held.get(tenant, 0)
        if self._limit is not None and not has_room(tenant, held, self._taken, self._limit):
            return False
        self._taken += 1
        self._held[tenant] = held + 1
        return True

    def wait(self, tenant: str, ticket: Ticket) -> bool:
        """Queue for a place; False if too many do."""
        own = self._waiting.get(tenant)
        if not has_room(tenant, len(own or ()), self.waiting, self._queue):
            return False
        if own is None:
            own = self._waiting[tenant] = deque()
        own.append(ticket)
        self.waiting += 1
        return True

    def withdraw(self, tenant: str, ticket: Ticket) -> None:
        """Wait no longer; nothing happens if the ticket was admitted already."""
        own = self._waiting.get(tenant)
        if own is not None and ticket in own:
            own.remove(ticket)
            self.waiting -= 1
            if not own:
                del self._waiting[tenant]

    def leave(self, tenant: str) -> list[Ticket]:
        """Give a place back. The tickets that were admitted in its stead, each of which holds a place now."""
        self._taken -= 1
        if (held := self._held[tenant] - 1) > 0:
            self._held[tenant] = held
        else:
            del self._held[tenant]
        return self._admit() if self._waiting else []

    def occupy(self, tenant: str) -> None:
        """Take a place whether there is one or not."""
        self._taken += 1
        self._held[tenant] = self._held.get(tenant, 0) + 1

    def resize(self, limit: int | None, queue: int | None) -> list[Ticket]:
        """From now on there are so many; the tickets that were admitted. Nobody loses a place that he has."""
        self._limit, self._queue = limit, queue
        return self._admit()

    def _admit(self) -> list[Ticket]:
        admitted: list[Ticket] = []
        while (tenant := next(filter(self._may_enter, self._waiting), None)) is not None:
            own = self._waiting.pop(tenant)
            admitted.append(own.popleft())
            self.waiting -= 1
            self.occupy(tenant)
            if own:
                self._waiting[tenant] = own  # behind all others
        return admitted

    def _may_enter(self, tenant: str) -> bool:
        return has_room(tenant, self._held.get(tenant, 0), self._taken, self._limit)


def has_room(tenant: str, own: int, taken: int, limit: int | None) -> bool:
    """Whether a tenant that has `own` of the `taken` places may have one more."""
    if limit is None:
        return True
    free = limit - taken
    return free > 0 and (not own or tenant in ALONE or (free > 1 and own < SHARE * free))
