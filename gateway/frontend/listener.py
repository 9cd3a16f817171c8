"""A socket that agents connect to, and its end: first no new connections, then no new requests over old ones.

HTTP gives a server no good moment to close a connection that is kept alive: the next request may be on its way. So each
answer says that it is the last one, and a connection that says nothing is closed a moment later.
"""

import asyncio
import selectors
import socket
import sys
from typing import Final

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from gateway.errors import ConfigError
from gateway.frontend.backlog import Backlogs
from gateway.frontend.connection import Connection
from gateway.frontend.connections import Bounds, Connections, Fail, Handle, fail
from gateway.frontend.tls import ServerTls, TlsServer
from gateway.telemetry.cells import Traffic

LAST_REQUEST_SECONDS: Final = 0.5
"""How long a request may be on its way over a connection that was idle when we stopped accepting."""
MAX_TURNS: Final = 1000
"""Of the loop, to accept the connections that wait for it before the socket is closed."""
QUIET_TURNS: Final = 3
"""Of the loop, without any that wait: it takes a turn from accepting a connection to knowing it."""
BACKLOG: Final = 2048
"""Connections that wait to be accepted."""
_LOOK_SECONDS: Final = 0.02


class Listener:
    """Constructing it takes the address; `serve` accepts.

    Args:
        tls: what is spoken there, if it is not plain HTTP.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(
        self, host: str, port: int, bounds: Bounds, waiting: Backlogs | None = None, tls: ServerTls | None = None
    ) -> None:
        self._tls = tls
        self._waiting = waiting if waiting is not None else Backlogs()
        self._socket = _take(host, port)
        self._host = host
        self._bounds = bounds
        self._server: asyncio.Server | TlsServer | None = None
        self._connections: Connections | None = None
        self.traffic = Traffic()
        """Bytes of all its connections."""
        self._refused_at: float | None = None
        self._patience = 0.0
        self._closing = anyio.Event()
        self._closed = anyio.Event()

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self._socket.getsockname()[1]}"

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._connections) if self._connections is not None else 0

    async def serve(
        self, handle: Handle, fail: Fail = fail, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `close`; started when connections are accepted.

        Args:
            fail: answers what `handle` raised an error for.

        Raises:
            ConfigError: somebody else listens there after all.
        """
        _listen(self._socket, self._host)
        loop = asyncio.get_running_loop()
        self._connections = connections = Connections(handle, self._bounds, self._waiting, loop, fail)
        connections.traffic = self.traffic
        self._server = await self._accepting(connections)
        task_status.started()
        try:
            await self._closing.wait()
            await self._accept_no_more()
            await self._finish(connections)
        finally:
            with anyio.CancelScope(shield=True):
                await self._accept_no_more()
                await _end(connections)
            self._closed.set()

    async def _accepting(self, connections: Connections) -> asyncio.Server | TlsServer:
        if self._tls is not None:
            connections.scheme = "https"
            return TlsServer(self._socket, self._tls, connections)
        return await connections.loop.create_server(lambda: Connection(connections), sock=self._socket, backlog=BACKLOG)

    async def refuse(self) -> None:
        """Accept no more connections. Those there are get answers that are their last."""
        assert self._connections is not None
        self._refused_at = anyio.current_time()
        self._connections.is_ending = True
        await self._accept_those_who_wait()
        await self._accept_no_more()

    async def _accept_no_more(self) -> None:
        if isinstance(self._server, TlsServer):
            await self._server.aclose()
        elif self._server is not None:
            self._server.close()
        self._socket.close()

    async def _accept_those_who_wait(self) -> None:
        """Whoever has come as far as the system's queue would be reset with the socket."""
        quiet = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            for _ in range(MAX_TURNS):
                quiet = 0 if selector.select(0) else quiet + 1
                if quiet == QUIET_TURNS:
                    break
                await anyio.lowlevel.checkpoint()

    async def close_idle(self) -> None:
        """Wait until nothing can be on its way any more, then close idle connections; the others close when they have
        been answered. So no request begins after this, but those whose headers have arrived."""
        assert self._connections is not None
        quiet_at = (self._refused_at or anyio.current_time()) + LAST_REQUEST_SECONDS
        while len(self._connections) and anyio.current_time() < quiet_at:  # noqa: ASYNC110 - there is no event
            await anyio.sleep(_LOOK_SECONDS)
        self._connections.finish()

    async def close(self, patience: float) -> None:
        """Close what is left, which has `patience` seconds to be answered."""
        self._patience = max(1.0, patience)
        self._closing.set()
        await self._closed.wait()

    async def _finish(self, connections: Connections) -> None:
        connections.finish()
        with anyio.move_on_after(self._patience):
            while len(connections) or connections.tasks:  # noqa: ASYNC110 - there is no event
                await anyio.sleep(_LOOK_SECONDS)


async def _end(connections: Connections) -> None:
    """Leave nothing behind, answered or not."""
    tasks = [*connections.tasks, *connections.handshakes]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for connection in list(connections.open):
        connection.abort()


def _take(host: str, port: int) -> socket.socket:
    """A socket that is bound, and does not listen yet: whoever can connect is to be served."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family)
    taken.setblocking(False)
    try:
        if family is socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # `::` is not everywhere else as well
        if sys.platform != "win32":  # where it would let two have the same address
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        if sys.platform != "win32":  # of two that are bound and do not listen yet, both would have the address else
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return taken
    except OSError as error:
        taken.close()
        raise _unavailable(host, port, error) from None


def _listen(taken: socket.socket, host: str) -> None:
    """Let connections come; from now on nobody else can have the address anyway."""
    try:
        if sys.platform != "win32":  # what connections leave behind must not keep our successor from the address
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.listen(BACKLOG)
    except OSError as error:
        raise _unavailable(host, taken.getsockname()[1], error) from None


def _unavailable(host: str, port: int, error: OSError) -> ConfigError:
    reason = error.strerror or str(error)
    return ConfigError(
        f"Cannot listen on {host} port {port}: {reason}. Stop what uses it, or choose another with --port."
    )
