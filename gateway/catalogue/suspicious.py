"""Text that a person who reads it would not see, but a model does. Pure.

It is flagged and never removed: there are honest uses for some of it, and a cleaned text would look trustworthy.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.catalogue.place import Place, shown

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

_SIGNS: Final = {what: re.compile(pattern) for what, pattern in _PATTERNS.items()}
_ESCAPED: Final = (b"<!--", b"\\u", b"\\b", b"\\f", b"\x7f")
_UNSEEN: Final = re.compile(
    "[\x80-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]"
)
"""Without any of these in its JSON, nothing hides in a definition; nearly all have none, and that is quick to see."""

MAX_PLACES: Final = 20
"""Of one definition; with so many it is clear what to think of it."""


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
    """What is hidden in the texts of a definition, its keys included; once for each place and sort, `MAX_PLACES` at
    most."""
    encoded = jsonrpc.dumps(definition)
    if not any(sign in encoded for sign in _ESCAPED) and (encoded.isascii() or not _UNSEEN.search(encoded.decode())):
        return []
    found = (
        Suspicion(kind, name, shown(place), what)
        for place, text in _texts(definition)
        for what, sign in _SIGNS.items()
        if sign.search(text)
    )
    return list(islice(found, MAX_PLACES))


def _texts(definition: Any) -> Iterator[tuple[Place, str]]:
    """`(place, text)` of all texts, in their order."""
    left: list[tuple[Place, Any]] = [(None, definition)]
    while left:
        place, value = left.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict):
            for key, each in reversed(cast("dict[str, Any]", value).items()):
                inside = place, key
                left += [(inside, each), (inside, key)]
        elif isinstance(value, list):
            items = enumerate(cast("list[Any]", value))
            left += reversed([((place, str(index)), each) for index, each in items])
