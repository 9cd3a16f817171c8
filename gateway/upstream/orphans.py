"""What servers leave behind when they end becomes the gateway's own, on Linux, and is reaped.

Without that, orphans go to PID 1, where nobody finds them again; and where the gateway itself is PID 1 (a container)
they come to it whether it wants them or not, and stay as zombies.
"""

import contextlib
import os
import sys

from gateway.upstream.guardian_process import children

_SET_CHILD_SUBREAPER = 36
"""`PR_SET_CHILD_SUBREAPER` of prctl(2)."""


class Orphans:
    """The orphans of this process."""

    def __init__(self) -> None:
        self.adopts = False
        self._zombies: set[int] = set()
        """Those there were at the last look."""

    def adopt(self) -> bool:
        """From now on they come to this process. False where the system cannot do that."""
        if sys.platform == "linux":
            import ctypes

            with contextlib.suppress(OSError, AttributeError):
                self.adopts = ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        return self.adopts

    def reap(self, *, at_once: bool = False) -> None:
        """Reap those that have ended. A child that somebody waits for must be left to him, and he takes it at once: so
        only who was a zombie at the last look already is nobody's."""
        if sys.platform != "linux":
            return
        zombies = _zombies()
        for pid in zombies if at_once else zombies & self._zombies:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._zombies = zombies


def _zombies() -> set[int]:
    """Children that have ended and were not waited for."""
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return set()
    except ChildProcessError:
        return set()
    return {pid for pid in children(os.getpid()) if _is_zombie(pid)}


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return False
