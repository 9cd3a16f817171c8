"""How many requests an upstream works on at a time, and how many may wait for their turn."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from gateway.upstream.calls import Asker


class Slots:
    """A counted gate with a bounded queue, first come first served.

    Args:
        limit: requests at a time; None for any number.
        queue: requests that may wait.
    """

    def __init__(self, limit: int | None, queue: int) -> None:
        self._limit = limit
        self._queue = queue
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self, patience: float = math.inf) -> bool:
        """Take a slot, waiting for one at most `patience` seconds. False, at once, when too many wait already."""
        if self._limit is None or self._busy < self._limit:
            self._busy += 1
            return True
        if len(self._waiting) >= self._queue:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            with anyio.move_on_after(patience):
                await turn
                return True
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give()  # it was handed to us in the same moment
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)
        return False

    def give(self) -> None:
        """Give the slot to who has waited longest."""
        self._busy -= 1
        self._admit()

    def retake(self) -> None:
        """Take a slot again that was given back, at once: if need be there are more than the limit, until as many of
        those at work have ended."""
        self._busy += 1

    def resize(self, limit: int | None, queue: int) -> None:
        """From now on there are so many. Nobody loses a slot, or a place in the queue."""
        self._limit, self._queue = limit, queue
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._limit is None or self._busy < self._limit):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._busy += 1


class Turn:
    """A request's slot, from when it is taken to `end`."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._pauses = 0
        self._is_over = False

    @contextlib.contextmanager
    def paused(self) -> Generator[None]:
        """The slot is others' while this lasts: the upstream does not work on the request, it waits for somebody.

        To go on takes no waiting. The upstream has the request already, and may hold what those in front would need.
        """
        if not self._pauses and not self._is_over:
            self._slots.give()
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses and not self._is_over:
                self._slots.retake()

    def end(self) -> None:
        """The request is over."""
        self._is_over = True
        if not self._pauses:
            self._slots.give()


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
