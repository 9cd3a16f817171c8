"""What was changed in a schema, and where: for people."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_NOTES: Final = 60
"""Different changes of one tool that are listed."""
MAX_PLACES: Final = 20
"""Places of one change that are listed."""
TOP: Final = "(top)"

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_]")
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class SchemaChange:
    what: str
    where: tuple[str, ...]
    """Arguments, such as `filter.tags[]`."""


class Notes:
    """Called with what was changed at the place that was named last."""

    def __init__(self) -> None:
        self._at = TOP
        self._found: dict[str, dict[str, None]] = {}

    def at(self, path: str) -> None:
        self._at = path or TOP

    def __call__(self, what: str) -> None:
        if what not in self._found and len(self._found) >= MAX_NOTES:
            return
        places = self._found.setdefault(what, {})
        if len(places) < MAX_PLACES:
            places[self._at] = None

    @property
    def changes(self) -> tuple[SchemaChange, ...]:
        return tuple(SchemaChange(what, tuple(places)) for what, places in self._found.items())

    def renamed(self, names: Iterable[str], allowed: re.Pattern[str] | None) -> dict[str, str]:
        """What to call the arguments whose names are none that there may be."""
        given = dict.fromkeys(names)
        if allowed is None:
            return {}
        found: dict[str, str] = {}
        for name in given:
            if allowed.fullmatch(name):
                continue
            new = _FORBIDDEN.sub("_", name)
            new = (new if new and not new[0].isdigit() else f"_{new}")[:_LONGEST]
            number, wanted = 2, new
            while new in given or new in found.values():
                tail = f"_{number}"
                new, number = wanted[: _LONGEST - len(tail)] + tail, number + 1
            found[name] = new
            self.at(name)
            self(f"called {new}")
        return found
