"""Replaces a configuration file in one step, if the gateway could still be started with it."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.cli.doctor.lenient import read_leniently
from gateway.cli.importer.insertion import CannotInsert


def replace(target: Path, text: str, *, private: bool) -> None:
    """Write `text` to `target`, which keeps its mode. A new file is for its owner alone if it is `private`.

    Raises:
        CannotInsert: the gateway could be started with the old text and could not with this one.
        OSError: the file cannot be written; the old one is untouched.
    """
    write(target, text, private=private, check=lambda temporary: _check(target, temporary))


def write(target: Path, text: str, *, private: bool, check: Callable[[Path], None] = lambda temporary: None) -> None:
    """As `replace`, for any text file; `check` may raise when it has seen the outcome.

    Raises:
        OSError: the file cannot be written; the old one is untouched.
    """
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix or ".yaml")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        check(temporary)
        temporary.chmod(_mode(target, private))
        with suppress(OSError):  # only root may give a file away
            if target.exists():
                os.chown(temporary, target.stat().st_uid, target.stat().st_gid)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _check(target: Path, temporary: Path) -> None:
    after = read_leniently(temporary)
    if after.config is None and (not target.exists() or read_leniently(target).config is not None):
        reason = after.refused.replace(str(temporary), target.name).replace("\n", "; ")
        raise CannotInsert(f"the gateway could not use the outcome ({reason})")


def _mode(target: Path, private: bool) -> int:
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o600 if private else 0o666 & ~mask
