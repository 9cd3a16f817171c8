"""How long to wait before the next attempt. Pure: time and chance are passed in."""

from dataclasses import dataclass
from typing import Final

from gateway.upstream.timing import USUAL, UpstreamTiming

FACTOR: Final = 2.0


@dataclass(slots=True)
class Backoff:
    """Exponential, with jitter over the upper half so that many gateways do not come back at once."""

    timing: UpstreamTiming = USUAL
    failures: int = 0

    def after(self, lived: float, chance: float) -> float:
        """Seconds to wait after a connection that was ready for `lived` seconds. `chance` is uniform in [0, 1)."""
        if lived >= self.timing.stable_seconds:
            self.failures = 0
        delay = min(self.timing.backoff_max_seconds, self.timing.backoff_base_seconds * FACTOR**self.failures)
        self.failures = min(self.failures + 1, 16)
        return delay * (0.5 + chance / 2)
