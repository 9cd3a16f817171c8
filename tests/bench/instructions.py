"""What a call costs in instructions, which are the same however busy the machine is. Needs valgrind.

    python -m tests.bench.instructions [--kind KIND]... [--seconds 10] [--keep FOLDER]
        KIND: modern, handshake, list, big, modern-view, handshake-view, events, pieces, many, stdio,
        stdio-front

The gateway runs under callgrind, fifty times slower, and is asked for so many seconds by four connections; what it
does when nobody asks is taken off. `events` is a modern call that is answered on an event stream, `pieces` one whose
stream comes in three pieces 20 ms apart, `many` one to one of a hundred servers, `stdio` a call to a stdio server,
`stdio-front` one that comes in on stdin. The kernel's part is not in it. With `--keep`, callgrind's files are left in a
folder, for `callgrind_annotate` to say which functions of the interpreter and of the libraries it went to.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvloop

from tests.bench.calls import web
from tests.bench.load import Agent, Load, Work
from tests.bench.processes import OTHER_CPU, settle
from tests.bench.rounds import ready
from tests.bench.systems import Program, System, configured, fixture, gateway, started
from tests.bench.viewed import PROFILES, through
from tests.bench.wires import Pipe, connected
from tests.interaction._gateway import Entry, child

STREAMED: Final = ("events", "pieces")
"""Each is a path of the fixture's."""
MANY: Final = "many"
STDIO: Final = "stdio"
FRONT: Final = "stdio-front"
KINDS: Final = {
    "modern": Work("u0__echo", "echo", True, 0),
    "handshake": Work("u0__echo", "echo", False, 0),
    "list": Work("u0__list", "list", True, 0),
    "big": Work("u0__big", "big", True, 64),
    "modern-view": Work("u0__echo", "echo", True, 0),
    "handshake-view": Work("u0__echo", "echo", False, 0),
    **dict.fromkeys(STREAMED, Work("u0__echo", "echo", True, 0)),
    MANY: Work("u0__echo", "echo", True, 0),
    STDIO: Work("u0__echo", "echo", False, 0),
    FRONT: Work("u0__echo", "echo", False, 0),
}
"""Those that end in `-view` are asked through a profile."""
SERVERS: Final = 100
"""With `many`."""
TOOLS: Final = 6
"""Of each server."""
CONNECTIONS: Final = 4
WARM_SECONDS: Final = 3.0
IDLE_SECONDS: Final = 5.0
SLOW: Final = {"header_timeout": "60s", "read_timeout": "120s"}
"""Everything takes fifty times as long."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how."""

    kinds: Sequence[str]
    seconds: float
    kept: Path | None
    """A folder for callgrind's files."""


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

    def idle(self) -> float:
        """Instructions a second, of a process that nobody asks."""
        self.begin()
        began = time.monotonic()
        time.sleep(IDLE_SECONDS)
        return self.end() / (time.monotonic() - began)

    def _control(self, option: str) -> None:
        subprocess.run(["callgrind_control", option, str(self.pid)], check=True, capture_output=True)


async def asked(agents: Sequence[Agent], pid: int, work: Work, seconds: float) -> int:
    """How many calls were answered in so many seconds."""
    load = Load(work, agents)
    await load.run(pid, seconds)
    return load.asked


async def counted(
    counter: Counter, kind: str, idle: float, connect: Callable[[Work], Awaitable[Sequence[Agent]]], options: Options
) -> None:
    """Measure one kind of call, and say what it costs."""
    work = KINDS[kind]
    agents = await connect(work)
    await asked(agents, counter.pid, work, WARM_SECONDS)
    counter.begin()
    began = time.monotonic()
    calls = await asked(agents, counter.pid, work, options.seconds)
    taken = time.monotonic() - began
    whole = counter.end(options.kept / f"callgrind.{kind}" if options.kept is not None else None)
    for agent in agents:
        await agent.aclose()
    each = (whole - idle * taken) / calls / 1000
    print(f"{kind:14} {each:8.1f} thousand instructions a call ({calls} calls)", flush=True)


def through_http(program: Program, folder: Path, servers: dict[str, Entry], options: Options) -> None:
    """What comes in over HTTP, with these servers behind."""
    system = gateway(program, folder, servers, profiles=PROFILES, **SLOW)
    with started(system, folder, patience=300.0) as pid:
        uvloop.run(ready(system, TOOLS * len(servers)))
        settle(pid)
        counter = Counter(pid, folder)
        idle = counter.idle()
        for kind in options.kinds:
            seen = through(system) if kind.endswith("-view") else system
            uvloop.run(counted(counter, kind, idle, lambda work, seen=seen: _connect(seen, work), options))


async def _connect(system: System, work: Work) -> Sequence[Agent]:
    dialect = "modern" if work.modern else "handshake"
    return [await connected(system.address, dialect, work.method, work.tool) for _ in range(CONNECTIONS)]


async def through_stdin(program: Program, folder: Path, servers: dict[str, Entry], options: Options) -> None:
    """What comes in on stdin, so many at a time."""
    config = configured(folder / "front", servers)
    pipe = await Pipe.start([*program.argv, "stdio", "-c", str(config)], folder / "front.log")

    async def connect(work: Work) -> Sequence[Agent]:
        return pipe.agents(CONNECTIONS)

    try:
        await pipe.open(TOOLS)
        counter = Counter(pipe.pid, folder)
        await counted(counter, FRONT, counter.idle(), connect, options)
    finally:
        await pipe.aclose()


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory() as name, fixture(folder := Path(name)) as (base, _):
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/callgrind.%p"]
        program = Program("gateway", (*valgrind, sys.executable, "-P", "-m", "gateway"))
        rest = [kind for kind in options.kinds if kind not in (*STREAMED, MANY, STDIO, FRONT)]
        if rest:
            through_http(program, folder, web(base, "u0"), replace(options, kinds=rest))
        for kind in STREAMED:
            if kind in options.kinds:
                through_http(program, folder, {"u0": {"url": f"{base}/{kind}"}}, replace(options, kinds=[kind]))
        if MANY in options.kinds:
            servers = web(base, *(f"u{number}" for number in range(SERVERS)))
            through_http(program, folder, servers, replace(options, kinds=[MANY]))
        if STDIO in options.kinds:
            servers = {"u0": child("tests.bench.fixture_stdio", str(OTHER_CPU))}
            through_http(program, folder, servers, replace(options, kinds=[STDIO]))
        if FRONT in options.kinds:
            uvloop.run(through_stdin(program, folder, web(base, "u0"), options))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=KINDS, default=[])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not there (Debian: apt install valgrind)")
    main(Options(given.kind or list(KINDS), given.seconds, given.keep))
