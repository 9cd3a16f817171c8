"""Starts `python -m MODULE` in milliseconds: forked from a process that has imported what such programs import.

To import the SDK and FastAPI takes two seconds of CPU, which the tests would spend hundreds of times. What is started
from here is a process like any other: it has its own pid, session, folder, environment, arguments and standard streams,
it runs `MODULE` as `__main__`, and it is a child of this process. Only what it imports is there already; what a start
imports and costs is tested with programs that are started from scratch.

Linux alone can make it our child (`PR_SET_CHILD_SUBREAPER`). Elsewhere, for other programs, and outside of pytest (what
is measured starts from scratch, on CPUs of its own), `popen` is `subprocess.Popen`.
"""

import ctypes
import gc
import json
import os
import random
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal, TextIO

_IMPORTED: Final = (
    "gateway.app",
    "gateway.cli.serve",
    "gateway.rest.application",
    "mcp",
    "mcp.client.session",
    "mcp.client.sse",
    "mcp.server.lowlevel",
    "mcp.server.streamable_http_manager",
    "mcp.shared.inbound",
    "mcp.shared.uri_template",
    "uvicorn",
)
"""None of them starts a thread, which a fork would lose, or reads the environment."""

_NUMBER_BYTES: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_HIGHEST_DESCRIPTOR: Final = 1024
_one_at_a_time: Final = Lock()


def popen(
    args: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: int, stdout: Any, stderr: Any
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own. The arguments are those of `subprocess.Popen`."""
    start = _Forked if _can_be_forked(args, env) else subprocess.Popen[bytes]
    return start(args, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)


def _can_be_forked(args: Sequence[str], env: Mapping[str, str]) -> bool:
    if sys.platform != "linux" or "PYTEST_VERSION" not in os.environ or list(args[:2]) != [sys.executable, "-m"]:
        return False
    return _read_by_python(env) == _TEMPLATE_READ and os.sched_getaffinity(0) == _TEMPLATE_CPUS


def _read_by_python(env: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter reads as it starts, and cannot be told later."""
    read = {name: value for name, value in env.items() if name.startswith(("PYTHON", "LD_", "LC_", "LANG"))}
    return read | {"PYTHONPATH": ""}


_TEMPLATE_READ: Final = _read_by_python(os.environ)
_TEMPLATE_CPUS: Final = os.sched_getaffinity(0) if sys.platform == "linux" else None


class _Forked(subprocess.Popen[bytes]):
    """A process that the template starts; all else is the standard library's."""

    def _execute_child(self, args: Sequence[str], *rest: Any) -> None:  # where the standard library forks
        cwd, env = rest[4:6]
        stdin, stdin_ours, stdout_ours, stdout, stderr_ours, stderr = rest[9:15]
        request = json.dumps({"args": list(args[2:]), "cwd": str(cwd), "env": dict(env)}).encode()
        try:
            with _one_at_a_time:
                template = _template()
                socket.send_fds(template, [len(request).to_bytes(_NUMBER_BYTES)], [stdin, stdout, stderr])
                template.sendall(request)
                self.pid = int.from_bytes(template.recv(_NUMBER_BYTES, socket.MSG_WAITALL))
            assert self.pid, "the template of test processes has ended"
            self._child_created = True
        finally:
            close: Any = getattr(self, "_close_pipe_fds")  # noqa: B009  # the child's ends
            close(stdin, stdin_ours, stdout_ours, stdout, stderr_ours, stderr)


@cache
def _template() -> socket.socket:
    """Start the template of this process, which ends with it; returns the way to it."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")
    ours, its = socket.socketpair()
    with its:
        its.set_inheritable(True)
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        command = [sys.executable, __file__, str(its.fileno())]
        os.posix_spawn(sys.executable, command, os.environ | {"PYTHONPATH": ""}, file_actions=[nothing])
    return ours


# --- The template ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Request:
    args: list[str]
    cwd: str
    env: dict[str, str]
    streams: list[int]


def main() -> None:
    way = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]  # the folder of this file
    for name in _IMPORTED:
        import_module(name)
    gc.collect()
    gc.freeze()  # what is shared is not written to
    while (request := _receive(way)) is not None:
        reading, writing = os.pipe()
        if not (middle := os.fork()):
            middle = os.getpid()
            if pid := os.fork():
                os.write(writing, pid.to_bytes(_NUMBER_BYTES))
                os._exit(0)  # by which its child becomes that of the process that asked
            way.detach()  # closed with all others
            while os.getppid() == middle:
                time.sleep(0.001)
            _become(request)
            return
        os.waitpid(middle, 0)
        way.sendall(os.read(reading, _NUMBER_BYTES))
        for each in (reading, writing, *request.streams):
            os.close(each)


def _receive(way: socket.socket) -> "_Request | None":
    length, streams, *_ = socket.recv_fds(way, _NUMBER_BYTES, 3, socket.MSG_WAITALL)
    if not length:
        return None
    return _Request(**json.loads(way.recv(int.from_bytes(length), socket.MSG_WAITALL)), streams=streams)


def _become(request: "_Request") -> None:
    """Run the program that was asked for, as `python -m` does."""
    os.setsid()
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
    os.closerange(3, _HIGHEST_DESCRIPTOR)
    os.environ.clear()
    os.environ.update(request.env)
    os.chdir(request.cwd)
    time.tzset()
    random.seed()
    sys.stdin = sys.__stdin__ = _reopened(0, "r", sys.stdin)
    sys.stdout = sys.__stdout__ = _reopened(1, "w", sys.stdout)
    sys.stderr = sys.__stderr__ = _reopened(2, "w", sys.stderr)
    module, *rest = request.args
    sys.argv = [module, *rest]
    sys.path[:0] = [request.cwd, *filter(None, request.env.get("PYTHONPATH", "").split(os.pathsep))]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _reopened(number: int, mode: Literal["r", "w"], before: TextIO) -> TextIO:
    binary = open(number, mode + "b", closefd=False)  # noqa: SIM115
    unbuffered = mode == "w" and "PYTHONUNBUFFERED" in os.environ
    by_line = mode == "w" and not unbuffered and (number == 2 or binary.isatty())
    return TextIOWrapper(binary, before.encoding, before.errors, line_buffering=by_line, write_through=unbuffered)


if __name__ == "__main__":
    main()
