"""What a worker knows of its supervisor: which worker it is, where connections come from, whom to ask for the rest."""

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from anyio.abc import TaskStatus

from gateway.config.reading.rereading import Reading
from gateway.frontend.handed import Door
from gateway.workers.line import Handler, LineError, WorkerLine, pack, unpack

HOST_SOCKET: Final = "programs.sock"
"""In the private folder."""
LAST_PATIENCE: Final = 1.0
"""How long a worker that ends waits for its last numbers to be taken."""


@dataclass(frozen=True)
class Orders:
    """What a worker is told at its start."""

    number: int
    urls: list[str]
    """Base URLs of the listeners: the gateway's, and that of the metrics."""
    folder: str
    """Private to the supervisor and its workers, and gone with them."""
    path: str
    dotenv: str | None
    strict: bool
    overrides: dict[str, Any] = field(repr=False)
    logins: dict[str, Any] | None = field(default=None, repr=False)
    """The settings of where logins are kept, as configured, if the store is the supervisor's own, and ends with it."""

    @property
    def reading(self) -> Reading:
        dotenv = Path(self.dotenv) if self.dotenv is not None else None
        return Reading(Path(self.path), self.overrides, dotenv, self.strict)


class Membership:
    """One worker's.

    Args:
        door: its end of the socket over which connections come.
        line: its end of the one for messages, on which the orders have come.
    """

    def __init__(self, orders: Orders, door: socket.socket, line: socket.socket) -> None:
        self.orders = orders
        self.door = Door(door, orders.urls)
        self._line = WorkerLine(line)

    @property
    def host(self) -> Path:
        """The socket of what runs programs for all workers (`upstream.hosting`)."""
        return Path(self.orders.folder) / HOST_SOCKET

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Hear the supervisor. Once it is gone this process is to stop, as if it had asked for that."""
        await self._line.run(task_status=task_status)
        os.kill(os.getpid(), signal.SIGTERM)

    def on(self, kind: str, handler: Handler) -> None:
        """Hear messages of a kind, from the supervisor or, through it, from other workers."""
        self._line.on(kind, handler)

    def ready(self) -> None:
        """This worker can serve: let connections come."""
        self.door.open()
        self._line.tell("ready")

    def leaving(self, seconds: float) -> None:
        """It is about to end, within so many seconds."""
        self._line.tell("leaving", orjson.dumps(seconds))

    def broadcast(self, kind: str, data: bytes = b"") -> None:
        """Tell all other workers."""
        self._line.tell("broadcast", pack([kind.encode(), data]))

    async def ask_all(self, kind: str) -> list[bytes]:
        """What the other workers answer, those that do in time."""
        try:
            return unpack(await self._line.ask("gather", pack([kind.encode(), b""]), patience=5.0))
        except LineError:
            return []

    async def gather(self, own: bytes) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """Everybody's metrics (`telemetry.metrics.Gather`); this worker's alone if the supervisor does not answer."""
        try:
            live, gone = unpack(await self._line.ask("metrics", own, patience=5.0))
        except LineError:
            return [own], []
        return unpack(live), unpack(gone)

    async def leave(self, own: bytes) -> None:
        """What this worker has counted last."""
        with suppress(LineError):
            await self._line.ask("last", own, patience=LAST_PATIENCE)
