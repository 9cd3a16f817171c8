"""The composition root: a validated configuration in, a running gateway out. Everything is built here, only here."""

import math
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from gateway import jsonrpc, sdk
from gateway.access import configured
from gateway.access.admission import Admission
from gateway.access.entry import Authenticators
from gateway.access.in_flight import InFlight
from gateway.access.limits import Limits
from gateway.access.places import SessionQuota
from gateway.access.policy import Policy
from gateway.access.proxies import TrustedProxies
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
from gateway.config.models import Config, GatewaySettings, ServerConfig
from gateway.config.models.settings import is_loopback
from gateway.config.reload import Current, Reloader
from gateway.config.reload.refreshing import SecretRefresher
from gateway.errors import ConfigError, GatewayError, InsufficientScope
from gateway.frontend.backlog import Backlogs, backlogs_of
from gateway.frontend.connections import bounds_of
from gateway.frontend.guard import Guard
from gateway.frontend.http import HttpFront, Rest, serves_mcp
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.listener import HttpListener
from gateway.frontend.overload import Overload
from gateway.frontend.relay import SessionRelay
from gateway.frontend.session_ids import SessionIds
from gateway.frontend.sessions import Sessions
from gateway.frontend.sse import LegacySse
from gateway.frontend.stdio import serve_stdio
from gateway.frontend.streamable import Streamable
from gateway.frontend.tls import ServerTls
from gateway.instruments import tool_of, watch_gateway, watch_http
from gateway.logins.document import LOOPBACK_PATH, published
from gateway.logins.links import ConnectLinks
from gateway.logins.logins import Logins, keeps_logins
from gateway.node_group import NodeGroup
from gateway.pipeline import Pipeline
from gateway.request import ANONYMOUS, Principal
from gateway.rest import fail, metrics_app, rest_app
from gateway.server.agents import ConnectedAgent
from gateway.server.drain import LAST_WORD_SECONDS, Drain
from gateway.server.methods import Server
from gateway.signals import asked_to_stop
from gateway.store import node, owners, pins, secret, session_file
from gateway.store.conversations import Conversations
from gateway.store.results import KeptResults
from gateway.store.session_file import SessionFile
from gateway.store.shared_sessions import SharedSessionRecords
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
    from gateway.logins.connecting import Connecting
    from gateway.logins.vault import Vault
    from gateway.rest.connect import ConnectPages
    from gateway.telemetry.span_export import Exporting
    from gateway.workers.membership import Membership

log = structlog.stdlib.get_logger("gateway")

INTRODUCTION_SECONDS: Final = 1.0
"""How long upstreams are kept waiting for the one agent's first words."""


class Gateway:
    """All that serves agents, whatever front they come through. Use `running`.

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
        self._only = only
        self._timing = timing
        self._is_node = is_node
        self._entry: Authenticators | None = None
        self._draining = False
        self._guardian = Guardian(timing.upstream)
        self._manager = UpstreamManager(
            self._make_upstream, _is_same_server, self._inform_server, self._restore_subscriptions
        )
        self.upstreams = self._manager.serving
        self._access_log = AccessLog()
        self._audit = Auditing(config if is_node else None, has_stdout=only is None)
        by_tool = self._tool_of if settings.metrics.tools else None
        self._requests = requests = CallRecorder(self._access_log.write, by_tool, self._audit.on_call)
        self._activity = requests.activity
        self.metrics = Metrics(
            lambda: [each.health() for each in list(self.upstreams.values())], requests, settings.environment
        )
        self._workers = WorkerGroup(worker, self.current, self.upstreams, self.metrics, self._activity, self._load)
        self._reloader = self._reloader_for(reread) if reread is not None else None
        self._refresher = SecretRefresher(self.current, self._reloader.reload) if self._reloader is not None else None
        self.policy = Policy(configured.rules(config), configured.profiles(config))
        pin_file = settings.state_dir / pins.NAME
        self._pinning = Pinning(config.enabled, pin_file, self.metrics, self._audit.on_change, timing.catalogue)
        observe = self.metrics.limit_decided
        self._nodes = nodes = NodeGroup(config, self.upstreams, self._pinning, observe, is_node=is_node)
        self.store = nodes.store
        nodes.watch(self.metrics)
        self._conversations = Conversations(self.store)
        limiter = nodes.limiter or MemoryLimiter()
        self._limits = Limits(limiter, *configured.limits(config), self.metrics.limit_decided)
        self._owners = OwnersKeeper(settings.state_dir / owners.NAME, config.path, config.enabled, timing.catalogue)
        self.library = CatalogueViews(
            config.enabled, config.prefix, self._pinning, self._owners.owners, shapes_of(config)
        )
        self._state_keys = keys = settings.state_keys or [secret.load(settings.state_dir / "state.key")]
        self._logins = Logins(config, self._open_vault, self._record)
        seal = StateSeal(keys, timing=timing.bridge)
        self._parking = Parking(seal, self.store.node, timing.bridge)
        self._elsewhere = ParkedElsewhere(self._conversations, self._parking.resume)
        self._places = SessionQuota(settings.max_sessions, settings.max_sessions_per_principal)
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
            self._places,
            KeptResults(self.store, settings.results),
        )
        for name, server in config.enabled.items():
            self._manager.add(name, server, self._snapshots.listing(name, server))
            if self._snapshots.was_away(name, server):
                self.upstreams[name].settled.set()
        self._take_up_listings()
        self._drain = Drain()
        cap, cap_each = settings.max_requests, settings.max_requests_per_principal
        self._in_flight = InFlight(cap, cap_each, self.metrics.limit_decided)
        server = self.server
        watch_gateway(
            self.metrics, self._places, self._in_flight, self._parking, self.library, self.policy, server.results
        )
        self.metrics.watch(families.AUDIT_TROUBLE, self._audit.trouble)
        self._is_traced = is_node and tracing.is_on(settings)
        self.pipeline = Pipeline(
            calls=self._drain,
            admission=Admission(self._in_flight, self._limits, self._lacks_scope, self._audit.check, nodes.slots),
            requests=requests,
            own_methods=server.methods,
            targets=server.targets,
            lookup=server.lookup,
            limits=self._limits,
            log_messages=server.log_messages,
            bridge=Bridge(seal, self._parking, self._elsewhere if settings.store is not None else None, timing.bridge),
            results=server.results,
            dress=server.dress,
        )
        server.tasks.forward = self.pipeline.forward
        self.handle = self.pipeline.serve

    def _record(self, what: str, *args: Any, **fields: Any) -> None:
        self._audit.on_change(what, *args, **fields)

    def _take_up_listings(self) -> None:
        self.library.update([(name, upstream.listing) for name, upstream in self.upstreams.items()])
        self.library.reconsider()

    def _open_vault(self) -> "Vault":
        from gateway.logins.opening import open_vault

        settings = self.current.config.gateway
        if (own := self._workers.logins) is not None:
            return open_vault(settings.model_copy(update=own))
        return open_vault(settings, self._nodes.logins, self._state_keys)

    def _make_upstream(self, name: str, server: ServerConfig, listing: Listing | None) -> Upstream:
        tally, credentials = self.metrics.tally(name), self._logins.source(name, server)
        only, host = self._only, self._workers.host
        upstream = Upstream(
            name,
            server,
            self.server,
            self._guardian,
            listing,
            only,
            tally,
            credentials,
            host,
            self._timing.upstream,
            self._read_resource,
        )
        upstream.peers = self._nodes.peers
        if self._refresher is not None:
            upstream.on_unauthorized = self._refresher.on_unauthorized
        return upstream

    async def _read_resource(self, call: Call, uri: str) -> dict[str, Any]:
        """What a resource holds that an argument of a call links to: a request of its agent's like any other."""
        reading = Call(call.id, "resources/read", {"uri": uri}, call.agent, _tell_nobody, sender=call.principal)
        return jsonrpc.opened(await self.pipeline.serve(reading))

    # --- Fronts -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, start: anyio.Event | None = None) -> "AsyncGenerator[TaskGroup]":
        """Run the upstreams; yields the task group that fronts may use. Leaves nothing behind.

        Args:
            start: waited for a little before the upstreams are started, if given.
        """
        exporting = await self._start_tracing()
        try:
            async with anyio.create_task_group() as tg:
                if await self._nodes.start(tg, lambda: self._judge_anew(tg)):
                    self._take_up_listings()
                if self._reloader is not None:
                    await tg.start(self._reloader.run, self._manager.runs)
                if self._refresher is not None:
                    tg.start_soon(self._refresher.run)
                tg.start_soon(self._audit.run)
                tg.start_soon(self._guardian.run)
                tg.start_soon(self._logins.run)
                tg.start_soon(self._run_upstreams, start)
                tg.start_soon(self.server.run)
                tg.start_soon(self._parking.run)
                if self.current.config.gateway.store is not None:
                    tg.start_soon(self._conversations.run)
                    tg.start_soon(self._elsewhere.run)
                tg.start_soon(self._snapshots.run)
                tg.start_soon(self._pinning.run, lambda: self._judge_anew(tg))
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
                await self._guardian.aclose()
                await self._pinning.save()
                if self._is_node:
                    await self._owners.save()
                await self._snapshots.aclose()
                await self._audit.aclose()

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

    async def stdio(self) -> None:
        """Serve the one agent on stdin and stdout until it leaves or a signal ends us."""
        assert self._only is not None
        self._guardian.own_process()
        overload = Overload(math.inf, self.current.config.gateway.max_memory, self.metrics.limit_decided)
        introduced = anyio.Event()  # then it is known what the agent can be asked, which upstreams hear but once
        async with asked_to_stop() as stop, self.running(introduced) as tg:
            if keeps_logins(self.current.config):
                await self._serve_desk(tg)
            tg.start_soon(overload.run)
            server = self.server
            await serve_stdio(
                self.current.config.gateway,
                self._only,
                self.handle,
                server.open,
                server.close,
                server.hear,
                introduced.set,
                self._finish,
                stop,
                overload.check,
            )

    async def http(self, on_listening: Callable[[str], None] = lambda url: None) -> None:
        """Serve HTTP until a signal ends us.

        Args:
            on_listening: told the base URL once connections are accepted.

        Raises:
            ConfigError: an address cannot be listened on, or a file of keys not be used; nothing was started.
        """
        self._guardian.own_process()
        settings, server = self.current.config.gateway, self.server
        count = self._limits.count_notification
        waiting, kept = backlogs_of(settings), backlogs_of(settings)
        sse = LegacySse(
            settings=settings,
            handle=self.handle,
            on_open=server.open,
            on_close=server.close,
            on_notification=server.hear,
            places=self._places,
            in_flight=self._in_flight,
            count_notification=count,
            waiting=waiting,
            store=self.store if settings.store is not None else None,
        )

        proxies = TrustedProxies(settings.trusted_proxies)

        def on_refused(request: HttpRequest, error: GatewayError) -> None:
            if self._audit.on_error is not None:
                self._audit.on_error(request, error)
            if serves_mcp(request.path.rstrip("/")):
                address = proxies.origin(request.address, request.headers.get("x-forwarded-for"))
                self._requests.refused(request, f"{request.method} {request.path}", address, request.user, error)

        def on_revoked(principals: frozenset[str]) -> None:
            self._audit.on_change("revoked", principals=sorted(principals))
            server.end_streams(principals)
            self._parking.end_those_of(principals)
            self._drain.end_those_of(principals)
            self._logins.end_those_of(principals)
            sse.close_those_of(principals)
            tg.start_soon(sessions.close_those_of, principals)

        self._entry = entry = await anyio.to_thread.run_sync(self._open_entry, on_revoked)
        bounds, metrics = bounds_of(settings), settings.metrics
        tls = await anyio.to_thread.run_sync(ServerTls, settings.tls) if settings.tls is not None else None
        arrivals = self._workers.arrivals
        listener = HttpListener(
            settings.host, settings.port, bounds, waiting, tls, arrivals(0, tls), self._timing.front
        )
        watch_http(self.metrics, listener, waiting)
        aside: HttpListener | None = None
        if metrics.host is not None:
            aside = HttpListener(
                metrics.host, metrics.port, bounds, waiting, arrivals=arrivals(1), timing=self._timing.front
            )
        links = self._logins.links = ConnectLinks(self._state_keys, settings.public_url or _local_url(settings))
        async with asked_to_stop() as stop, self.running() as tg:
            connecting, pages = await anyio.to_thread.run_sync(self._build_pages, entry, links)
            rest = await anyio.to_thread.run_sync(self._build_rest, entry, connecting)
            await anyio.to_thread.run_sync(sdk.load)  # before anybody is there who would notice
            sessions = await anyio.to_thread.run_sync(self._sessions, kept, tg)
            facts = server.session_facts
            facts.note, facts.note_soon, facts.node = sessions.note, sessions.note_soon, self.store.node
            streamable = Streamable(
                settings=settings,
                handle=self.handle,
                sessions=sessions,
                in_flight=self._in_flight,
                count_notification=count,
                on_notification=server.hear,
                tasks=tg,
                waiting=waiting,
            )
            overload = Overload(settings.max_lag, settings.max_memory, self.metrics.limit_decided)
            self.metrics.histogram(families.LOOP_LAG, overload.lag)
            public = urlsplit(settings.public_url or "")
            hosts = [settings.host, *filter(None, [public.netloc]), *settings.allowed_hosts]
            origins = [f"{public.scheme}://{public.netloc}"] if public.netloc else []
            guard = Guard(hosts, [*origins, *settings.allowed_origins])
            front = HttpFront(
                guard=guard,
                overload=overload,
                recognise=entry.recognise,
                authenticate=entry.authenticate,
                policy=self.policy,
                has_view=server.has_view,
                has_view_now=self.library.has,
                streamable=streamable,
                sse=sse,
                rest=rest,
                fail_rest=fail,
                resource_metadata=entry.resource_metadata,
                proxies=proxies,
                on_refused=on_refused,
                published=published(settings.public_url),
                pages=pages,
            )
            tg.start_soon(overload.run)
            tg.start_soon(entry.run)
            tg.start_soon(sessions.run)
            if tls is not None:
                tg.start_soon(tls.follow)
            if aside is not None:
                await tg.start(aside.serve, metrics_app(self.metrics, guard), fail)
            await tg.start(listener.serve, front, front.fail)
            if links.address is None and is_loopback(settings.host):
                links.address = listener.url
            await self._workers.begin(tg)
            on_listening(listener.url)
            await stop.wait()
            await self._leave(listener, sessions, sse)

    def _sessions(self, kept: Backlogs, tasks: TaskGroup) -> Sessions:
        settings, store = self.current.config.gateway, self.store
        shared = settings.store is not None
        ids = SessionIds(self._state_keys, store.now if shared else time.time)
        file = settings.state_dir / session_file.NAME
        records = SharedSessionRecords(store) if shared else SessionFile(file)
        self.server.tasks.list.records = records
        here = node.of(store) if shared else node.identify(settings.state_dir)
        idle, lifetime = settings.session_idle_timeout, settings.session_lifetime
        front = self._timing.front
        sessions = Sessions(self._places, idle, lifetime, self.server, ids, records, here, kept.open, tasks, front)
        if shared:
            apply = self.server.session_facts.apply
            sessions.relay = SessionRelay(store, self._conversations, sessions.find, apply, tasks)
        return sessions

    def _load(self) -> tuple[int, int]:
        """How many sessions are open, and how many requests in flight."""
        return self._places.total, self._in_flight.total

    def _tool_of(self, call: Call) -> str | None:
        return tool_of(self.library, call)

    def _open_entry(self, on_revoked: Callable[[frozenset[str]], None]) -> Authenticators:
        settings = self.current.config.gateway
        loopback = is_loopback(settings.host)
        return Authenticators(
            settings,
            loopback=loopback,
            on_revoked=on_revoked,
            observe=self.metrics.limit_decided,
            registered=self._nodes.agents(),
            on_change=self._audit.on_change,
            on_accepted=self._logins.subjects.note,
        )

    def _build_pages(self, entry: Authenticators, links: ConnectLinks) -> "tuple[Connecting, ConnectPages]":
        from gateway.logins.connecting import Connecting
        from gateway.logins.sign_in import SignIn
        from gateway.rest.connect import ConnectPages

        connecting = Connecting(
            self._logins,
            self.store,
            lambda: self.current.config.enabled,
            lambda principal, server: self.policy.grant(principal).sees_upstream(server),
            self._record,
            asks_key=self.current.config.gateway.auth.enabled,
        )
        oauth, sign_in = self.current.config.gateway.auth.oauth, None
        if oauth is not None and oauth.sign_in is not None and connecting.asks_key:
            sign_in = SignIn(oauth, entry.identify, self._state_keys)
        pages = ConnectPages(connecting, links, entry.authenticate, self._limits.count, sign_in, entry.attempt)
        return connecting, pages

    async def _serve_desk(self, tasks: TaskGroup) -> None:
        """Serve the pages to log in on, on this machine alone."""
        from gateway.rest.desk import DeskPages

        links = self._logins.links = ConnectLinks(self._state_keys, None)
        links.is_desk = True
        listener = HttpListener("127.0.0.1", 0, bounds_of(self.current.config.gateway))
        await tasks.start(listener.serve, DeskPages(lambda: self._build_desk_pages(links)), fail)
        links.address = listener.url

    def _build_desk_pages(self, links: ConnectLinks) -> "ConnectPages":
        from gateway.logins.connecting import Connecting
        from gateway.rest.connect import ConnectPages

        async def somebody(headers: Mapping[str, str], address: str) -> Principal:
            return ANONYMOUS

        connecting = Connecting(
            self._logins,
            self.store,
            lambda: self.current.config.enabled,
            lambda principal, server: True,
            self._record,
            callback=LOOPBACK_PATH,
            asks_key=False,
        )
        return ConnectPages(connecting, links, somebody, self._limits.count)

    def _build_rest(self, entry: Authenticators, connecting: "Connecting") -> Rest:
        return rest_app(
            self.current,
            self.upstreams,
            self.library,
            self.policy,
            self.metrics,
            entry.agents,
            restart=self._workers.restart,
            count=self._limits.count,
            is_draining=lambda: self._draining,
            lacks_scope=entry.lacks_scope,
            changes=replace(self._audit.changes, on_log_level=self._workers.tell_log_level),
            activity=self._activity,
            load=self._load,
            connecting=connecting,
        )

    def _lacks_scope(self, call: Call, needed: Collection[str]) -> GatewayError:
        if self._entry is None:
            return InsufficientScope(needed)
        return self._entry.lacks_scope(call.principal, needed, call.agent)

    # --- Reload and drain ---------------------------------------------------------------------------------------------

    def _reloader_for(self, reread: Callable[[], Config]) -> Reloader:
        def usable() -> Config:
            config = reread()
            try:
                self._pinning.check(config.enabled)
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
            self._audit.on_change,
        )

    async def _reread_keys(self) -> None:
        logs.reopen()
        if self._entry is not None:
            await self._entry.reload()

    async def _prepare(self, config: Config) -> None:
        await self.server.prepare(config.enabled, config.prefix)

    def _apply(self) -> None:
        """Become what the configuration asks for. Nothing here waits, so nobody ever meets half of it."""
        config = self.current.config
        logs.configure_for(config)
        self._audit.use(config)
        self._limits.use(*configured.limits(config))
        self._pinning.use(config.enabled)
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
        news = OwnPinNews(self.store, self._pinning.own, lambda: self._judge_anew(tasks))

        def on_logged_out(name: str, root: str) -> None:
            if (server := self.current.config.enabled.get(name)) is not None:
                tasks.start_soon(news.logged_out, server, name, root)

        self._logins.on_logged_out = on_logged_out

    async def _on_pins(self) -> None:
        """Somebody approved something: what upstreams offer is judged anew."""
        for upstream in list(self.upstreams.values()):
            await self.server.on_listing(upstream, ())

    async def _leave(self, listener: HttpListener, sessions: Sessions, sse: LegacySse) -> None:
        """Stop serving HTTP. Whoever sends us traffic is told first, and sockets are closed last."""
        settings = self.current.config.gateway
        self._draining = True
        log.info("draining", drain_delay=settings.drain_delay)
        self._workers.leaving(settings.drain_delay + settings.drain_timeout)
        await anyio.sleep(settings.drain_delay)
        latest = anyio.current_time() + settings.drain_timeout
        await listener.refuse()
        await self._finish()
        await listener.close_idle()
        await self._drain.wait(max(0.0, latest - anyio.current_time()))  # for what was on its way until now
        sessions.shut()
        sse.shut()
        await listener.close(latest - anyio.current_time() + LAST_WORD_SECONDS)
        await self._workers.leave()

    async def _finish(self) -> None:
        """Let what is in flight finish, but for what waits for an agent or for news: that would wait for ever."""
        log.info("stopping", in_flight=len(self._drain))
        self.server.end_streams()
        self._parking.end_all()
        await self._drain.wait(self.current.config.gateway.drain_timeout)


def _local_url(settings: GatewaySettings) -> str | None:
    """Where a gateway is reached that listens to this machine only, if that is known beforehand."""
    if not settings.port or not is_loopback(settings.host):
        return None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.tls is None else 'https'}://{host}:{settings.port}"


def _tell_nobody(method: str, params: dict[str, Any] | None) -> None:
    """Nobody hears of its progress."""


def _is_same_server(one: ServerConfig, other: ServerConfig) -> bool:
    return fingerprint(one) == fingerprint(other)
