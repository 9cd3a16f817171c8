"""At most so many of something a second, first come, first served. Pure; the clock is passed in."""


class Pacer:
    """
    Args:
        rate: how many a second.
        burst: how many may come at once after a rest.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._gap = 1 / rate
        self._ahead = burst / rate
        self._next = float("-inf")

    def delay(self, now: float) -> float:
        """Take the next turn; returns how many seconds it is away."""
        self._next = max(self._next, now - self._ahead) + self._gap
        return max(0.0, self._next - now)
