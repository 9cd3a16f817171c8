"""How soon callers know: the time bars for servers that hang or die, against a real gateway.

    python -m tests.bench.faults [--kills 4]

Deadlines, and how late they are; refusals by an open breaker; the end of a call whose program is killed, and how long
after its death calls are answered again: longer each time, as one that does not stay up is left alone for longer.
Numbers depend on the machine.
"""

import argparse
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio

from tests.bench.neighbours import serving
from tests.faults.gated import Agent, House, gate, house
from tests.support import wait_until

TIMEOUT: Final = 1.0
REFUSALS: Final = 200


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """Milliseconds, and the result."""
    began = time.perf_counter()
    result = await work()
    return (time.perf_counter() - began) * 1000, result


def show(what: str, took: list[float]) -> None:
    print(f"{what}: median {statistics.median(took):.1f} ms, at most {max(took):.1f} ms, of {len(took)}")


async def hang(agent: Agent) -> None:
    late: list[float] = []
    refused: list[float] = []
    while len(refused) < REFUSALS:
        took, answer = await timed(lambda: agent.ask("tools/call", {"name": "hang__echo", "arguments": {"text": "x"}}))
        if answer["error"]["code"] == -32011:
            late.append(took - TIMEOUT * 1000)
        else:
            assert answer["error"]["code"] == -32009, answer
            refused.append(took)
    show(f"deadline of {TIMEOUT:g} s, late by", late)
    show("refused by the open breaker after", refused)


async def kill(it: House, agent: Agent, number: int) -> tuple[float, float]:
    """Milliseconds after a death: when the call that was under way fails, and when one is answered again."""
    who: dict[str, Any] = {"name": "pipe__who", "arguments": {}}
    pid = (await agent.call("pipe__who"))["pid"]
    ended = killed = 0.0

    async def hold() -> None:
        nonlocal ended
        answer = await agent.ask(
            "tools/call", {"name": "pipe__hold", "arguments": {"gate": str(it.folder / f"{number}")}}
        )
        assert answer["error"]["code"] == -32012, answer
        ended = time.perf_counter()

    async with anyio.create_task_group() as tg:
        tg.start_soon(hold)
        await wait_until(lambda: list(it.folder.glob(f"{number}.began.*")))
        os.kill(pid, signal.SIGKILL)
        killed = time.perf_counter()
    while "error" in await agent.ask("tools/call", who):  # noqa: ASYNC110 - only asking tells
        await anyio.sleep(0.01)
    back = time.perf_counter()
    return (ended - killed) * 1000, (back - killed) * 1000


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(1000) as url:
        servers = {"hang": {"url": url, "timeout": f"{TIMEOUT:g}s"}, "pipe": gate()}
        async with house(Path(folder), servers, log_level="error") as it:
            agent = await it.agent()
            await hang(agent)
            failed, back = zip(*[await kill(it, agent, number) for number in range(options.kills)], strict=True)
            show("killed mid-call, the call fails after", [*failed])
            print("one death soon after the other, answered again after:", ", ".join(f"{each:.0f} ms" for each in back))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=4)
    anyio.run(main, parser.parse_args())
