"""A program that keeps children as a gateway does: one that leaves when asked, one that has to be killed.

    python -m tests.upstream.keeper FILE [own]

Writes their process ids, and those of what they started, to FILE, and waits to be killed. With `own` it is what
`serve` is: the process is the gateway's own.
"""

import os
import sys
from pathlib import Path

import anyio

from gateway.upstream.guardian import Guardian
from gateway.upstream.transport.process import Program, spawn
from tests.upstream.kin import CODE

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


class Output:
    def __init__(self) -> None:
        self.said = b""
        self.complete = anyio.Event()

    def on_stdout(self, data: bytes) -> None:
        self.said += data
        if self.said.count(b"\n") == 2:
            self.complete.set()

    def on_stderr(self, data: bytes) -> None: ...

    def on_exit(self, reason: str) -> None: ...


async def main() -> None:
    output, guardian = Output(), Guardian()
    if "own" in sys.argv:
        guardian.own_process()
    for before in ("", STUBBORN):
        await spawn(Program(sys.executable, ["-c", before + CODE]), output, guardian)
    await output.complete.wait()
    path = Path(sys.argv[1])
    path.with_suffix(".new").write_bytes(output.said)
    os.replace(path.with_suffix(".new"), path)
    await guardian.run()


if __name__ == "__main__":
    anyio.run(main)
