"""How long things take between the eras that no setting changes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class BridgeTiming:
    """Durations, in seconds."""

    lifetime_seconds: float = 600.0
    """How long an agent may take to come back with what a call was parked for."""
    together_seconds: float = 0.02
    """Questions with no more than this between them are asked in one round: an agent's round costs more."""
    pause_seconds: float = 0.05
    max_pause_seconds: float = 0.25
    """How long to wait before a retry that brings nothing but the upstream's state; doubled up to the second."""
    login_patience_seconds: float = 45.0
    """How long a call waits for the login that its user agreed to. Many clients give a request up after a minute."""


USUAL: Final = BridgeTiming()
"""What everybody uses but for tests."""
