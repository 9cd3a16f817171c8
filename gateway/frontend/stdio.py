"""The stdio front: the gateway as a child process of a desktop client. One agent, one message a line.

Stdout carries MCP alone: the real one is kept here, and whatever else in this process prints goes to stderr.
"""

import asyncio
import os
import stat
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Final, cast

import anyio
import structlog

from gateway import jsonrpc
from gateway.config.models import GatewaySettings
from gateway.errors import PayloadTooLarge
from gateway.frontend.backlog import backlogs_of
from gateway.frontend.duplex import Duplex
from gateway.frontend.streamable import Handler
from gateway.jsonrpc import Message
from gateway.protocol import HANDSHAKE_VERSIONS
from gateway.request import ANONYMOUS
from gateway.server.agents import ConnectedAgent, OnNotification
from gateway.server.drain import LAST_WORD_SECONDS
from gateway.upstream.transport.lines import LineSplitter, Overlong

log = structlog.stdlib.get_logger("gateway.frontend")

CHUNK: Final = 64 * 1024


def stdio_agent(view: str | None = None) -> ConnectedAgent:
    """The one agent, before it has said anything.

    Args:
        view: the profile that it sees.
    """
    return ConnectedAgent(ANONYMOUS, view, HANDSHAKE_VERSIONS[-1])


async def serve_stdio(
    settings: GatewaySettings,
    agent: ConnectedAgent,
    handle: Handler,
    on_open: Callable[[ConnectedAgent], None],
    on_close: Callable[[ConnectedAgent], Awaitable[None]],
    on_notification: OnNotification,
    on_first: Callable[[], None],
    on_end: Callable[[], Awaitable[None]],
    ended: anyio.Event,
    admit: Callable[[], None] = lambda: None,
) -> None:
    """Serve until stdin ends, nobody reads stdout any more, or `ended` is set; then finish what is in flight.

    Args:
        on_first: told of the agent's first request, when `agent` knows what it declares.
        on_end: told that it is over; returns when what is in flight has ended, one way or another.
        admit: raises an error for a request that is not to be taken on.
    """
    lines = LineSplitter(settings.max_request_bytes)
    reading = _Reading()
    output = await _open_output(settings, reading, ended.set)

    def write(message: Message | list[Message]) -> int | None:
        if output.is_full and not isinstance(message, list) and "id" not in message:
            return None
        line = jsonrpc.dumps_spliced(message) + b"\n"
        output.write(line)
        return len(line) - 1

    def feed(data: bytes) -> None:
        for line in lines.feed(data):
            if isinstance(line, Overlong):
                error = PayloadTooLarge(settings.max_request_bytes)
                write(jsonrpc.error(None, error.code, error.message))
            elif line and not line.isspace():
                duplex.receive(line)
        if not data:
            if (last := lines.rest()).strip():  # not everybody ends the last line
                duplex.receive(last)
            ended.set()

    async with anyio.create_task_group() as tg:
        duplex = Duplex(
            agent, handle, write, tg, on_open, on_notification, on_first, admit, backlogs_of(settings).open(ANONYMOUS)
        )
        try:
            await _open_input(feed, reading)
            await ended.wait()
            await on_end()
            await duplex.drain(LAST_WORD_SECONDS)
        finally:
            with anyio.CancelScope(shield=True):
                await duplex.close()
                await on_close(agent)
                with anyio.move_on_after(settings.drain_timeout):
                    await output.close()


class _Pipe(asyncio.Protocol):
    """Passes on what comes in; an empty chunk is the end."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._feed(b"")


class _Reading:
    """Whether stdin is read: not while too much waits for the agent to read it."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._transport: asyncio.ReadTransport | None = None

    def of(self, transport: asyncio.ReadTransport) -> None:
        self._transport = transport

    def pause(self) -> None:
        self.goes_on.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        self.goes_on.set()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


async def _open_input(feed: Callable[[bytes], None], reading: _Reading) -> None:
    """Have stdin delivered to `feed`."""
    loop = asyncio.get_running_loop()
    if _is_pipe(0):
        transport, _ = await loop.connect_read_pipe(lambda: _Pipe(feed), os.fdopen(os.dup(0), "rb", buffering=0))
        reading.of(transport)
        return

    def read() -> None:  # a file or a console: the loop cannot wait for it
        data = b"-"
        while data:
            reading.goes_on.wait()
            data = os.read(0, CHUNK)
            loop.call_soon_threadsafe(feed, data)

    threading.Thread(target=read, name="stdin", daemon=True).start()


class _Output(asyncio.BaseProtocol):
    """What is written to the agent, and how much of it waits.

    Args:
        on_lost: told when nobody reads it any more; what is written then is dropped.
    """

    def __init__(self, settings: GatewaySettings, reading: _Reading, on_lost: Callable[[], None]) -> None:
        self._settings = settings
        self._reading = reading
        self._on_lost = on_lost
        self._is_lost = False
        self._lost = anyio.Event()
        self.is_full = False
        """Whether notifications are dropped for now."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's own does not inherit from it
        self._transport.set_write_buffer_limits(self._settings.max_backlog_per_stream)

    def write(self, data: bytes) -> None:
        if self._is_lost:
            return
        if self._transport.get_write_buffer_size() > self._settings.max_backlog:
            log.error("the client does not read its answers", setting="max_backlog")
            self._transport.abort()
            self.connection_lost(None)
        else:
            self._transport.write(data)

    def pause_writing(self) -> None:
        self.is_full = True
        self._reading.pause()

    def resume_writing(self) -> None:
        self.is_full = False
        self._reading.resume()

    async def close(self) -> None:
        """Returns once everything has gone out."""
        self._transport.close()
        await self._lost.wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._lost.set()
        self._reading.resume()
        self._on_lost()


class _File:
    """A file or a console, which takes what it is given."""

    is_full = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]

    async def close(self) -> None: ...


async def _open_output(settings: GatewaySettings, reading: _Reading, on_lost: Callable[[], None]) -> _Output | _File:
    """Keep stdout for ourselves; returns what writes to it."""
    private = os.dup(1)
    os.dup2(2, 1)
    if not _is_pipe(private):
        return _File(private)
    pipe = os.fdopen(private, "wb", buffering=0)
    output = _Output(settings, reading, on_lost)
    await asyncio.get_running_loop().connect_write_pipe(lambda: output, pipe)
    return output


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return sys.platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
