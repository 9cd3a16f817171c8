"""A TCP proxy in front of an upstream. A test makes it misbehave: drop, delay, half-open, drip and truncate."""

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

Fault = Literal["none", "refuse", "reset", "half-open", "delay", "drip", "truncate"]
"""
- `refuse`: nobody listens.
- `reset`: the connection is reset when a request arrives, which the upstream never sees.
- `half-open`: connections stay, and nothing passes any more, as when a cable was cut.
- `delay`: the answer is held back for `pause` seconds.
- `drip`: the answer comes byte by byte, `pause` seconds apart.
- `truncate`: the upstream acts, and the connection is reset after `whole` bytes of its answer.
"""

LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass
class Proxy:
    """Applies `fault` to whatever passes from now on, on connections that are open too."""

    target: tuple[str, int]
    tasks: TaskGroup
    port: int = 0
    fault: Fault = "none"
    pause: float = 0.0
    whole: int = 0
    connections: int = 0
    """How many were accepted."""
    _listening: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _closed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def become(self, fault: Fault, *, pause: float = 0.0, whole: int = 0) -> None:
        """From now on do this. To `refuse`, open connections are closed too, and both ends have heard of it."""
        self.fault, self.pause, self.whole = fault, pause, whole
        if fault == "refuse":
            self._listening.cancel()
            await self._closed.wait()
            for _ in range(10):  # both ends live in this event loop: what is closed in one turn is read in the next
                await anyio.lowlevel.checkpoint()
        elif self._listening.cancel_called:
            await self.open()

    async def open(self) -> None:
        """Listen, on the same port as ever."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port, reuse_port=False)
        self.port = listener.extra(SocketAttribute.local_port)
        self._listening, self._closed = anyio.CancelScope(), anyio.Event()

        async def serve() -> None:
            with self._listening:
                async with listener:
                    await listener.serve(self._carry)
            self._closed.set()

        self.tasks.start_soon(serve)

    async def _carry(self, client: SocketStream) -> None:
        self.connections += 1
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            async with client, await anyio.connect_tcp(*self.target) as server, anyio.create_task_group() as tg:
                tg.start_soon(self._pump, client, server, client)
                tg.start_soon(self._pump, server, client, client)

    async def _pump(self, source: SocketStream, sink: SocketStream, client: SocketStream) -> None:
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            while True:
                data = await source.receive()
                if self.fault == "half-open":
                    await anyio.sleep_forever()
                elif source is client:
                    if self.fault == "reset":
                        break
                    await sink.send(data)
                elif not await self._answer(sink, data):
                    break
        _reset(client)
        await anyio.aclose_forcefully(client)
        await anyio.aclose_forcefully(sink if source is client else source)

    async def _answer(self, sink: SocketStream, data: bytes) -> bool:
        """Pass a part of an answer on, in the way of the fault; whether the connection is to live on."""
        if self.fault == "truncate":
            await sink.send(data[: self.whole])
            return False
        if self.fault == "delay":
            await anyio.sleep(self.pause)
        if self.fault != "drip":
            await sink.send(data)
            return True
        for byte in data:
            await sink.send(bytes([byte]))
            await anyio.sleep(self.pause)
        return True


def _reset(stream: SocketStream) -> None:
    """Have it end with a reset, not in good order."""
    with suppress(OSError, anyio.ClosedResourceError):
        stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)


@asynccontextmanager
async def proxy(url: str) -> AsyncGenerator[Proxy]:
    """A proxy in front of the server at `url` until the block ends."""
    parts = urlsplit(url)
    async with anyio.create_task_group() as tasks:
        between = Proxy((parts.hostname or "", parts.port or 80), tasks)
        await between.open()
        yield between
        tasks.cancel_scope.cancel()
