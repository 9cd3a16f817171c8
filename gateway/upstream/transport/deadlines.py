"""When requests in flight must have their answers: one timer for all of a connection.

It is set anew only when a request is due before it goes off, which hardly ever happens: the later ones are due later.
"""

import asyncio
import math
from collections.abc import Collection
from typing import Protocol


class Due(Protocol):
    """A request in flight."""

    due: float
    """When it must be answered, in the loop's time."""

    def expire(self) -> None:
        """It is not."""
        ...


class Deadlines:
    """
    Args:
        waiting: what is in flight; looked at when the timer goes off.
    """

    __slots__ = ("_timer", "_waiting", "at")

    def __init__(self, waiting: Collection[Due]) -> None:
        self._waiting = waiting
        self.at = math.inf
        """When the timer goes off, in the loop's time: what is due later need not be said."""
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, due: float) -> None:
        """Something in flight is due then."""
        if due < self.at:
            self._set(due)

    def stop(self) -> None:
        """Nothing is in flight any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.at = math.inf

    def _set(self, at: float) -> None:
        self.stop()
        if at < math.inf:
            self.at = at
            self._timer = asyncio.get_running_loop().call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer, self.at = None, math.inf
        late = [each for each in self._waiting if each.due <= now]
        for each in late:
            each.expire()
        self._set(min((each.due for each in self._waiting if each.due > now), default=math.inf))
