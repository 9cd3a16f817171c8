"""Ids that must not be lost on a full disk: a file of fixed size, made while there is room, and written in place.

Each has a slot of its own, smaller than what a disk writes at once, with a checksum: a slot that a crash left torn is
as good as empty, and no other suffers. A file system that writes nothing in place (Btrfs, ZFS) may have no room for it
all the same; then nothing is promised. All of it blocks.
"""

import errno
import os
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from zlib import crc32

from gateway import blocking
from gateway.store import files

SLOTS: Final = 512
_SIZE: Final = 64
_EMPTY: Final = b" " * (_SIZE - 1) + b"\n"


def make(path: Path) -> None:
    """Have the file there.

    Raises:
        OSError: there is none, and no room for it.
    """
    if not path.exists():
        files.create(path, _EMPTY * SLOTS)


def read(path: Path) -> set[str]:
    """The ids that are noted.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        data = blocking.read(path, SLOTS * _SIZE)
    except FileNotFoundError:
        return set()
    return {id for id in map(_id_in, _slots(data)) if id is not None}


def note(path: Path, ids: Collection[str]) -> None:
    """Note ids, those too that are noted already.

    Raises:
        OSError: there is no file, or no room in it; or another reason why they are not.
    """
    with _opened(path) as (file, slots):
        noted = {_id_in(slot) for slot in slots}
        free = (number for number, slot in enumerate(slots) if _id_in(slot) is None)
        for id in ids:
            if id not in noted:
                number, slot = next(free, None), _slot(id)
                if number is None or len(slot) != _SIZE:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                _write(file, number, slot)


def clear(path: Path, ids: Collection[str]) -> None:
    """These need no longer be noted.

    Raises:
        OSError: they still are.
    """
    with _opened(path) as (file, slots):
        for number, slot in enumerate(slots):
            if _id_in(slot) in ids:
                _write(file, number, _EMPTY)


@contextmanager
def _opened(path: Path) -> Generator[tuple[IO[bytes], list[bytes]]]:
    """The file and its slots, with other gateways kept out; on the disk when the block has ended."""
    with files.locked(path):
        slots = _slots(blocking.read(path, SLOTS * _SIZE))  # which refuses what could hang
        with open(path, "r+b", buffering=0) as file:
            yield file, slots
            os.fsync(file.fileno())


def _write(file: IO[bytes], number: int, slot: bytes) -> None:
    file.seek(number * _SIZE)
    file.write(slot)


def _slots(data: bytes) -> list[bytes]:
    return [data[at : at + _SIZE] for at in range(0, len(data) - _SIZE + 1, _SIZE)]


def _slot(id: str) -> bytes:
    text = id.encode()
    return b"%08x %s" % (crc32(text), text) + b" " * (_SIZE - 10 - len(text)) + b"\n"


def _id_in(slot: bytes) -> str | None:
    """None for an empty slot, or a torn one."""
    checksum, _, text = slot.strip().partition(b" ")
    return text.decode() if text.isascii() and checksum == b"%08x" % crc32(text) and text else None
