"""What everybody may ask without saying who they are gets a small share of the gateway, however many ask."""

from typing import Final

import anyio

from gateway.errors import RateLimited

RATE: Final = 200.0
"""Requests a second, of all together."""
BURST: Final = 100
"""Requests after a quiet moment that need not wait."""
MAX_WAIT: Final = 1.5
"""Seconds. Who would have to wait for longer is refused."""


class Pace:
    """A token bucket that knows how long it is empty. Pure.

    Args:
        rate: a second.
        burst: how many need not wait after a quiet moment.
        max_wait: seconds. Who would have to wait for longer is refused.
    """

    def __init__(self, rate: float = RATE, burst: int = BURST, max_wait: float = MAX_WAIT) -> None:
        self.rate = rate
        self.max_wait = max_wait
        self._interval = 1 / rate
        self._burst = burst
        self._next = float("-inf")
        """When the next one's turn is, in seconds; in the past when there are tokens left."""

    def wait(self, now: float) -> float | None:
        """How many seconds the one who asks now has to wait for its turn; None, changing nothing, when too many."""
        turn = max(self._next, now - (self._burst - 1) * self._interval)
        if turn - now > self.max_wait:
            return None
        self._next = turn + self._interval
        return max(0.0, turn - now)


class AnonymousQueue:
    """Those who ask for the public endpoints, in the order they came."""

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()

    async def admit(self) -> None:
        """Wait for one's turn.

        Raises:
            RateLimited: too many wait already.
        """
        wait = self._pace.wait(anyio.current_time())
        if wait is None:
            raise RateLimited(self._pace.max_wait, f"of {self._pace.rate:g} requests a second of all who give no key")
        if wait:
            await anyio.sleep(wait)
