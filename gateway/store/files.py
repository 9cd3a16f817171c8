"""Files that hold secrets or state: replaced in one step, readable by their owner only. All of it blocks.

Several gateways may share a folder of them, and use it at the same time. Whoever changes a file takes the folder's
lock, reads what the file says by then, changes that, and writes it; what was read earlier is never written over it.
"""

import errno
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway import blocking

LOCK_SECONDS: Final = 5.0
"""How long the lock is waited for. It is held for the length of a write."""
_LOOK_SECONDS: Final = 0.005


def replace(path: Path, data: bytes) -> None:
    """Write a file so that others see the old content or the new, and a crash leaves one of the two. Mode 0600.

    It keeps its owner, where whoever writes may give it away: an administrator must not lock the gateway out. A
    symbolic link is followed, not replaced. Missing folders are made.

    Raises:
        OSError: it cannot be written; the old content is still there.
    """
    target = Path(os.path.realpath(path))
    with _written(target, data) as temporary:
        with suppress(FileNotFoundError, PermissionError, AttributeError):  # no such call on Windows
            owner = target.stat()
            os.chown(temporary, owner.st_uid, owner.st_gid)
        os.replace(temporary, target)


def overwrite(path: Path, data: bytes) -> None:
    """Write into the file that is there, which takes no room on a full disk. A crash may leave neither content whole,
    so this is for what must not be lost by losing all of the file.

    Raises:
        OSError: it cannot be written, or would have to grow.
    """
    with open(os.path.realpath(path), "r+b") as file:
        if len(data) > os.fstat(file.fileno()).st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def update(
    path: Path, change: Callable[[bytes | None], bytes | None], write: Callable[[Path, bytes], None] | None = None
) -> None:
    """Change what a file says, with everybody else who does so kept out meanwhile.

    Args:
        change: from the content there is, None for no file, to the new one, None to leave it as it is.
        write: `overwrite`, or `replace` when None.

    Raises:
        OSError: it cannot be read, locked or written.
    """
    with locked(path):
        try:
            before = blocking.read(path)
        except FileNotFoundError:
            before = None
        after = change(before)
        if after is not None:
            (write or replace)(path, after)


def create(path: Path, data: bytes) -> bool:
    """As `replace`, but False, changing nothing, when somebody else has made the file meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    with _written(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def sync_folder(folder: Path) -> None:
    """Have what was replaced in a folder outlive a power failure too, where the system can do that."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not on every drive
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def signature(path: Path) -> tuple[int, ...] | None:
    """Changes with the file; None when there is none, or it cannot be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Keep out whoever else changes a file of that folder, in this process or another. Missing folders are made.

    Raises:
        OSError: it cannot be locked, or is for longer than `LOCK_SECONDS`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _lockable(path.parent)
    try:
        until = time.monotonic() + LOCK_SECONDS
        while not lock(descriptor):
            if time.monotonic() > until:
                raise OSError(errno.ETIMEDOUT, "another gateway has locked it")
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)  # which ends the lock


def hold(path: Path) -> bool:
    """Have a file to oneself until the process ends; False when another process has it.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR)
    if lock(descriptor):
        return True  # and never closed
    os.close(descriptor)
    return False


if sys.platform == "win32":
    import msvcrt

    def _lockable(folder: Path) -> int:
        return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)

    def lock(descriptor: int) -> bool:
        """Lock an open file, until it is closed; False when another has."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lockable(folder: Path) -> int:
        """The folder itself; on a drive where folders cannot be locked (NFS), a file in it."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError:
            os.close(descriptor)
            return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        return descriptor

    def lock(descriptor: int) -> bool:
        """Lock an open file, until it is closed; False when another has."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def _written(path: Path, data: bytes) -> Generator[str]:
    """A temporary file beside `path`; gone afterwards, unless it was moved."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # creates it with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
