"""A program that the host runs for all workers, to one of them like a child of its own."""

import asyncio
import json
from pathlib import Path
from typing import Any, Protocol, cast

from gateway.upstream.hosting import frames
from gateway.upstream.hosting.frames import FrameSplitter, frame
from gateway.upstream.transport.coalescing import CoalescingWriter
from gateway.upstream.transport.process import MAX_UNREAD, Output, Program, SpawnError


class HostedOutput(Output, Protocol):
    def on_overlong(self, head: bytes, tail: bytes) -> None:
        """There was a line of more bytes than may be; these are its ends."""
        ...


class HostedChild(asyncio.Protocol):
    """Made by `attach`. Its `write` and `end` are those of a `process.Child`."""

    def __init__(self, output: HostedOutput) -> None:
        self._output = output
        self._splitter = FrameSplitter()
        self._writer: CoalescingWriter | None = None
        self._said_exit = False
        self.started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The number that the ids of this worker's requests begin with."""

    @property
    def first_id(self) -> int:
        """The ids of this worker's requests follow it."""
        return self.started.result() << frames.ID_BITS

    def write(self, data: bytes, in_flight: int = 0) -> bool:
        """Queue a line for its stdin. False when it cannot be had.

        Args:
            in_flight: see `CoalescingWriter.write`.
        """
        return self._send(frames.INPUT, data, in_flight)

    async def end(self) -> None:
        """Use it no more; it ends when nobody does."""
        if self._writer is not None:
            self._said_exit = True
            self._writer.close()

    def restart(self) -> None:
        """Have it ended, whoever uses it."""
        self._send(frames.RESTART)

    def _send(self, kind: bytes, data: bytes = b"", in_flight: int = 0) -> bool:
        return self._writer is not None and self._writer.write(frame(kind, data), in_flight)

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._writer = CoalescingWriter(cast(asyncio.Transport, transport), MAX_UNREAD)

    def data_received(self, data: bytes) -> None:
        for kind, body in self._splitter.feed(data):
            if kind == frames.OUTPUT:
                self._output.on_stdout(body)
            elif kind == frames.STARTED:
                self.started.set_result(int(body))
            elif kind == frames.NOT_STARTED:
                self.started.set_exception(SpawnError(body.decode()))
            elif kind == frames.STDERR:
                self._output.on_stderr(body)
            elif kind == frames.OVERLONG:
                head = int.from_bytes(body[:4], "big") + 4
                self._output.on_overlong(body[4:head], body[head:])
            elif kind == frames.EXIT:
                self._leave(body.decode())

    def connection_lost(self, exc: Exception | None) -> None:
        reason = "the process that runs it for all workers has ended"
        if not self.started.done():
            self.started.set_exception(SpawnError(reason))
        self._leave(reason)

    def _leave(self, reason: str) -> None:
        if not self._said_exit:
            self._said_exit = True
            self._output.on_exit(reason)


async def attach(host: Path, program: Program, session: str, most: int, output: HostedOutput) -> HostedChild:
    """Use a program that the host runs, or starts.

    Args:
        host: its socket.
        session: what the program hears of its client but once; workers that say another thing use another program.
        most: bytes of a line of its stdout.

    Raises:
        SpawnError: it cannot be had. The message says why.
    """
    wish: dict[str, Any] = {
        "command": program.command,
        "args": [*program.args],
        "env": {**program.env},
        "cwd": str(program.cwd) if program.cwd is not None else None,
        "session": session,
        "max_response_bytes": most,
    }
    loop = asyncio.get_running_loop()
    try:
        transport, child = await loop.create_unix_connection(lambda: HostedChild(output), str(host))
    except OSError as error:
        raise SpawnError(f"the process that runs it for all workers cannot be reached: {error.strerror}") from None
    transport.write(frame(frames.PROGRAM, json.dumps(wish).encode()))
    try:
        await child.started
    except BaseException:
        transport.close()
        raise
    return child
