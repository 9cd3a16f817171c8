"""Who hears which log messages. Levels are per agent; a shared upstream runs at the most verbose one asked for."""

from collections.abc import Iterable

from gateway.protocol import LOG_LEVELS

_RANK = {level: rank for rank, level in enumerate(LOG_LEVELS)}


def most_verbose(levels: Iterable[str | None]) -> str | None:
    """The least severe of the levels asked for; None when nobody asked."""
    asked = [level for level in levels if level is not None]
    return min(asked, key=lambda level: _RANK.get(level, 0)) if asked else None


class LogRequests:
    """The level that requests of the modern era ask for, by upstream.

    An upstream of the handshake era knows one level for all. What a request asks for stays in force: the next will ask
    for the same, and every change costs the upstream a round trip.
    """

    def __init__(self) -> None:
        self._levels: dict[str, str] = {}

    def asks(self, upstream: str, level: str) -> bool:
        """Whether the upstream has to become more verbose for this level than for any before it."""
        known = self._levels.get(upstream)
        self._levels[upstream] = most_verbose([known, level]) or level
        return self._levels[upstream] != known

    def level(self, upstream: str, sessions: Iterable[str | None]) -> str | None:
        """The level the upstream is to run at, with what the sessions asked for."""
        return most_verbose([*sessions, self._levels.get(upstream)])
