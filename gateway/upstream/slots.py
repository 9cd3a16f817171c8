"""How many requests an upstream works on at a time, and how many may wait for their turn."""

import asyncio
import contextlib
import math
from collections import deque

import anyio


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
