"""The stdio front: the gateway as a child process of a desktop client. One agent, one message a line.

Stdout carries MCP alone: the real one is kept here, and whatever else in this process prints goes to stderr.
"""

import asyncio
import os
import stat
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import anyio.lowlevel

from gateway import jsonrpc
from gateway.config.models import GatewaySettings
from gateway.errors import PayloadTooLarge
from gateway.frontend.agents import ConnectedAgent, OnNotification
from gateway.frontend.drain import LAST_WORD_SECONDS
from gateway.frontend.duplex import Duplex
from gateway.frontend.streamable import Handler
from gateway.jsonrpc import Message
from gateway.protocol import HANDSHAKE_VERSIONS
from gateway.request import ANONYMOUS
from gateway.upstream.lines import LineSplitter, Overlong

CHUNK: Final = 64 * 1024


def stdio_agent() -> ConnectedAgent:
    """The one agent, before it has said anything."""
    return ConnectedAgent(ANONYMOUS, None, HANDSHAKE_VERSIONS[-1])


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
) -> None:
    """Serve until stdin ends, nobody reads stdout any more, or `ended` is set; then finish what is in flight.

    Args:
        on_first: told of the agent's first request, when `agent` knows what it declares.
        on_end: told that it is over; returns when what is in flight has ended, one way or another.
    """
    lines = LineSplitter(settings.max_request_bytes)
    write_bytes, close_output = await _open_output(ended.set)

    def write(message: Message) -> None:
        write_bytes(jsonrpc.dumps(message) + b"\n")

    def feed(data: bytes) -> None:
        for line in lines.feed(data):
            if isinstance(line, Overlong):
                error = PayloadTooLarge(settings.max_request_bytes)
                write(jsonrpc.error(None, error.code, error.message))
            elif line.strip():
                duplex.receive(line)
        if not data:
            if (last := lines.rest()).strip():  # not everybody ends the last line
                duplex.receive(last)
            ended.set()

    async with anyio.create_task_group() as tg:
        duplex = Duplex(agent, handle, write, tg, on_open, on_notification, on_first)
        try:
            await _open_input(feed)
            await ended.wait()
            await on_end()
            await duplex.drain(LAST_WORD_SECONDS)
        finally:
            with anyio.CancelScope(shield=True):
                await on_close(agent)
                with anyio.move_on_after(settings.drain_timeout):
                    await close_output()


class _Pipe(asyncio.Protocol):
    """Passes on what comes in; an empty chunk is the end."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._feed(b"")


async def _open_input(feed: Callable[[bytes], None]) -> None:
    """Have stdin delivered to `feed`."""
    loop = asyncio.get_running_loop()
    if _is_pipe(0):
        await loop.connect_read_pipe(lambda: _Pipe(feed), os.fdopen(os.dup(0), "rb", buffering=0))
        return

    def read() -> None:  # a file or a console: the loop cannot wait for it
        data = b"-"
        while data:
            data = os.read(0, CHUNK)
            loop.call_soon_threadsafe(feed, data)

    threading.Thread(target=read, name="stdin", daemon=True).start()


async def _open_output(on_lost: Callable[[], None]) -> tuple[Callable[[bytes], None], Callable[[], Awaitable[None]]]:
    """Keep stdout for ourselves; returns what writes to it, and what closes it once all of that has gone out.

    Args:
        on_lost: told when nobody reads it any more; what is written then is dropped.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    if _is_pipe(private):
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(private, "wb", buffering=0)
        transport, protocol = await loop.connect_write_pipe(lambda: _Output(on_lost), pipe)

        def send(data: bytes) -> None:
            if not protocol.lost.is_set():
                transport.write(data)

        async def close() -> None:
            transport.close()
            await protocol.lost.wait()

        return send, close

    def write(data: bytes) -> None:
        while data:
            data = data[os.write(private, data) :]

    return write, anyio.lowlevel.checkpoint


class _Output(asyncio.BaseProtocol):
    """Knows when everything was written, or nobody reads any more."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self.lost = anyio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self._on_lost()


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return sys.platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
