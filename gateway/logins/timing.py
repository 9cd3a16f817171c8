"""How long things take about logins at upstreams that no setting changes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class LoginTiming:
    """Durations, in seconds."""

    look_seconds: float = 1.0
    """How often it is looked whether tokens are about to end, and whether somebody has logged in or out elsewhere."""
    renew_seconds: float = 15.0
    """How soon it is tried again to renew tokens ahead of their end."""
    missing_seconds: float = 240.0
    """How long it is taken for granted that a server still wants the login that is missing, where it might change its
    mind."""
    mistaken_seconds: float = 60.0
    """How long a client that is wrong in the file is not shown again."""
    fresh_seconds: float = 30.0
    """A token that is refused so soon after it was renewed will not be better the next time."""
    registered_seconds: float = 60.0
    """How long it is taken for granted that a registration is known. It is made no oftener either, whatever an
    authorization server says."""


USUAL: Final = LoginTiming()
"""What everybody uses but for tests."""
