"""Who hears which log messages. Levels are per agent; a shared upstream runs at the most verbose one asked for."""

from collections import defaultdict
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from gateway.protocol import LOG_LEVELS, Era
from gateway.request import Agent, Request

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


class LogRequests:
    """The requests at work at each upstream, and the level that those of the modern era ask for.

    An upstream of the handshake era knows one level for all. What a request asks for stays in force: the next will ask
    for the same, and every change costs the upstream a round trip.
    """

    def __init__(self) -> None:
        self._levels: dict[str, str] = {}
        self._at_work: defaultdict[str, dict[object, Request]] = defaultdict(dict)

    @contextmanager
    def at_work(self, upstream: str, request: Request) -> Generator[None]:
        """The upstream is working on the request while this lasts."""
        key, requests = object(), self._at_work[upstream]
        requests[key] = request
        try:
            yield
        finally:
            del requests[key]

    def asks(self, upstream: str, level: str) -> bool:
        """Whether the upstream has to become more verbose for this level than for any before it."""
        known = self._levels.get(upstream)
        self._levels[upstream] = most_verbose([known, level]) or level
        return self._levels[upstream] != known

    def level(self, upstream: str, sessions: Iterable[str | None]) -> str | None:
        """The level the upstream is to run at, with what the sessions asked for."""
        return most_verbose([*sessions, self._levels.get(upstream)])

    def working(self, upstream: str) -> list[Request]:
        """The requests at work there, the latest last."""
        return list(self._at_work[upstream].values())
