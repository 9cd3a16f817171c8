"""What is counted as it happens, in plain numbers. The registry reads them when it is scraped."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

DURATIONS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
"""Seconds. Those that OpenTelemetry advises for MCP, and three below them: a gateway takes less than a server."""


class Histogram:
    """How often which value was seen.

    Args:
        bounds: the upper ones of the buckets, ascending.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = DURATIONS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True, eq=False)
class Traffic:
    """Bytes over all connections to one peer, or to all clients."""

    received: int = 0
    sent: int = 0


@dataclass(slots=True, eq=False)
class Tally:
    """What is counted of one upstream: of all its connections, and after a reload of what serves in its place."""

    traffic: Traffic = field(default_factory=Traffic)
    queued: Histogram = field(default_factory=Histogram)
    """Seconds that requests waited for a place."""
    retries: int = 0
    """How many requests were sent once more."""
    connections: int = 0
    """How often it was connected to."""
    failures: int = 0
    """How often a connection was lost, or could not be made."""
