"""What agents cost the gateway, and what hostile ones cost the others. Against a real gateway, over loopback.

    python -m tests.bench.inbound [--seconds 3] [--slow 1000] [--beside FOLDER]

`cost`: CPU of the gateway's process for one `ping` (no upstream is asked). `slow`: the latency of pings, with and
without slow requests beside them. `bombs`: how long each takes to be refused, and for how long nobody else is served
meanwhile. FOLDER is another checkout, measured in turns with this one. Numbers depend on the machine: quote ratios of
one run.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import anyio

from tests.bench.agents import HEAD, connected
from tests.bench.processes import usage
from tests.interaction._gateway import config_file
from tests.support import ROOT, command, free_port, listens, run_process

PING: Final = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"text":"%s"}}' % (b"x" * 100)
CONNECTIONS: Final = 8
ROUNDS: Final = 3
SLOW_SECONDS: Final = 15.0
"""Longest that slow requests are waited for."""


@contextmanager
def gateway(folder: Path) -> Generator[tuple[int, int]]:
    """The port and the process id of a gateway without upstreams, of the checkout in `folder`."""
    port = free_port()
    with tempfile.TemporaryDirectory() as state:
        config = config_file(Path(state), {}, log_level="critical")
        argv = command("gateway", "serve", "--port", str(port), "-c", str(config))
        with run_process(argv, ready=lambda: listens(port), env={"PYTHONPATH": str(folder)}, cwd=folder) as process:
            yield port, process.pid


async def pings(port: int, until: Callable[[], bool]) -> list[float]:
    """The seconds each ping took, of as many as there is time for."""
    took: list[float] = []

    async def work() -> None:
        async with connected(port) as connection:
            while not until():
                began = time.perf_counter()
                assert (await connection.post(PING)).status == 200
                took.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tg:
        for _ in range(CONNECTIONS):
            tg.start_soon(work)
    return took


def after(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


async def cost(port: int, pid: int, seconds: float) -> float:
    """Microseconds of CPU for one ping."""
    await pings(port, after(0.3))
    before = usage(pid).cpu
    done = len(await pings(port, after(seconds)))
    return (usage(pid).cpu - before) / done * 1e6


async def slow(port: int, number: int) -> tuple[list[float], list[float], float]:
    """Pings' seconds without and with slow requests beside them, and when the last of these was closed."""
    alone = await pings(port, after(SLOW_SECONDS / 2))
    crawling = command("tests.bench.inbound", "--crawl", str(port), "--slow", str(number))
    async with await anyio.open_process(crawling, cwd=ROOT, stdin=None, stderr=None) as crawler:
        assert crawler.stdout is not None
        await crawler.stdout.receive()  # it has started, which takes half a core for a second
        expired = after(2 * SLOW_SECONDS)
        beside = await pings(port, lambda: crawler.returncode is not None or expired())
        last = float(await crawler.stdout.receive())
    return alone, beside, last


async def crawl(port: int, number: int) -> None:
    """Send so many requests, a byte a second, from a process of its own; print that it begins, and the most seconds
    until one was closed."""
    print("ready", flush=True)
    last = 0.0

    async def one(start: bytes) -> None:
        nonlocal last
        await anyio.sleep(random.random())
        began = time.perf_counter()
        async with connected(port) as connection:
            with suppress(ConnectionError), anyio.move_on_after(SLOW_SECONDS):
                connection.writer.write(start)
                while not connection.reader.at_eof():
                    connection.writer.write(b"a")
                    with anyio.move_on_after(1):
                        await connection.reader.read(65536)
        last = max(last, time.perf_counter() - began)

    async with anyio.create_task_group() as tg:
        for each in range(number):
            tg.start_soon(one, HEAD + b"X: " if each % 2 else HEAD + b"Content-Length: 1000\r\n\r\n{")
    print(last)


BOMBS: Final = {
    "depth 100,000": b"[" * 100_000 + b"]" * 100_000,
    "10 MB integer": b"9" * 10_000_000,
    "4 MB integer": b"9" * 4_000_000,
    "1,000,000 keys": b"{" + b",".join(b'"%d":1' % number for number in range(1_000_000)) + b"}",
    "300,000 keys": b"{" + b",".join(b'"%d":1' % number for number in range(300_000)) + b"}",
    "1,000,000 arrays": b"[" + b",".join([b"[]"] * 1_000_000) + b"]",
}


async def bombs(port: int) -> None:
    print(f"{'bomb':18} {'status':>6} {'refused after':>14} {'longest ping beside':>20}")
    for name, bomb in BOMBS.items():
        done, status, refused = False, 0, 0.0
        took: list[float] = []
        async with connected(port) as connection, anyio.create_task_group() as tg:

            async def beside() -> None:
                took.extend(await pings(port, lambda: done))  # noqa: B023 - it is over with the loop's turn

            tg.start_soon(beside)
            await anyio.sleep(0.2)
            began = time.perf_counter()
            status = (await connection.post(bomb)).status
            refused = time.perf_counter() - began
            done = True
        print(f"{name:18} {status:6} {refused * 1000:11.1f} ms {max(took) * 1000:17.1f} ms")


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98] * 1000


async def main(options: argparse.Namespace, folders: list[Path]) -> None:
    with ExitStack() as stack:
        gateways = {folder: stack.enter_context(gateway(folder)) for folder in folders}
        costs: dict[Path, list[float]] = {folder: [] for folder in folders}
        for _ in range(ROUNDS):
            for folder, (port, pid) in gateways.items():
                costs[folder].append(await cost(port, pid, options.seconds))
        for folder, several in costs.items():
            print(f"cost: {statistics.median(several):.0f} µs of CPU a ping ({folder})")
        port, _ = gateways[ROOT]
        alone, beside, last = await slow(port, options.slow)
        print(
            f"slow: p99 {p99(alone):.2f} ms alone, {p99(beside):.2f} ms beside {options.slow}, closed at {last:.1f} s"
        )
        await bombs(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement of the cost")
    parser.add_argument("--slow", type=int, default=1000, help="slow requests at a time")
    parser.add_argument("--beside", type=Path, help="another checkout to measure")
    parser.add_argument("--crawl", type=int, metavar="PORT", help="be the slow requests")
    given = parser.parse_args()
    if given.crawl:
        anyio.run(crawl, given.crawl, given.slow)
        sys.exit()
    anyio.run(main, given, [ROOT, *([given.beside.resolve()] if given.beside else [])])
