"""Connections that the supervisor has accepted and hands to this worker (`serve --workers`), and their count, which it
is told so that it can be fair.

A socket between the two. From the supervisor: a byte that says which listener's it is, with a connection's descriptor.
To it: how many were taken, which it keeps until then, and how many are open; or that there are to be no more. It closes
the socket when it will hand over none.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

import anyio

from gateway.frontend.connection import AgentConnection
from gateway.frontend.connections import Connections
from gateway.frontend.tls import ServerTls, open_tls

REPORT: Final = struct.Struct(">II")
"""How many connections were taken in all (modulo 2^32), and how many are open."""
REFUSAL: Final = 0xFFFFFFFF
"""Instead of the second number: hand over no more."""
REPORT_SECONDS: Final = 0.1
_AT_ONCE: Final = 16
"""Connections that are taken in one turn of the loop."""


class Door:
    """A worker's end of the socket.

    Args:
        urls: the base URL of each listener.
    """

    def __init__(self, end: socket.socket, urls: list[str]) -> None:
        end.setblocking(False)
        self._end = end
        self._urls = urls
        self._listeners: dict[int, Handed] = {}
        self._taken = 0
        self._reported: tuple[int, int] | None = None
        self._over = anyio.Event()

    def arrivals(self, number: int, tls: ServerTls | None = None) -> "Handed":
        """Those of one listener."""
        self._listeners[number] = handed = Handed(self, self._urls[number], tls)
        return handed

    def open(self) -> None:
        """Begin to take them."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._end, self._take, loop)
        self._report_on(loop)

    async def refuse(self) -> None:
        """Returns when nobody else will come."""
        with suppress(OSError):
            self._end.send(REPORT.pack(self._taken, REFUSAL))
            await self._over.wait()

    def _take(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, descriptors, _, _ = socket.recv_fds(self._end, 1, 1)
            except BlockingIOError:
                break
            except OSError:
                data, descriptors = b"", []
            if not data:
                loop.remove_reader(self._end)
                self._over.set()
                break
            self._taken = (self._taken + 1) & 0xFFFFFFFF
            for each in descriptors:  # none, when this process can have no more files
                self._listeners[data[0]].receive(socket.socket(fileno=each))
        self._report()

    def _report_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._over.is_set():
            self._report()
            loop.call_later(REPORT_SECONDS, self._report_on, loop)

    def _report(self) -> None:
        report = self._taken, sum(each.open for each in self._listeners.values())
        if report != self._reported:
            with suppress(OSError):  # it is busy, or gone
                self._end.send(REPORT.pack(*report))
                self._reported = report


class Handed:
    """The `Arrivals` of one listener. Made by `Door.arrivals`."""

    def __init__(self, door: Door, url: str, tls: ServerTls | None) -> None:
        self.url = url
        self._door = door
        self._tls = tls
        self._connections: Connections | None = None

    @property
    def open(self) -> int:
        return len(self._connections) if self._connections is not None else 0

    async def accept(self, connections: Connections) -> None:
        self._connections = connections

    async def refuse(self) -> None:
        await self._door.refuse()

    async def aclose(self) -> None:
        """There is nothing to close: the address is the supervisor's."""

    def receive(self, accepted: socket.socket) -> None:
        together, tls = self._connections, self._tls
        accepted.setblocking(False)
        if together is None or (tls is not None and together.is_full):
            accepted.close()
        elif tls is not None:
            together.shake_hands(open_tls(together, tls, accepted))
        else:
            together.shake_hands(_open(together, accepted))


async def _open(together: Connections, accepted: socket.socket) -> None:
    with suppress(OSError):  # it has left
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await together.loop.connect_accepted_socket(lambda: AgentConnection(together), accepted)
