"""What a store that nodes share costs a call: one load, the same gateway with a real Valkey and without."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import systems
from tests.bench.load import Work
from tests.bench.processes import OTHER_CPU
from tests.bench.rounds import Plan, Step, Table, cost, interleaved
from tests.bench.systems import Program
from tests.bench.verdicts import Row, at_most
from tests.interaction._gateway import Entry
from tests.store.servers import STATE_KEYS, valkey

MOST: Final = 1.5
"""As much CPU as without a store."""
STORED: Final = "with a store"


def store(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """tools/call, HTTP to HTTP, with gateway.store and without, within a limit that is never reached."""
    assert sys.platform == "linux"
    steps = [Step(f"modern {number}", Work(modern=True), number) for number in (32, 1)]
    program = programs[0]
    with ExitStack() as stack:
        os.sched_setaffinity(0, {OTHER_CPU})
        base, _ = stack.enter_context(systems.fixture(folder))
        server = stack.enter_context(valkey())
        entries: dict[str, Entry] = {"u0": {"url": f"{base}/u0/mcp"}}
        shared = systems.gateway(program, folder, entries, store=server.url, state_keys=STATE_KEYS)
        found = [systems.gateway(program, folder, entries), replace(shared, name=STORED)]
        interleaved(plan, [(each, stack.enter_context(systems.started(each, folder))) for each in found], steps, table)
    return [
        at_most(f"CPU of a call with a store, {step.name}", MOST, table.ratio(cost, step.name, STORED, program.name))
        for step in steps
    ]
