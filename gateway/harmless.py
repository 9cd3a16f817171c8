"""Text that came from elsewhere, made fit to be shown to people: it steers no terminal, hides nothing, and is short."""

from typing import Final, Self

LONGEST_SECRET: Final = 16 * 1024
"""Characters. So much more of a text is kept than is shown until secrets are masked: half of one is not recognised."""


def harmless(text: str) -> str:
    """`text` with everything escaped that cannot be seen; only line breaks and tabs are left as they are."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text.replace("\r\n", "\n")
    )


class Clipped(str):
    """The first `limit` characters of a text. The log masks secrets in what it knows of the `whole`, and cuts then."""

    __slots__ = ("limit", "whole")

    limit: int
    whole: str
    """The beginning of it, and `LONGEST_SECRET` characters more."""

    def __new__(cls, text: str, limit: int) -> Self:
        clipped = super().__new__(cls, text[:limit])
        clipped.limit = limit
        clipped.whole = text[: limit + LONGEST_SECRET]
        return clipped


def clipped(text: str, length: int = 200) -> str:
    """`text` in at most so many characters, to be shown or kept."""
    return text if len(text) <= length else text[: length - 1] + "…"
