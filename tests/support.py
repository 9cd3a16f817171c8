"""What tests lean on: ports, processes that are gone when the test is, and waiting without sleeping blindly."""

import inspect
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import anyio

from tests.forked import popen

ROOT: Final = Path(__file__).resolve().parent.parent
"""The repository; servers are started from here, so that `-m tests.servers.…` is found."""

STARTUP_SECONDS: Final = 30.0
"""Longest a server may take to accept connections; importing the SDK alone takes seconds on a busy machine."""


def free_port() -> int:
    """A TCP port nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def command(module: str, *args: str) -> list[str]:
    """How to start a module of this repository as a program, with `ROOT` as its folder."""
    return [sys.executable, "-m", module, *args]


async def wait_until(predicate: Callable[[], Awaitable[object] | object], timeout: float = 5.0) -> None:
    """Wait for `predicate`, called or awaited every 10 ms, to be true.

    Raises:
        AssertionError: it was not, for `timeout` seconds.
    """
    with anyio.move_on_after(timeout):
        while True:
            value = predicate()
            if await value if inspect.isawaitable(value) else value:
                return
            await anyio.sleep(0.01)
    raise AssertionError(f"not true within {timeout:g} s: {_source(predicate)}")


def _source(predicate: Callable[..., object]) -> str:
    try:
        return inspect.getsource(predicate).strip()
    except (OSError, TypeError):
        return repr(predicate)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@contextmanager
def run_process(
    args: Sequence[str],
    *,
    ready: Callable[[], bool] | None = None,
    env: Mapping[str, str] | None = None,
    piped: bool = False,
    cwd: Path = ROOT,
    within: float = STARTUP_SECONDS,
) -> Generator[subprocess.Popen[bytes]]:
    """Run a program in its own process group until the block ends; then the whole group is killed.

    Its output is shown when the block fails. `ready` is polled until true. `env` is added to this process's
    environment. `piped`: its stdin and stdout are pipes, and what is shown is its stderr.

    Raises:
        AssertionError: it ended, or did not get ready `within` so many seconds.
    """
    with tempfile.TemporaryFile() as output:
        process = popen(
            args,
            cwd=cwd,
            env=os.environ | dict(env or {}),
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
        )
        try:
            if ready is not None:
                _wait_ready(process, ready, within)
            yield process
        except BaseException:
            _show(args, output)
            raise
        finally:
            _kill_group(process)


def run_program(
    args: Sequence[str],
    *,
    input: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    timeout: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, its input a pipe; returns what it wrote.

    Args:
        env: added to this process's environment.

    Raises:
        subprocess.TimeoutExpired: it took longer; it was killed.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen(args, cwd=cwd, env=os.environ | dict(env or {}), **pipes) as process:
        try:
            out, err = process.communicate(input.encode(), timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(args, process.returncode, out.decode(), err.decode())


def _wait_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], within: float) -> None:
    deadline = time.monotonic() + within
    while not ready():
        assert process.poll() is None, f"ended with {process.returncode} before it was ready"
        assert time.monotonic() < deadline, f"not ready within {within:g} s"
        time.sleep(0.01)


def _show(args: Sequence[str], output: IO[bytes]) -> None:
    output.seek(0)
    print(f"--- output of {' '.join(args)}", output.read().decode(errors="replace"), sep="\n", file=sys.stderr)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The leader may be gone already while others of its group live on.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


@contextmanager
def http_server(
    module: str, *args: str, transport: str = "http", path: str = "/mcp", env: Mapping[str, str] | None = None
) -> Generator[str]:
    """Run one of `tests.servers` on a free port; yields its URL. For SSE: `transport="sse", path="/sse"`."""
    port = free_port()
    argv = command(module, "--transport", transport, "--port", str(port), *args)
    with run_process(argv, ready=lambda: listens(port), env=env):
        yield f"http://127.0.0.1:{port}{path}"
