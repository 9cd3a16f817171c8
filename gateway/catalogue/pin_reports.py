"""Says what is wrong with an upstream's definitions: to the log and the counters, once for each change, and briefly."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

import structlog

from gateway.catalogue.difference import differences
from gateway.catalogue.pins import Change, PinVerdict
from gateway.harmless import LONGEST_SECRET, Clipped, harmless

log = structlog.stdlib.get_logger("gateway.pins")

MAX_LOGGED: Final = 20
LOG_SECONDS: Final = 60.0
"""Changes of one upstream that the log tells of in this time; and so many places with suspicious text. An upstream can
change its mind many times a second."""
MAX_LINES: Final = 20
"""Lines of one change's difference, in the log."""
MAX_CHARACTERS: Final = 300
"""Of a name, and of a line."""


class Counters(Protocol):
    """Who counts."""

    def definition_changed(self, upstream: str, what: str) -> None: ...

    def suspicious_text(self, upstream: str) -> None: ...


class Reports:
    """Remembers what was said.

    Args:
        clock: seconds.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._clock = clock
        self._said: dict[str, set[Hashable]] = {}
        self._left: dict[str, _Left] = {}

    def say(self, upstream: str, verdict: PinVerdict) -> None:
        """Report what is in a verdict and was not in the last one."""
        said = self._said.get(upstream, set())
        changes = [change for change in verdict.changes if change.identity not in said]
        suspicions = [suspicion for suspicion in verdict.suspicions if suspicion not in said]
        self._said[upstream] = {*(change.identity for change in verdict.changes), *verdict.suspicions}
        left = self._left.get(upstream)
        if left is None or self._clock() - left.since >= LOG_SECONDS:
            left = self._left[upstream] = _Left(self._clock())
        for change in changes:
            self._counters.definition_changed(upstream, change.what)
        for change in changes[: left.changes]:
            is_blocked = (change.kind, change.name) in verdict.variants.get(change.variant, verdict).blocked
            log.warning(f"definition {change.what}", upstream=upstream, **_described(change, is_blocked))
        for _ in suspicions:
            self._counters.suspicious_text(upstream)
        for suspicion in suspicions[: left.suspicions]:
            place, name = _cut(suspicion.place) or None, _cut(suspicion.name)
            about = {"upstream": upstream, "kind": suspicion.kind, "name": name, "place": place}
            log.warning("suspicious text", **about, what=suspicion.what)
        more = max(len(changes) - left.changes, 0), max(len(suspicions) - left.suspicions, 0)
        left.changes -= len(changes) - more[0]
        left.suspicions -= len(suspicions) - more[1]
        if any(more) and not left.more_said:
            left.more_said = True
            log.warning("and more of that kind", upstream=upstream, changes=more[0], suspicions=more[1])


@dataclass(slots=True)
class _Left:
    """What the log may still tell of one upstream."""

    since: float
    changes: int = MAX_LOGGED
    suspicions: int = MAX_LOGGED
    more_said: bool = False


def findings(verdicts: Mapping[str, PinVerdict]) -> dict[tuple[str, str], float]:
    """How many there are of each kind now, by upstream."""
    counts = Counter[tuple[str, str]]()
    for upstream, verdict in verdicts.items():
        for what in ("changed", "new", "removed"):
            counts[upstream, what] = 0
        counts[upstream, "suspicious"] = len(verdict.suspicions)
        counts.update((upstream, change.what) for change in verdict.changes)
    return dict(counts)


def _described(change: Change, is_blocked: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": change.kind, "name": _cut(change.name), "blocked": is_blocked}
    if change.variant:
        fields["clients"] = _cut(change.variant)
    if change.what != "removed":
        lines = list(islice(differences(change.old, change.new, MAX_CHARACTERS + LONGEST_SECRET), MAX_LINES + 1))
        fields["diff"] = [_cut(line) for line in lines[:MAX_LINES]] + ["…"] * (len(lines) > MAX_LINES)
    return fields


def _cut(text: str) -> str:
    return Clipped(harmless(text[: MAX_CHARACTERS + LONGEST_SECRET]), MAX_CHARACTERS)
