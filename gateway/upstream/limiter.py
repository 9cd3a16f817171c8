"""How many requests an upstream works on at a time, and how many may wait for their turn."""

import asyncio
import math
from dataclasses import dataclass

import anyio
import msgspec

from gateway.upstream.fair import ALL, FairPlaces


@dataclass(frozen=True, slots=True, eq=False)
class _Ticket:
    tenant: str
    turn: asyncio.Future[None]


class ConcurrencyLimiter:
    """A counted gate with a bounded queue, shared fairly between tenants (`fair.py`).

    Args:
        limit: requests at a time; None for any number.
        queue: requests that may wait; None for any number.
    """

    def __init__(self, limit: int | None, queue: int | None = None) -> None:
        self._places = FairPlaces[_Ticket](limit, queue)
        self.acquire_now = self._places.enter
        """`(tenant)`: takes a place, if there is one to be had without waiting; returns whether."""

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._places.waiting

    async def acquire(self, patience: float = math.inf, tenant: str = ALL) -> bool:
        """Take a place, waiting for one at most `patience` seconds. False, at once, when too many wait already."""
        if self._places.enter(tenant):
            return True
        ticket = _Ticket(tenant, asyncio.get_running_loop().create_future())
        if not self._places.wait(tenant, ticket):
            return False
        is_ours = False
        try:
            with anyio.move_on_after(patience):
                await ticket.turn
                is_ours = True
        finally:
            self._places.withdraw(tenant, ticket)
            if not is_ours and ticket.turn.done() and not ticket.turn.cancelled():
                self.release(tenant)  # it was handed to us in the moment in which we left
        return is_ours

    def release(self, tenant: str = ALL) -> None:
        """Give the place to whose turn it is."""
        if admitted := self._places.leave(tenant):
            self._hand_on(admitted)

    def reacquire(self, tenant: str = ALL) -> None:
        """Take a place again that was released, at once: if need be there are more than the limit, until as many of
        those at work have ended."""
        self._places.occupy(tenant)

    def resize(self, limit: int | None, queue: int) -> None:
        """From now on there are so many. Nobody loses a place, or their turn in the queue."""
        self._hand_on(self._places.resize(limit, queue))

    def _hand_on(self, admitted: list[_Ticket]) -> None:
        while admitted:
            ticket = admitted.pop(0)
            if ticket.turn.done():  # it is just leaving
                admitted += self._places.leave(ticket.tenant)
            else:
                ticket.turn.set_result(None)


class Lease(msgspec.Struct, eq=False):
    """A call's place, from when it is taken to `release`."""

    _limiter: ConcurrencyLimiter
    _tenant: str = ALL
    _pauses: int = 0
    _is_over: bool = False

    def pause(self) -> None:
        """The upstream does not work on the call, it waits for somebody: the place is others' until `resume`."""
        if not self._pauses and not self._is_over:
            self._limiter.release(self._tenant)
        self._pauses += 1

    def resume(self) -> None:
        """To go on takes no waiting. The upstream has the request already, and may hold what those in front would
        need."""
        self._pauses -= 1
        if not self._pauses and not self._is_over:
            self._limiter.reacquire(self._tenant)

    def release(self) -> None:
        """The call is over."""
        self._is_over = True
        if not self._pauses:
            self._limiter.release(self._tenant)
