"""Text that a person who reads it would not see, but a model does. Pure.

It is flagged and never removed: there are honest uses for some of it, and a cleaned text would look trustworthy.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.harmless import harmless

_ASCII: Final = r"[\x00-\x7f]"
_PATTERNS: Final = {
    "zero-width characters": r"[\u00ad\u180e\u200b\u2060-\u2064\ufeff]|[\u200c\u200d]{2}"
    # Single joiners belong to Arabic, Indic scripts and emoji; beside ASCII they join nothing.
    rf"|(?<={_ASCII})[\u200c\u200d]|[\u200c\u200d](?={_ASCII}|\Z)|\A[\u200c\u200d]",
    "bidirectional controls": r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]",
    "ANSI escapes": r"[\x1b\x9b]",
    "control characters": r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9a\x9c-\x9f]",
    "an HTML comment": r"<!--",
    "Unicode tags": r"[\U000e0000-\U000e007f]",
    "variation selectors in a row": r"[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2}",
}
"""What it is → how to find it."""

_SIGNS: Final = tuple(_PATTERNS)
_ANY: Final = re.compile("|".join(f"({pattern})" for pattern in _PATTERNS.values()))
_PLAIN: Final = re.compile(rb'(?:[ -\[\]-~]|\\["\\/nrt])*')
"""JSON in which nothing can hide but a comment: printable ASCII, line breaks, tabs. Quick to match, and most is so."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something hidden in a definition."""

    kind: str
    name: str
    """The item's own name or URI."""
    place: str
    """Where in the definition, such as `inputSchema.properties.path.description`; harmless to show."""
    what: str


def scan(kind: str, name: str, definition: Any) -> list[Suspicion]:
    """What is hidden in the texts of a definition, its keys included; once for each place and sort."""
    encoded = jsonrpc.dumps(definition)
    if _PLAIN.fullmatch(encoded) and b"<!--" not in encoded:
        return []
    return [
        Suspicion(kind, name, harmless(".".join(place)), what)
        for place, text in _texts(definition)
        for what in dict.fromkeys(_SIGNS[(found.lastindex or 1) - 1] for found in _ANY.finditer(text))
    ]


def _texts(definition: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """`(place, text)` of all texts, in their order."""
    left: list[tuple[tuple[str, ...], Any]] = [((), definition)]
    while left:
        place, value = left.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict):
            for key, each in reversed(cast("dict[str, Any]", value).items()):
                left += [((*place, key), each), ((*place, key), key)]
        elif isinstance(value, list):
            items = enumerate(cast("list[Any]", value))
            left += reversed([((*place, str(index)), each) for index, each in items])
