"""A program that keeps children as a gateway does: one that leaves when asked, one that has to be killed.

    python -m tests.upstream.keeper FILE

Writes their process ids, and those of their children, to FILE, and waits to be killed.
"""

import os
import sys
from pathlib import Path

import anyio

from gateway.upstream.guardian import Guardian
from gateway.upstream.process import Program, spawn

CODE = """
import signal, subprocess, sys, os
if len(sys.argv) > 1: signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), grandchild.pid, flush=True)
while True: signal.pause()
"""


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
    for args in ([], ["stubborn"]):
        await spawn(Program(sys.executable, ["-c", CODE, *args]), output, guardian)
    await output.complete.wait()
    path = Path(sys.argv[1])
    path.with_suffix(".new").write_bytes(output.said)
    os.replace(path.with_suffix(".new"), path)
    await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main)
