"""What there is to tell of an upstream in numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """How one upstream is at the moment."""

    upstream: str
    state: str
    breaker: str = "closed"
    """Its breaker's state."""
    openings: int = 0
    """How often that has opened."""
    retries: int = 0
    """How many requests were sent once more."""
