"""What a call costs: this gateway with everything on, beside limits and peers, in one run.

    scripts/bench [SUITE…] [--quick] [--gateway [NAME=]COMMAND]…

The system under test has a CPU of its own; the load, and the servers behind, run on another. Rounds are interleaved,
every answer is checked, and medians are reported. CPU is that of the system's processes. Numbers depend on the machine:
quote ratios of one run. `--gateway` measures another build beside this one: COMMAND is its `mcp-gateway`.
"""

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.bench import calls
from tests.bench.calls import Suite
from tests.bench.processes import OTHER_CPU
from tests.bench.rounds import Plan, Table
from tests.bench.systems import Program
from tests.bench.verdicts import Row

SUITES: Final[dict[str, Suite]] = {
    "http": calls.http,
    "stdio": calls.stdio,
    "front": calls.front,
    "list": calls.lists,
    "big": calls.big,
}
QUICK: Final = Plan(rounds=1, seconds=1.2, pause_seconds=10, sessions=1000)


def program(given: str) -> Program:
    name, equals, command = given.partition("=")
    return Program(name, shlex.split(command)) if equals else Program("other", shlex.split(given))


def run(names: list[str], plan: Plan, programs: list[Program]) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        table = Table()
        print(f"--- {name}: {SUITES[name].__doc__}", flush=True)
        with tempfile.TemporaryDirectory(prefix="mcp-gateway-bench-", ignore_cleanup_errors=True) as folder:
            found = SUITES[name](plan, programs, Path(folder), table)
        print(*table.lines(), sep="\n", flush=True)
        show(found)
        rows += found
    return rows


def show(rows: list[Row]) -> None:
    for row in rows:
        verdict = {True: "holds", False: "DOES NOT HOLD", None: "–"}[row.holds]
        print(f"{verdict:14} {row.what}: {row.measured}; must be {row.must}", flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"some of: {', '.join(SUITES)}; all when none is named"
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, help="of each measurement")
    parser.add_argument("--gateway", action="append", default=[], type=program, metavar="[NAME=]COMMAND")
    options = parser.parse_args()
    if unknown := set(options.suites) - SUITES.keys():
        parser.error(f"there is no suite {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    options = parsed()
    if sys.platform == "linux":
        os.sched_setaffinity(0, {OTHER_CPU})
    plan = QUICK if options.quick else Plan()
    if options.rounds:
        plan = Plan(options.rounds, plan.seconds, plan.pause_seconds, plan.sessions)
    run(options.suites or list(SUITES), plan, [Program(), *options.gateway])


if __name__ == "__main__":
    main()
