"""The composition root: a validated configuration in, a running gateway out. Everything is built here, only here."""

import functools
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import structlog
import uvicorn
from anyio.abc import TaskGroup

from gateway.access.entry import Entry
from gateway.access.in_flight import InFlight
from gateway.access.layers import Limits, UpstreamLimits, authorize
from gateway.access.policy import Policy, Rule
from gateway.access.rate_limit import Limit, Limiter, MemoryLimiter
from gateway.bridge.forward import Bridge
from gateway.bridge.parking import Parking
from gateway.bridge.state import StateSeal
from gateway.bridge.tasks import TaskHandles
from gateway.catalogue import snapshot
from gateway.catalogue.library import Library
from gateway.catalogue.pinning import Pinning
from gateway.config.models import Config, GatewaySettings, ServerConfig
from gateway.config.settings import is_loopback
from gateway.errors import ConfigError, GatewayError, InsufficientScope
from gateway.frontend.agents import ConnectedAgent
from gateway.frontend.connection import bounds_of, connection_class
from gateway.frontend.guard import Guard
from gateway.frontend.http import HttpFront
from gateway.frontend.overload import Overload
from gateway.frontend.places import Places
from gateway.frontend.rest import metrics_app, rest_app
from gateway.frontend.rest.shell import App
from gateway.frontend.server import Server
from gateway.frontend.sessions import Sessions
from gateway.frontend.sse import LegacySse
from gateway.frontend.stdio import serve_stdio
from gateway.frontend.streamable import Streamable
from gateway.request import Agent, Request
from gateway.store import pins, secret
from gateway.telemetry.audit import audit
from gateway.telemetry.metrics import Metrics
from gateway.upstream.guardian import Guardian
from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway")

Handler = Callable[[Request], Awaitable[dict[str, Any]]]

INTRODUCTION_SECONDS = 1.0
"""How long upstreams are kept waiting for the one agent's first words."""

SAVE_SECONDS = 1.0
"""How long after a change of the catalogue its snapshot is written; changes come in bursts."""


def compose(*layers: Callable[[Handler], Handler]) -> Callable[[Handler], Handler]:
    """The layers around a handler, outermost first."""
    return lambda handler: functools.reduce(lambda inner, layer: layer(inner), reversed(layers), handler)


class Gateway:
    """All that serves agents, whatever front they come through. Use `running`.

    Args:
        only: the one agent there will ever be (stdio).
    """

    def __init__(self, config: Config, only: ConnectedAgent | None = None) -> None:
        self.config = config
        self.settings = config.gateway
        self._snapshot_path = self.settings.state_dir / "catalogue.json"
        stored, warning = snapshot.load(self._snapshot_path)
        if warning:
            log.warning("snapshot ignored", reason=warning)
        self._guardian = Guardian()
        self._dirty = anyio.Event()
        self.upstreams: dict[str, Upstream] = {}
        self.policy = build_policy(config)
        self.metrics = Metrics(lambda: [each.health() for each in list(self.upstreams.values())])
        self._limits = _limits(config, MemoryLimiter(), self.metrics)
        self._entry: Entry | None = None
        self._draining = False
        self._pinning = Pinning(config.enabled, self.settings.state_dir / pins.NAME, self.metrics)
        self.library = Library(config.enabled, config.prefix, self._pinning.judge)
        keys = self.settings.state_keys or [secret.load(self.settings.state_dir / "state.key")]
        seal = StateSeal(keys)
        self._parking = Parking(seal)
        bridge = Bridge(seal, self._parking)
        self._places = Places(self.settings.max_sessions, self.settings.max_sessions_per_principal)
        self.server = Server(
            self.settings,
            self.policy,
            self._limits,
            self.library,
            self.upstreams,
            bridge,
            TaskHandles(keys),
            self._on_listing,
            self._places,
        )
        cap, cap_each = self.settings.max_requests, self.settings.max_requests_per_principal
        self._in_flight = InFlight(cap, cap_each, self.metrics.limit_decided)
        self._only = only
        for name, server in config.enabled.items():
            known = stored.get(name)
            listing = known.listing if known and known.fingerprint == _fingerprint(server) else None
            self.upstreams[name] = Upstream(name, server, self.server, self._guardian, listing, only)
        self.library.update((name, upstream.listing) for name, upstream in self.upstreams.items())
        self.handle = compose(
            self.metrics.layer, audit, authorize(self._lacks_scope), self._in_flight.layer, self._limits.layer
        )(self.server.route)

    @asynccontextmanager
    async def running(self, start: anyio.Event | None = None) -> "AsyncGenerator[TaskGroup]":
        """Run the upstreams; yields the task group that fronts may use. Leaves nothing behind.

        Args:
            start: waited for a little before the upstreams are started, if given.
        """
        try:
            async with anyio.create_task_group() as tg:
                for upstream in self.upstreams.values():
                    tg.start_soon(_run_once, start, upstream.run)
                tg.start_soon(self._parking.run)
                tg.start_soon(self._save_snapshots)
                tg.start_soon(self._pinning.run, self._on_pins)
                yield tg
                tg.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._guardian.aclose()
                await self._pinning.save()
                if self._dirty.is_set():
                    await self._save_snapshot()

    async def stdio(self) -> None:
        """Serve the one agent on stdin and stdout until it leaves or a signal ends us."""
        assert self._only is not None
        introduced = anyio.Event()  # then it is known what the agent can be asked, which upstreams hear but once
        async with self.running(introduced) as tg:
            ended = anyio.Event()
            tg.start_soon(_set_on_signal, ended)
            server = self.server
            await serve_stdio(
                self.settings,
                self._only,
                self.handle,
                server.open,
                server.close,
                server.hear,
                introduced.set,
                server.end_streams,
                ended,
            )

    async def http(self, on_listening: Callable[[str], None] = lambda url: None) -> None:
        """Serve HTTP until a signal ends us.

        Args:
            on_listening: told the base URL once connections are accepted.

        Raises:
            ConfigError: an address cannot be listened on, or a file of keys not be used; nothing was started.
        """
        settings, server = self.settings, self.server
        sessions = Sessions(self._places, settings.session_idle_timeout, server.close)
        sse = LegacySse(settings, self.handle, server.open, server.close, server.hear, self._places)

        def on_revoked(principals: frozenset[str]) -> None:
            server.end_streams(principals)
            self._parking.end_those_of(principals)
            sse.close_those_of(principals)
            tg.start_soon(sessions.close_those_of, principals)

        self._entry = entry = await anyio.to_thread.run_sync(self._open_entry, on_revoked)
        listener = _listen(settings.host, settings.port)
        metrics = settings.metrics
        aside = _listen(metrics.host, metrics.port) if metrics.host is not None else None
        async with self.running() as tg:
            rest = await anyio.to_thread.run_sync(self._build_rest, entry)
            streamable = Streamable(
                settings, self.handle, self.library, sessions, self._in_flight, server.open, server.hear, tg
            )
            overload = Overload(settings.max_lag, settings.max_memory, self.metrics.limit_decided)
            guard = Guard([settings.host, *settings.allowed_hosts], settings.allowed_origins)
            front = HttpFront(
                guard,
                overload,
                entry.authenticate,
                self.policy,
                self.library,
                streamable,
                sse,
                rest,
                entry.resource_metadata,
            )
            tg.start_soon(overload.run)
            tg.start_soon(entry.run)
            tg.start_soon(sessions.sweep)
            servers = [_uvicorn(front, settings, settings.drain_timeout)]
            if aside is not None:
                servers.append(_uvicorn(metrics_app(self.metrics, guard), settings, 1))
                tg.start_soon(servers[1].serve, [aside])
            tg.start_soon(self._until_signal, servers)
            on_listening(_url(settings.host, listener))
            await servers[0].serve([listener])

    def _open_entry(self, on_revoked: Callable[[frozenset[str]], None]) -> Entry:
        loopback = is_loopback(self.settings.host)
        observe = self.metrics.limit_decided
        return Entry(self.settings, loopback=loopback, on_revoked=on_revoked, observe=observe)

    def _build_rest(self, entry: Entry) -> App:
        return rest_app(
            self.config,
            self.upstreams,
            self.library,
            self.policy,
            self.metrics,
            entry.agents,
            restart=Upstream.restart,
            count=self._limits.count,
            is_draining=lambda: self._draining,
            lacks_scope=entry.lacks_scope,
        )

    def _lacks_scope(self, agent: Agent, needed: Collection[str]) -> GatewayError:
        if self._entry is None:
            return InsufficientScope(needed)
        return self._entry.lacks_scope(agent.principal, needed, agent)

    async def _until_signal(self, servers: "Sequence[_Uvicorn]") -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as tg:
            tg.start_soon(_set_on_signal, stop)
            await stop.wait()
            log.info("stopping")
            self._draining = True
            self.server.end_streams()
            for server in servers:
                server.should_exit = True

    def _on_pins(self) -> None:
        """Somebody approved something: what upstreams offer is judged anew."""
        for upstream in list(self.upstreams.values()):
            self.server.on_listing(upstream, ())

    # --- The snapshot -------------------------------------------------------------------------------------------------

    def _on_listing(self, upstream: Upstream) -> None:
        self._dirty.set()

    async def _save_snapshots(self) -> None:
        while True:
            await self._dirty.wait()
            await anyio.sleep(SAVE_SECONDS)
            await self._save_snapshot()

    async def _save_snapshot(self) -> None:
        self._dirty = anyio.Event()
        stored = {
            name: snapshot.Stored(_fingerprint(upstream.config), upstream.known)
            for name, upstream in self.upstreams.items()
            if upstream.known is not None
        }
        warning = await anyio.to_thread.run_sync(snapshot.save, self._snapshot_path, stored)
        if warning:
            log.warning("snapshot not saved", reason=warning)


class _Uvicorn(uvicorn.Server):
    """Signals are ours: we drain before we stop it."""

    @contextmanager
    def capture_signals(self) -> "Generator[None]":
        yield


async def _run_once(event: anyio.Event | None, run: Callable[[], Awaitable[None]]) -> None:
    """Run, as soon as the event is there or has been waited for long enough."""
    if event is not None:
        with anyio.move_on_after(INTRODUCTION_SECONDS):
            await event.wait()
    await run()


async def _set_on_signal(event: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            event.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"Cannot listen on {host} port {port}: {reason}. Stop what uses it, or choose another with --port."
        ) from None


def _uvicorn(app: Any, settings: GatewaySettings, drain_timeout: float) -> _Uvicorn:
    return _Uvicorn(
        uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_config=None,
            http=connection_class(bounds_of(settings)),
            ws="none",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=int(drain_timeout) or 1,
        )
    )


def _url(host: str, listener: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def build_policy(config: Config) -> Policy:
    """The policy of a configuration."""
    rules = config.gateway.policy
    return Policy([Rule(tuple(r.who), None if r.allow is None else tuple(r.allow), tuple(r.deny)) for r in rules])


def _limits(config: Config, limiter: Limiter, metrics: Metrics) -> Limits:
    settings = config.gateway.rate_limit
    upstreams: dict[str, UpstreamLimits] = {}
    for name, server in config.enabled.items():
        given = server.rate_limit
        whole = Limit(given.rpm, given.burst) if given.rpm is not None else None
        tools = {glob: Limit(rpm, given.burst) for glob, rpm in given.tools.items()}
        if whole is not None or tools:
            upstreams[name] = UpstreamLimits(whole, tools)
    default = Limit(settings.default_rpm, settings.burst_allowance)
    return Limits(limiter, default, upstreams, metrics.limit_decided)


def _fingerprint(server: ServerConfig) -> str:
    return snapshot.fingerprint(server.model_dump(mode="json"))


def enabled(names: Iterable[str], config: Config) -> Config:
    """The configuration with only these servers."""
    wanted = set(names)
    servers = {name: server for name, server in config.servers.items() if name in wanted}
    return config.model_copy(update={"servers": servers})
