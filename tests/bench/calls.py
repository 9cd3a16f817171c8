"""The suites of calls and lists: one load, several systems, ratios."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import orjson
import uvloop

from tests.bench import systems
from tests.bench.load import Work
from tests.bench.processes import OTHER_CPU
from tests.bench.rounds import LIST, Plan, Step, Table, cost, interleaved, over_stdio, p50, rate, ready
from tests.bench.systems import ASGI, FASTMCP_NAME, GATEWAY, HELD, HUB_NAME, NGINX, PROTOCOL, Program, System
from tests.bench.verdicts import Row, at_least, at_most, not_compared
from tests.bench.wires import connected
from tests.interaction._gateway import Entry, child
from tests.support import command

ERAS: Final = ("modern", "handshake")
WORKS: Final = {"modern": Work(modern=True), "handshake": Work()}
Suite = Callable[[Plan, Sequence[Program], Path, Table], list[Row]]


def web(base: str, *names: str) -> dict[str, Entry]:
    return {name: {"url": f"{base}/{name}/mcp"} for name in names}


def http(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """tools/call, HTTP to HTTP, in both eras."""
    cheap = frozenset({NGINX, PROTOCOL, ASGI, *(program.name for program in programs)})
    steps = [
        Step("modern 32", WORKS["modern"], 32, cheap),
        Step("handshake 32", WORKS["handshake"], 32),
        Step("modern 1", WORKS["modern"], 1, cheap),
        Step("handshake 1", WORKS["handshake"], 1, cheap),
    ]
    with ExitStack() as stack:
        base, _ = stack.enter_context(systems.fixture(folder))
        found = systems.obtained(
            {
                NGINX: lambda: systems.nginx(folder, base),
                PROTOCOL: lambda: systems.protocol_proxy(f"{base}/mcp"),
                ASGI: lambda: systems.asgi_proxy(f"{base}/mcp"),
                **{each.name: _gateway(each, folder, web(base, "u0")) for each in programs},
                HUB_NAME: lambda: systems.hub(folder, web(base, "u0")),
                FASTMCP_NAME: lambda: systems.fastmcp_proxy(f"{base}/mcp"),
            }
        )
        interleaved(plan, [(each, stack.enter_context(systems.started(each, folder))) for each in found], steps, table)
    return [*_cost_rows(table), *_rate_rows(table), *_latency_rows(table)]


def _gateway(program: Program, folder: Path, servers: dict[str, Entry]) -> Callable[[], System]:
    return lambda: systems.gateway(program, folder, servers)


def _cost_rows(table: Table) -> list[Row]:
    rows: list[Row] = []
    for era in ERAS:
        step = f"{era} 32"
        detail = f"{table.cost(GATEWAY, step):.0f} µs against {table.cost(ASGI, step):.0f}"
        if table.has(NGINX, step):
            detail += f"; {table.ratio(cost, step, GATEWAY, NGINX):.3g} × nginx's"
        what = f"tools/call, HTTP to HTTP, {era} era: CPU a call against the bare ASGI proxy's"
        rows.append(at_most(what, 1.0, table.ratio(cost, step, GATEWAY, ASGI), beyond="≤ 2 × nginx's", detail=detail))
    return rows


def _rate_rows(table: Table) -> list[Row]:
    step = "handshake 32"
    rows: list[Row] = []
    for peer, limit in ((HUB_NAME, 12.0), (FASTMCP_NAME, 50.0)):
        what = f"calls/s at 32 connections against {peer}"
        if not table.has(peer, step):
            rows.append(not_compared(what, f"≥ {limit:g} ×", peer))
            continue
        detail = f"{table.rate(GATEWAY, step):.0f} against {table.rate(peer, step):.0f}"
        share = table.ratio(rate, step, GATEWAY, PROTOCOL)
        detail += f"; {share:.2g} × the bare Python proxy's" if peer == HUB_NAME else ""
        beyond = "≥ 0.8 × the bare Python proxy's" if peer == HUB_NAME else ""
        rows.append(at_least(what, limit, table.ratio(rate, step, GATEWAY, peer), beyond=beyond, detail=detail))
    return rows


def _latency_rows(table: Table) -> list[Row]:
    rows: list[Row] = []
    for era in ERAS:
        step = f"{era} 1"
        detail = " ms against ".join(f"{table.median(name, step, p50):.2f}" for name in (GATEWAY, ASGI))
        what = f"p50 at one connection, {era} era, against the bare ASGI proxy's"
        rows.append(at_most(what, 1.2, table.ratio(p50, step, GATEWAY, ASGI), beyond="≤ 1 ×", detail=detail))
    return rows


def stdio(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """tools/call, HTTP to a stdio server; and to an HTTP server through the same gateway."""
    pipe = child("tests.bench.fixture_stdio", str(OTHER_CPU))
    hub_pipe = {name: pipe[name] for name in ("command", "args", "cwd")}
    names = frozenset({*(each.name for each in programs), HUB_NAME})
    with ExitStack() as stack:
        base, _ = stack.enter_context(systems.fixture(folder))
        makers = {each.name: _gateway(each, folder, {"u0": pipe, **web(base, "web")}) for each in programs}
        found = systems.obtained({**makers, HUB_NAME: lambda: systems.hub(folder, {"u0": hub_pipe})})
        pids = [(each, stack.enter_context(systems.started(each, folder))) for each in found]
        interleaved(plan, pids, [Step("stdio 32", Work(), 32, names)], table)
        through_http = [(_renamed(each, "web__"), pid) for each, pid in pids if each.name != HUB_NAME]
        interleaved(plan, through_http, [Step("HTTP 32", Work(), 32)], table)
    what = f"stdio server: calls/s against {HUB_NAME}"
    if not table.has(HUB_NAME, "stdio 32"):
        return [not_compared(what, "≥ 5 ×", HUB_NAME)]
    ours, hub = (table.rate(name, "stdio 32") for name in (GATEWAY, HUB_NAME))
    of_http = table.cost(GATEWAY, "stdio 32") / table.cost(GATEWAY, "HTTP 32")
    detail = f"{ours:.0f} against {hub:.0f}; {of_http:.3g} × an HTTP server's CPU"
    return [
        at_least(
            what,
            5,
            table.ratio(rate, "stdio 32", GATEWAY, HUB_NAME),
            beyond="≤ 1.2 × an HTTP server's CPU",
            detail=detail,
        )
    ]


def _renamed(system: System, prefix: str) -> System:
    return System(system.name, system.argv, system.address, prefix, system.sse, system.env)


def front(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """tools/call over the stdio front, eight at a time."""
    with systems.fixture(folder) as (base, _):
        sdk = command("tests.bench.rivals.sdk_gateway", f"{base}/mcp")
        fronts = {
            program.name: [
                *program.argv,
                "stdio",
                "-c",
                str(systems.configured(folder / f"front-{program.name}", web(base, "u0"))),
            ]
            for program in programs
        }
        for _ in range(plan.rounds):
            for name, argv in {**fronts, "plain SDK": sdk}.items():
                work = Work("echo" if name == "plain SDK" else "u0__echo")
                log = folder / f"front-{name}.log"
                table.add(name, "stdio front 8", uvloop.run(over_stdio(argv, log, work, 8, plan.seconds)))
    ours, plain = (table.cost(name, "stdio front 8") for name in (GATEWAY, "plain SDK"))
    detail = f"{ours:.0f} µs against {plain:.0f}"
    what = "stdio front: CPU a call against plain use of the SDK"
    return [
        at_most(what, 0.04, table.ratio(cost, "stdio front 8", GATEWAY, "plain SDK"), beyond="≤ 80 µs", detail=detail)
    ]


LISTS: Final = {10: 2.0, 100: 1.6, 1000: 1.2}
"""Tools, and what a list of so many may cost."""


def lists(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """tools/list of ten servers' tools, against a server that holds the same bytes."""
    rows: list[Row] = []
    for count, limit in LISTS.items():
        with ExitStack() as stack:
            base, _ = stack.enter_context(systems.fixture(folder, tools=count // 10))
            servers = web(base, *(f"u{number}" for number in range(10)))
            own = [systems.gateway(each, folder, servers) for each in programs]
            pids = [(each, stack.enter_context(systems.started(each, folder))) for each in own]
            uvloop.run(ready(own[0], count))
            held = systems.held_list(uvloop.run(listed(own[0])), folder)
            pids.append((held, stack.enter_context(systems.started(held, folder))))
            step = Step(f"list of {count:,}", Work(kind="list", size=count), 8)
            interleaved(plan, pids, [step], table)
        ours, bytes_held = (table.cost(name, step.name) for name in (GATEWAY, HELD))
        what = f"tools/list of {count:,} tools: CPU against a server that holds the bytes"
        detail = f"{ours:.0f} µs against {bytes_held:.0f}"
        rows.append(at_most(what, limit, table.ratio(cost, step.name, GATEWAY, HELD), detail=detail))
    return rows


async def listed(system: System) -> bytes:
    """The result of its tools/list."""
    agent = await connected(system.address, "handshake", LIST.method, "")
    answer = orjson.loads(await agent.exchange(LIST.body(1)))
    await agent.aclose()
    return orjson.dumps(answer["result"])


def big(plan: Plan, programs: Sequence[Program], folder: Path, table: Table) -> list[Row]:
    """Results of 64 KiB."""
    with ExitStack() as stack:
        base, _ = stack.enter_context(systems.fixture(folder))
        found = systems.obtained(
            {
                NGINX: lambda: systems.nginx(folder, base),
                PROTOCOL: lambda: systems.protocol_proxy(f"{base}/mcp"),
                ASGI: lambda: systems.asgi_proxy(f"{base}/mcp"),
                **{each.name: _gateway(each, folder, web(base, "u0")) for each in programs},
            }
        )
        pids = [(each, stack.enter_context(systems.started(each, folder))) for each in found]
        interleaved(plan, pids, [Step("64 KiB 8", Work("big", "big", modern=True, size=64), 8)], table)
    ours, bare = (table.cost(name, "64 KiB 8") for name in (GATEWAY, ASGI))
    what = "results of 64 KiB: CPU a call against the bare ASGI proxy's"
    detail = f"{ours:.0f} µs against {bare:.0f}"
    return [at_most(what, 1.3, table.ratio(cost, "64 KiB 8", GATEWAY, ASGI), beyond="≤ 1 ×", detail=detail)]
