"""How long things take on agents' side that no setting changes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FrontTiming:
    """Durations, in seconds."""

    last_request_seconds: float = 0.5
    """How long a request may be on its way over a connection that was idle when we stopped accepting."""
    first_request_seconds: float = 2.0
    """The same, over one that nothing has come on yet: whoever opened it has something to say."""
    unused_seconds: float = 60.0
    """How long a session must not have been in use before it makes room for others."""
    follow_seconds: float = 1.0
    """How soon it is heard that a session ended on another node."""


USUAL: Final = FrontTiming()
"""What everybody uses but for tests."""
