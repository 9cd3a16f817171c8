"""What a refusal says is wanted: the `Bearer` challenge of `WWW-Authenticate`. Pure.

Source: RFC 9110, 11.6.1; RFC 6750, 3; RFC 9728, 5.1.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_SCOPES: Final = 100

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PART: Final = re.compile(
    rf'\s*(?:(?P<name>{_WORD})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))'
    rf"|(?P<scheme>{_WORD})(?:\s+(?P<token68>[A-Za-z0-9\-._~+/]+=*)(?=\s*(?:,|$)))?)\s*,?"
)
_ESCAPED: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a server wants of who asks."""

    resource_metadata: str | None = None
    """Where it says what it is."""
    scopes: tuple[str, ...] = ()
    """The scopes that this request takes."""
    error: str = ""
    """`invalid_token`, `insufficient_scope`, …"""


def wanted(header: str) -> Wanted:
    """What the first Bearer challenge with parameters says; nothing, if there is none."""
    found = [values for scheme, values in _challenges(header) if scheme == "bearer"]
    if not found:
        return Wanted()
    nothing: Mapping[str, str] = {}
    values = next((each for each in found if each), nothing)
    scopes = tuple(dict.fromkeys(values.get("scope", "").split()))[:MAX_SCOPES]
    return Wanted(values.get("resource_metadata"), scopes, values.get("error", ""))


def _challenges(header: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    scheme: str | None = None
    values: dict[str, str] = {}
    at = 0
    while at < len(header) and (part := _PART.match(header, at)):
        if part.end() == at:
            break
        at = part.end()
        if part["name"] is not None:
            value = part["plain"] if part["quoted"] is None else _ESCAPED.sub(r"\1", part["quoted"])
            values.setdefault(part["name"].lower(), value)
        else:
            if scheme is not None:
                yield scheme, values
            scheme, values = part["scheme"].lower(), {}
    if scheme is not None:
        yield scheme, values
