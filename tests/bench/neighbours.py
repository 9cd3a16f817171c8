"""What a slow upstream costs those who call another, and what a tenant's slow calls cost another's at the same one: the
latency of calls, with and without calls that hang.

    python -m tests.bench.neighbours [--seconds 2] [--rounds 15] [--hanging 500] [--tenant 300] [--delay 10]

The two are measured in turns against one gateway, which has a core of its own where there are several. The bars are a
p99 of at most 1.1 times beside another server, and 1.2 times beside another tenant. Numbers depend on the machine:
quote ratios of one run.
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
from hashlib import sha256
from pathlib import Path
from typing import Final

import anyio

from tests.bench.agents import connected
from tests.interaction._gateway import PATIENT, http_gateway
from tests.interaction._wire import request
from tests.support import command, free_port, listens, run_process

AGENTS: Final = 4
HEADERS: Final = (
    b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: %b__echo\r\nX-Api-Key: %b\r\n"
)
KEYS: Final = {name: f"{name}-{'k' * 32}" for name in ("bob", "mallory")}

Call = tuple[bytes, bytes]
"""Body and headers."""


def call(server: str, who: str, *, slow: bool = False) -> Call:
    arguments = {"text": "x" * 100, "slow": slow}
    asked = request("tools/call", {"name": f"{server}__echo", "arguments": arguments}, modern=True)
    return json.dumps(asked).encode(), HEADERS % (server.encode(), KEYS[who].encode())


async def latencies(port: int, seconds: float, asked: Call) -> list[float]:
    """Of as many calls as there is time for."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def work() -> None:
        async with connected(port) as connection:
            while (began := time.perf_counter()) < end:
                response = await connection.post(*asked)
                assert b'"result"' in response.body, response.body
                took.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tg:
        for _ in range(AGENTS):
            tg.start_soon(work)
    return took


async def hang(port: int, asked: Call) -> None:
    """Make a slow call, again and again."""
    async with connected(port) as connection:
        while True:
            await connection.post(*asked)


async def measure(
    port: int, options: argparse.Namespace, fast: Call, slow: Call, hanging: int
) -> tuple[list[float], list[float]]:
    alone: list[float] = []
    beside: list[float] = []
    await latencies(port, 1, fast)
    for _ in range(options.rounds):
        alone += await latencies(port, options.seconds, fast)
        async with anyio.create_task_group() as tg:
            for _ in range(hanging):
                tg.start_soon(hang, port, slow)
            await latencies(port, 2, fast)  # until all of them have come
            beside += await latencies(port, options.seconds, fast)
            tg.cancel_scope.cancel()
        await anyio.sleep(0.5)
    return alone, beside


@contextmanager
def serving(delay: float) -> Generator[str]:
    """A server's URL."""
    port = free_port()
    with run_process(
        command("tests.bench.fixture_http", str(port), "--delay", str(delay)), ready=lambda: listens(port)
    ):
        yield f"http://127.0.0.1:{port}/mcp"


def percentile(took: list[float], which: int) -> float:
    return statistics.quantiles(took, n=100)[which - 1] * 1000


def show(what: str, alone: list[float], beside: list[float]) -> None:
    print(f"{len(alone)} calls alone, {len(beside)} beside {what}")
    for which in (50, 99):
        a, b = percentile(alone, which), percentile(beside, which)
        print(f"p{which}: {a:.2f} ms alone, {b:.2f} ms beside, ratio {b / a:.2f}")


def main(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))  # and what is started from here
    hanging, tenant, delay = options.hanging, options.tenant, options.delay
    with tempfile.TemporaryDirectory() as folder, serving(0) as good, serving(delay) as slow:
        servers = {
            "good": {"url": good},
            "slow": {"url": slow, "max_concurrency": 2 * hanging},
            "shared": {"url": slow},
        }
        keys = [
            {"id": who, "owner": who, "rate_limit_rpm": -1, "key_hash": f"sha256:{sha256(key.encode()).hexdigest()}"}
            for who, key in KEYS.items()
        ]
        (file := Path(folder) / "keys.json").write_text(json.dumps(keys))
        settings = {"auth": {"enabled": True, "api_keys_file": str(file)}, "max_requests_per_principal": 2 * hanging}
        with http_gateway(Path(folder), servers, **PATIENT, **settings, log_level="error") as gateway:
            if len(cores) > 1:
                os.sched_setaffinity(gateway.process.pid, {cores[0]})
            port = int(gateway.base.rpartition(":")[2])
            at_another = call("good", "bob"), call("slow", "bob", slow=True), hanging
            show(
                f"{hanging} at another server that take {delay:g} s each",
                *anyio.run(measure, port, options, *at_another),
            )
            of_another = call("shared", "bob"), call("shared", "mallory", slow=True), tenant
            show(f"{tenant} of another tenant's at the same server", *anyio.run(measure, port, options, *of_another))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hanging", type=int, default=500, help="calls at the slow server at a time")
    parser.add_argument("--tenant", type=int, default=300, help="another tenant's slow calls at the same server")
    parser.add_argument("--delay", type=float, default=10, help="seconds that each of them takes")
    main(parser.parse_args())
