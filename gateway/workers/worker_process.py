"""One worker, as the supervisor sees it: its process, the two sockets to it, and how it is doing."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
import orjson
import structlog

from gateway.upstream.guardian import Guardian
from gateway.workers.distribution import Distribution, Recipient
from gateway.workers.line import LineError, WorkerLine
from gateway.workers.membership import Orders

log = structlog.stdlib.get_logger("gateway.workers")

PROGRAM: Final = Path(__file__).parent.parent / "cli" / "worker.py"
PING_SECONDS: Final = 5.0
DEAF_SECONDS: Final = 60.0
"""A worker that does not answer for so long hangs, and is ended."""
END_SECONDS: Final = 5.0
"""Between the end of a worker's line and that of its process."""
_LOOK_SECONDS: Final = 0.02


class WorkerProcess:
    """Constructing it starts the process. `run` it.

    Args:
        handed: where its connections come from.
    """

    def __init__(self, orders: Orders, handed: Distribution, guardian: Guardian) -> None:
        self.number = orders.number
        self.ready = anyio.Event()
        self.ended = anyio.Event()
        """Also set when it has never been ready."""
        self.began = anyio.current_time()
        self.leaves_within: float | None = None
        """Seconds that it has said it takes to end."""
        self.metrics: bytes | None = None
        """What it had counted when it was last asked."""
        self._distribution = handed
        self._guardian = guardian
        door, its_door = socket.socketpair()
        line, its_line = socket.socketpair()
        self.recipient = Recipient(door)
        self.line = WorkerLine(line)
        self.line.on("ready", self._on_ready)
        self.line.on("leaving", self._on_leaving)
        self._send_orders(line, orders)
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter on our own file
            [sys.executable, "-P", str(PROGRAM), str(orders.number), str(its_door.fileno()), str(its_line.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(its_door.fileno(), its_line.fileno()),
            start_new_session=True,
        )
        guardian.watch(self.process.pid)
        its_door.close()
        its_line.close()

    @staticmethod
    def _send_orders(line: socket.socket, orders: Orders) -> None:
        """The first line, in JSON; it fits into the socket's buffer. The environment would be less private."""
        fields = {name: getattr(orders, name) for name in Orders.__dataclass_fields__}
        line.sendall(orjson.dumps(fields) + b"\n")
        line.setblocking(False)

    @property
    def is_alive(self) -> bool:
        return not self.ended.is_set()

    async def run(self) -> None:
        """Until its end; nothing of it is left then."""
        try:
            async with anyio.create_task_group() as tg:
                tg.start_soon(self._ping)
                await self.line.run()
                tg.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._await_exit()

    def ask_to_end(self) -> None:
        self._signal(15)

    def kill(self) -> None:
        self._signal(9)

    def hang_up(self) -> None:
        """Have it read its configuration, keys and files again."""
        self._signal(1)

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _on_ready(self, data: bytes) -> bytes:
        self._distribution.add(self.recipient)
        self.ready.set()
        return b""

    async def _on_leaving(self, data: bytes) -> bytes:
        self.leaves_within = orjson.loads(data)
        return b""

    async def _ping(self) -> None:
        await self.ready.wait()
        while True:
            await anyio.sleep(PING_SECONDS)
            try:
                await self.line.ask("ping", patience=DEAF_SECONDS)
            except LineError:
                log.error("worker hangs, and is ended", worker=self.number, seconds=DEAF_SECONDS)
                self.kill()
                return

    async def _await_exit(self) -> None:
        self._distribution.remove(self.recipient)
        with anyio.move_on_after(END_SECONDS):
            while self.process.poll() is None:  # noqa: ASYNC110 - there is no event
                await anyio.sleep(_LOOK_SECONDS)
        self.kill()
        while self.process.poll() is None:  # noqa: ASYNC110 - there is no event
            await anyio.sleep(_LOOK_SECONDS)
        self._guardian.release(self.process.pid)
        self.ended.set()

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
