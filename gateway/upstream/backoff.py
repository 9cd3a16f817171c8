"""How long to wait before the next attempt. Pure: time and chance are passed in."""

from dataclasses import dataclass
from typing import Final

BASE_SECONDS: Final = 0.5
FACTOR: Final = 2.0
MAX_SECONDS: Final = 60.0
STABLE_SECONDS: Final = 30.0
"""A connection that lived this long was a good one; the next failure starts from the beginning."""


@dataclass(slots=True)
class Backoff:
    """Exponential, with jitter over the upper half so that many gateways do not come back at once."""

    failures: int = 0

    def after(self, lived: float, chance: float) -> float:
        """Seconds to wait after a connection that was ready for `lived` seconds. `chance` is uniform in [0, 1)."""
        if lived >= STABLE_SECONDS:
            self.failures = 0
        delay = min(MAX_SECONDS, BASE_SECONDS * FACTOR**self.failures)
        self.failures = min(self.failures + 1, 16)
        return delay * (0.5 + chance / 2)
