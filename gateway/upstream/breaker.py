"""When to stop asking an upstream that keeps failing, and when to try it again. Pure: the clock is passed in.

    closed ──(too many failures, see `failed`)──> open ──(cooldown is over, or a new connection)──> half-open
      ^                                            ^                                                 │   │
      └──────(a probe was answered)────────────────│─────────────────────────────────────────────────┘   │
                                                   └───────────────(the probe failed)────────────────────┘

Half-open means that one request, the probe, is on its way; whoever comes meanwhile is refused as before. What becomes
of a request counts only in the state it was admitted in: an answer that was long under way neither opens nor closes
anything.

No tenant can open a breaker that others share, nor keep it open by being the probe: see `Breaker.failed`, and
`breakers.py` for how many breakers there are.
"""

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Final

PROBE_SECONDS: Final = 1.0
"""When to come back while a probe is on its way: nobody knows how long it takes, but it should not be long. If it does
take longer, another tenant may send one too."""

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
        self.is_troubled = False
        """Whether `passed` has anything to do."""
        self.reason = ""
        """The failure that opened it, in words that may follow the upstream's name; empty while it is closed."""
        self.openings = 0
        """How often it has opened; a probe that fails keeps it open."""
        self._failures = failures
        self._share = max(1, (failures + 1) // 2)
        """How many failures of one tenant count at most."""
        self._window = window
        self._cooldown = cooldown
        self._on_change = on_change
        self._causes: dict[str | None, dict[Hashable, float]] = {}
        """Tenant, or None for the upstream itself → what failed → when."""
        self._due = 0.0
        self._due_for: dict[str, float] = {}
        """Tenants whose probes failed, and when they may try again; all others may at `_due`."""
        self._probes: set[str] = set()
        """Tenants whose probes are on their way."""
        self._next_probe = 0.0
        self._hinted_until = 0.0
        self.term = 0
        """What requests are admitted in: another number after each change of state."""

    def admit(self, now: float, tenant: str = "") -> Permit | None:
        """Let a request through, or not. An open breaker whose cooldown is over lets one through: the probe."""
        if self.state is BreakerState.CLOSED:
            return self.term
        if tenant in self._probes or now < self._due_for.get(tenant, self._due):
            return None
        if self.state is BreakerState.HALF_OPEN and now < self._next_probe:
            return None
        self._probes.add(tenant)
        self._next_probe = now + PROBE_SECONDS
        if self.state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN)
        return self.term

    def passed(self, permit: Permit) -> None:
        """The upstream answered, whatever it said."""
        if permit != self.term:
            return
        self._causes.clear()
        self._hinted_until = 0.0
        if self.state is BreakerState.HALF_OPEN:
            self.reason = ""
            self._forget_probes()
            self._enter(BreakerState.CLOSED)
        self.is_troubled = self.state is not BreakerState.CLOSED

    def failed(self, permit: Permit, now: float, reason: str, cause: Hashable, tenant: str | None = None) -> None:
        """The upstream failed. Failures with the same cause count once: a connection that takes twenty calls with it
        was lost one time.

        Args:
            tenant: whose request failed, if it may be his own doing. Such failures open the breaker only when at least
                two tenants have them, each of whom counts for half of it at most; and of a probe's they keep out only
                him who sent it.
        """
        if permit != self.term:
            return
        if self.state is BreakerState.HALF_OPEN and tenant is not None:
            self._due_for[tenant] = now + self._cooldown
            self._end_probe(tenant)
            return
        self.is_troubled = True
        self._note(tenant, cause, now)
        if self.state is BreakerState.HALF_OPEN or self._is_enough(now):
            self._causes.clear()
            self._forget_probes()
            self.reason = reason
            self._due = now + self._cooldown
            self.openings += self.state is BreakerState.CLOSED
            self._enter(BreakerState.OPEN)

    def abandoned(self, permit: Permit, tenant: str = "") -> None:
        """What became of the request says nothing about the upstream. If it was the probe, the next may be one."""
        if permit == self.term and self.state is BreakerState.HALF_OPEN:
            self._end_probe(tenant)

    def renewed(self) -> None:
        """There is a new connection, perhaps to a new process: reason enough to try at once, but no proof."""
        self._due = float("-inf")
        self._due_for.clear()

    def hint(self, now: float, wait: float | None) -> None:
        """Somebody else has found the upstream to fail, and leaves it alone for so many seconds: a single failure opens
        the breaker until then, unless there is an answer first. With None it works again: reason enough to try at once.
        """
        if wait is None:
            self._hinted_until = 0.0
            self.renewed()
        else:
            self._hinted_until = now + min(wait, self._cooldown)
            self.is_troubled = True

    def retry_after(self, now: float, tenant: str = "") -> float | None:
        """Seconds until a request may try again; None while all may."""
        if self.state is BreakerState.CLOSED:
            return None
        wait = max(0.0, self._due_for.get(tenant, self._due) - now)
        return max(wait, PROBE_SECONDS) if self.state is BreakerState.HALF_OPEN else wait

    def _note(self, tenant: str | None, cause: Hashable, now: float) -> None:
        kept = {
            who: recent
            for who, causes in self._causes.items()
            if (recent := {each: at for each, at in causes.items() if now - at < self._window})
        }
        own = kept.setdefault(tenant, {})
        own.pop(cause, None)  # to the end: the first are the oldest
        own[cause] = now
        if tenant is not None and len(own) > self._share:
            del own[next(iter(own))]
        self._causes = kept

    def _is_enough(self, now: float) -> bool:
        if now < self._hinted_until or len(self._causes.get(None, ())) >= self._failures:
            return True
        shares = [len(causes) for who, causes in self._causes.items() if who is not None]
        return len(shares) >= 2 and sum(shares) >= self._failures

    def _end_probe(self, tenant: str) -> None:
        self._probes.discard(tenant)
        self._next_probe = float("-inf")
        if not self._probes:
            self._due = float("-inf")
            self._enter(BreakerState.OPEN)

    def _forget_probes(self) -> None:
        self._probes.clear()
        self._due_for.clear()

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self.term += 1
        self._on_change(self)
