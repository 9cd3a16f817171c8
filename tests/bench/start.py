"""How soon an agent has its tools: from the start of `mcp-gateway stdio` to the answer to tools/list.

    python -m tests.bench.start [--rounds 9] [--servers 4]

Without a snapshot, with one, with one and a server more that is dead, and with one and a server more that hangs; and
beside them what Python takes to start, and to import the SDK. Measured in turns. The bar is a start with a hanging
server of at most 1.1 times the one without. Numbers depend on the machine: quote ratios of one run.
"""

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.interaction._gateway import Entry, child, config_file, stdio_command
from tests.servers.peers import OPENING, Pipe, request
from tests.support import ROOT

BASE: Final = "snapshot"
"""What the others are compared with."""

IMPORT: Final = (sys.executable, "-c", "import mcp")

BEYOND: Final[dict[str, Entry]] = {
    "dead": {"command": sys.executable, "args": ["-c", "raise SystemExit(1)"]},
    "hanging": {"command": "sleep", "args": ["1000"]},
}
"""Servers that make trouble, by what is the matter with them."""


def answered(config: Path, wanted: int, command: Sequence[str] = ()) -> float:
    """Milliseconds from the start of a gateway to its list of tools, which is to have as many as are wanted.

    Args:
        command: of another build of the gateway.
    """
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, "stdio", "-c", str(config)] if command else stdio_command(config),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    ) as process:
        pipe = Pipe(process)
        pipe.send(request("initialize", OPENING))
        pipe.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        pipe.send(request("tools/list"))
        listed = _answer(pipe, "tools/list")
        took = (time.perf_counter() - began) * 1000
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    assert len(listed["tools"]) >= wanted, listed
    return took


def _answer(pipe: Pipe, method: str) -> dict[str, Any]:
    while received := pipe.receive():
        for line in received.splitlines():
            if (message := json.loads(line)).get("id") == method:
                return message["result"]
    raise AssertionError("the gateway ended")


def ran(*program: str) -> float:
    """Milliseconds a program takes."""
    began = time.perf_counter()
    subprocess.run(program, check=True, cwd=ROOT)
    return (time.perf_counter() - began) * 1000


def prepared(folder: Path, name: str, servers: int) -> Path:
    """The configuration of a case, in a folder of its own."""
    (own := folder / name.replace(" ", "-")).mkdir()
    entries = {f"s{number}": child("tests.bench.fixture_stdio") for number in range(servers)}
    return config_file(own, entries | {trouble: entry for trouble, entry in BEYOND.items() if trouble in name})


def cases(folder: Path, servers: int) -> dict[str, Callable[[], float]]:
    found: dict[str, Callable[[], float]] = {
        "empty Python": partial(ran, sys.executable, "-c", "pass"),
        "import mcp": partial(ran, *IMPORT),
    }
    first = prepared(folder, "no snapshot", servers)

    def without() -> float:
        shutil.rmtree(first.parent / "state", ignore_errors=True)
        return answered(first, servers)

    found["no snapshot"] = without
    for name in (BASE, *(f"{BASE}, one {trouble}" for trouble in BEYOND)):
        config = prepared(folder, name.replace(",", ""), servers)
        answered(config, servers)  # leaves the snapshot
        found[name] = partial(answered, config, servers)
    return found


def main(options: argparse.Namespace) -> None:
    took: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        measures = cases(Path(folder), options.servers)
        for _, (name, measure) in itertools.product(range(options.rounds), measures.items()):
            took[name].append(measure())
    base = statistics.median(took[BASE])
    for name, each in took.items():
        median = statistics.median(each)
        print(f"{name:24} median {median:6.0f} ms, {min(each):.0f} to {max(each):.0f}; {median / base:.2f} × {BASE}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--servers", type=int, default=4)
    main(parser.parse_args())
