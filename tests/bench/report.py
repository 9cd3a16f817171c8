"""What a whole run found, as a page of the documentation, and drawn."""

import os
import platform
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from tests.bench.rounds import Table
from tests.bench.systems import GATEWAY
from tests.bench.verdicts import Row
from tests.support import ROOT

PAGE: Final = ROOT / "docs" / "benchmarks.md"
CHART: Final = ROOT / "docs" / "benchmarks.svg"
DRAWN: Final = ("http", "handshake 32")
"""The suite and the step whose systems are drawn."""
VERDICTS: Final = {True: "yes", False: "not yet", None: "–"}

TEXT: Final = """\
# Benchmarks

What the gateway costs with everything on: API key, policy, rate limit, breaker, metrics, and an access log that goes to
a file. `scripts/bench` measured it beside limits (nginx and bare proxies in Python, which check a token and forward
bytes) and peers, in one run; `scripts/bench --write` writes this page. The system under test has one core of its own;
the load, and the servers behind it, run on another. Systems take turns, every answer is checked, and medians are
reported. CPU is that of the system's processes, as the kernel counts it.

Numbers depend on the machine. Ratios within one run are what can be compared. What else the machine does shows in the
longest pause by the clock; it does not in the longest stretch of work.

![CPU of one tools/call, by system](benchmarks.svg)

On {cores} cores with Python {python}; `{command}`:

| | must | beyond | measured | holds |
|---|---|---|---|---|
{rows}

## By system

{tables}
"""


def write(rows: Sequence[Row], tables: Mapping[str, Table], command: str) -> None:
    PAGE.write_text(page(rows, tables, command))
    suite, step = DRAWN
    costs = {system: tables[suite].cost(system, which) for system, which in tables[suite].cells if which == step}
    CHART.write_text(chart("µs of CPU for one tools/call, HTTP to HTTP, 32 connections", costs))


def page(rows: Sequence[Row], tables: Mapping[str, Table], command: str) -> str:
    return TEXT.format(
        cores=os.cpu_count(),
        python=platform.python_version(),
        command=command,
        rows="\n".join(
            f"| {row.what} | {row.must} | {row.beyond} | {row.measured} | {VERDICTS[row.holds]} |" for row in rows
        ),
        tables="\n".join(
            [
                "| load | system | µs of CPU a call | calls/s | p50 ms | p99 ms |",
                "|---|---|---|---|---|---|",
                *(line for table in tables.values() for line in lines(table)),
            ]
        ),
    )


def lines(table: Table) -> list[str]:
    """Of a table in Markdown, by load."""
    found: list[str] = []
    for step in dict.fromkeys(step for _, step in table.cells):
        for system in (system for system, which in table.cells if which == step):
            p50, p99 = (table.percentile(system, step, share) for share in (0.5, 0.99))
            cost, rate = table.cost(system, step), table.rate(system, step)
            found.append(f"| {step} | {system} | {cost:,.0f} | {rate:,.0f} | {p50:.2f} | {p99:.2f} |")
    return found


# --- The chart --------------------------------------------------------------------------------------------------------

WIDTH, LABELS, BAR, GAP, TOP = 760, 140, 22, 10, 48
"""Pixels: of the picture, of the names on its left, of a bar's height, between two, and above them."""
STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
rect { fill: #8c959f }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } rect { fill: #6e7681 } .ours { fill: #4493f8 } }"""


def chart(title: str, values: Mapping[str, float]) -> str:
    """Bars, the shortest first."""
    room = WIDTH - LABELS - 80
    most = max(values.values())
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {TOP + len(values) * (BAR + GAP)}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="20">{escape(title)}</text>',
    ]
    for place, (name, value) in enumerate(sorted(values.items(), key=lambda each: each[1])):
        y = TOP + place * (BAR + GAP)
        length = max(1.0, value / most * room)
        ours = ' class="ours"' if name == GATEWAY else ""
        drawn += [
            f'<text x="{LABELS - 10}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect{ours} x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{LABELS + length + 8:.1f}" y="{y + 16}">{value:,.0f}</text>',
        ]
    return "\n".join([*drawn, "</svg>", ""])
