"""What there is to tell of an upstream in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.telemetry.cells import Tally


@dataclass(frozen=True, slots=True)
class Health:
    """How one upstream is at the moment."""

    upstream: str
    state: str
    breaker: str = "closed"
    """Its breaker's state."""
    openings: int = 0
    """How often that has opened."""
    in_flight: int = 0
    """How many requests it is at work on."""
    queued: int = 0
    """How many wait for a place."""
    items: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many it lists, by kind."""
    tally: Tally = field(default_factory=Tally)

    @property
    def retries(self) -> int:
        """How many requests were sent once more."""
        return self.tally.retries

    @property
    def restarts(self) -> int:
        """How often it was connected to again."""
        return max(0, self.tally.connections - 1)
