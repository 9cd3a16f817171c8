"""Where it is kept what each principal saw first of a server: in a folder beside the other pins, and in the store.

One record a principal and server, under a name that says neither. Whoever keeps one first is right, of all nodes that
share the store. Bounded: what nobody asked for in half a year goes, and where there are too many, no more are kept.
"""

import errno
import os
import time
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

from gateway import blocking, jsonrpc
from gateway.blocking import in_thread
from gateway.errors import StoreUnavailable
from gateway.store import files
from gateway.store import pins as pin_file
from gateway.store.pins import Pins
from gateway.store.shared import Store

NAME: Final = "own_pins"
"""The folder, in `state_dir`."""
MAX_RECORD: Final = 2**20
"""Bytes of one record."""
MAX_RECORDS: Final = 10_000
MAX_BYTES: Final = 256 * 2**20
"""Of all in the folder."""
KEPT_SECONDS: Final = 180 * 86_400.0
"""How long after somebody last began to use it."""


class OwnPinRecords(Protocol):
    async def first(self, key: str, mine: Pins) -> tuple[Pins, bool]:
        """What is kept under a key; these, from now on, if nothing is. And whether other nodes have been asked.

        Raises:
            OSError: it cannot be said, or kept.
            ValueError: what is kept is none of ours.
        """
        ...

    async def forget(self, key: str) -> None:
        """
        Raises:
            OSError, StoreUnavailable: it cannot be.
        """
        ...


def key_of(upstream: str, server: str, label: str) -> str:
    """Under what the pins of a principal stand.

    Args:
        server: hash of the server's definition; another one is pinned anew.
        label: of its lists (`gateway.upstream.personal`).
    """
    return blake2b("\0".join((upstream, server, label)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class OwnPinFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def first(self, key: str, mine: Pins) -> tuple[Pins, bool]:
        return await in_thread(self._first, key, _encoded(mine), mine), True

    async def put(self, key: str, pins: Pins) -> None:
        """Keep these instead."""
        await in_thread(files.replace, self._path(key), _encoded(pins))

    async def forget(self, key: str) -> None:
        await in_thread(self._path(key).unlink, True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _first(self, key: str, encoded: bytes, mine: Pins) -> Pins:
        path = self._path(key)
        for _ in range(2):
            try:
                kept = blocking.read(path, MAX_RECORD + 1)
            except FileNotFoundError:
                self._make_room(len(encoded))
                if files.create(path, encoded):
                    return mine
                continue  # somebody else was quicker
            os.utime(path)
            return _decoded(kept)
        raise OSError(errno.EAGAIN, "it changes all the time")

    def _make_room(self, size: int) -> None:
        """
        Raises:
            OSError: there is none.
        """
        if not self._folder.is_dir():
            return
        with os.scandir(self._folder) as entries:
            known = [(entry, entry.stat()) for entry in entries if entry.name.endswith(".json")]
        oldest, total, count = time.time() - KEPT_SECONDS, sum(each.st_size for _, each in known), len(known)
        for entry, each in known:
            if each.st_mtime < oldest:
                os.unlink(entry.path)
                total, count = total - each.st_size, count - 1
        if count >= MAX_RECORDS or total + size > MAX_BYTES:
            raise OSError(errno.ENOSPC, f"{self._folder} is full ({count} records, {total} bytes)")


class OwnPinStore:
    """In the store that nodes share, which forgets by itself; and in a node's folder, which is what it has when the
    store is away, or has lost everything."""

    def __init__(self, store: Store, folder: OwnPinFolder) -> None:
        self._store = store
        self._folder = folder

    async def first(self, key: str, mine: Pins) -> tuple[Pins, bool]:
        here, _ = await self._folder.first(key, mine)
        try:
            self._store.check()
            shared = await self._shared(key, here)
        except StoreUnavailable:
            return here, False
        if shared != here:
            await self._folder.put(key, shared)
        return shared, True

    async def _shared(self, key: str, mine: Pins) -> Pins:
        name, encoded = f"{NAME}:{key}", _encoded(mine)
        if await self._store.add(name, encoded, KEPT_SECONDS):
            return mine
        kept = await self._store.get(name)
        if kept is None:
            raise ValueError("what is kept cannot be opened")
        await self._store.set(name, kept, KEPT_SECONDS)
        return _decoded(kept)

    async def forget(self, key: str) -> None:
        await self._folder.forget(key)
        await self._store.delete(f"{NAME}:{key}")


def _encoded(pins: Pins) -> bytes:
    return jsonrpc.dumps(pin_file.document(pins))


def _decoded(kept: bytes) -> Pins:
    try:
        return pin_file.from_document(jsonrpc.loads(kept, len(kept)))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise ValueError("what is kept is of another version, or broken") from None
