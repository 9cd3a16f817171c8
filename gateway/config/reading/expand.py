"""Replaces `${VAR}`, `${VAR:-default}` and `${env:VAR}` in the values of a parsed file; keys are left alone.

Expansion works on values, never on the text of the file: a variable can thus add no key and break no syntax.
`$${` stands for a literal `${`.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.config.reading.source import Place, mapping, sequence

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACE: Final = re.compile(r"[{}]")
_MAX_NESTING: Final = 8
_EDITORS_OWN: Final = frozenset(
    {"workspaceFolder", "workspaceFolderBasename", "userHome", "cwd", "pathSeparator", "file", "fileDirname"}
)


class Unset(str):
    """A value that could not be expanded, as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the value at `place` could not be expanded."""

    place: Place
    what: str


class Expander:
    """Expands values; remembers what went wrong and which variables were used.

    `faults` and `used` (name → value) grow with every call of `expand`.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = {"GATEWAY_PYTHON": sys.executable, **variables}
        self.faults: list[Fault] = []
        self.used: dict[str, str] = {}

    def expand(self, value: Any, place: Place) -> Any:
        """A copy of `value` with every text in it expanded; one that cannot be becomes `Unset`, with a fault."""
        if isinstance(value, str):
            return self._whole(value, place)
        if (items := mapping(value)) is not None:
            return {key: self.expand(item, (*place, key)) for key, item in items.items()}
        if (elements := sequence(value)) is not None:
            return [self.expand(item, (*place, index)) for index, item in enumerate(elements)]
        return value

    def _whole(self, text: str, place: Place) -> str:
        if "${" not in text:
            return text
        try:
            return self._text(text, _MAX_NESTING)
        except _Cannot as reason:
            self.faults.append(Fault(place, str(reason)))
            return Unset(text)

    def _text(self, text: str, levels: int) -> str:
        if levels == 0:
            raise _Cannot("defaults inside defaults go too deep")
        done: list[str] = []
        position = 0
        while (start := text.find("${", position)) != -1:
            if start > position and text[start - 1] == "$":
                done.append(text[position : start - 1] + "${")
                position = start + 2
                continue
            end = _closing_brace(text, start + 2)
            done.append(text[position:start])
            done.append(self._variable(text[start + 2 : end], levels))
            position = end + 1
        return "".join([*done, text[position:]])

    def _variable(self, body: str, levels: int) -> str:
        reference, has_default, default = body.partition(":-")
        if reference.startswith("input:"):
            raise _Cannot(
                "${input:…} asks a person, and nobody is there to answer; use an environment variable, ${NAME}"
            )
        name = reference.removeprefix("env:")
        if not _NAME.fullmatch(name):
            raise _Cannot("not a variable; write ${NAME}, ${NAME:-default} or ${env:NAME}, and $${ for a literal ${")
        value = self._variables.get(name)
        if value or (value is not None and not has_default):
            self.used[name] = value
            return value
        if has_default:
            return self._text(default, levels - 1)
        if name in _EDITORS_OWN:
            raise _Cannot(f"only editors know ${{{name}}}; write the path itself")
        raise _Cannot(f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-…}}")


class _Cannot(Exception):
    """A text cannot be expanded."""


def _closing_brace(text: str, position: int) -> int:
    """The index of the brace that closes the one before `position`; defaults may hold pairs of braces."""
    depth = 1
    for brace in _BRACE.finditer(text, position):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return brace.start()
    raise _Cannot("${ is never closed; add }, or write $${ for a literal ${")
