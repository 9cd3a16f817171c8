"""What a call costs in instructions, which are the same however busy the machine is. Needs valgrind.

    python -m tests.bench.instructions
        [--kind modern|handshake|list|big|modern-view|handshake-view]... [--seconds 10] [--keep FOLDER]

The gateway runs under callgrind, fifty times slower, and is asked for so many seconds by four connections; what it
does when nobody asks is taken off. The kernel's part is not in it. With `--keep`, callgrind's files are left in a
folder, for `callgrind_annotate` to say which functions of the interpreter and of the libraries it went to.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from tests.bench.load import Load, Work
from tests.bench.rounds import ready
from tests.bench.systems import Program, fixture, gateway, started
from tests.bench.viewed import PROFILES, through
from tests.bench.wires import Address, connected

KINDS: Final = {
    "modern": Work("u0__echo", "echo", True, 0),
    "handshake": Work("u0__echo", "echo", False, 0),
    "list": Work("u0__list", "list", True, 0),
    "big": Work("u0__big", "big", True, 64),
    "modern-view": Work("u0__echo", "echo", True, 0),
    "handshake-view": Work("u0__echo", "echo", False, 0),
}
"""Those that end in `-view` are asked through a profile."""
CONNECTIONS: Final = 4
WARM_SECONDS: Final = 3.0
IDLE_SECONDS: Final = 5.0
SLOW: Final = {"header_timeout": "60s", "read_timeout": "120s"}
"""Everything takes fifty times as long."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts what a process under callgrind does."""

    pid: int
    folder: Path
    """Where callgrind writes."""

    def begin(self) -> None:
        self._control("--instr=on")
        self._control("--zero")

    def end(self, kept: Path | None = None) -> int:
        """Instructions since `begin`."""
        self._control("--dump")
        self._control("--instr=off")
        newest = max(self.folder.glob("callgrind.*"), key=lambda file: file.stat().st_mtime_ns)
        found = re.findall(r"^(?:totals|summary): (\d+)", newest.read_text(errors="replace"), re.MULTILINE)
        if kept is not None:
            shutil.copy(newest, kept)
        return int(found[-1])

    def _control(self, option: str) -> None:
        subprocess.run(["callgrind_control", option, str(self.pid)], check=True, capture_output=True)


async def asked(pid: int, address: Address, work: Work, seconds: float) -> int:
    """How many calls were answered in so many seconds."""
    dialect = "modern" if work.modern else "handshake"
    agents = [await connected(address, dialect, work.method, work.tool) for _ in range(CONNECTIONS)]
    load = Load(work, agents)
    await load.run(pid, seconds)
    for agent in agents:
        await agent.aclose()
    return load.asked


def main(kinds: list[str], seconds: float, kept: Path | None) -> None:
    with tempfile.TemporaryDirectory() as name, fixture(folder := Path(name)) as (base, _):
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/callgrind.%p"]
        program = Program("gateway", (*valgrind, sys.executable, "-P", "-m", "gateway"))
        system = gateway(program, folder, {"u0": {"url": f"{base}/mcp"}}, profiles=PROFILES, **SLOW)
        with started(system, folder, patience=300.0) as pid:
            uvloop.run(ready(system, 6))
            counter = Counter(pid, folder)
            counter.begin()
            began = time.monotonic()
            time.sleep(IDLE_SECONDS)
            idle = counter.end() / (time.monotonic() - began)
            for kind in kinds:
                work, view = KINDS[kind], through(system) if kind.endswith("-view") else system
                uvloop.run(asked(pid, view.address, work, WARM_SECONDS))
                counter.begin()
                began = time.monotonic()
                calls = uvloop.run(asked(pid, view.address, work, seconds))
                taken = time.monotonic() - began
                whole = counter.end(kept / f"callgrind.{kind}" if kept is not None else None)
                each = (whole - idle * taken) / calls / 1000
                print(f"{kind:14} {each:8.1f} thousand instructions a call ({calls} calls)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=KINDS, default=[])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not there (Debian: apt install valgrind)")
    main(given.kind or list(KINDS), given.seconds, given.keep)
