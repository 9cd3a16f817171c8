"""Where in a definition something stands. Pure, and cheap to go down with: keys may be long."""

from typing import Final, TypeAlias

from gateway.harmless import harmless

Place: TypeAlias = "tuple[Place, str] | None"
"""The place around it, and the key or index there. None is the whole."""

MAX_KEY: Final = 100
MAX_KEYS: Final = 20
"""What is shown of a place: so many characters of a key, and so many keys, the innermost."""


def shown(place: Place) -> str:
    """Such as `inputSchema.properties.path.description`; the whole is empty. Harmless to show."""
    keys: list[str] = []
    while place is not None and len(keys) < MAX_KEYS:
        place, key = place
        keys.append(key if len(key) <= MAX_KEY else key[:MAX_KEY] + "…")
    if place is not None:
        keys.append("…")
    return harmless(".".join(reversed(keys)))
