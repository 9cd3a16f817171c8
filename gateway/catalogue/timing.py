"""How long things take in the catalogue that no setting changes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CatalogueTiming:
    """Durations, in seconds."""

    poll_seconds: float = 1.0
    """How soon what others wrote into the files of pins and owners is read; and what changed of owners, written."""
    pin_seconds: float = 0.5
    """How long after something is pinned that is written; at the first start, all servers are at once."""
    snapshot_seconds: float = 1.0
    """How long after a change the snapshot is written; changes come in bursts."""
    retry_seconds: float = 30.0
    """How soon it is tried again to write a file."""


USUAL: Final = CatalogueTiming()
"""What everybody uses but for tests."""
