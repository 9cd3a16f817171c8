"""What workers cost and bring: the same load on one process and on two workers, which have all cores between them."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import systems
from tests.bench.load import Work
from tests.bench.processes import ALL_CPUS, OTHER_CPU
from tests.bench.rounds import Plan, Step, Table, cost, interleaved, rate
from tests.bench.systems import Program
from tests.bench.verdicts import Row, at_most
from tests.interaction._gateway import Entry

MOST: Final = 1.5
"""As much CPU as in one process without a store."""
ONE: Final = "1 worker"
TWO: Final = "2 workers"


def workers(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """tools/call, HTTP to HTTP, with --workers 2 (and the store that they share) and without."""
    assert sys.platform == "linux"
    step = Step("modern 32", Work(modern=True), 32)
    with ExitStack() as stack:
        os.sched_setaffinity(0, {OTHER_CPU})
        base, _ = stack.enter_context(systems.fixture(folder))
        entries: dict[str, Entry] = {"u0": {"url": f"{base}/u0/mcp"}}
        one, two = (systems.gateway(programs[0], folder, entries) for _ in range(2))
        found = [replace(one, name=ONE), replace(two, name=TWO, argv=[*two.argv, "--workers", "2"])]
        started = [(each, stack.enter_context(systems.started(each, folder, cpus=ALL_CPUS))) for each in found]
        interleaved(plan, started, [step], table)
    cores = f"{len(ALL_CPUS)} cores, of which the load and the server behind take one"
    faster = table.ratio(rate, step.name, TWO, ONE)
    return [
        at_most("CPU of a call with two workers against one process", MOST, table.ratio(cost, step.name, TWO, ONE)),
        Row(
            "calls/s with two workers against one process",
            "where there are cores, 2 ×",
            f"{faster:.3g} × ({cores})",
            None,
        ),
    ]
