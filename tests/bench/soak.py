"""A gateway for a long time: does it stay what it was? Calls, sessions that come and go, servers that die, reloads.

    python -m tests.bench.soak [--calls 1000000] [--minutes 30] [--reload-every 20] [--kill-every 15] [--out soak.png]

It ends with the calls or the minutes, whichever comes first; 0 turns reloads or deaths off. A reload adjusts a server,
replaces one, and adds or removes a third, in turns. Every second it looks at the gateway's memory, descriptors, tasks,
threads and children. It prints how memory drifted after the first tenth, and what came of the calls, and draws it all
where matplotlib is installed. Exits with 1 if memory drifted by more than 5 %, or a call failed in another way than by
the death of its server.
"""

import argparse
import itertools
import json
import math
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import anyio
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import CircuitOpen, UpstreamLost, UpstreamUnavailable
from tests.bench.agents import Connection, connected
from tests.bench.processes import command_line, descendants
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._wire import INITIALIZED, request
from tests.servers.peers import OPENING
from tests.support import command, free_port, listens, run_process

WORKERS: Final = 24
CALLS_A_SESSION: Final = 20
SERVERS: Final = ("pipe", "web")
OF_A_DEATH: Final = {UpstreamLost.code, UpstreamUnavailable.code, CircuitOpen.code}
"""What a call may fail with because its server was killed."""
MODERN: Final = b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: %b__echo\r\n"
DRIFT: Final = 0.05
SHOWN: Final = ("mib", "descriptors", "tasks", "threads", "children")


@dataclass(frozen=True, slots=True)
class Sample:
    """The gateway's process at one moment."""

    seconds: float
    calls: int
    mib: float
    descriptors: int
    tasks: int
    threads: int
    children: int
    zombies: int


@dataclass
class Soak:
    port: int
    pid: int
    goal: int
    deadline: float
    began: float = field(default_factory=time.monotonic)
    outcomes: Counter[str] = field(default_factory=Counter[str])
    samples: list[Sample] = field(default_factory=list[Sample])
    kills: int = 0
    reloads: int = 0
    sessions: int = 0

    @property
    def calls(self) -> int:
        return self.outcomes.total()

    @property
    def over(self) -> bool:
        return self.calls >= self.goal or time.monotonic() > self.deadline

    # --- Load -----------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Half of the time modern calls, half of the time sessions; each on a connection of its own."""
        while not self.over:
            try:
                async with connected(self.port) as connection:
                    await random.choice((self.call_alone, self.call_in_session))(connection)
            except (OSError, EOFError) as error:
                self.outcomes[f"connection: {type(error).__name__}"] += 1
                await anyio.sleep(0.05)

    async def call_alone(self, connection: Connection) -> None:
        for _ in range(CALLS_A_SESSION):
            await self.call(connection, MODERN, modern=True)

    async def call_in_session(self, connection: Connection) -> None:
        """Some end their sessions, others leave them behind."""
        opened = await connection.post(json.dumps(request("initialize", OPENING)).encode())
        self.sessions += 1
        headers = b"MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: %b\r\n" % opened.header(b"mcp-session-id")
        await connection.post(json.dumps(INITIALIZED).encode(), headers)
        for _ in range(CALLS_A_SESSION):
            await self.call(connection, headers, modern=False)
        if random.random() < 0.7:
            await connection.exchange(b"DELETE /mcp HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")

    async def call(self, connection: Connection, headers: bytes, *, modern: bool) -> None:
        server = random.choice(SERVERS)
        text = "x" * random.choice((10, 100, 1000, 10_000))
        asked = request("tools/call", {"name": f"{server}__echo", "arguments": {"text": text}}, modern=modern)
        response = await connection.post(json.dumps(asked).encode(), headers.replace(b"%b", server.encode()))
        self.outcomes[_outcome(response.status, response.body, text)] += 1

    # --- Trouble --------------------------------------------------------------------------------------------------

    async def kill(self, every: float) -> None:
        """Kill the server behind the pipe, now and then."""
        while every:
            await anyio.sleep(every)
            for pid in descendants(self.pid):
                if "fixture_stdio" in command_line(pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self.kills += 1

    async def reload(self, every: float, change: Callable[[], None]) -> None:
        while every:
            await anyio.sleep(every)
            change()
            os.kill(self.pid, signal.SIGHUP)
            self.reloads += 1

    async def watch(self) -> None:
        async with connected(self.port) as connection:
            while not self.over:
                self.samples.append(await self.look(connection))
                await anyio.sleep(1)

    async def look(self, connection: Connection) -> Sample:
        answer = await connection.exchange(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        families = text_string_to_metric_families(answer.body.decode())
        metrics = {sample.name: sample.value for family in families for sample in family.samples}
        children = descendants(self.pid)
        return Sample(
            time.monotonic() - self.began,
            self.calls,
            metrics["process_resident_memory_bytes"] / 2**20,
            int(metrics["process_open_fds"]),
            int(metrics["mcp_gateway_tasks"]),
            len(os.listdir(f"/proc/{self.pid}/task")),
            len(children),
            sum(_state(pid) == "Z" for pid in children),
        )


def _outcome(status: int, body: bytes, text: str) -> str:
    if status != 200:
        return f"HTTP {status}"
    answer: dict[str, Any] = json.loads(body)
    if "error" in answer:
        return f"error {answer['error']['code']}"
    return "ok" if answer["result"]["content"][0]["text"] == text else "a wrong answer"


def _state(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


# --- What came of it --------------------------------------------------------------------------------------------------


def drift(samples: list[Sample]) -> float:
    """By how much the last tenth of the calls needs more memory than the second; NaN if there were too few to tell."""
    calls = samples[-1].calls
    early = [one.mib for one in samples if calls * 0.1 <= one.calls < calls * 0.2]
    late = [one.mib for one in samples if one.calls >= calls * 0.9]
    return statistics.median(late) / statistics.median(early) - 1 if early and late else math.nan


def report(soak: Soak) -> bool:
    """Print it; returns whether it is good."""
    first, last = soak.samples[0], soak.samples[-1]
    grown = drift(soak.samples)
    print(f"{soak.calls} calls in {last.seconds:.0f} s, {soak.sessions} sessions", end=", ")
    print(f"{soak.kills} servers killed, {soak.reloads} reloads")
    print("outcomes:", ", ".join(f"{name} {count}" for name, count in soak.outcomes.most_common()))
    print(f"memory: {first.mib:.1f} MiB at first, {last.mib:.1f} at last, drift {grown:+.1%} after the first tenth")
    for name in ("descriptors", "tasks", "threads", "children", "zombies"):
        values = [getattr(one, name) for one in soak.samples]
        print(f"{name}: {values[0]} at first, {values[-1]} at last, {max(values)} at most")
    fine = {"ok", *(f"error {code}" for code in OF_A_DEATH)}
    return grown <= DRIFT and not soak.outcomes.keys() - fine


def draw(samples: list[Sample], path: Path) -> None:
    try:
        plot: Any = import_module("matplotlib.pyplot")
    except ImportError:
        print("not drawn: matplotlib is not installed")
        return
    figure, axes = plot.subplots(len(SHOWN), 1, sharex=True, figsize=(9, 11))
    seconds = [one.seconds for one in samples]
    for axis, name in zip(axes, SHOWN, strict=True):
        axis.plot(seconds, [getattr(one, name) for one in samples])
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("seconds")
    figure.suptitle(f"{samples[-1].calls} calls")
    figure.savefig(path)
    print(f"drawn: {path}")


async def run(options: argparse.Namespace, soak: Soak, change: Callable[[], None]) -> None:
    async with anyio.create_task_group() as trouble:
        trouble.start_soon(soak.kill, options.kill_every)
        trouble.start_soon(soak.reload, options.reload_every, change)
        async with anyio.create_task_group() as tg:
            tg.start_soon(soak.watch)
            for _ in range(WORKERS):
                tg.start_soon(soak.work)
        trouble.cancel_scope.cancel()
    await anyio.sleep(2)
    async with connected(soak.port) as connection:
        soak.samples.append(await soak.look(connection))


def main(options: argparse.Namespace) -> bool:
    port = free_port()
    web = run_process(command("tests.bench.fixture_http", str(port)), ready=lambda: listens(port))
    with tempfile.TemporaryDirectory() as folder, web:
        servers = {"pipe": child("tests.bench.fixture_stdio"), "web": {"url": f"http://127.0.0.1:{port}/mcp"}}
        settings = {**PATIENT, "session_idle_timeout": 20, "log_level": "error"}
        with http_gateway(Path(folder), servers, **settings) as gateway:
            path = Path(folder) / "servers.json"

            changes = itertools.count()

            def change() -> None:
                config, number = json.loads(path.read_text()), next(changes)
                listed = config["servers"]
                if number % 3 == 0:
                    listed["web"]["description"] = f"change {number}"
                elif number % 3 == 1:
                    listed["pipe"] |= {"env": {"CHANGE": str(number)}}
                elif listed.pop("guest", None) is None:
                    listed["guest"] = child("tests.bench.fixture_stdio")
                path.write_text(json.dumps(config))

            deadline = time.monotonic() + options.minutes * 60
            soak = Soak(int(gateway.base.rpartition(":")[2]), gateway.process.pid, options.calls, deadline)
            anyio.run(run, options, soak, change)
    draw(soak.samples, options.out)
    return report(soak)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--reload-every", type=float, default=20, metavar="SECONDS")
    parser.add_argument("--kill-every", type=float, default=15, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=Path("soak.png"))
    sys.exit(not main(parser.parse_args()))
