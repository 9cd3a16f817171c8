"""Refusals that repeat, as a flood of guesses makes them: the first of each kind are said in full, the rest is counted.

Pure: time is passed in.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

SECONDS: Final = 60.0
"""How long refusals are alike."""
IN_FULL: Final = 20
"""How many of a kind are said in full in that time."""
MOST: Final = 4096
"""Kinds at a time; of the one that began first, the count is said early."""

Kind = tuple[str, str, str]
"""(outcome, principal, address); what is not known is empty."""


@dataclass(slots=True)
class _Count:
    began: float
    all: int = 0


class Damper:
    def __init__(self) -> None:
        self._counts: OrderedDict[Kind, _Count] = OrderedDict()

    def is_to_be_said(self, kind: Kind, now: float) -> bool:
        """Count one, and say whether in full."""
        count = self._counts.get(kind)
        if count is None:
            count = self._counts[kind] = _Count(now)
        count.all += 1
        return count.all <= IN_FULL

    def over(self, now: float) -> list[tuple[Kind, int]]:
        """Kinds whose time is over, with how many were not said in full."""
        found: list[tuple[Kind, int]] = []
        while self._counts:
            kind, count = next(iter(self._counts.items()))
            if now - count.began < SECONDS and len(self._counts) <= MOST:
                break
            del self._counts[kind]
            if count.all > IN_FULL:
                found.append((kind, count.all - IN_FULL))
        return found
