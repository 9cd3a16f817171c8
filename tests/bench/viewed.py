"""The suite of views: a call through a profile, beside the same call through `/mcp` of the same gateway."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.bench import systems
from tests.bench.calls import WORKS, web
from tests.bench.rounds import Plan, Step, Table, cost, interleaved
from tests.bench.systems import GATEWAY, Program, System
from tests.bench.verdicts import Row, at_most

VIEW: Final = "some"
PROFILES: Final[dict[str, Any]] = {VIEW: {"servers": ["u0"], "tools": {"deny": ["*__delete_*"]}}}
PROFILE: Final = "through a profile"


def through(system: System) -> System:
    """The same gateway, seen through the profile."""
    address = replace(system.address, url=f"{system.address.url}/{VIEW}")
    return replace(system, name=PROFILE, address=address)


def views(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """tools/call through a profile, HTTP to HTTP, in both eras."""
    steps = [Step(f"{era} 32", work, 32) for era, work in WORKS.items()]
    with systems.fixture(folder) as (base, _):
        system = systems.gateway(programs[0], folder, web(base, "u0"), profiles=PROFILES)
        with systems.started(system, folder) as pid:
            interleaved(plan, [(system, pid), (through(system), pid)], steps, table)
    rows: list[Row] = []
    for step in steps:
        what = f"tools/call, {step.name.partition(' ')[0]} era: CPU through a profile against /mcp"
        detail = " µs against ".join(f"{table.cost(name, step.name):.0f}" for name in (PROFILE, GATEWAY))
        rows.append(at_most(what, 1.05, table.ratio(cost, step.name, PROFILE, GATEWAY), detail=detail))
    return rows
