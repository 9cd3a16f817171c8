"""The supervisor: starts the workers and what they share, keeps them running, and serves nobody itself."""

import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import random
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from gateway.config.models import Config
from gateway.config.reading.rereading import Reading
from gateway.errors import ConfigError
from gateway.frontend.addresses import bind, url_of
from gateway.signals import asked_to_stop, on_hangup
from gateway.telemetry import families, logs
from gateway.telemetry.merging import Merged, export, export_values
from gateway.upstream.backoff import Backoff
from gateway.upstream.guardian import Guardian
from gateway.workers.distribution import Distribution
from gateway.workers.line import LineError, pack, unpack
from gateway.workers.membership import HOST_SOCKET, Orders
from gateway.workers.own_store import OwnStore
from gateway.workers.program_host import ProgramHost
from gateway.workers.worker_process import WorkerProcess

log = structlog.stdlib.get_logger("gateway.workers")

START_SECONDS: Final = 120.0
"""How long a worker that is to take another's place may take until it can serve."""
END_SECONDS: Final = 15.0
"""How long a worker may take to end beyond `drain_delay` and `drain_timeout`; its servers have 6 s of it."""
KEPT_GONE: Final = 8
"""Last numbers of workers that are gone, before they are added up."""


class NotStarted(Exception):
    """A worker has said why, and ended with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(eq=False)
class WorkerPlace:
    """Of one worker after the other."""

    number: int
    worker: WorkerProcess | None = None


class Supervisor:
    """
    Args:
        read: how workers are to read the configuration.
        config: what that is now.
        count: of workers.

    Raises:
        ConfigError: an address cannot be had, or what the store takes is not installed.
    """

    def __init__(self, read: Reading, config: Config, count: int) -> None:
        settings = config.gateway
        self._read = read
        self._config = config
        self._guardian = Guardian()
        self._guardian.own_process()
        self._folder = _private_folder(settings.state_dir)
        self._store = OwnStore(self._folder, self._guardian) if settings.store is None else None
        kept = {"state_keys": settings.state_keys, "login_key": settings.login_key}
        self._vault = kept if self._store is not None else None
        self._host = ProgramHost(self._folder / HOST_SOCKET, self._guardian)
        self._overrides: dict[str, Any] = {**read.overrides, **self._shared(config)}
        wanted = [(settings.host, settings.port, settings.tls is not None)]
        if settings.metrics.host is not None:
            wanted.append((settings.metrics.host, settings.metrics.port, False))
        taken = [(bind(host, port), host) for host, port, _ in wanted]
        self._urls = [url_of(each, host, tls=wish[2]) for (each, host), wish in zip(taken, wanted, strict=True)]
        self._distribution = Distribution(taken)
        self._places = [WorkerPlace(number) for number in range(1, count + 1)]
        self._workers: set[WorkerProcess] = set()
        """Those that run, also those that are about to end."""
        self._is_stopping = False
        self._failed_with: int | None = None
        self._deaths = 0
        self._gone: list[bytes] = []
        """What workers that are gone have counted."""
        self._first = anyio.Event()
        self._rolling = anyio.Lock()
        self._adding = anyio.Lock()

    def _shared(self, config: Config) -> dict[str, Any]:
        """Settings that all workers need, where they are not configured."""
        if self._store is None:
            return {}
        keys = config.gateway.state_keys or [secrets.token_hex(32)]
        return {"store": self._store.url, "state_keys": keys, "login_key": "state"}

    async def run(self, on_listening: Callable[[str], None]) -> None:
        """Until a signal ends it; leaves no process behind.

        Args:
            on_listening: told the base URL once connections are accepted.

        Raises:
            NotStarted: the workers cannot serve.
        """
        try:
            async with asked_to_stop() as stop, anyio.create_task_group() as tg:
                tg.start_soon(self._guardian.run)
                if self._store is not None:
                    await self._store.start()
                    tg.start_soon(self._store.run)
                tg.start_soon(self._host.run)
                await tg.start(on_hangup, self._on_hangup)
                await tg.start(self._on_usr1, tg)
                for place in self._places:
                    tg.start_soon(self._keep, place, tg)
                tg.start_soon(self._say, on_listening)
                await stop.wait()
                await self._stop()
                tg.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                self._distribution.close()
                for worker in list(self._workers):
                    worker.kill()
                for worker in list(self._workers):
                    await worker.ended.wait()
                await self._host.aclose()
                if self._store is not None:
                    await self._store.aclose()
                await self._guardian.aclose()
                shutil.rmtree(self._folder, ignore_errors=True)
        if self._failed_with is not None:
            raise NotStarted(self._failed_with)

    async def _say(self, on_listening: Callable[[str], None]) -> None:
        await self._first.wait()
        on_listening(self._urls[0])

    # --- Workers ------------------------------------------------------------------------------------------------------

    async def _keep(self, place: WorkerPlace, tasks: TaskGroup) -> None:
        """Have a worker at this place, always."""
        backoff = Backoff()
        while True:
            worker = place.worker = self._start(place.number, tasks)
            while True:
                await worker.ended.wait()
                if place.worker is worker:
                    break
                worker = place.worker  # another has taken its place in order
            place.worker = None
            if self._is_stopping:
                return
            code = worker.process.returncode
            if not self._first.is_set() and code in (2, 3):
                self._failed_with = code
                tasks.cancel_scope.cancel()
                return
            self._deaths += 1
            wait = backoff.after(anyio.current_time() - worker.began, random())  # noqa: S311 - jitter is no secret
            log.error("worker died", worker=place.number, status=code, next_try=round(wait, 1))
            await anyio.sleep(wait)

    def _start(self, number: int, tasks: TaskGroup) -> WorkerProcess:
        read = self._read
        orders = Orders(
            number,
            self._urls,
            str(self._folder),
            str(read.path),
            str(read.dotenv) if read.dotenv is not None else None,
            read.strict,
            self._overrides,
            self._vault,
        )
        worker = WorkerProcess(orders, self._distribution, self._guardian)
        worker.line.on("metrics", partial(self._on_metrics, worker))
        worker.line.on("last", partial(self._on_last, worker))
        worker.line.on("gather", partial(self._on_gather, worker))
        worker.line.on("broadcast", partial(self._on_broadcast, worker))
        self._workers.add(worker)
        tasks.start_soon(self._run, worker)
        return worker

    async def _run(self, worker: WorkerProcess) -> None:
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._on_ready, worker)
            await worker.run()
            self._workers.discard(worker)
            if worker.metrics is not None:
                self._gone.append(worker.metrics)
            tg.cancel_scope.cancel()
        await self._add_up()

    async def _add_up(self) -> None:
        async with self._adding:
            many = len(self._gone)
            if many > KEPT_GONE:
                added = await anyio.to_thread.run_sync(export, Merged([], self._gone[:many]))
                self._gone[:many] = [added]

    async def _on_ready(self, worker: WorkerProcess) -> None:
        await worker.ready.wait()
        log.info("worker serves", worker=worker.number, pid=worker.process.pid)
        self._first.set()

    # --- What it is asked to do ---------------------------------------------------------------------------------------

    async def _on_hangup(self) -> None:
        """The workers read their configuration again, and everybody opens the log's files anew."""
        with suppress(ConfigError):  # the workers say what is wrong with it
            self._config = await anyio.to_thread.run_sync(self._read)
            logs.configure_for(self._config)
        logs.reopen()
        for worker in self._workers:
            worker.hang_up()

    async def _on_usr1(self, tasks: TaskGroup, *, task_status: TaskStatus[None]) -> None:
        if sys.platform == "win32":
            task_status.started()
            return
        with anyio.open_signal_receiver(signal.SIGUSR1) as received:
            task_status.started()
            async for _ in received:
                tasks.start_soon(self._replace_all, tasks)

    async def _replace_all(self, tasks: TaskGroup) -> None:
        """One worker after the other gets a successor, and ends once that serves."""
        async with self._rolling:
            log.info("workers are replaced in turn")
            for place in self._places:
                if place.worker is not None and not await self._replace(place, place.worker, tasks):
                    log.error("worker not replaced; the others stay as they are", worker=place.number)
                    return
            log.info("workers were replaced")

    async def _replace(self, place: WorkerPlace, old: WorkerProcess, tasks: TaskGroup) -> bool:
        new = self._start(place.number, tasks)
        with anyio.move_on_after(START_SECONDS):
            async with anyio.create_task_group() as tg:
                for event in (new.ready, new.ended):
                    tg.start_soon(_first_of, event, tg)
        if self._is_stopping:
            return False
        if not new.ready.is_set() or not new.is_alive:
            new.kill()
            return False
        place.worker = new
        await self._end([old])
        return True

    async def _stop(self) -> None:
        self._is_stopping = True
        log.info("stopping", workers=len(self._workers))
        self._distribution.finish()
        await self._end(list(self._workers))

    async def _end(self, workers: list[WorkerProcess]) -> None:
        """Ask them to, and see to it that they do."""
        for worker in workers:
            worker.ask_to_end()
        until, settings = anyio.current_time(), self._config.gateway
        for worker in workers:
            while worker.is_alive:
                known = worker.leaves_within
                most = known if known is not None else settings.drain_delay + settings.drain_timeout
                if anyio.current_time() > until + most + END_SECONDS:
                    log.error("worker does not end, and is killed", worker=worker.number)
                    worker.kill()
                with anyio.move_on_after(1.0):
                    await worker.ended.wait()

    # --- What workers ask of each other -------------------------------------------------------------------------------

    async def _on_metrics(self, asker: WorkerProcess, own: bytes) -> bytes:
        asker.metrics = own
        others = [worker for worker in self._workers if worker is not asker and worker.ready.is_set()]
        async with anyio.create_task_group() as tg:
            for worker in others:
                tg.start_soon(self._ask_for_metrics, worker)
        live = [worker.metrics for worker in self._workers if worker.metrics is not None]
        serving = sum(worker.ready.is_set() for worker in self._workers)
        live.append(export_values({families.WORKERS: serving, families.WORKER_DEATHS: self._deaths}))
        return pack([pack(live), pack(self._gone)])

    async def _ask_for_metrics(self, worker: WorkerProcess) -> None:
        with suppress(LineError):  # then what it said last counts
            worker.metrics = await worker.line.ask("metrics")

    async def _on_gather(self, asker: WorkerProcess, data: bytes) -> bytes:
        """What all other workers answer to a question of one."""
        kind, body = unpack(data)
        answers: list[bytes] = []

        async def ask(worker: WorkerProcess) -> None:
            with suppress(LineError):
                answers.append(await worker.line.ask(kind.decode(), body))

        async with anyio.create_task_group() as tg:
            for worker in self._workers:
                if worker is not asker and worker.ready.is_set():
                    tg.start_soon(ask, worker)
        return pack(answers)

    async def _on_last(self, worker: WorkerProcess, own: bytes) -> bytes:
        worker.metrics = own
        return b""

    async def _on_broadcast(self, sender: WorkerProcess, data: bytes) -> bytes:
        kind, body = unpack(data)
        for worker in self._workers:
            if worker is not sender:
                worker.line.tell(kind.decode(), body)
        return b""


def _private_folder(state_dir: Path) -> Path:
    """Where there is no place for temporary files (a read-only root), it is made beside the state."""
    try:
        return Path(tempfile.mkdtemp(prefix="mcp-gateway-"))
    except OSError:
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix="workers-", dir=state_dir))
        except OSError as error:
            raise ConfigError(f"--workers needs a folder for its sockets: {error}. Set TMPDIR.") from None


async def _first_of(event: anyio.Event, tasks: TaskGroup) -> None:
    await event.wait()
    tasks.cancel_scope.cancel()
