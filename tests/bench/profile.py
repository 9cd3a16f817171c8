"""Where a call's time goes: the functions of the gateway, by their own time for each call, under load.

    python -m tests.bench.profile [--handshake] [--stdio] [--kind echo|big|list] [--connections 32] [--seconds 5]
        [--top 50]

cProfile in the event loop's thread. It makes everything slower, small functions above all: `raw µs` is what it
measured, and `≈ µs` the same share of the CPU that a call costs without it, which is measured first. What a collection
of garbage takes is counted where it happens to begin.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import uvloop

from tests.bench.inside import inspected
from tests.bench.load import Load, Work
from tests.bench.rounds import over_http, ready
from tests.bench.systems import fixture
from tests.bench.wires import connected
from tests.interaction._gateway import child
from tests.support import ROOT

Function = tuple[str, str, int, float]
"""Where it is, its name, its calls, and its own seconds."""
SIZES: Final = {"echo": 0, "big": 64, "list": 0}


def main(options: argparse.Namespace) -> None:
    tool = f"{'pipe' if options.stdio else 'u0'}__{options.kind}"
    work = Work(tool, options.kind, not options.handshake, SIZES[options.kind])
    with tempfile.TemporaryDirectory() as name, fixture(folder := Path(name)) as (base, _):
        servers: dict[str, Any] = {"u0": {"url": f"{base}/mcp"}, "pipe": child("tests.bench.fixture_stdio")}
        with inspected(folder, servers) as it:
            uvloop.run(ready(it.system, 12))
            bare = uvloop.run(over_http(it.system, it.process.pid, work, options.connections, options.seconds))
            it.ask("profile")
            dialect = "handshake" if options.handshake else "modern"

            async def load() -> int:
                opening = (connected(it.system.address, dialect, work.method, tool) for _ in range(options.connections))
                measured = Load(work, agents := [await each for each in opening])
                await measured.run(it.process.pid, options.seconds)
                for agent in agents:
                    await agent.aclose()
                return measured.asked

            calls = uvloop.run(load())
            functions: list[Function] = it.ask("functions")
    print(f"{bare.cost:.0f} µs of CPU a call, {bare.rate:.0f} calls/s without the profiler; {calls} calls with it")
    report(functions, calls, bare.cost, options.top)


def report(functions: list[Function], calls: int, cost: float, top: int) -> None:
    whole = sum(own for *_, own in functions)
    often = [each for each in functions if each[2] >= calls * 0.9]
    files = {where.rpartition(":")[0] for where, *_ in often if where.startswith(str(ROOT))}
    made = sum(count for _, _, count, _ in functions) / calls
    print(f"{made:.0f} functions called a call, {len(often)} different ones, in {len(files)} files of the gateway\n")
    rooms: defaultdict[str, float] = defaultdict(float)
    for where, _, _, own in functions:
        rooms[room(where)] += own
    print(f"{'≈ µs':>8} {'share':>6}  package")
    for name, own in sorted(rooms.items(), key=lambda each: -each[1])[:20]:
        print(f"{own / whole * cost:8.2f} {own / whole:6.1%}  {name}")
    print(f"\n{'≈ µs':>8} {'share':>6} {'raw µs':>8} {'calls':>6}  function")
    for where, name, count, own in sorted(functions, key=lambda each: -each[3])[:top]:
        share = own / whole
        print(f"{share * cost:8.2f} {share:6.1%} {own / calls * 1e6:8.2f} {count / calls:6.1f}  {name} {short(where)}")


def room(where: str) -> str:
    """A room of the gateway, somebody else's package, or what is built in."""
    parts = short(where).partition(":")[0].split("/")
    if parts[0] == "gateway":
        return ".".join(parts[:2]).partition(".py")[0]
    return parts[1] if parts[0].startswith("python3") and len(parts) > 1 else parts[0] or "built in"


def short(where: str) -> str:
    """Without what all files have in common; nothing for what is built in."""
    if where.startswith("~"):
        return ""
    return where.rpartition("site-packages/")[2].removeprefix(f"{ROOT}/").rpartition("/lib/")[2]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handshake", action="store_true", help="in sessions, and not in the modern era")
    parser.add_argument("--stdio", action="store_true", help="of a server over stdio")
    parser.add_argument("--kind", choices=SIZES, default="echo")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--top", type=int, default=50)
    main(parser.parse_args())
