"""The process that runs programs for all workers (`upstream.hosting`): started when the first of them comes, and again
should it die."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
import structlog

from gateway.upstream import hosting
from gateway.upstream.guardian import Guardian

log = structlog.stdlib.get_logger("gateway.workers")

PROGRAM: Final = Path(hosting.__file__).with_name("host.py")
BACKLOG: Final = 1024
END_SECONDS: Final = 8.0
"""For its programs to end."""
_LOOK_SECONDS: Final = 0.05


class ProgramHost:
    """Constructing it takes the address.

    Args:
        address: of its socket, in a private folder.
    """

    def __init__(self, address: Path, guardian: Guardian) -> None:
        self._guardian = guardian
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(address))
        self._listening.listen(BACKLOG)
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self) -> None:
        """Have it run whenever somebody wants it, until cancelled."""
        while True:
            await self._somebody_comes()
            process = self._process = self._start()
            while process.poll() is None:  # noqa: ASYNC110 - there is no event
                await anyio.sleep(_LOOK_SECONDS)
            log.error("what runs programs for all workers has ended", status=process.returncode)
            self._guardian.release(process.pid)

    async def aclose(self) -> None:
        """End it, and what it runs."""
        self._listening.close()
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with anyio.move_on_after(END_SECONDS, shield=True):
                while process.poll() is None:  # noqa: ASYNC110 - there is no event
                    await anyio.sleep(_LOOK_SECONDS)
            process.kill()
            process.wait()
            self._guardian.release(process.pid)

    async def _somebody_comes(self) -> None:
        loop, came = asyncio.get_running_loop(), anyio.Event()
        loop.add_reader(self._listening, came.set)
        try:
            await came.wait()
        finally:
            loop.remove_reader(self._listening)

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self._listening.fileno()
        process = subprocess.Popen(  # noqa: S603 - our own interpreter on our own file
            [sys.executable, "-P", str(PROGRAM), str(descriptor)],
            stdin=subprocess.PIPE,
            pass_fds=(descriptor,),
            start_new_session=True,
        )
        self._guardian.watch(process.pid)
        return process
