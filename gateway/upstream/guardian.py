"""Sees to it that no child outlives the gateway, however the gateway ends.

A process of its own, told over a pipe which process groups exist. When the pipe closes, the gateway is gone; groups it
did not take back are ended. It runs on the bare standard library (`python -I -S`): 7 MB, started with the first child.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Final

GRACE_SECONDS: Final = 2.0


class Guardian:
    """The gateway's end of the pipe; one per gateway. Does nothing on Windows, which has no process groups."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    def watch(self, pid: int) -> None:
        """From now on, the group `pid` leads must not outlive us."""
        if sys.platform == "win32":
            return
        self._groups.add(pid)
        if self._process is not None and self._process.poll() is None:
            self._tell(f"+{pid}\n")
        else:
            self._start()

    def release(self, pid: int) -> None:
        """The group has ended in order."""
        self._groups.discard(pid)
        self._tell(f"-{pid}\n")

    async def aclose(self) -> None:
        """Let the guardian go. It ends what has not been released, and then itself."""
        from anyio import to_thread  # not above: the guardian process has no use for it, nor the path to it

        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            await to_thread.run_sync(process.wait)

    def _start(self) -> None:
        """Start it, or one in place of one that died. Should that fail, children still end in order when we do."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter on our own file
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={},
                bufsize=0,
            )
        self._tell("".join(f"+{pid}\n" for pid in self._groups))

    def _tell(self, text: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(text.encode())


def _guard() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in groups:
            with contextlib.suppress(OSError):
                os.killpg(group, number)
        deadline = time.monotonic() + GRACE_SECONDS
        while groups and time.monotonic() < deadline:
            groups = {group for group in groups if _lives(group)}
            time.sleep(0.05)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    _guard()
