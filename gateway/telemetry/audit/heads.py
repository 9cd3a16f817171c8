"""Where the chains of the audit log end, kept beside it: a line that is cut off its end is missed.

Each writer has a place, `0.head`, `1.head` and so on, for as long as it runs: the first that nobody holds. What the one
before left there goes into the first line of the next one's chain, so that no more places are taken than writers run at
a time. All of it blocks.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.telemetry.audit.chain import Head, mac

SUFFIX: Final = ".head"
MOST: Final = 1000
"""Writers at a time."""
_LENGTH: Final = 511
"""Bytes: always as many, so that one write leaves the old content or the new."""


class BadHead(ValueError):
    """A file that says where a chain ends is not as the gateway wrote it."""


class HeadFile:
    """A writer's place.

    Args:
        key: seals what is written.
        earlier: may have sealed what is there.

    Raises:
        OSError: there is none to be had.
    """

    def __init__(self, folder: Path, key: bytes, earlier: list[bytes]) -> None:
        self._key = key
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor, self.path = _place(folder)
        data = os.pread(self._descriptor, 4096, 0)
        self.found: Head | None = None
        """What the writer before left."""
        self.trouble = ""
        """What is wrong with that."""
        if data:
            try:
                self.found = _read(data, [key, *earlier])
            except BadHead as error:
                self.trouble = str(error)

    def write(self, head: Head) -> None:
        """
        Raises:
            OSError: it does not stand there.
        """
        body = json.dumps({"chain": head.chain, "n": head.n, "mac": head.mac}, separators=(",", ":")).encode()
        data = body[:-1] + f',"seal":"{mac(self._key, body)}"}}'.encode()
        os.pwrite(self._descriptor, data.ljust(_LENGTH) + b"\n", 0)

    def sync(self) -> None:
        """Wait until it would survive a power cut."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """The place is another's."""
        os.close(self._descriptor)


def read_all(folder: Path, keys: list[bytes]) -> Iterator[tuple[Path, Head | BadHead]]:
    """What every writer's place says.

    Raises:
        OSError: they cannot be read.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix == SUFFIX and (data := path.read_bytes()[:4096]):
            try:
                yield path, _read(data, keys)
            except BadHead as error:
                yield path, error


def _place(folder: Path) -> tuple[int, Path]:
    for number in range(MOST):
        path = folder / f"{number}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if _is_free(descriptor):
            return descriptor, path
        os.close(descriptor)
    raise OSError(None, f"{MOST} writers hold all places")


def _is_free(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(data: bytes, keys: list[bytes]) -> Head:
    try:
        fields: dict[str, Any] = json.loads(data)
        head = Head(str(fields["chain"]), int(fields["n"]), str(fields["mac"]))
        seal = str(fields["seal"])
    except (ValueError, KeyError, TypeError):
        raise BadHead("is not as the gateway writes it") from None
    body = json.dumps({"chain": head.chain, "n": head.n, "mac": head.mac}, separators=(",", ":")).encode()
    if seal not in [mac(key, body) for key in keys]:
        raise BadHead("was changed, or sealed with another key")
    return head
