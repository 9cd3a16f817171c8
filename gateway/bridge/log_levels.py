"""Who hears which log messages. Levels are per agent; a shared upstream runs at the most verbose one asked for."""

from collections.abc import Iterable
from typing import Any

from gateway.protocol import LOG_LEVELS, Era
from gateway.request import Agent

_RANK = {level: rank for rank, level in enumerate(LOG_LEVELS)}


def is_wanted(agent: Agent, params: dict[str, Any]) -> bool:
    """Whether an agent asked to hear a message of that level.

    In the handshake era an agent that never said hears what the server chooses to send; in the modern one it hears
    nothing it did not ask for.
    """
    if agent.log_level is None:
        return agent.era is Era.HANDSHAKE
    level = params.get("level")
    return not isinstance(level, str) or _RANK.get(level, len(_RANK)) >= _RANK.get(agent.log_level, 0)


def most_verbose(levels: Iterable[str | None]) -> str | None:
    """The least severe of the levels asked for; None when nobody asked."""
    asked = [level for level in levels if level is not None]
    return min(asked, key=lambda level: _RANK.get(level, 0)) if asked else None
