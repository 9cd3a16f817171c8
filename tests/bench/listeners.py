"""What those who listen cost everybody else: how long the gateway stalls while many subscribe to much, and while many
are told that a list has changed.

    python -m tests.bench.listeners [--only NAME] [--sessions 1500] [--streams 60] [--uris 1000] [--tools 1000]

A stall is measured as in `tests.bench.catalogue`, with the machine's own beside it. The bar is 50 ms more than that.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.agents import connected
from tests.bench.catalogue import Lateness, listed, options
from tests.interaction._gateway import Entry, child, config_file, http_gateway
from tests.interaction._http import fields
from tests.interaction._wire import request
from tests.servers.peers import OPENING
from tests.support import free_port, listens, run_process

ROOMY: Final[dict[str, Any]] = {"max_lag": "60s", "max_sessions": 20_000, "max_backlog": "2GiB"}


@contextmanager
def measured(what: str, port: int) -> Generator[None]:
    idle, stalls = Lateness(lambda: None), Lateness(options(port))
    yield
    print(f"{what}\n  gateway  {stalls.stop()}\n  machine  {idle.stop()}", flush=True)


async def listen(port: int, uris: list[str]) -> asyncio.StreamWriter:
    """Open a listen stream, and wait for its acknowledgement."""
    message = request("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}, modern=True)
    body = json.dumps(message).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in fields(message).items())
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await reader.readuntil(b"subscriptions/acknowledged")
    return writer


async def streams(port: int, count: int, uris: int) -> None:
    filters = [[f"any:///{stream}/{number}" for number in range(uris)] for stream in range(count)]
    writers = await asyncio.gather(*(listen(port, some) for some in filters))
    await asyncio.sleep(2)
    for writer in writers:
        writer.close()
    await asyncio.sleep(2)


async def sessions(port: int, count: int) -> None:
    body = json.dumps(request("initialize", OPENING)).encode()

    async def some(count: int) -> None:
        async with connected(port) as connection:
            for _ in range(count):
                assert (await connection.post(body)).status == 200

    await asyncio.gather(*(some(count // 10) for _ in range(10)))


def port_of(base: str) -> int:
    return int(base.rpartition(":")[2])


def subscribing(folder: Path, args: argparse.Namespace) -> None:
    port = free_port()
    server = [sys.executable, "-m", "tests.bench.subscribed", "http", str(port)]
    entries: dict[str, Entry] = {
        "handshake": child("tests.bench.subscribed", "stdio"),
        "modern": {"url": f"http://127.0.0.1:{port}/mcp"},
    }
    with run_process(server, ready=lambda: listens(port)):
        for era, entry in entries.items():
            (folder / era).mkdir()
            with http_gateway(folder / era, {era: entry}, **ROOMY) as gateway:
                listed(gateway.base)
                with measured(
                    f"{args.streams} streams that listen to {args.uris} URIs each: {era}", port_of(gateway.base)
                ):
                    asyncio.run(streams(port_of(gateway.base), args.streams, args.uris))


def reloading(folder: Path, args: argparse.Namespace) -> None:
    entries = {"many": child("tests.bench.many", "stdio", str(args.tools), "3600", pin=args.pin)}
    with http_gateway(folder, entries, **ROOMY) as gateway:
        listed(gateway.base)
        asyncio.run(sessions(port_of(gateway.base), args.sessions))
        time.sleep(2)
        with measured(f"a reload with {args.sessions} sessions and {args.tools} tools", port_of(gateway.base)):
            entries["many"]["tools"] = {"deny": ["tool_0"]}
            config_file(folder, entries, **ROOMY)
            while listed(gateway.base) == args.tools:
                time.sleep(0.05)
            time.sleep(2)


def telling(folder: Path, args: argparse.Namespace) -> None:
    entries = {"many": child("tests.bench.many", "stdio", "20", "2")}
    with http_gateway(folder, entries, **ROOMY) as gateway:
        asyncio.run(sessions(port_of(gateway.base), args.listeners))
        with measured(f"a list that changes every 2 s, told to {args.listeners} sessions", port_of(gateway.base)):
            time.sleep(10)


SCENARIOS: Final[dict[str, Callable[[Path, argparse.Namespace], None]]] = {
    "subscribing": subscribing,
    "reloading": reloading,
    "telling": telling,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SCENARIOS)
    parser.add_argument("--streams", type=int, default=60)
    parser.add_argument("--uris", type=int, default=1_000)
    parser.add_argument("--sessions", type=int, default=1_500)
    parser.add_argument("--listeners", type=int, default=5_000)
    parser.add_argument("--tools", type=int, default=1_000)
    parser.add_argument("--pin", default="warn")
    args = parser.parse_args()
    for name, scenario in SCENARIOS.items():
        if args.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                scenario(Path(folder), args)


if __name__ == "__main__":
    main()
