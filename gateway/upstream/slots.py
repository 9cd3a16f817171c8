"""How many requests an upstream works on at a time, and how many may wait for their turn."""

import asyncio
import contextlib
import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from gateway.upstream.fair import ALL, FairPlaces

if TYPE_CHECKING:
    from gateway.upstream.calls import Asker


@dataclass(frozen=True, slots=True, eq=False)
class _Ticket:
    tenant: str
    turn: asyncio.Future[None]


class Slots:
    """A counted gate with a bounded queue, shared fairly between tenants (`fair.py`).

    Args:
        limit: requests at a time; None for any number.
        queue: requests that may wait; None for any number.
    """

    def __init__(self, limit: int | None, queue: int | None = None) -> None:
        self._places = FairPlaces[_Ticket](limit, queue)

    @property
    def waiting(self) -> int:
        return self._places.waiting

    def take_now(self, tenant: str = ALL) -> bool:
        """Take a slot, if there is one to be had without waiting."""
        return self._places.enter(tenant)

    async def take(self, patience: float = math.inf, tenant: str = ALL) -> bool:
        """Take a slot, waiting for one at most `patience` seconds. False, at once, when too many wait already."""
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
                self.give(tenant)  # it was handed to us in the moment in which we left
        return is_ours

    def give(self, tenant: str = ALL) -> None:
        """Give the slot to whose turn it is."""
        self._hand_on(self._places.leave(tenant))

    def retake(self, tenant: str = ALL) -> None:
        """Take a slot again that was given back, at once: if need be there are more than the limit, until as many of
        those at work have ended."""
        self._places.occupy(tenant)

    def resize(self, limit: int | None, queue: int) -> None:
        """From now on there are so many. Nobody loses a slot, or a place in the queue."""
        self._hand_on(self._places.resize(limit, queue))

    def _hand_on(self, admitted: list[_Ticket]) -> None:
        while admitted:
            ticket = admitted.pop(0)
            if ticket.turn.done():  # it is just leaving
                admitted += self._places.leave(ticket.tenant)
            else:
                ticket.turn.set_result(None)


class Turn:
    """A request's slot, from when it is taken to `end`."""

    def __init__(self, slots: Slots, tenant: str = ALL) -> None:
        self._slots = slots
        self._tenant = tenant
        self._pauses = 0
        self._is_over = False

    @contextlib.contextmanager
    def paused(self) -> Generator[None]:
        """The slot is others' while this lasts: the upstream does not work on the request, it waits for somebody.

        To go on takes no waiting. The upstream has the request already, and may hold what those in front would need.
        """
        if not self._pauses and not self._is_over:
            self._slots.give(self._tenant)
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses and not self._is_over:
                self._slots.retake(self._tenant)

    def end(self) -> None:
        """The request is over."""
        self._is_over = True
        if not self._pauses:
            self._slots.give(self._tenant)


class PausingAsker:
    """An `Asker` whose request gives its slot back while the agent has a question."""

    def __init__(self, asker: "Asker", turn: Turn) -> None:
        self._asker = asker
        self._turn = turn

    @property
    def agent(self) -> str:
        return self._asker.agent

    async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        with self._turn.paused():
            return await self._asker.ask(method, params)
