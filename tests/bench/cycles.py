"""What calls leave behind that only the garbage collector finds: nothing, they should.

    python -m tests.bench.cycles [KIND…] [--calls 300] [--top 20]

Each kind of call is made in a gateway whose collector is off; then the collector says what it finds, by type. A pause
of a hundred milliseconds is what it costs to find it in a big heap. Exits with 1 if anything is left for each call.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import orjson

from tests.bench.inside import Inspected, inspected
from tests.bench.load import META, Wrong
from tests.bench.rounds import ready
from tests.bench.systems import fixture
from tests.bench.wires import HttpAgent, connected
from tests.interaction._gateway import child

AGENTS: Final = 8
AWAY: Final = 10_000
"""Milliseconds that nobody waits for."""

_numbers: Final = itertools.count(1)

Kind = Callable[[HttpAgent, bool], Awaitable[HttpAgent]]
"""Makes one call, in the modern era or a session; returns the agent of the next, as some calls cost a connection."""


def calling(tool: str, arguments: Mapping[str, Any], modern: bool, **meta: str) -> tuple[int, bytes]:
    """The id, and the body."""
    id = next(_numbers)
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if modern or meta:
        params["_meta"] = {**(META if modern else {}), **meta}
    return id, orjson.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})


async def answered(
    tool: str, arguments: Mapping[str, Any], expected: bytes, agent: HttpAgent, modern: bool, **meta: str
) -> HttpAgent:
    """A call whose answer has `expected` in it."""
    agent.name(tool) if modern else None
    _, body = calling(tool, arguments, modern, **meta)
    try:
        reply = await agent.exchange(body)
    except Wrong as error:  # an HTTP status other than 200
        reply = str(error).encode()
    assert expected in reply, reply
    return agent


async def cancelled(agent: HttpAgent, modern: bool) -> HttpAgent:
    """A call whose agent does not want it any more: it says so in a session, and is gone in the modern era."""
    tool = "u0__slow"
    id, body = calling(tool, {"ms": AWAY}, modern)
    if modern:
        agent.name(tool)
        agent.broken = lambda why: None
        agent.send(body)
        await anyio.sleep(0.02)  # it is on its way
        agent.close()
        return await another(agent)
    beside = agent.beside()
    await beside.connect()
    beside.send(body)
    await anyio.sleep(0.02)
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
    await agent.exchange(orjson.dumps(note))
    beside.close()
    return agent


KINDS: Final[dict[str, Kind]] = {
    "ok": partial(answered, "u0__echo", {"text": "x" * 100}, b"x" * 100),
    "ok, stdio": partial(answered, "pipe__echo", {"text": "x" * 100}, b"x" * 100),
    "tool error": partial(answered, "u0__fail", {}, b"failed"),
    "JSON-RPC error": partial(answered, "u0__refuse", {}, b"-32602"),
    "streamed": partial(answered, "u0__step", {"ms": 1}, b"step", progressToken="p"),
    "timed out": partial(answered, "late__slow", {"ms": AWAY}, b"-32011"),
    "cancelled": cancelled,
}


async def another(agent: HttpAgent) -> HttpAgent:
    fresh = agent.beside()
    await fresh.connect()
    return fresh


async def make(kind: Kind, modern: bool, calls: int, it: Inspected) -> None:
    """So many calls, by a few agents at a time."""
    agents = [
        await connected(it.system.address, "modern" if modern else "handshake", "tools/call", "") for _ in range(AGENTS)
    ]
    left = iter(range(calls))

    async def work(agent: HttpAgent) -> None:
        for _ in left:
            agent = await kind(agent, modern)
        await agent.aclose()

    async with anyio.create_task_group() as tg:
        for agent in agents:
            assert isinstance(agent, HttpAgent)
            tg.start_soon(work, agent)


def leftovers(it: Inspected, kind: str, modern: bool, calls: int) -> dict[str, float]:
    """Type → objects left for each call. What is left for each agent, by its connection and session, does not count."""
    few = found_after(it, kind, modern, AGENTS)  # what is made once is made
    few = found_after(it, kind, modern, AGENTS)
    many = found_after(it, kind, modern, AGENTS + calls)
    each = {type: (count - few.get(type, 0)) / calls for type, count in many.items()}
    return {type: count for type, count in each.items() if count > 0.05}


def found_after(it: Inspected, kind: str, modern: bool, calls: int) -> dict[str, int]:
    """Type → objects that only the collector finds, after so many calls."""
    it.ask("mark")
    anyio.run(make, KINDS[kind], modern, calls, it)
    anyio.run(quiet, it)
    return it.ask("garbage")


async def quiet(it: Inspected) -> None:
    """Give it a moment to finish what agents no longer wait for, and a call that shows that it turns."""
    await anyio.sleep(0.5)
    await ready(it.system)


def measure(kinds: Sequence[str], calls: int, top: int) -> bool:
    """Print what is left, by kind and era; returns whether nothing is."""
    clean = True
    with tempfile.TemporaryDirectory() as name, fixture(folder := Path(name)) as (base, _):
        url = f"{base}/mcp"
        servers: dict[str, Any] = {
            "u0": {"url": url},
            "pipe": child("tests.bench.fixture_stdio"),
            "late": {"url": url, "timeout": "50ms", "breaker": {"failures": 1_000_000}},
        }
        with inspected(folder, servers) as it:
            anyio.run(ready, it.system, 18)
            for kind, modern in itertools.product(kinds, (True, False)):
                found = leftovers(it, kind, modern, calls)
                clean &= not found
                show(f"{kind}, {'modern' if modern else 'handshake'}", found, top)
    return clean


def show(what: str, found: dict[str, float], top: int) -> None:
    """What has a name of its own first; of the rest, builtins above all, there is some in every cycle."""
    print(f"{what}: {sum(found.values()):.1f} objects in cycles a call", flush=True)
    told = sorted(found, key=lambda type: (type.startswith("builtins.") and " " not in type, -found[type]))
    for type in told[:top]:
        print(f"    {found[type]:6.1f}  {type}", flush=True)
    if len(told) > top:
        print(f"    {sum(found[type] for type in told[top:]):6.1f}  others", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"some of: {', '.join(KINDS)}")
    parser.add_argument("--calls", type=int, default=300, help="of each kind")
    parser.add_argument("--top", type=int, default=20, help="types to show")
    options = parser.parse_args()
    sys.exit(not measure(options.kinds or list(KINDS), options.calls, options.top))
