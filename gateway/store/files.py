"""Files that hold secrets or state: replaced in one step, readable by their owner only. All of it blocks."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


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
