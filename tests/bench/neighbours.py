"""What one slow upstream costs those who call another: the latency of its calls, with and without calls that hang.

    python -m tests.bench.neighbours [--seconds 2] [--rounds 15] [--hanging 500] [--delay 10]

The two are measured in turns against one gateway, which has a core of its own where there are several. The bar is a p99
of at most 1.1 times. Numbers depend on the machine: quote ratios of one run.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio

from tests.bench.agents import connected
from tests.interaction._gateway import PATIENT, http_gateway
from tests.interaction._wire import request
from tests.support import command, free_port, listens, run_process

AGENTS: Final = 4
HEADERS: Final = b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: %b__echo\r\n"


def call(server: str) -> tuple[bytes, bytes]:
    """Body and headers of a call."""
    asked = request("tools/call", {"name": f"{server}__echo", "arguments": {"text": "x" * 100}}, modern=True)
    return json.dumps(asked).encode(), HEADERS.replace(b"%b", server.encode())


async def latencies(port: int, seconds: float) -> list[float]:
    """Of as many calls to the good server as there is time for."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    body, headers = call("good")

    async def work() -> None:
        async with connected(port) as connection:
            while (began := time.perf_counter()) < end:
                response = await connection.post(body, headers)
                assert b'"result"' in response.body, response.body
                took.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tg:
        for _ in range(AGENTS):
            tg.start_soon(work)
    return took


async def hang(port: int) -> None:
    """Call the slow server, again and again."""
    body, headers = call("slow")
    async with connected(port) as connection:
        while True:
            await connection.post(body, headers)


async def measure(port: int, options: argparse.Namespace) -> tuple[list[float], list[float]]:
    alone: list[float] = []
    beside: list[float] = []
    await latencies(port, 1)
    for _ in range(options.rounds):
        alone += await latencies(port, options.seconds)
        async with anyio.create_task_group() as tg:
            for _ in range(options.hanging):
                tg.start_soon(hang, port)
            await anyio.sleep(1)
            beside += await latencies(port, options.seconds)
            tg.cancel_scope.cancel()
        await anyio.sleep(0.5)
    return alone, beside


@contextmanager
def serving(delay: float) -> Generator[str]:
    """A server's URL."""
    port = free_port()
    with run_process(command("tests.bench.fixture_http", str(port), str(delay)), ready=lambda: listens(port)):
        yield f"http://127.0.0.1:{port}/mcp"


def percentile(took: list[float], which: int) -> float:
    return statistics.quantiles(took, n=100)[which - 1] * 1000


def main(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))  # and what is started from here
    with tempfile.TemporaryDirectory() as folder, serving(0) as good, serving(options.delay) as slow:
        servers = {"good": {"url": good}, "slow": {"url": slow, "max_concurrency": 2 * options.hanging}}
        with http_gateway(Path(folder), servers, **PATIENT, log_level="error") as gateway:
            if len(cores) > 1:
                os.sched_setaffinity(gateway.process.pid, {cores[0]})
            alone, beside = anyio.run(measure, int(gateway.base.rpartition(":")[2]), options)
    print(f"{len(alone)} calls alone, {len(beside)} beside {options.hanging} that take {options.delay:g} s each")
    for which in (50, 99):
        a, b = percentile(alone, which), percentile(beside, which)
        print(f"p{which}: {a:.2f} ms alone, {b:.2f} ms beside, ratio {b / a:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hanging", type=int, default=500, help="calls at the slow server at a time")
    parser.add_argument("--delay", type=float, default=10, help="seconds that each of them takes")
    main(parser.parse_args())
