"""A short run for CI: has a call become dearer than what is committed, beside the bare ASGI proxy in the same run?

The ratios are in `committed.json`; `scripts/bench --guard --write` measures and replaces them.
"""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.bench import systems
from tests.bench.calls import ERAS, WORKS, web
from tests.bench.rounds import Plan, Step, Table, cost, interleaved
from tests.bench.systems import ASGI, GATEWAY, Program
from tests.support import ROOT

COMMITTED: Final = ROOT / "tests" / "bench" / "committed.json"
TOLERANCE: Final = 1.3
PLAN: Final = Plan(rounds=3, seconds=1.2)
ATTEMPTS: Final = 2
"""Somebody else on the machine may spoil one."""


def measured() -> dict[str, float]:
    """Era → CPU of one tools/call through the gateway, against the bare ASGI proxy's."""
    table = Table()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-gateway-bench-")))
        base, _ = stack.enter_context(systems.fixture(folder))
        found = [systems.asgi_proxy(f"{base}/mcp"), systems.gateway(Program(), folder, web(base, "u0"))]
        pids = [(each, stack.enter_context(systems.started(each, folder))) for each in found]
        interleaved(PLAN, pids, [Step(f"{era} 32", WORKS[era], 32) for era in ERAS], table)
    return {era: round(table.ratio(cost, f"{era} 32", GATEWAY, ASGI), 2) for era in ERAS}


def guard() -> bool:
    """Whether it holds."""
    committed: dict[str, float] = json.loads(COMMITTED.read_text())
    for _ in range(ATTEMPTS):
        found = measured()
        holds = True
        for era, now in found.items():
            limit = committed[era] * TOLERANCE
            holds &= now <= limit
            print(
                f"{era} era: {now} × the bare ASGI proxy's CPU a call, {committed[era]} committed, {limit:.2f} allowed"
            )
        if holds:
            return True
    return False


def commit() -> None:
    COMMITTED.write_text(json.dumps(measured(), indent=2) + "\n")
    print(COMMITTED.read_text(), end="")
