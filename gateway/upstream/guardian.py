"""The gateway's end of the guardian (`guardian_process.py`), which ends what would outlive a server or the gateway."""

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio

from gateway.upstream.guardian_process import MARK
from gateway.upstream.orphans import Orphans
from gateway.upstream.timing import USUAL, UpstreamTiming

_PROGRAM: Final = Path(__file__).with_name("guardian_process.py")


class Guardian:
    """One per gateway; started with the first child, 7 MB. Does nothing on Windows, which has no process groups."""

    def __init__(self, timing: UpstreamTiming = USUAL) -> None:
        self._timing = timing
        self.starting = anyio.Lock()
        """Held by whoever starts a program."""
        self._process: subprocess.Popen[bytes] | None = None
        self._marks: dict[int, str] = {}
        """The servers there are."""
        self._orphans: Orphans | None = None

    def own_process(self) -> None:
        """This process is the gateway and nothing else: whatever descends from it is to end with it. What servers leave
        behind becomes its own, where the system can do that (Linux), and is reaped."""
        self._orphans = Orphans()
        if self._orphans.adopt():
            self._tell(f"!{os.getpid()}\n")

    async def run(self) -> None:
        """Replace the guardian should it die, and reap orphans. Ends by cancellation."""
        while True:
            await anyio.sleep(self._timing.guardian_check_seconds)
            if self._process is not None and self._process.poll() is not None:
                self._start()
            if self._orphans is not None:
                self._orphans.reap()

    @staticmethod
    def marked(environment: Mapping[str, str]) -> dict[str, str]:
        """The environment for a new child, with a mark by which what it starts will be known."""
        return {**environment, MARK: secrets.token_hex(16)}

    def watch(self, pid: int, mark: str = "") -> None:
        """From now on, what `pid` leads and what it starts must not outlive us."""
        if sys.platform == "win32":
            return
        self._marks[pid] = mark
        if self._process is not None and self._process.poll() is None:
            self._tell(f"+{pid} {mark}\n")
        else:
            self._start()

    def release(self, pid: int) -> None:
        """The group has ended in order. What it started in groups of its own is ended now."""
        if self._marks.pop(pid, None) is not None:
            self._tell(f"-{pid}\n")

    async def aclose(self) -> None:
        """Let the guardian go. It ends what has not been released, and then itself."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            await anyio.to_thread.run_sync(process.wait)
            if self._orphans is not None:
                self._orphans.reap(at_once=True)

    def _start(self) -> None:
        """Start it, or one in place of one that died. Should that fail, children still end in order when we do."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter on our own file
                [sys.executable, "-I", "-S", str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={},
                bufsize=0,
            )
        known = "".join(f"+{pid} {mark}\n" for pid, mark in self._marks.items())
        if self._orphans is not None and self._orphans.adopts:
            known += f"!{os.getpid()}\n"
        self._tell(known)

    def _tell(self, text: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(text.encode())
