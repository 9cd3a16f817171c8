"""A socket that agents connect to, and its end: first no new connections, then no new requests over old ones.

HTTP gives a server no good moment to close a connection that is kept alive: the next request may be on its way. So each
answer says that it is the last one, and a connection that says nothing is closed a moment later.
"""

import asyncio
from typing import Final

import anyio
from anyio.abc import TaskStatus

from gateway.frontend.arrivals import Arrivals, OwnAddress
from gateway.frontend.backlog import Backlogs
from gateway.frontend.connections import Bounds, Connections, Fail, Handle, OnConnectionRefused, fail, nobody
from gateway.frontend.timing import USUAL, FrontTiming
from gateway.frontend.tls import ServerTls
from gateway.telemetry.cells import Traffic

_LOOK_SECONDS: Final = 0.02


class HttpListener:
    """Constructing it takes the address; `serve` accepts.

    Args:
        tls: what is spoken there, if it is not plain HTTP.
        arrivals: where connections come from, if this process does not take the address.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        bounds: Bounds,
        waiting: Backlogs | None = None,
        tls: ServerTls | None = None,
        arrivals: Arrivals | None = None,
        timing: FrontTiming = USUAL,
    ) -> None:
        self._tls = tls
        self._waiting = waiting if waiting is not None else Backlogs()
        self._arrivals = arrivals if arrivals is not None else OwnAddress(host, port, tls)
        self._bounds = bounds
        self._timing = timing
        self._connections: Connections | None = None
        self.traffic = Traffic()
        """Bytes of all its connections."""
        self._refused_at: float | None = None
        self._patience = 0.0
        self._closing = anyio.Event()
        self._closed = anyio.Event()

    @property
    def url(self) -> str:
        return self._arrivals.url

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._connections) if self._connections is not None else 0

    async def serve(
        self,
        handle: Handle,
        fail: Fail = fail,
        on_refused: OnConnectionRefused = nobody,
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `close`; started when connections are accepted.

        Args:
            fail: answers what `handle` raised an error for.
            on_refused: told of each connection that is closed because its client goes beyond a bound.

        Raises:
            ConfigError: somebody else listens there after all.
        """
        loop = asyncio.get_running_loop()
        self._connections = connections = Connections(handle, self._bounds, self._waiting, loop, fail, on_refused)
        connections.traffic = self.traffic
        if self._tls is not None:
            connections.scheme = "https"
        await self._arrivals.accept(connections)
        task_status.started()
        try:
            await self._closing.wait()
            await self._arrivals.aclose()
            await self._finish(connections)
        finally:
            with anyio.CancelScope(shield=True):
                await self._arrivals.aclose()
                await _end(connections)
            self._closed.set()

    async def refuse(self) -> None:
        """Accept no more connections. Those there are get answers that are their last."""
        assert self._connections is not None
        self._refused_at = anyio.current_time()
        self._connections.is_ending = True
        await self._arrivals.refuse()

    async def close_idle(self) -> None:
        """Wait until nothing can be on its way any more, then close idle connections; the others close when they have
        been answered. So no request begins after this, but those whose headers have arrived."""
        assert self._connections is not None
        refused_at = self._refused_at or anyio.current_time()
        quiet_at = refused_at + self._timing.last_request_seconds
        while len(self._connections) and anyio.current_time() < quiet_at:  # noqa: ASYNC110 - there is no event
            await anyio.sleep(_LOOK_SECONDS)
        quiet_at = refused_at + self._timing.first_request_seconds
        while self._connections.has_new and anyio.current_time() < quiet_at:  # noqa: ASYNC110 - there is no event
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
    tasks = [*connections.tasks.values(), *connections.handshakes]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for connection in list(connections.open):
        connection.abort()
