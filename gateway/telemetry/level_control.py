"""The level that is logged from: what the configuration says, unless somebody has said otherwise for a while."""

import time
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error", "critical")

_configured = ""
_override = ""
_until = float("inf")


def configured(level: str) -> str:
    """The configuration asks for a level, and if that is news, gets it. Returns the one that counts."""
    global _configured
    if level != _configured:
        override(None)
        _configured = level
    return current()


def override(level: str | None, seconds: float | None = None) -> None:
    """Count this level, until the configuration asks for another one.

    Args:
        level: None for what the configuration says.
        seconds: how long at most.
    """
    global _override, _until
    _override = level or ""
    _until = float("inf") if seconds is None or level is None else time.monotonic() + seconds


def current() -> str:
    """The level that counts now."""
    return _override if _override and time.monotonic() < _until else _configured


def configuration() -> str:
    """What the configuration says."""
    return _configured


def seconds_left() -> float | None:
    """How long what somebody has said counts still; None for without end, or where nobody has."""
    left = _until - time.monotonic()
    return left if _override and 0 < left < float("inf") else None
