"""A gateway of several workers as a process: its pids, which worker answered what, and how calls go meanwhile."""

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.access.door import http
from tests.interaction._gateway import PATIENT, Entry, child, config_file
from tests.interaction._http import fields, kept_alive, post
from tests.interaction._wire import request
from tests.support import command, free_port, run_process

SERVERS: Final = {"all": child("tests.servers.everything")}
_DEADLINE: Final = 60.0


@dataclass(frozen=True)
class Supervised:
    base: str
    supervisor: subprocess.Popen[bytes]
    folder: Path

    @property
    def url(self) -> str:
        return f"{self.base}/mcp"

    def workers(self) -> dict[int, int]:
        """Pid → number of those that run, also of those that are about to end."""
        found: dict[int, int] = {}
        for pid in children(self.supervisor.pid):
            words = words_of(pid)
            if len(words) > 5 and words[2].endswith("gateway/cli/worker.py"):
                found[pid] = int(words[3])
        return found

    def served(self, method: str = "tools/call") -> list[int]:
        """Numbers of the workers that answered requests of a method well, one for each."""
        path = self.folder / "access.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line["worker"] for line in lines if line.get("method") == method and line["outcome"] == "ok"]

    def metrics(self) -> str:
        return http("GET", f"{self.base}/metrics").text

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log.jsonl").read_text().splitlines()]


@contextmanager
def supervised(
    folder: Path,
    servers: Mapping[str, Entry] = SERVERS,
    workers: int = 2,
    connected: int | None = None,
    **settings: Any,
) -> Generator[Supervised]:
    """`mcp-gateway serve --workers`, until the block ends; all workers serve, and have their servers.

    Args:
        connected: how many of these each connects to by itself; all if None.
    """
    port = free_port()
    access, log = {"file": str(folder / "access.jsonl")}, str(folder / "log.jsonl")
    config = config_file(folder, servers, **{"access_log": access, "log_file": log, **PATIENT, **settings})
    args = command("gateway", "serve", "--workers", str(workers), "--port", str(port), "-c", str(config))

    def are_ready() -> bool:
        text = Path(log).read_text() if Path(log).exists() else ""
        ready = workers * (len(servers) if connected is None else connected)
        return text.count('"worker serves"') >= workers and text.count('"upstream ready"') >= ready

    with run_process(args, ready=are_ready, within=_DEADLINE) as process:
        gateway = Supervised(f"http://127.0.0.1:{port}", process, folder)
        try:
            yield gateway
        finally:
            left = descendants(process.pid)
            for pid in left:
                kill(pid)


def call(gateway: Supervised, tool: str = "all__echo", **arguments: Any) -> tuple[int, Any]:
    """A call over a connection of its own."""
    return post(gateway.url, request("tools/call", {"name": tool, "arguments": arguments}, modern=True))


class Load:
    """Threads that call all the time, each over a connection that it keeps, until the block ends.

    Args:
        seconds: how long each call takes.
    """

    def __init__(self, gateway: Supervised, threads: int = 8, seconds: float = 0.02) -> None:
        self.outcomes = Counter[str]()
        self._gateway = gateway
        self._seconds = seconds
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call_on, daemon=True) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_DEADLINE)

    @property
    def answered(self) -> int:
        return self.outcomes["answered"]

    @property
    def lost(self) -> int:
        return self.outcomes.total() - self.answered

    def wait_for(self, more: int) -> None:
        """Until so many more calls have been answered."""
        wait_for(lambda before=self.answered: self.answered >= before + more)

    def _call_on(self) -> None:
        arguments = {"seconds": self._seconds}
        message = request("tools/call", {"name": "all__slow", "arguments": arguments}, modern=True)
        while not self._over.is_set():
            try:
                with kept_alive(self._gateway.url) as ask:
                    for _ in range(20):  # then over another connection, which another worker may have
                        status, answer = ask(message, fields(message))
                        good = status == 200 and "result" in answer and not answer["result"].get("isError")
                        self.outcomes["answered" if good else f"{status} {answer}"] += 1
                        if self._over.is_set():
                            break
            except Exception as error:
                self.outcomes[f"{type(error).__name__}: {error}"] += 1


def wait_for(condition: Any, seconds: float = _DEADLINE) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not become so"
        time.sleep(0.02)


# --- Processes --------------------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        return [int(each) for task in tasks for each in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for each in children(pid):
        found |= {each} | descendants(each)
    return found


def words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
