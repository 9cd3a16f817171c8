"""What one upstream call costs this process in CPU: our dispatchers beside the SDK's own transports, in one run.

    python -m tests.bench.outbound [--seconds 1] [--rounds 3] [--concurrency 16]

Raw dicts in and out on both sides; every answer is checked. Rounds are interleaved and medians reported. Absolute
numbers depend on the machine: quote ratios from one run.
"""

import argparse
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import anyio
from mcp import StdioServerParameters, stdio_client
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher

from gateway.upstream.audience import Audience
from gateway.upstream.guardian import Guardian
from gateway.upstream.session import UpstreamSession
from gateway.upstream.transport.http import HttpDispatcher, HttpEndpoint
from gateway.upstream.transport.process import Program
from gateway.upstream.transport.stderr import StderrLog
from gateway.upstream.transport.stdio import StdioDispatcher
from tests.support import ROOT, command, free_port, listens, run_process

WARM_UP_SECONDS: Final = 0.3
TEXT: Final = "x" * 100
PARAMS: Final = {"name": "echo", "arguments": {"text": TEXT}}

Ask = Callable[[], Awaitable[dict[str, Any]]]
"""One call, raw."""


class Nobody:
    """A peer that hears nothing."""

    def on_notification(self, method: str, params: dict[str, Any] | None, audience: Audience) -> None: ...

    async def on_request(self, method: str, params: dict[str, Any] | None, audience: Audience) -> dict[str, Any]:
        return {}

    def on_noise(self, text: str) -> None:
        print(text, file=sys.stderr)


@asynccontextmanager
async def sdk_session(dispatcher: JSONRPCDispatcher[Any]) -> AsyncGenerator[Ask]:
    async with ClientSession(dispatcher=dispatcher) as session:
        version = (await session.initialize()).protocol_version

        async def ask() -> dict[str, Any]:
            options: Any = {"headers": {"mcp-protocol-version": version}, "timeout": 30.0}
            return await dispatcher.send_raw_request("tools/call", PARAMS, options)

        yield ask


@asynccontextmanager
async def sdk_http(url: str) -> AsyncGenerator[Ask]:
    async with streamable_http_client(url) as (read, write), sdk_session(JSONRPCDispatcher(read, write)) as ask:
        yield ask


@asynccontextmanager
async def sdk_stdio(argv: list[str]) -> AsyncGenerator[Ask]:
    server = StdioServerParameters(command=argv[0], args=argv[1:], cwd=ROOT)
    async with stdio_client(server) as (read, write), sdk_session(JSONRPCDispatcher(read, write)) as ask:
        yield ask


@asynccontextmanager
async def our_session(dispatcher: HttpDispatcher | StdioDispatcher, probe: bool) -> AsyncGenerator[Ask]:
    async with UpstreamSession(dispatcher, {}) as session:
        await session.negotiate(30, probe=probe)

        async def ask() -> dict[str, Any]:
            return await session.request("tools/call", PARAMS, {"timeout": 30.0})

        yield ask
    await dispatcher.aclose()


@asynccontextmanager
async def our_http(url: str, probe: bool) -> AsyncGenerator[Ask]:
    async with our_session(HttpDispatcher("bench", HttpEndpoint(url), Nobody()), probe) as ask:
        yield ask


@asynccontextmanager
async def our_stdio(argv: list[str], probe: bool) -> AsyncGenerator[Ask]:
    guardian = Guardian()
    dispatcher = StdioDispatcher("bench", Nobody(), StderrLog(lambda line, _: print(line), time.monotonic), 1 << 24)
    await dispatcher.start(Program(argv[0], argv[1:], cwd=ROOT), guardian)
    async with our_session(dispatcher, probe) as ask:
        yield ask
    await guardian.aclose()


async def measure(ask: Ask, concurrency: int, seconds: float) -> float:
    """CPU milliseconds of this process per call, in a closed loop."""
    done = 0
    stop_at = time.perf_counter() + WARM_UP_SECONDS + seconds

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < stop_at:
            result = await ask()
            assert result["content"][0]["text"] == TEXT
            done += 1

    cpu, calls = 0.0, 0
    async with anyio.create_task_group() as tg:
        for _ in range(concurrency):
            tg.start_soon(worker)
        await anyio.sleep(WARM_UP_SECONDS)
        before, begun = done, time.process_time()
        await anyio.sleep(seconds * 0.95)
        cpu, calls = time.process_time() - begun, done - before
    return cpu * 1000 / calls


async def main(options: argparse.Namespace, url: str) -> None:
    argv = command("tests.bench.fixture_stdio")
    async with AsyncExitStack() as stack:
        asks = {
            ("HTTP", "SDK"): await stack.enter_async_context(sdk_http(url)),
            ("HTTP", "ours, handshake era"): await stack.enter_async_context(our_http(url, probe=False)),
            ("HTTP", "ours, modern era"): await stack.enter_async_context(our_http(url, probe=True)),
            ("stdio", "SDK"): await stack.enter_async_context(sdk_stdio(argv)),
            ("stdio", "ours, handshake era"): await stack.enter_async_context(our_stdio(argv, probe=False)),
            ("stdio", "ours, modern era"): await stack.enter_async_context(our_stdio(argv, probe=True)),
        }
        costs: dict[tuple[str, str], list[float]] = {key: [] for key in asks}
        for _ in range(options.rounds):
            for key, ask in asks.items():
                costs[key].append(await measure(ask, options.concurrency, options.seconds))
        report({key: statistics.median(several) for key, several in costs.items()})


def report(costs: dict[tuple[str, str], float]) -> None:
    print(f"{'transport':10} {'client':22} {'CPU ms/call':>12} {'SDK / this':>11}")
    for (transport, client), cost in costs.items():
        print(f"{transport:10} {client:22} {cost:12.4f} {costs[transport, 'SDK'] / cost:10.1f}×")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0.8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=16)
    given = parser.parse_args()
    port = free_port()
    with run_process(command("tests.bench.fixture_http", str(port)), ready=lambda: listens(port)):
        uvloop = {"use_uvloop": sys.platform != "win32"}
        anyio.run(main, given, f"http://127.0.0.1:{port}/mcp", backend_options=uvloop)
