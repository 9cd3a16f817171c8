"""A child process that speaks over its standard streams, and its orderly end.

Every child leads a process group of its own, so that what it starts (npx → node) ends with it. The end is a bounded
sequence: close its stdin, wait; SIGTERM to the group, wait; SIGKILL to the group. A small guardian process ends what it
started in groups of its own, and outlives the gateway by a moment to do the same to all that is left if the gateway
dies without a chance to (SIGKILL, out of memory).
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

import anyio
from anyio.lowlevel import checkpoint

from gateway.upstream.guardian import Guardian
from gateway.upstream.guardian_process import MARK
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.coalescing import CoalescingWriter

MAX_UNREAD: Final = 32 * 1024 * 1024
"""Most bytes written to a child that it has not read."""

INHERITED: Final = (MARK, "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
INHERITED_ON_WINDOWS: Final = (
    *("APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PATHEXT", "PROCESSOR_ARCHITECTURE"),
    *("PROGRAMFILES", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE"),
)
"""The only variables a child gets of the gateway's own environment: whatever else is in there may be a secret."""


class SpawnError(Exception):
    """The program could not be started."""


class Output(Protocol):
    """Hears what a child says. Called on the loop; must not block."""

    def on_stdout(self, data: bytes) -> None: ...

    def on_stderr(self, data: bytes) -> None: ...

    def on_exit(self, reason: str) -> None:
        """The child has gone, or closed its stdout; nothing more will be heard."""
        ...


@dataclass(frozen=True, slots=True)
class Program:
    """What to start."""

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: Path | None = None

    def environment(self) -> dict[str, str]:
        names = INHERITED_ON_WINDOWS if sys.platform == "win32" else INHERITED
        return {name: os.environ[name] for name in names if name in os.environ} | dict(self.env)


class Child(asyncio.SubprocessProtocol):
    """One running child. Made by `spawn`."""

    def __init__(self, output: Output, guardian: Guardian, timing: UpstreamTiming = USUAL) -> None:
        self._output = output
        self._guardian = guardian
        self._timing = timing
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: CoalescingWriter | None = None
        self._said_exit = False
        self._exited = anyio.Event()

    @property
    def pid(self) -> int:
        assert self._transport is not None
        return self._transport.get_pid()

    def write(self, data: bytes, in_flight: int = 0) -> bool:
        """Queue bytes for its stdin. False when it has gone, or has stopped reading.

        Args:
            in_flight: see `CoalescingWriter.write`.
        """
        return self._stdin is not None and self._stdin.write(data, in_flight)

    def restart(self) -> None:
        """Nobody else uses it: it ends with the connection."""

    async def end(self) -> None:
        """End it and everything it started; returns when the group is gone or has been sent SIGKILL. Runs to its end
        even when cancelled: who stops the gateway wants no child left behind."""
        assert self._transport is not None
        with anyio.CancelScope(shield=True):
            if self._stdin is not None:
                self._stdin.close()
            for number in (signal.SIGTERM, _SIGKILL):
                with anyio.move_on_after(self._timing.exit_seconds):
                    await self._exited.wait()
                    break
                signal_group(self.pid, number)
            signal_group(self.pid, _SIGKILL)  # whatever it started and left behind
            with anyio.move_on_after(self._timing.exit_seconds):
                await self._exited.wait()
        self._transport.close()
        self._guardian.release(self.pid)

    # --- asyncio.SubprocessProtocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)  # uvloop's own does not inherit from it
        stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        self._stdin = CoalescingWriter(stdin, MAX_UNREAD)

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        if TYPE_CHECKING:
            assert isinstance(data, bytes)
        if fd == 1:
            self._output.on_stdout(data)
        else:
            self._output.on_stderr(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._leave_soon()

    def process_exited(self) -> None:
        self._exited.set()
        self._leave_soon()

    def _leave_soon(self) -> None:
        """Not at once: what it wrote last may still be in the pipe, or how it ended not yet known. Not when the pipe
        closes either: what it started may hold that open for ever."""
        asyncio.get_running_loop().call_later(self._timing.last_words_seconds, self._leave)

    def _leave(self) -> None:
        assert self._transport is not None
        if not self._said_exit:
            self._said_exit = True
            code = self._transport.get_returncode()
            self._output.on_exit("it closed its stdout" if code is None else _describe(code))


async def spawn(program: Program, output: Output, guardian: Guardian, timing: UpstreamTiming = USUAL) -> Child:
    """Start a program; its streams go to `output`, and `guardian` ends it should we not get to it.

    Raises:
        SpawnError: there is no such program, or it may not be run. The message says which and why.
    """
    environment = guardian.marked(program.environment())
    if program.cwd is not None and not program.cwd.is_dir():
        raise SpawnError(f"its working directory {str(program.cwd)!r} does not exist")
    command = program.command
    if program.cwd is not None and os.path.dirname(command):
        command = os.path.join(program.cwd, command)  # `./server` is meant from there
    command = shutil.which(command, path=environment.get("PATH"))
    if command is None:
        raise SpawnError(f"{program.command!r} is not an executable on PATH; install it or give its full path")
    async with guardian.starting:
        await checkpoint()  # to start a program holds everything up, so there is one between two rounds of the loop
        try:
            _, child = await asyncio.get_running_loop().subprocess_exec(
                lambda: Child(output, guardian, timing),
                command,
                *program.args,
                env=environment,
                cwd=program.cwd,
                start_new_session=sys.platform != "win32",
                creationflags=_NEW_GROUP_ON_WINDOWS,
            )
        except OSError as error:
            raise SpawnError(f"{program.command!r} could not be started: {error.strerror}") from None
        guardian.watch(child.pid, environment[MARK])
    return child


_SIGKILL: Final = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
_NEW_GROUP_ON_WINDOWS: Final = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0


def signal_group(pid: int, number: int) -> None:
    """Signal the group that `pid` leads; a group that has gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            os.kill(pid, number)
        else:
            os.killpg(pid, number)


def _describe(code: int) -> str:
    if code >= 0:
        return f"it exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"it was ended by {name}"
