"""The composition root: a validated configuration in, a running gateway out. Everything is built here, and in the
service for its front (`http_service`, `stdio_service`) what only that needs."""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.access import configured
from gateway.access.admission import Admission
from gateway.access.entry import Authenticators
from gateway.access.in_flight import InFlight
from gateway.access.limits import Limits
from gateway.access.places import SessionQuota
from gateway.access.policy import Policy
from gateway.access.rate_limit import MemoryLimiter
from gateway.auditing import Auditing
from gateway.bridge.elsewhere import ParkedElsewhere
from gateway.bridge.forward import Bridge
from gateway.bridge.parking import Parking
from gateway.bridge.state import StateSeal
from gateway.bridge.tasks import TaskHandles
from gateway.call import Call
from gateway.catalogue.keeper import SnapshotWriter, fingerprint
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.own_pin_news import OwnPinNews
from gateway.catalogue.owners_keeper import OwnersKeeper
from gateway.catalogue.pinning import Pinning
from gateway.catalogue.shapes import shapes_of
from gateway.config.models import Config, ServerConfig
from gateway.config.reload import Current, Reloader
from gateway.config.reload.refreshing import SecretRefresher
from gateway.errors import ConfigError, GatewayError, InsufficientScope
from gateway.instruments import tool_of, watch_gateway
from gateway.logins.logins import Logins
from gateway.node_group import NodeGroup
from gateway.pipeline import Pipeline
from gateway.server.agents import ConnectedAgent
from gateway.server.drain import Drain
from gateway.server.methods import Server
from gateway.store import owners, pins, secret
from gateway.store.conversations import Conversations
from gateway.store.results import KeptResults
from gateway.telemetry import families, logs, tracing
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.calls import CallRecorder
from gateway.telemetry.metrics import Metrics
from gateway.timing import USUAL, Timing
from gateway.upstream.guardian import Guardian
from gateway.upstream.listing import Listing
from gateway.upstream.manager import UpstreamManager
from gateway.upstream.upstream import Upstream
from gateway.worker_group import WorkerGroup

if TYPE_CHECKING:
    from gateway.logins.vault import Vault
    from gateway.telemetry.span_export import Exporting
    from gateway.workers.membership import Membership

log = structlog.stdlib.get_logger("gateway")

INTRODUCTION_SECONDS: Final = 1.0
"""How long upstreams are kept waiting for the one agent's first words."""


class Gateway:
    """All that serves agents, whatever front they come through: `running`.

    Args:
        only: the one agent there will ever be (stdio).
        reread: reads the configuration again; without it, it is not followed.
        is_node: whether this is the gateway of that configuration, and not of a part of it for a moment: only then it
            remembers whose each URI is.
        worker: what it knows of its supervisor, if it is one of several (`serve --workers`).
        timing: how long things take that no setting changes; tests have less time.
    """

    def __init__(
        self,
        config: Config,
        only: ConnectedAgent | None = None,
        *,
        reread: Callable[[], Config] | None = None,
        is_node: bool = True,
        worker: "Membership | None" = None,
        timing: Timing = USUAL,
    ) -> None:
        settings = config.gateway
        self.current = Current(config)
        self.only = only
        self.timing = timing
        self._is_node = is_node
        self.entry: Authenticators | None = None
        self.guardian = Guardian(timing.upstream)
        self._manager = UpstreamManager(
            self._make_upstream, _is_same_server, self._inform_server, self._restore_subscriptions
        )
        self.upstreams = self._manager.serving
        self._access_log = AccessLog()
        self.audit = Auditing(config if is_node else None, has_stdout=only is None)
        by_tool = self._tool_of if settings.metrics.tools else None
        self.recorder = CallRecorder(self._access_log.write, by_tool, self.audit.on_call)
        self.metrics = Metrics(
            lambda: [each.health() for each in list(self.upstreams.values())], self.recorder, settings.environment
        )
        self.workers = WorkerGroup(
            worker, self.current, self.upstreams, self.metrics, self.recorder.activity, self.load
        )
        self._reloader = self._reloader_for(reread) if reread is not None else None
        self._refresher = SecretRefresher(self.current, self._reloader.reload) if self._reloader is not None else None
        self.policy = Policy(configured.rules(config), configured.profiles(config))
        pin_file = settings.state_dir / pins.NAME
        self.pinning = Pinning(config.enabled, pin_file, self.metrics, self.audit.on_change, timing.catalogue)
        observe = self.metrics.limit_decided
        self.nodes = nodes = NodeGroup(config, self.upstreams, self.pinning, observe, is_node=is_node)
        self.store = nodes.store
        nodes.watch(self.metrics)
        self.conversations = Conversations(self.store)
        limiter = nodes.limiter or MemoryLimiter()
        self.limits = limits = Limits(limiter, *configured.limits(config), self.metrics.limit_decided)
        self.metrics.limit_allows("principal", lambda: limits.allowed)
        self._owners = OwnersKeeper(settings.state_dir / owners.NAME, config.path, config.enabled, timing.catalogue)
        self.library = CatalogueViews(
            config.enabled, config.prefix, self.pinning, self._owners.owners, shapes_of(config)
        )
        self.state_keys = keys = settings.state_keys or [secret.load(settings.state_dir / "state.key")]
        self.logins = Logins(config, self._open_vault, self.record, timing.logins)
        seal = StateSeal(keys, timing=timing.bridge)
        self.parking = Parking(seal, self.store.node, timing.bridge)
        self._elsewhere = ParkedElsewhere(self.conversations, self.parking.resume)
        self.places = SessionQuota(settings.max_sessions, settings.max_sessions_per_principal)
        self._snapshots = SnapshotWriter(
            settings.state_dir / "catalogue.json", self.upstreams, nodes.snapshot, timing.catalogue
        )
        self.server = Server(
            settings,
            self.policy,
            self.library,
            self.upstreams,
            TaskHandles(keys),
            lambda upstream: self._snapshots.mark_outdated(),
            self.places,
            KeptResults(self.store, settings.results),
        )
        for name, server in config.enabled.items():
            self._manager.add(name, server, self._snapshots.listing(name, server))
            if self._snapshots.was_away(name, server):
                self.upstreams[name].settled.set()
        self._take_up_listings()
        self.drain = Drain()
        cap, cap_each = settings.max_requests, settings.max_requests_per_principal
        self.in_flight = InFlight(cap, cap_each, self.metrics.limit_decided)
        server = self.server
        watch_gateway(
            self.metrics, self.places, self.in_flight, self.parking, self.library, self.policy, server.results
        )
        self.metrics.watch(families.AUDIT_TROUBLE, self.audit.trouble)
        self._is_traced = is_node and tracing.is_on(settings)
        self.pipeline = Pipeline(
            drain=self.drain,
            admission=Admission(self.in_flight, self.limits, self._lacks_scope, self.audit.check, nodes.slots),
            recorder=self.recorder,
            own_methods=server.methods,
            targets=server.targets,
            lookup=server.lookup,
            limits=self.limits,
            log_messages=server.log_messages,
            bridge=Bridge(seal, self.parking, self._elsewhere if settings.store is not None else None, timing.bridge),
            results=server.results,
            dress=server.dress,
        )
        server.tasks.forward = self.pipeline.forward
        self.handle = self.pipeline.serve

    def record(self, what: str, *args: Any, **fields: Any) -> None:
        self.audit.on_change(what, *args, **fields)

    def _take_up_listings(self) -> None:
        self.library.update([(name, upstream.listing) for name, upstream in self.upstreams.items()])
        self.library.reconsider()

    def _open_vault(self) -> "Vault":
        from gateway.logins.opening import open_vault

        settings = self.current.config.gateway
        if (own := self.workers.logins) is not None:
            return open_vault(settings.model_copy(update=own))
        return open_vault(settings, self.nodes.logins, self.state_keys)

    def _make_upstream(self, name: str, server: ServerConfig, listing: Listing | None) -> Upstream:
        tally, credentials = self.metrics.tally(name), self.logins.source(name, server)
        only, host = self.only, self.workers.host
        upstream = Upstream(
            name,
            server,
            self.server,
            self.guardian,
            listing,
            only,
            tally,
            credentials,
            host,
            self.timing.upstream,
            self._read_resource,
        )
        upstream.peers = self.nodes.peers
        if self._refresher is not None:
            upstream.on_unauthorized = self._refresher.on_unauthorized
        return upstream

    async def _read_resource(self, call: Call, uri: str) -> dict[str, Any]:
        """What a resource holds that an argument of a call links to: a request of its agent's like any other."""
        reading = Call(call.id, "resources/read", {"uri": uri}, call.agent, call.principal, _tell_nobody)
        return jsonrpc.opened(await self.pipeline.serve(reading))

    # --- Life ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, start: anyio.Event | None = None) -> "AsyncGenerator[TaskGroup]":
        """Run the upstreams; yields the task group that fronts may use. Leaves nothing behind.

        Args:
            start: waited for a little before the upstreams are started, if given.
        """
        exporting = await self._start_tracing()
        try:
            async with anyio.create_task_group() as tg:
                if await self.nodes.start(tg, lambda: self._judge_anew(tg)):
                    self._take_up_listings()
                if self._reloader is not None:
                    await tg.start(self._reloader.run, self._manager.runs)
                if self._refresher is not None:
                    tg.start_soon(self._refresher.run)
                tg.start_soon(self.audit.run)
                tg.start_soon(self.guardian.run)
                tg.start_soon(self.logins.run)
                tg.start_soon(self._run_upstreams, start)
                tg.start_soon(self.server.run)
                tg.start_soon(self.parking.run)
                if self.current.config.gateway.store is not None:
                    tg.start_soon(self.conversations.run)
                    tg.start_soon(self._elsewhere.run)
                tg.start_soon(self._snapshots.run)
                tg.start_soon(self.pinning.run, lambda: self._judge_anew(tg))
                self._follow_log_outs(tg)
                if self._is_node:
                    tg.start_soon(self._owners.run, self.server.reconsider)
                yield tg
                tg.cancel_scope.cancel()
        finally:
            self._access_log.flush()
            with anyio.CancelScope(shield=True):
                if exporting is not None:
                    await exporting.aclose()
                await self.guardian.aclose()
                await self.pinning.save()
                if self._is_node:
                    await self._owners.save()
                await self._snapshots.aclose()
                await self.audit.aclose()

    async def _start_tracing(self) -> "Exporting | None":
        if not self._is_traced:
            return None
        exporting = await anyio.to_thread.run_sync(tracing.start, lambda: self.current.config)
        self.pipeline.tracing = exporting.tracing
        self.metrics.watch(families.SPANS, exporting.counted)
        log.info("calls are traced")
        return exporting

    async def _run_upstreams(self, start: anyio.Event | None) -> None:
        if start is not None:
            with anyio.move_on_after(INTRODUCTION_SECONDS):
                await start.wait()
        await self._manager.run()

    def load(self) -> tuple[int, int]:
        """How many sessions are open, and how many requests in flight."""
        return self.places.total, self.in_flight.total

    def _tool_of(self, call: Call) -> str | None:
        return tool_of(self.library, call)

    def _lacks_scope(self, call: Call, needed: Collection[str]) -> GatewayError:
        if self.entry is None:
            return InsufficientScope(needed)
        return self.entry.lacks_scope(call.principal, needed, call.agent)

    # --- Reload -------------------------------------------------------------------------------------------------------

    def _reloader_for(self, reread: Callable[[], Config]) -> Reloader:
        def usable() -> Config:
            config = reread()
            try:
                self.pinning.check(config.enabled)
            except ConfigError as error:
                error.files += config.files
                raise
            return config

        return Reloader(
            self.current,
            usable,
            self._prepare,
            self._apply,
            self._reread_keys,
            self.metrics.config_read,
            self.audit.on_change,
        )

    async def _reread_keys(self) -> None:
        logs.reopen()
        if self.entry is not None:
            await self.entry.reload()

    async def _prepare(self, config: Config) -> None:
        await self.server.prepare(config.enabled, config.prefix)

    def _apply(self) -> None:
        """Become what the configuration asks for. Nothing here waits, so nobody ever meets half of it."""
        config = self.current.config
        logs.configure_for(config)
        self.audit.use(config)
        self.limits.use(*configured.limits(config))
        self.pinning.use(config.enabled)
        self._manager.apply(config.enabled, config.gateway.drain_timeout)

    async def _restore_subscriptions(self, upstream: Upstream) -> None:
        await self.server.restore_subscriptions(upstream)

    def _inform_server(self) -> None:
        config = self.current.config
        rules, profiles = configured.rules(config), configured.profiles(config)
        self.server.configure(config.gateway, rules, profiles, shapes_of(config), config.prefix)
        self._snapshots.mark_outdated()

    def _judge_anew(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self._on_pins)

    def _follow_log_outs(self, tasks: TaskGroup) -> None:
        """Who logs out of a server by their own wish trusts what they see there next."""
        news = OwnPinNews(self.store, self.pinning.own, lambda: self._judge_anew(tasks))

        def on_logged_out(name: str, root: str) -> None:
            if (server := self.current.config.enabled.get(name)) is not None:
                tasks.start_soon(news.logged_out, server, name, root)

        self.logins.on_logged_out = on_logged_out

    async def _on_pins(self) -> None:
        """Somebody approved something: what upstreams offer is judged anew."""
        for upstream in list(self.upstreams.values()):
            await self.server.on_listing(upstream, ())

    async def finish(self) -> None:
        """Let what is in flight finish, but for what waits for an agent or for news: that would wait for ever."""
        log.info("stopping", in_flight=len(self.drain))
        self.server.end_streams()
        self.parking.end_all()
        await self.drain.wait(self.current.config.gateway.drain_timeout)


def _tell_nobody(method: str, params: dict[str, Any] | None) -> None:
    """Nobody hears of its progress."""


def _is_same_server(one: ServerConfig, other: ServerConfig) -> bool:
    return fingerprint(one) == fingerprint(other)
