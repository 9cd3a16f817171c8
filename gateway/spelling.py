"""Names, and the globs that match them: as they are, or in words (`getPetById` is `get_pet_by_id`, too)."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

_HUMPS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN: Final = re.compile(r"[^A-Za-z0-9]+")


def in_words(name: str) -> str:
    """A name in lower case, with `_` between its words."""
    return _BETWEEN.sub("_", _HUMPS.sub("_", name)).lower()


def offers(tool: str, allow: Iterable[str], deny: Iterable[str], *, words: bool = False) -> bool:
    """Whether globs offer the tool of that name: one of `allow` matches, and none of `deny`.

    Args:
        words: whether they may match the name in words, too.
    """
    names = (tool, in_words(tool)) if words else (tool,)
    return any(fnmatchcase(name, glob) for glob in allow for name in names) and not any(
        fnmatchcase(name, glob) for glob in deny for name in names
    )
