"""What many upstreams with many tools cost everybody else: how long the gateway stalls while it starts, and while lists
change all the time.

    python -m tests.bench.catalogue [--servers 100] [--tools 200] [--storm 20] [--seconds 10]

A stall is how late an answer is that costs nothing (`OPTIONS`, asked for every 2 ms). Beside it stands the machine's
own: how late a process is that does nothing but sleep as long, at the same time. The bar is 50 ms more than that.
"""

import argparse
import http.client
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.interaction._gateway import child, http_gateway
from tests.interaction._http import fields, post
from tests.interaction._wire import request
from tests.support import command, free_port, listens, run_process

EVERY: Final = 0.002
"""Seconds."""


class Lateness:
    """How late something is that is done again and again, until it is stopped."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step
        self._took: list[float] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.perf_counter()
            self._step()
            time.sleep(EVERY)
            self._took.append(time.perf_counter() - began - EVERY)

    def stop(self) -> str:
        self._stopped.set()
        self._thread.join(60)
        took = sorted(self._took)
        p50, p99, longest = (took[int(len(took) * share)] if took else 0.0 for share in (0.5, 0.99, 0.999999))
        return f"p50 {p50 * 1e3:6.1f} ms   p99 {p99 * 1e3:6.1f} ms   longest {longest * 1e3:6.1f} ms"


def options(port: int) -> Callable[[], None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask() -> None:
        connection.request("OPTIONS", "/mcp", headers={"Host": "127.0.0.1"})
        connection.getresponse().read()

    return ask


def listed(base: str) -> int:
    """How many tools there are."""
    tools, cursor = 0, None
    while True:
        message = request("tools/list", {"cursor": cursor} if cursor else None, modern=True)
        result: dict[str, Any] = post(f"{base}/mcp", message, fields(message))[1]["result"]
        tools += len(result["tools"])
        cursor = result.get("nextCursor")
        if cursor is None:
            return tools


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=100)
    parser.add_argument("--tools", type=int, default=200)
    parser.add_argument("--storm", type=int, default=20, help="servers whose lists change each second")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start(Path(folder), args.servers, args.tools)
    if args.storm:
        with tempfile.TemporaryDirectory() as folder:
            storm(Path(folder), args.storm, args.tools, args.seconds)


def start(folder: Path, servers: int, tools: int) -> None:
    port = free_port()
    # One process for all of them: what they cost the machine is not the question.
    with run_process(
        command("tests.bench.fixture_http", str(port), "--tools", str(tools)), ready=lambda: listens(port)
    ):
        entries = {f"s{number}": {"url": f"http://127.0.0.1:{port}/{number}"} for number in range(servers)}
        began = time.perf_counter()
        with http_gateway(folder, entries, startup_wait="100ms", max_lag="60s") as gateway:
            idle, stalls = Lateness(lambda: None), Lateness(options(int(gateway.base.rpartition(":")[2])))
            while listed(gateway.base) < servers * tools:
                time.sleep(0.2)
            took = time.perf_counter() - began
            time.sleep(2)  # what is written to disk afterwards counts, too
            print(f"{servers} servers x {tools} tools, listed after {took:.1f} s")
            print(f"  gateway  {stalls.stop()}\n  machine  {idle.stop()}")


def storm(folder: Path, servers: int, tools: int, seconds: float) -> None:
    entries = {f"s{number}": child("tests.bench.many", str(tools), "1") for number in range(servers)}
    with http_gateway(folder, entries, max_lag="60s") as gateway:
        while listed(gateway.base) < servers * tools:
            time.sleep(0.2)
        idle, stalls = Lateness(lambda: None), Lateness(options(int(gateway.base.rpartition(":")[2])))
        time.sleep(seconds)
        print(f"{servers} servers whose {tools} tools change each second")
        print(f"  gateway  {stalls.stop()}\n  machine  {idle.stop()}")


if __name__ == "__main__":
    main()
