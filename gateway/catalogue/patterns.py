"""Which URIs a resource template stands for: does one match, and could two of them mean the same URI? Pure.

Templates are the upstreams', URIs the agents'; neither may hold up the event loop, so nothing here backtracks.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

from gateway import sdk

if TYPE_CHECKING:
    from mcp.shared.uri_template import UriTemplate

MAX_STEPS: Final = 10_000
"""What finding out whether two templates overlap may cost (see `Pattern.steps`); beyond that they are said to."""

_STOPS: Final = {"": "/?#&,", "+": "?#"}
"""Operator → what the value of a single variable of it never holds, as the SDK matches. Others may hold anything."""

_OPAQUE: Final = frozenset[str]()
"""Stands for an expression of which it is not known what its value may hold."""
_WHOLE_TREE: Final = re.compile(r"\{\+\w+\}")


@dataclass(frozen=True)
class Pattern:
    """One resource template (RFC 6570), by its text. Use `pattern`."""

    text: str

    @cached_property
    def head(self) -> str:
        """The literal text that every matching URI starts with."""
        return self.text.partition("{")[0]

    def match(self, uri: str) -> bool:
        """Whether it stands for `uri`, as the SDK says; where it cannot, the literal texts must stand in order."""
        if not uri.startswith(self.head):
            return False
        if self._parsed is not None:
            return self._parsed.match(uri) is not None
        return bool(self.head) and self._has_literals(uri)

    def overlaps(self, other: "Pattern") -> bool:
        """Whether some URI may match both: exact for simple templates, and true where it is not known."""
        if not (self.head.startswith(other.head) or other.head.startswith(self.head)):
            return False
        return self.steps(other) > MAX_STEPS or _meet(self._atoms, other._atoms)

    def steps(self, other: "Pattern") -> int:
        """How many pairs of positions `overlaps` may have to look at."""
        return len(self.text) * len(other.text)

    @property
    def shape(self) -> object:
        """Templates that have the same stand for the same URIs, whatever their variables are called."""
        return self._atoms if _OPAQUE not in self._atoms else self.text

    @property
    def is_whole_tree(self) -> bool:
        """Whether it stands for every URI that starts with its `head`."""
        return bool(_WHOLE_TREE.fullmatch(self.text, len(self.head)))

    @cached_property
    def _parsed(self) -> "UriTemplate | None":
        """None when the SDK cannot match such a template (two adjacent variables, `{var:3}`, …)."""
        module = sdk.uri_templates()
        try:
            return module.UriTemplate.parse(self.text)
        except module.InvalidUriTemplate:
            return None

    def _has_literals(self, uri: str) -> bool:
        literals = [part.rpartition("}")[2] for part in self.text.split("{")]
        at = len(literals[0])
        for literal in literals[1:-1]:
            found = uri.find(literal, at)
            if found < 0:
                return False
            at = found + len(literal)
        return len(literals) == 1 or uri.endswith(literals[-1], at)

    @cached_property
    def _atoms(self) -> tuple[str | frozenset[str], ...]:
        """Single characters, and for each expression the characters that end its value."""
        atoms: list[str | frozenset[str]] = []
        first, *rest = self.text.split("{")
        atoms += first
        for part in rest:
            expression, end, literal = part.rpartition("}")
            if not end:  # it is no template; so much the less is known of it
                return (*atoms, frozenset())
            operator = expression[:1] if expression[:1] in "+#./;?&" else ""
            is_single = not {",", "*"} & set(expression)
            atoms.append(frozenset(_STOPS.get(operator, "") if is_single else ""))
            atoms += literal
        return tuple(atoms)


@lru_cache(maxsize=4096)
def pattern(text: str) -> Pattern:
    """The pattern of a template; parsed once, however often upstreams list it."""
    return Pattern(text)


def _meet(one: tuple[str | frozenset[str], ...], other: tuple[str | frozenset[str], ...]) -> bool:
    """Whether some text is of both forms: a walk over the pairs of positions that a common text could have reached."""
    reached: set[tuple[int, int]] = set()
    waiting = [(0, 0)]
    while waiting:
        i, j = waiting.pop()
        if (i, j) in reached:
            continue
        reached.add((i, j))
        if i == len(one) and j == len(other):
            return True
        here = one[i] if i < len(one) else None
        there = other[j] if j < len(other) else None
        if isinstance(here, frozenset):
            waiting.append((i + 1, j))  # its value is empty, or ends here
            if isinstance(there, str) and there not in here:
                waiting.append((i, j + 1))
        if isinstance(there, frozenset):
            waiting.append((i, j + 1))
            if isinstance(here, str) and here not in there:
                waiting.append((i + 1, j))
        if isinstance(here, str) and here == there:
            waiting.append((i + 1, j + 1))
    return False
