"""Files that may hang, on a dead network drive or as a pipe: they hold up neither the loop nor a stop."""

import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SAVE_SECONDS: Final = 10.0
"""How long a file may take to be written, before that counts as failed."""
LAST_SECONDS: Final = 3.0
"""The same, once the gateway stops."""

_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A pipe is opened without waiting for somebody who writes to it."""
_GIVEN: Final = ("/dev/", "/proc/")
"""Where a shell keeps the pipes of `<(command)`: whoever named one means it."""


def read(path: Path, most: int = -1) -> bytes:
    """The content of a file, at most so many bytes of it. Blocks, but never for a pipe that nobody meant.

    Raises:
        OSError: it cannot be read, or is neither a file nor a pipe that the shell has made.
    """
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    with os.fdopen(descriptor, "rb") as file:  # which refuses a folder
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            if not str(path).startswith(_GIVEN):
                raise OSError(None, "it is not a regular file")
            os.set_blocking(descriptor, True)
        return file.read(most)


async def in_thread(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """Call what may hang in a thread of its own. Whoever is cancelled, and the process at its end, leave it behind."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # from here on, cancelling whoever waits does not touch it

    def work() -> None:
        try:
            outcome.set_result(function(*args))
        except BaseException as error:
            outcome.set_exception(error)

    import asyncio  # which reading the configuration does without

    threading.Thread(target=work, name="file", daemon=True).start()
    return await asyncio.wrap_future(outcome)


async def within(seconds: float, function: Callable[[*Ts], T], *args: *Ts) -> T:
    """As `in_thread`, for so many seconds, cancelled or not.

    Raises:
        OSError: that was not enough, and it may be done yet; or what `function` raises.
    """
    import anyio

    with anyio.move_on_after(seconds, shield=True):
        return await in_thread(function, *args)
    raise OSError(errno.ETIMEDOUT, f"it takes longer than {seconds:g} s")
