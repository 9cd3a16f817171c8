"""The host of programs that all workers share: a process that starts each once, and speaks to it for all of them.

    python -P host.py LISTENER

The descriptor is that of a listening Unix socket in a private folder; whoever can connect is a worker. It ends with its
stdin. What it starts ends when nobody uses it any more, and with it.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[3]))  # where the gateway runs from its folder

from gateway.upstream.guardian import Guardian
from gateway.upstream.hosting import frames
from gateway.upstream.hosting.frames import FrameSplitter, frame
from gateway.upstream.hosting.multiplexer import Multiplexer
from gateway.upstream.transport.lines import LineSplitter, Overlong
from gateway.upstream.transport.process import Child, Program, SpawnError, spawn

MAX_UNREAD: Final = 64 * 2**20
"""Bytes that a worker may leave unread; then it is let go."""


class Hosted:
    """One program that runs, and the workers that use it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lines = LineSplitter(most)
        self._child: Child | None = None
        self._multiplexer = Multiplexer(self._write)
        self._workers: dict[int, asyncio.StreamWriter] = {}
        self._numbers = 0
        self._reason = ""
        """Why it is over."""
        self.over = anyio.Event()
        """Set when nobody can use it any more: it is to be ended."""

    async def start(self, program: Program, guardian: Guardian) -> None:
        """
        Raises:
            SpawnError: it could not be started.
        """
        self._child = await spawn(program, self, guardian)

    def attach(self, writer: asyncio.StreamWriter) -> int:
        number, self._numbers = self._numbers, self._numbers + 1
        self._workers[number] = writer
        writer.write(frame(frames.STARTED, str(number).encode()))
        self._multiplexer.join(number, lambda message: _send(writer, frames.OUTPUT, message + b"\n"))
        return number

    def detach(self, number: int) -> None:
        negotiates = self._multiplexer.in_negotiation == number
        self._workers.pop(number, None)
        self._multiplexer.leave(number)
        if negotiates:
            self.finish("it did not agree with another worker on how to speak")  # it may be stuck in the middle of it
        elif not self._workers:
            self.finish("nobody uses it")

    def hear(self, number: int, line: bytes) -> None:
        self._multiplexer.hear_client(number, line.rstrip(b"\n"))

    def finish(self, reason: str) -> None:
        """It is over for all."""
        if not self.over.is_set():
            self._reason = reason
            self.over.set()
            for writer in self._workers.values():
                _send(writer, frames.EXIT, reason.encode())

    async def aclose(self) -> None:
        if self._child is not None:
            await self._child.end()

    def _write(self, message: bytes) -> None:
        if self._child is not None and not self._child.write(message + b"\n"):
            self.finish("it has gone, or has stopped reading its stdin")

    # --- What the program says (process.Output) -----------------------------------------------------------------------

    def on_stdout(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if isinstance(line, Overlong):
                ends = len(line.head).to_bytes(4, "big") + line.head + line.tail
                for writer in self._workers.values():
                    _send(writer, frames.OVERLONG, ends)
            elif line and not line.isspace():
                self._multiplexer.hear_server(line)

    def on_stderr(self, data: bytes) -> None:
        for writer in list(self._workers.values())[:1]:  # so that it is logged once
            _send(writer, frames.STDERR, data)

    def on_exit(self, reason: str) -> None:
        self.finish(reason)


class Host:
    """All programs."""

    def __init__(self) -> None:
        self._guardian = Guardian()
        self._guardian.own_process()
        self._hosted: dict[str, Hosted] = {}
        self._locks: dict[str, anyio.Lock] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def run(self, listening: socket.socket) -> None:
        """Until stdin closes."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._guardian.run)
            server = await asyncio.start_unix_server(self._serve, sock=listening)
            await _stdin_closed()
            server.close()
            async with anyio.create_task_group() as ending:
                for each in list(self._hosted.values()):
                    each.finish("the gateway stops")
                    ending.start_soon(each.aclose)
            self._tasks.cancel_scope.cancel()
        await self._guardian.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One worker's use of one program."""
        splitter, hosted, number = FrameSplitter(), None, 0
        try:
            while data := await reader.read(256 * 1024):
                for kind, body in splitter.feed(data):
                    if kind == frames.PROGRAM and hosted is None:
                        hosted, number = await self._attach(json.loads(body), writer)
                    elif hosted is not None and kind == frames.INPUT:
                        hosted.hear(number, body)
                    elif hosted is not None and kind == frames.RESTART:
                        hosted.finish("it was restarted")
        except SpawnError as error:
            writer.write(frame(frames.NOT_STARTED, str(error).encode()))
        except OSError:
            pass
        finally:
            if hosted is not None:
                hosted.detach(number)
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _attach(self, wish: dict[str, Any], writer: asyncio.StreamWriter) -> tuple[Hosted, int]:
        """Have the program run, once. Whoever comes while it is ended waits for that, and starts it anew.

        Raises:
            SpawnError: it could not be started.
        """
        key = json.dumps(wish, sort_keys=True)
        async with self._locks.setdefault(key, anyio.Lock()):
            hosted = self._hosted.get(key)
            if hosted is not None and hosted.over.is_set():
                await hosted.aclose()
                hosted = None
            if hosted is None:
                cwd = Path(wish["cwd"]) if wish["cwd"] else None
                hosted = Hosted(wish["max_response_bytes"])
                await hosted.start(Program(wish["command"], wish["args"], wish["env"], cwd), self._guardian)
                self._hosted[key] = hosted
                assert self._tasks is not None
                self._tasks.start_soon(self._end, key, hosted)
            return hosted, hosted.attach(writer)

    async def _end(self, key: str, hosted: Hosted) -> None:
        """Once it is over."""
        await hosted.over.wait()
        async with self._locks[key]:
            await hosted.aclose()
            if self._hosted.get(key) is hosted:
                del self._hosted[key]


def _send(writer: asyncio.StreamWriter, kind: bytes, data: bytes) -> None:
    if writer.is_closing():
        return
    if writer.transport.get_write_buffer_size() > MAX_UNREAD:
        writer.transport.abort()
    else:
        writer.write(frame(kind, data))


async def _stdin_closed() -> None:
    closed = anyio.Event()

    def look() -> None:
        if not os.read(0, 1024):
            asyncio.get_running_loop().remove_reader(0)
            closed.set()

    asyncio.get_running_loop().add_reader(0, look)
    await closed.wait()


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it is the supervisor's to end it, after the workers
        signal.signal(each, signal.SIG_IGN)
    anyio.run(Host().run, socket.socket(fileno=int(sys.argv[1])))
