"""When to stop asking an upstream that keeps failing, and when to try it again. Pure: the clock is passed in.

    closed ──(so many failures in a row)──> open ──(cooldown is over, or a new connection)──> half-open
      ^                                      ^                                                 │   │
      └──────(the probe was answered)────────│─────────────────────────────────────────────────┘   │
                                             └───────────────(the probe failed)────────────────────┘

Half-open means that one request, the probe, is on its way; whoever comes meanwhile is refused as before. What becomes
of a request counts only in the state it was admitted in: an answer that was long under way neither opens nor closes
anything.
"""

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Final

PROBE_SECONDS: Final = 1.0
"""When to come back while a probe is on its way: nobody knows how long it takes, but it should not be long."""

Permit = int
"""What an admitted request hands in again with its outcome."""


class BreakerState(Enum):
    """What a user can see of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """A circuit breaker.

    Args:
        failures: in a row, after which it opens.
        window: seconds within which they must come; what is older is forgotten.
        cooldown: seconds it stays open before one request may try.
        on_change: told of every change of state.
    """

    def __init__(
        self, failures: int, window: float, cooldown: float, on_change: Callable[["Breaker"], None] = lambda _: None
    ) -> None:
        self.state = BreakerState.CLOSED
        self.reason = ""
        """The failure that opened it, in words that may follow the upstream's name; empty while it is closed."""
        self.openings = 0
        """How often it has opened; a probe that fails keeps it open."""
        self._failures = failures
        self._window = window
        self._cooldown = cooldown
        self._on_change = on_change
        self._causes: dict[Hashable, float] = {}
        self._due = 0.0
        self._term = 0

    def admit(self, now: float) -> Permit | None:
        """Let a request through, or not. An open breaker whose cooldown is over lets one through: the probe."""
        if self.state is BreakerState.OPEN and now >= self._due:
            self._enter(BreakerState.HALF_OPEN)
            return self._term
        return self._term if self.state is BreakerState.CLOSED else None

    def passed(self, permit: Permit) -> None:
        """The upstream answered, whatever it said."""
        if permit == self._term:
            self._causes.clear()
            if self.state is BreakerState.HALF_OPEN:
                self.reason = ""
                self._enter(BreakerState.CLOSED)

    def failed(self, permit: Permit, now: float, reason: str, cause: Hashable) -> None:
        """The upstream failed. Failures with the same cause count once: a connection that takes twenty calls with it
        was lost one time."""
        if permit != self._term:
            return
        self._causes = {each: at for each, at in self._causes.items() if now - at < self._window}
        self._causes[cause] = now
        if self.state is BreakerState.HALF_OPEN or len(self._causes) >= self._failures:
            self._causes.clear()
            self.reason = reason
            self._due = now + self._cooldown
            self.openings += self.state is BreakerState.CLOSED
            self._enter(BreakerState.OPEN)

    def abandoned(self, permit: Permit) -> None:
        """What became of the request says nothing about the upstream. If it was the probe, the next may be one."""
        if permit == self._term and self.state is BreakerState.HALF_OPEN:
            self._due = float("-inf")
            self._enter(BreakerState.OPEN)

    def renewed(self) -> None:
        """There is a new connection, perhaps to a new process: reason enough to try at once, but no proof."""
        self._due = float("-inf")

    def retry_after(self, now: float) -> float | None:
        """Seconds until a request may try again; None while all may."""
        if self.state is BreakerState.CLOSED:
            return None
        return PROBE_SECONDS if self.state is BreakerState.HALF_OPEN else max(0.0, self._due - now)

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self._term += 1
        self._on_change(self)
