"""The suites of what agents wait for: pauses under load, the first news of a call, and a start."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from tests.bench import start, systems
from tests.bench.calls import ERAS, WORKS, web
from tests.bench.load import Measured, Work, Wrong
from tests.bench.processes import ALL_CPUS, on_cpu
from tests.bench.rounds import Plan, Step, Table, interleaved, ready
from tests.bench.systems import GATEWAY, PROTOCOL, Program, System
from tests.bench.verdicts import Row, at_most
from tests.bench.wires import HttpAgent, connected, events

SLICE_SECONDS: Final = 10.0
"""The systems take turns, so that what else happens on the machine happens to all of them."""
STEPS: Final = 300
"""Calls with progress, in a round."""
SERVERS: Final = 4
"""Behind a gateway that starts."""


def pause(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """The longest time in which nobody is answered, in a minute of load on 32 connections."""
    slices = round(plan.pause_seconds / SLICE_SECONDS)
    with ExitStack() as stack:
        base, _ = stack.enter_context(systems.fixture(folder))
        found = [systems.protocol_proxy(f"{base}/mcp")]
        found += [systems.gateway(each, folder, web(base, "u0")) for each in programs]
        pids = [(each, stack.enter_context(systems.started(each, folder))) for each in found]
        long = Plan(slices, SLICE_SECONDS, plan.pause_seconds, plan.sessions)
        interleaved(long, pids, [Step("a minute", WORKS["handshake"], 32, watched=True)], table)
    ours, bare = (table.cells[name, "a minute"] for name in (GATEWAY, PROTOCOL))
    longest = max(each.percentile(1.0) for each in ours)
    when = f"in {plan.pause_seconds:g} s of load, beyond the bare Python proxy's"
    return [
        beyond(
            f"longest time without an answer {when}",
            ours,
            bare,
            lambda each: each.pause,
            f"the longest call took {longest:.0f}",
        ),
        beyond(f"longest stretch of work without an answer {when}", ours, bare, lambda each: each.stretch),
    ]


def beyond(
    what: str, ours: Sequence[Measured], bare: Sequence[Measured], of: Callable[[Measured], float], more: str = ""
) -> Row:
    """By how much our longest of something is longer."""
    mine, other = (max(map(of, each)) * 1000 for each in (ours, bare))
    detail = f"{mine:.1f} ms against {other:.1f}" + (f"; {more}" if more else "")
    return at_most(what, 15, mine - other, " ms", beyond="≤ 5 ms", detail=detail)


def progress(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """From the server's writing of a progress event to its first byte at the agent, one call at a time."""
    took: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    with ExitStack() as stack:
        base, _ = stack.enter_context(systems.fixture(folder))
        found = [systems.gateway(each, folder, web(base, "u0")) for each in programs]
        for each in found:
            stack.enter_context(systems.started(each, folder))
        found.append(System("no gateway", (), systems.Address(f"{base}/mcp")))
        for each in found:
            uvloop.run(ready(each))
        for _ in range(plan.rounds):
            for era in ERAS:
                for each in found:
                    took[each.name, era] += uvloop.run(forwarding(each, era == "modern"))
    rows: list[Row] = []
    for era in ERAS:
        ours, bare = (statistics.median(took[name, era]) for name in (GATEWAY, "no gateway"))
        detail = f"{bare:.2f} ms without a gateway"
        what = f"first byte of a progress event forwarded, {era} era, p50"
        rows.append(at_most(what, 0.5, ours, " ms", detail=detail))
    for (name, era), each in took.items():
        print(f"{name:24} {era:16} p50 {statistics.median(each):.3f} ms, longest {max(each):.2f} ms")
    return rows


async def forwarding(system: System, modern: bool) -> list[float]:
    """Milliseconds that each event took."""
    work = Work(f"{system.prefix}step", "step", modern, 2)
    agent = await connected(system.address, "modern" if modern else "handshake", work.method, work.tool)
    assert isinstance(agent, HttpAgent)
    took: list[float] = []
    for number in range(1, STEPS + 1):
        work.check(number, await agent.exchange(work.body(number)))
        messages: list[dict[str, Any]] = [orjson.loads(each) for each in events(agent.body)]
        told = [each for each in messages if each.get("method") == "notifications/progress"]
        if len(told) != 1 or not agent.progressed:
            raise Wrong(f"{len(told)} progress events instead of one: {agent.body[:500]!r}")
        took.append((agent.progressed - float(told[0]["params"]["message"])) * 1000)
    await agent.aclose()
    return took


def starting(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """From the start of the stdio front, with a snapshot there, to the answer to tools/list."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    with on_cpu(*ALL_CPUS):
        measures = {"import mcp": partial(start.ran, *start.IMPORT)}
        for program in programs:
            config = start.prepared(folder, program.name, SERVERS)
            measures[program.name] = measure = partial(start.answered, config, SERVERS, program.argv)
            measure()  # leaves the snapshot
        for _ in range(3 * plan.rounds):
            for name, measure in measures.items():
                took[name].append(measure())
    for name, each in took.items():
        print(f"{name:24} start            p50 {statistics.median(each):.0f} ms, {min(each):.0f} to {max(each):.0f}")
    ours, bare = (statistics.median(took[name]) for name in (GATEWAY, "import mcp"))
    what = 'stdio, with a snapshot: start to tools/list against `python -c "import mcp"`'
    return [at_most(what, 1.1, ours / bare, beyond="≤ 0.5 ×", detail=f"{ours:.0f} ms against {bare:.0f}")]
