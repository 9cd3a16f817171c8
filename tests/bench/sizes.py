"""The suites of what grows: many servers, many tools, many sessions."""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

import anyio
import orjson
import uvloop

from tests.bench import systems
from tests.bench.calls import WORKS, web
from tests.bench.processes import settle, usage
from tests.bench.rounds import Plan, Step, Table, cost, interleaved, ready
from tests.bench.systems import GATEWAY, Program, System
from tests.bench.verdicts import Row, at_most
from tests.bench.wires import HttpAgent, connected

SHAPES: Final = {GATEWAY: (1, 10), "100 servers": (100, 10), "10,000 tools": (1, 10_000)}
"""Servers, and tools of each."""
OPENERS: Final = 8


def scale(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """One call's CPU with a hundred times the servers, and a thousand times the tools."""
    with ExitStack() as stack:
        pids: list[tuple[System, int]] = []
        for program in programs:
            for shape, (servers, tools) in SHAPES.items():
                base, _ = stack.enter_context(systems.fixture(folder, tools=tools))
                entries = web(base, *(f"u{number}" for number in range(servers)))
                name = shape if program.name == GATEWAY else f"{program.name}, {shape}"
                system = replace(systems.gateway(program, folder, entries), name=name)
                pids.append((system, stack.enter_context(systems.started(system, folder))))
                uvloop.run(ready(system, min(servers * tools, 1000)))
        interleaved(plan, pids, [Step("modern 32", WORKS["modern"], 32)], table)
    base_cost = table.cost(GATEWAY, "modern 32")
    rows: list[Row] = []
    for shape, (servers, tools) in list(SHAPES.items())[1:]:
        ours = table.cost(shape, "modern 32")
        what = (
            f"one call's CPU with {servers} server{'s'[: servers > 1]} and {servers * tools:,} tools against 1 and 10"
        )
        rows.append(
            at_most(
                what,
                1.1,
                table.ratio(cost, "modern 32", shape, GATEWAY),
                detail=f"{ours:.0f} µs against {base_cost:.0f}",
            )
        )
    return rows


def memory(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """Memory of an idle gateway with ten HTTP servers, and what idle sessions add."""
    whole, added = dict[str, float](), dict[str, float]()
    with ExitStack() as stack:
        base, _ = stack.enter_context(systems.fixture(folder))
        servers = web(base, *(f"u{number}" for number in range(10)))
        room = {"max_sessions": 2 * plan.sessions, "max_sessions_per_principal": 2 * plan.sessions}
        for program in programs:
            system = systems.gateway(program, folder, servers, **room)
            pid = stack.enter_context(systems.started(system, folder))
            uvloop.run(ready(system, 60))
            whole[program.name] = settled(pid)
            uvloop.run(open_sessions(system, plan.sessions))
            added[program.name] = settled(pid) - whole[program.name]
            print(
                f"{program.name:24} {whole[program.name]:.1f} MiB, {plan.sessions} sessions {added[program.name]:+.1f}"
            )
    bare = statistics.median(importing() for _ in range(3))
    ours = whole[GATEWAY]
    sessions = added[GATEWAY] * 2**20 / 1e6 / plan.sessions * 10_000
    return [
        at_most(
            "idle memory with ten HTTP servers against a process that imports mcp",
            1.15,
            ours / bare,
            detail=f"{ours:.0f} MiB against {bare:.0f}",
        ),
        at_most("10,000 idle sessions: memory more", 60, sessions, " MB"),
    ]


def settled(pid: int) -> float:
    """MiB of a process that has nothing to do."""
    settle(pid)
    return usage(pid).memory / 2**20


def importing() -> float:
    """MiB of a process that imports the SDK."""
    code = "import mcp, sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        taken = usage(process.pid).memory / 2**20
        process.communicate()
    return taken


async def open_sessions(system: System, number: int) -> None:
    """So many that nobody uses any more; their connections are closed."""
    numbers = count()

    async def work() -> None:
        while next(numbers) < number:
            agent = await connected(system.address, "handshake", "tools/list", "")
            assert isinstance(agent, HttpAgent)
            orjson.loads(await agent.exchange(b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))["result"]
            agent.close()

    async with anyio.create_task_group() as tg:
        for _ in range(OPENERS):
            tg.start_soon(work)
