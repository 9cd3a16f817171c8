"""What this process and other workers of its gateway do for each other (`serve --workers`). Alone, that is nothing."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.config.reload import Current
from gateway.frontend.arrivals import Arrivals
from gateway.frontend.tls import ServerTls
from gateway.telemetry.activity import Activity
from gateway.telemetry.elsewhere import Elsewhere, export, taken
from gateway.telemetry.metrics import Metrics
from gateway.upstream.upstream import Upstream

if TYPE_CHECKING:
    from gateway.workers.membership import Membership


class WorkerGroup:
    """
    Args:
        worker: what this one knows of its supervisor; None where there are no workers.
        upstreams: those that serve now, at any time.
        load: how many sessions are open, and how many requests in flight.
    """

    def __init__(
        self,
        worker: "Membership | None",
        current: Current,
        upstreams: Mapping[str, Upstream],
        metrics: Metrics,
        activity: Activity,
        load: Callable[[], tuple[int, int]],
    ) -> None:
        self._worker = worker
        self._current = current
        self._upstreams = upstreams
        self._metrics = metrics
        self._activity = activity
        self._load = load

    @property
    def host(self) -> Path | None:
        """The socket of what runs programs for all workers."""
        return self._worker.host if self._worker is not None else None

    @property
    def logins(self) -> dict[str, Any] | None:
        """The settings of where logins are kept, if that is not the store that workers share."""
        return self._worker.orders.logins if self._worker is not None else None

    def arrivals(self, number: int, tls: ServerTls | None = None) -> Arrivals | None:
        """Where a listener's connections come from, if it has no address of its own."""
        return self._worker.door.arrivals(number, tls) if self._worker is not None else None

    async def begin(self, tasks: TaskGroup) -> None:
        """This process can serve."""
        worker = self._worker
        if worker is not None:
            worker.on("metrics", self._on_metrics)
            worker.on("ping", _on_ping)
            worker.on("restart", self._on_restart)
            worker.on("log level", self._on_log_level)
            worker.on("activity", self._on_activity)
            self._metrics.gather = worker.gather
            self._activity.gather = self._ask_for_activity
            await tasks.start(worker.run)
            worker.ready()

    def leaving(self, seconds: float) -> None:
        """This process is about to end, within so many seconds."""
        if self._worker is not None:
            self._worker.leaving(seconds)

    async def leave(self) -> None:
        """It has served everybody."""
        if self._worker is not None:
            await self._worker.leave(await self._metrics.export())

    def restart(self, upstream: Upstream) -> None:
        """Have all workers connect to it anew."""
        upstream.restart()
        if self._worker is not None:
            self._worker.broadcast("restart", upstream.name.encode())

    def tell_log_level(self, level: str | None, seconds: float | None, by: str) -> None:
        """The others are to have the level, too, that this one has been given."""
        if self._worker is not None:
            self._worker.broadcast("log level", jsonrpc.dumps([level, seconds, by]))

    # --- What other workers say ---------------------------------------------------------------------------------------

    async def _on_metrics(self, data: bytes) -> bytes:
        return await self._metrics.export()

    async def _on_activity(self, data: bytes) -> bytes:
        upstreams = {name: (each.in_flight(), each.health().queued) for name, each in self._upstreams.items()}
        return export(self._activity, time.perf_counter(), self._load(), upstreams)

    async def _ask_for_activity(self) -> list[Elsewhere]:
        answers = await self._worker.ask_all("activity") if self._worker is not None else []
        return [taken(each, time.perf_counter()) for each in answers]

    async def _on_restart(self, name: bytes) -> bytes:
        upstream = self._upstreams.get(name.decode())
        if upstream is not None and upstream.is_hosted:
            upstream.wake()  # it was ended for all, and is not to be ended once more
        elif upstream is not None:
            upstream.restart()
        return b""

    async def _on_log_level(self, data: bytes) -> bytes:
        from gateway.rest.log_level import change  # FastAPI is there by now

        change(self._current, *jsonrpc.loads(data))
        return b""


async def _on_ping(data: bytes) -> bytes:
    return data
