"""What was changed in a schema, and where: for people."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_NOTES: Final = 60
"""Different changes of one tool that are listed."""
MAX_PLACES: Final = 20
"""Places of one change that are listed."""
MAX_SHOWN: Final = 300
"""Characters of one that are listed, and of a place."""
TOP: Final = "(top)"

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_]")
_LONGEST: Final = 64


def below(path: str, name: str) -> str:
    """The place of a property. Names can be as long as somebody likes."""
    name = _shortened(name)
    return f"{path}.{name}" if path else name


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


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
        self._at = _shortened(path) or TOP

    def __call__(self, what: str) -> None:
        what = _shortened(what)
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
        taken, numbers = set(given), dict[str, int]()
        for name in given:
            if allowed.fullmatch(name):
                continue
            new = _FORBIDDEN.sub("_", name)
            new = wanted = (new if new and not new[0].isdigit() else f"_{new}")[:_LONGEST]
            while new in taken:
                numbers[wanted] = number = numbers.get(wanted, 1) + 1
                tail = f"_{number}"
                new = wanted[: _LONGEST - len(tail)] + tail
            taken.add(new)
            found[name] = new
            self.at(name)
            self(f"called {new}")
        return found
