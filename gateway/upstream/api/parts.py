"""The other documents that an API's document refers to: from its own folder, or its own origin, and not very many."""

import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio

from gateway import blocking
from gateway.blocking import in_thread
from gateway.openapi.bundling import is_url
from gateway.upstream.api.compiler import look_apart
from gateway.upstream.api.web import FetchFailed
from gateway.upstream.transport.pool import Origin

MAX_FILES: Final = 5_000
MAX_FETCHED: Final = 200
"""Documents at most, besides the first."""
MAX_REASONS: Final = 200
"""Documents that are too many and are named, in one round."""
MAX_ROUNDS: Final = 32
"""How far one may be behind another."""
AT_ONCE: Final = 8
TOO_MUCH: Final = "is too much: all documents together may have `openapi.max_bytes`"
SECONDS: Final = 60.0
"""In which all must be there."""

Get = Callable[[str, int], Awaitable[bytes]]
"""`(name, bytes at most)` → the document. Raises FetchFailed: it cannot be had, or must not."""


@dataclass(frozen=True, slots=True)
class Parts:
    documents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    unavailable: dict[str, str] = field(default_factory=dict[str, str])
    """Name → why it is not there."""


async def collect(names: Collection[str], first: str, get: Get, room: int, most: int) -> Parts:
    """Some documents, and all that these refer to in turn.

    Args:
        first: the name of the document that is there already.
        room: bytes, all together.
        most: documents, all together.

    Raises:
        CompileFailed: it cannot be found out what they refer to.
        FetchFailed: it takes too long.
    """
    found = Parts()
    due = set(names)
    try:
        with anyio.fail_after(SECONDS):
            for _ in range(MAX_ROUNDS):
                due -= {first} | found.documents.keys() | found.unavailable.keys()
                if not due:
                    return found
                fresh = await _round(sorted(due), found, get, room, most)
                if not fresh:
                    return found
                seen = await look_apart(fresh)
                found.unavailable.update(seen.faults)
                for name in seen.faults:
                    found.documents.pop(name, None)
                due = set(seen.names)
    except TimeoutError:
        raise FetchFailed(f"refers to documents that are not there within {SECONDS:g} s") from None
    for name in due - found.documents.keys():
        found.unavailable.setdefault(name, f"is more than {MAX_ROUNDS} documents away")
    return found


async def _round(names: list[str], found: Parts, get: Get, room: int, most: int) -> dict[str, bytes]:
    """Have these; returns those that were to be had."""
    fresh: dict[str, bytes] = {}
    count = max(most - len(found.documents), 0)
    left = room - sum(map(len, found.documents.values()))
    too_many = f"is one too many: {most} documents are read at most; bundle them"
    found.unavailable.update(dict.fromkeys(names[count : count + MAX_REASONS], too_many))
    due = iter(names[:count])

    async def some() -> None:
        nonlocal left
        for name in due:
            try:
                data = await get(name, max(left, 0))
                if len(data) > left:  # others have come meanwhile
                    raise FetchFailed(TOO_MUCH)
            except FetchFailed as failed:
                found.unavailable[name] = str(failed)
                continue
            left -= len(data)
            fresh[name] = data

    async with anyio.create_task_group() as tg:
        for _ in range(AT_ONCE):
            tg.start_soon(some)
    found.documents.update(fresh)
    return fresh


def from_folder(folder: Path) -> Get:
    """Files of a folder, and of those in it."""

    def read(name: str, room: int) -> bytes:
        if is_url(name) or os.path.isabs(name) or "://" in name or "\\" in name or "\0" in name:
            raise FetchFailed("is not in the folder of the document that refers to it, and is not read: bundle it")
        path = Path(os.path.realpath(folder / name))
        home = os.path.realpath(folder)
        if not path.is_relative_to(home):
            raise FetchFailed("is outside the folder of the first document, and is not read: bundle it")
        if any(part.startswith(".") for part in path.relative_to(home).parts):
            raise FetchFailed("is hidden, and is not read")
        try:
            data = blocking.read(path, room + 1)
        except OSError as error:
            raise FetchFailed(f"cannot be read ({error.strerror or error})") from None
        if len(data) > room:
            raise FetchFailed(TOO_MUCH)
        return data

    async def get(name: str, room: int) -> bytes:
        return await in_thread(read, name, room)

    return get


def from_origin(home: str, fetch: Get) -> Get:
    """What has the origin of a URL.

    Args:
        fetch: does it; it must not be led elsewhere.
    """

    async def get(name: str, room: int) -> bytes:
        try:
            is_ours = is_url(name) and Origin.of(name) == Origin.of(home)
        except ValueError:
            raise FetchFailed("is no URL") from None
        if not is_ours:
            raise FetchFailed("is not where the document that refers to it is, and is not fetched: bundle it")
        return await fetch(name, room)

    return get
