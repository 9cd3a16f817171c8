"""A file that is only ever appended to, by whole lines, and that others may rename or truncate to rotate it.

Several processes may write to one: each batch of lines stands there whole, or not at all. All of it blocks.
"""

import os
import stat
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

LOOK_SECONDS: Final = 0.5
"""How often it is looked whether the file that is written to is still the one of that name."""
LOCK_SECONDS: Final = 5.0
"""How long another writer is waited for; each holds the lock for the length of a write."""


class AppendFile:
    """
    Args:
        mode: of a file that is made.
    """

    def __init__(self, path: Path, mode: int = 0o640, look_seconds: float = LOOK_SECONDS) -> None:
        self.path = path
        self._mode = mode
        self._look_seconds = look_seconds
        self._descriptor: int | None = None
        self._looked = 0.0

    def open(self) -> None:
        """Open it now, and not with the first line.

        Raises:
            OSError: it cannot be written to.
        """
        if self._descriptor is None:
            descriptor = os.open(
                self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), self._mode
            )
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(None, "it is not a regular file")
            self._descriptor, self._looked = descriptor, time.monotonic()

    def append(self, lines: bytes) -> None:
        """
        Args:
            lines: whole ones, each with its line break.

        Raises:
            OSError: they are not there, nor is a part of them.
        """
        if self._descriptor is not None and time.monotonic() - self._looked > self._look_seconds:
            self._looked = time.monotonic()
            if not self._is_there(self._descriptor):
                self.close()
        self.open()
        assert self._descriptor is not None
        with _locked(self._descriptor):
            _append(self._descriptor, lines)

    def sync(self) -> None:
        """Wait until what was appended would survive a power cut.

        Raises:
            OSError: it would not.
        """
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """The next line opens the file of that name anew."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _is_there(self, descriptor: int) -> bool:
        try:
            there = os.stat(self.path)
        except OSError:
            return False
        ours = os.fstat(descriptor)
        return (ours.st_ino, ours.st_dev) == (there.st_ino, there.st_dev)


def _append(descriptor: int, lines: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        lines = b"\n" + lines  # a crash cut the last line short; ours is to stand by itself
    left = memoryview(lines)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise


@contextmanager
def _locked(descriptor: int) -> "Generator[None]":
    if sys.platform == "win32":
        yield
        return
    import fcntl

    latest = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > latest:
                raise
            time.sleep(0.005)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
