"""Replaces `${VAR}`, `${VAR:-default}` and `${env:VAR}` in the values of a parsed file; keys are left alone.

In the gateway's own file also `${file:…}`, `${keyring:…}` and `${command:…}` (`secret_sources`). Expansion works on
values, never on the text of the file: a variable can thus add no key and break no syntax. `$${` stands for a literal
`${`.
"""

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.config.reading.secret_sources import COMMAND, SCHEMES, NotAsked, SecretSources, Unavailable
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


class UnreadVariable(Unset):
    """A value that nothing is known of yet, for nobody was asked for it; as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the value at `place` could not be expanded."""

    place: Place
    what: str


class Expander:
    """Expands values; remembers what went wrong and which variables were used.

    `faults`, `unread` (what was not asked for, and how it is to be had) and `used` (name → value) grow with every call
    of `expand`.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = {"GATEWAY_PYTHON": sys.executable, **variables}
        self._sources: SecretSources | None = None
        self.faults: list[Fault] = []
        self.unread: list[Fault] = []
        self.used: dict[str, str] = {}

    def expand(self, value: Any, place: Place, sources: SecretSources | None = None) -> Any:
        """A copy of `value` with every text in it expanded; one that cannot be becomes `Unset`, with a fault.

        Args:
            sources: where secrets are, for a value of the gateway's own file. What others wrote must not refer to them.
        """
        self._sources = sources
        return self._any(value, place)

    def _any(self, value: Any, place: Place) -> Any:
        if isinstance(value, str):
            return self._whole(value, place)
        if (items := mapping(value)) is not None:
            return {key: self._any(item, (*place, key)) for key, item in items.items()}
        if (elements := sequence(value)) is not None:
            return [self._any(item, (*place, index)) for index, item in enumerate(elements)]
        return value

    def _whole(self, text: str, place: Place) -> str:
        if "${" not in text:
            return text
        try:
            return self._text(text, _MAX_NESTING)
        except (_Cannot, Unavailable) as reason:
            self.faults.append(Fault(place, str(reason)))
            return Unset(text)
        except NotAsked as reason:
            self.unread.append(Fault(place, str(reason)))
            return UnreadVariable(text)

    def _text(self, text: str, levels: int, *, inside: bool = False) -> str:
        """
        Args:
            inside: whether it stands inside a reference to a secret, which may hold variables and nothing else.
        """
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
            body = text[start + 2 : end]
            scheme, colon, rest = body.partition(":")
            if colon and scheme in SCHEMES and not rest.startswith("-"):  # else a variable of that name, with a default
                if inside:
                    raise _Cannot(f"${{{scheme}:…}} cannot stand inside another; only variables can")
                done.append(self._secret(scheme, rest, levels))
            else:
                done.append(self._variable(body, levels, inside=inside))
            position = end + 1
        return "".join([*done, text[position:]])

    def _secret(self, scheme: str, rest: str, levels: int) -> str:
        """
        Raises:
            _Cannot, Unavailable, NotAsked: there is no value, and why.
        """
        if self._sources is None:
            raise _Cannot(
                f"${{{scheme}:…}} is for the gateway's own file alone, which is YAML with `servers:`, or has a "
                "`gateway:` block; use a variable, ${NAME}"
            )
        words = [rest]
        if scheme == COMMAND:
            try:
                words = shlex.split(rest)
            except ValueError as error:
                reason = str(error).rstrip(".").lower()
                raise _Cannot(f"${{command:…}} cannot be split into words: {reason}; close the quotes") from None
        # Split first: what a variable holds becomes no word of its own.
        return self._sources.get(scheme, [self._text(word, levels - 1, inside=True) for word in words], rest)

    def _variable(self, body: str, levels: int, *, inside: bool) -> str:
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
            return self._text(default, levels - 1, inside=inside)
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
