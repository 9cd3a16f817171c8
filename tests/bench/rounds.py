"""Systems measured in turns, and the medians of what came out."""

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from tests.bench.load import LONGEST_ANSWER, Load, Measured, Work, Wrong
from tests.bench.processes import settle
from tests.bench.systems import PEERS, System
from tests.bench.wires import Dialect, Pipe, connected
from tests.support import wait_until

LIST: Final = Work(kind="list")


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int = 5
    seconds: float = 1.5
    pause_seconds: float = 60.0
    sessions: int = 10_000


@dataclass(frozen=True)
class Step:
    """One kind of load.

    Args:
        only: the systems that it is for; nothing for all.
        watched: whether stretches of work are measured.
    """

    name: str
    work: Work
    connections: int
    only: frozenset[str] = frozenset()
    watched: bool = False


Quantity = Callable[[Measured], float]


def cost(measured: Measured) -> float:
    """Microseconds of CPU a call."""
    return measured.cost


def rate(measured: Measured) -> float:
    """Calls a second."""
    return measured.rate


def p50(measured: Measured) -> float:
    """Milliseconds."""
    return measured.percentile(0.5)


@dataclass
class Table:
    """What was measured, by system and step."""

    cells: defaultdict[tuple[str, str], list[Measured]] = field(default_factory=lambda: defaultdict(list))

    def add(self, system: str, step: str, measured: Measured) -> None:
        self.cells[system, step].append(measured)

    def has(self, system: str, step: str) -> bool:
        return (system, step) in self.cells

    def median(self, system: str, step: str, of: Quantity) -> float:
        return statistics.median(map(of, self.cells[system, step]))

    def ratio(self, of: Quantity, step: str, ours: str, theirs: str) -> float:
        """The median of the rounds' own: what happened to the machine in a round happened to both."""
        pairs = zip(self.cells[ours, step], self.cells[theirs, step], strict=True)
        return statistics.median(of(one) / of(other) for one, other in pairs)

    def cost(self, system: str, step: str) -> float:
        return self.median(system, step, cost)

    def rate(self, system: str, step: str) -> float:
        return self.median(system, step, rate)

    def percentile(self, system: str, step: str, share: float) -> float:
        """Milliseconds."""
        return self.median(system, step, lambda each: each.percentile(share))

    def lines(self) -> list[str]:
        found = [
            f"{'system':24} {'step':16} {'µs CPU/call':>11} {'calls/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'longest':>8}"
        ]
        for system, step in self.cells:
            shares = (self.percentile(system, step, share) for share in (0.5, 0.99, 1.0))
            found.append(
                f"{system:24} {step:16} {self.cost(system, step):11.1f} {self.rate(system, step):8.0f} "
                + " ".join(f"{each:8.2f}" for each in shares)
            )
        return found


def dialect_of(system: System, work: Work) -> Dialect:
    return "sse" if system.sse else "modern" if work.modern else "handshake"


async def ready(system: System, wanted: int = 1) -> None:
    """Wait until it lists so many tools.

    Raises:
        Wrong: it does not.
    """
    try:
        await wait_until(lambda: _lists(system, wanted), LONGEST_ANSWER)
    except AssertionError:
        raise Wrong(f"{system.name} does not list {wanted} tools") from None


async def _lists(system: System, wanted: int) -> bool:
    try:
        async with asyncio.timeout(5):  # who comes too early may never be answered
            agent = await connected(system.address, dialect_of(system, LIST), LIST.method, "")
            answer: dict[str, Any] = orjson.loads(await agent.exchange(LIST.body(1)))
            await agent.aclose()
        if len(answer["result"]["tools"]) >= wanted:
            return True
    except (OSError, Wrong):
        pass
    await asyncio.sleep(0.2)  # mcp-hub suffers from clients that come and go
    return False


async def over_http(
    system: System, pid: int, work: Work, connections: int, seconds: float, *, watched: bool = False
) -> Measured:
    dialect = dialect_of(system, work)
    opening = (connected(system.address, dialect, work.method, work.tool) for _ in range(connections))
    agents = [await each for each in opening]
    measured = await Load(work, agents, watched).run(pid, seconds)
    for agent in agents:
        await agent.aclose()
    return measured


async def over_stdio(argv: Sequence[str], log: Path, work: Work, asking: int, seconds: float) -> Measured:
    pipe = await Pipe.start(argv, log)
    try:
        await pipe.open()
        await asyncio.to_thread(settle, pipe.pid)
        return await Load(work, pipe.agents(asking)).run(pipe.pid, seconds)
    finally:
        await pipe.aclose()


def interleaved(plan: Plan, systems: Sequence[tuple[System, int]], steps: Sequence[Step], table: Table) -> None:
    """Each system in turn, and all of them again in each round.

    Args:
        systems: with their process ids.
    """
    systems = [each for each in systems if is_ready(*each)]
    for round in range(plan.rounds):
        for step in steps:
            for system, pid in systems:
                if step.only and system.name not in step.only:
                    continue
                work = step.work if step.work.kind == "list" else named(step.work, system.prefix)
                try:
                    loading = over_http(system, pid, work, step.connections, plan.seconds, watched=step.watched)
                    measured = uvloop.run(loading)
                except Wrong as error:
                    raise Wrong(f"{system.name}, {step.name}, round {round + 1}: {error}") from None
                table.add(system.name, step.name, measured)
                if system.name in PEERS:
                    settle(pid)  # mcp-hub is busy for seconds when clients have left: not in anybody else's turn


def is_ready(system: System, pid: int) -> bool:
    """Wait until it is, and has nothing else to do; says so if it is a peer that is not.

    Raises:
        Wrong: it is not, and no peer.
    """
    try:
        uvloop.run(ready(system))
    except Wrong as error:
        if system.name not in PEERS:
            raise
        print(f"{system.name} is left out: {error}", flush=True)
        return False
    settle(pid)
    return True


def named(work: Work, prefix: str) -> Work:
    """The same asked of a system that gives names a prefix."""
    return Work(prefix + work.tool, work.kind, work.modern, work.size)
