"""Processes under test: pinned to a CPU of their own, and what they take, children included (from /proc)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import ROOT

TICK: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
OURS: Final = "tests.bench.fixture_"
"""Children of a process under test that are part of the benchmark."""

_cpus: Final = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [0]
TESTED_CPU: Final = _cpus[0]
"""Where the process under test runs."""
ALL_CPUS: Final = tuple(_cpus)
OTHER_CPU: Final = _cpus[-1]
"""Where everything else does: the same one if there is no other."""


@dataclass(frozen=True, slots=True)
class Usage:
    cpu: float
    """Seconds, until now."""
    memory: int
    """Bytes that are resident."""


def usage(pid: int) -> Usage:
    """Of a process and its descendants, those aside that are the benchmark's own servers."""
    found = [each for each in [pid, *descendants(pid)] if each == pid or OURS not in command_line(each)]
    return Usage(sum(map(_cpu, found)), sum(map(_memory, found)))


def working_time(pid: int) -> Callable[[], float]:
    """What tells, cheaply, how many seconds the main thread of a process was at work by now; to the kernel's tick."""
    file = Path(f"/proc/{pid}/task/{pid}/schedstat").open("rb", buffering=0)  # noqa: SIM115 - open as long as it is asked
    return lambda: int(os.pread(file.fileno(), 64, 0).split(b" ", 1)[0]) / 1e9


def settle(pid: int) -> None:
    """Wait until a process has nothing to do, for half a minute at most: what it put off while it started, or while it
    was busy, is done then."""
    for _ in range(60):
        before = usage(pid).cpu
        time.sleep(0.5)
        if usage(pid).cpu - before <= 2 / TICK:
            return


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for each in map(int, task.read_text().split()):
                found += [each, *descendants(each)]
    return found


def _cpu(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICK
    return 0.0


def _memory(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def command_line(pid: int) -> str:
    """Empty if there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


@contextmanager
def on_cpu(*cpus: int) -> Generator[None]:
    """What is started meanwhile runs on these."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(
    argv: Sequence[str], log: Path, *, cpu: int | Sequence[int], env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Generator[subprocess.Popen[bytes]]:
    """Run a program in its own process group until the block ends. What it says goes to `log`."""
    with log.open("ab") as output, on_cpu(*([cpu] if isinstance(cpu, int) else cpu)):
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=os.environ | dict(env or {}),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Politely first: some have children in groups of their own to end."""
    children = descendants(process.pid)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def tail(log: Path, lines: int = 20) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 10_000))
        return b"\n".join(file.read().splitlines()[-lines:]).decode(errors="replace")
