"""What a call costs: this gateway with everything on, beside limits and peers, in one run.

    scripts/bench [SUITE…] [--quick] [--gateway [NAME=]COMMAND]…
    scripts/bench --write           measure everything; writes docs/benchmarks.md and its chart
    scripts/bench --guard           in a minute: has a call become dearer than what is committed?
    scripts/bench soak              a gateway for a long time: does it stay what it was?

The system under test has a CPU of its own; the load, and the servers behind, run on another. Rounds are interleaved,
every answer is checked, and medians are reported. CPU is that of the system's processes. Numbers depend on the machine:
quote ratios of one run. `--gateway` measures another build beside this one: COMMAND is its `mcp-gateway`.
"""

import argparse
import os
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import calls, guard, report, sizes, stored, viewed, waits, workers
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
    "progress": waits.progress,
    "scale": sizes.scale,
    "pause": waits.pause,
    "view": viewed.views,
    "memory": sizes.memory,
    "start": waits.starting,
    "store": stored.store,
    "workers": workers.workers,
}
EX_TEMPFAIL: Final = 75
QUICK: Final = Plan(rounds=1, seconds=1.2, pause_seconds=10, sessions=1000)


def program(given: str) -> Program:
    name, equals, command = given.partition("=")
    return Program(name, shlex.split(command)) if equals else Program("other", shlex.split(given))


def run(names: list[str], plan: Plan, programs: list[Program]) -> tuple[list[Row], dict[str, Table]]:
    rows, tables = list[Row](), dict[str, Table]()
    for name in names:
        tables[name] = table = Table()
        print(f"--- {name}: {SUITES[name].__doc__}", flush=True)
        with tempfile.TemporaryDirectory(prefix="mcp-gateway-bench-", ignore_cleanup_errors=True) as folder:
            found = SUITES[name](plan, programs, Path(folder), table)
        if table.cells:
            print(*table.lines(), sep="\n", flush=True)
        show(found)
        rows += found
    return rows, tables


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
    parser.add_argument("--write", action="store_true", help="write what was measured to where it is committed")
    parser.add_argument("--guard", action="store_true", help="compare with what is committed")
    options = parser.parse_args()
    if unknown := set(options.suites) - SUITES.keys():
        parser.error(f"there is no suite {', '.join(sorted(unknown))}")
    if options.write and not options.guard and (options.suites or options.quick):
        parser.error("--write wants everything, measured at leisure")
    return options


def main() -> int:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever uses it has bytecode
    options = parsed()
    if sys.platform != "linux":
        print("CPU is counted from /proc, which only Linux has.", file=sys.stderr)
        return EX_TEMPFAIL
    os.sched_setaffinity(0, {OTHER_CPU})
    if options.guard:
        if options.write:
            guard.commit()
            return 0
        return 0 if guard.guard() else 1
    plan = QUICK if options.quick else Plan()
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    rows, tables = run(options.suites or list(SUITES), plan, [Program(), *options.gateway])
    if options.write:
        report.write(rows, tables, " ".join(["scripts/bench", *sys.argv[1:]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
