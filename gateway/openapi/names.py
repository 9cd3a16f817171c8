"""What operations and their arguments are called."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from hashlib import blake2b
from itertools import count
from typing import Final

from gateway.spelling import in_words

MAX_NAME: Final = 64
"""Characters of a tool's name, and of an argument's."""
_MARK: Final = 8
_NOT_OF_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_NOT_OF_ARGUMENT: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def tool_names(operations: Mapping[str, str]) -> dict[str, str]:
    """A name for each operation, of at most 64 of `[A-Za-z0-9_-]`, and no two the same.

    Each is a function of the operation and of those that want the same name; the one that needed no change keeps it.

    Args:
        operations: `METHOD /path` → its `operationId`, or nothing.
    """
    wanted = {key: _fit(_clean(id or key), key) for key, id in operations.items()}
    claims = Counter(wanted.values())
    unchanged = Counter(name for key, name in wanted.items() if name == operations[key])
    names: dict[str, str] = {}
    taken = {name for name, claimed in claims.items() if claimed > 1}
    for key, name in sorted(wanted.items()):
        keeps = claims[name] == 1 or (name == operations[key] and unchanged[name] == 1)
        names[key] = name if keeps else next(each for each in _marked(name, key) if each not in taken)
        taken.add(names[key])
    return names


def spellings(name: str, operation_id: str) -> tuple[str, ...]:
    """What a glob may match: the name, the `operationId`, and the name in words (`getPetById` → `get_pet_by_id`)."""
    return tuple(dict.fromkeys((name, operation_id or name, in_words(name))))


def matches(globs: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether one of the globs matches one of the names."""
    return any(fnmatchcase(name, glob) for glob in globs for name in names)


def argument_name(name: str, taken: set[str], place: str) -> str:
    """What to call the argument for what the API calls `name`: in the characters that models' APIs take, and unlike
    those in `taken`."""
    clean = _NOT_OF_ARGUMENT.sub("_", name).strip("_")[:MAX_NAME] or place
    if clean not in taken:
        return clean
    placed = f"{clean[: MAX_NAME - len(place) - 1]}_{place}"
    return (
        placed if placed not in taken else next(each for each in _marked(clean, f"{place} {name}") if each not in taken)
    )


def _clean(text: str) -> str:
    """`get /users/{id}` → `get_users_id`."""
    return _NOT_OF_NAME.sub("_", text).strip("_") or "operation"


def _fit(name: str, key: str) -> str:
    return name if len(name) <= MAX_NAME else next(_marked(name, key))


def _marked(name: str, key: str) -> Iterator[str]:
    data = key.encode("utf-8", "replace")
    for salt in count():
        mark = blake2b(data, digest_size=_MARK // 2, salt=salt.to_bytes(8)).hexdigest()
        yield f"{name[: MAX_NAME - _MARK - 1]}_{mark}"
