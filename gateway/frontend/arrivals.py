"""Where the connections of a listener come from: an address of its own. (`handed`: or from the supervisor.)"""

import asyncio
import selectors
import socket
from typing import Final, Protocol

import anyio.lowlevel

from gateway.frontend.addresses import BACKLOG, bind, listen, shut, url_of
from gateway.frontend.connection import AgentConnection
from gateway.frontend.connections import Connections
from gateway.frontend.tls import ServerTls, TlsServer

MAX_TURNS: Final = 1000
"""Of the loop, to accept the connections that wait for it before the socket is closed."""
QUIET_TURNS: Final = 3
"""Of the loop, without any that wait: it takes a turn from accepting a connection to knowing it."""


class Arrivals(Protocol):
    @property
    def url(self) -> str:
        """The base URL of what is served there."""
        ...

    async def accept(self, connections: Connections) -> None:
        """Begin to.

        Raises:
            ConfigError: somebody else listens there after all.
        """
        ...

    async def refuse(self) -> None:
        """Accept those who have come already, and then no more."""
        ...

    async def aclose(self) -> None:
        """Accept no more, at once."""
        ...


class OwnAddress:
    """Constructing it takes the address.

    Raises:
        ConfigError: it cannot be had.
    """

    def __init__(self, host: str, port: int, tls: ServerTls | None) -> None:
        self._host = host
        self._tls = tls
        self.socket: socket.socket = bind(host, port)
        self._server: asyncio.Server | TlsServer | None = None

    @property
    def url(self) -> str:
        return url_of(self.socket, self._host, tls=self._tls is not None)

    async def accept(self, connections: Connections) -> None:
        listen(self.socket, self._host)
        if self._tls is not None:
            self._server = TlsServer(self.socket, self._tls, connections)
        else:
            self._server = await connections.loop.create_server(
                lambda: AgentConnection(connections), sock=self.socket, backlog=BACKLOG
            )

    async def refuse(self) -> None:
        shut(self.socket)
        await self._accept_those_who_wait()
        await self.aclose()

    async def aclose(self) -> None:
        if isinstance(self._server, TlsServer):
            await self._server.aclose()
        elif self._server is not None:
            self._server.close()
        self.socket.close()

    async def _accept_those_who_wait(self) -> None:
        """Whoever has come as far as the system's queue would be reset with the socket."""
        quiet = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            for _ in range(MAX_TURNS):
                quiet = 0 if selector.select(0) else quiet + 1
                if quiet == QUIET_TURNS:
                    break
                await anyio.lowlevel.checkpoint()
