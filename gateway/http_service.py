"""A gateway served over HTTP: what is built for that alone, from taking the address to the last answer."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from gateway import sdk
from gateway.access.entry import Authenticators
from gateway.access.proxies import TrustedProxies
from gateway.app import Gateway
from gateway.config.models import GatewaySettings, OAuthSettings
from gateway.config.models.settings import is_loopback
from gateway.errors import GatewayError
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
from gateway.frontend.streamable import Streamable
from gateway.frontend.tls import ServerTls
from gateway.instruments import watch_http
from gateway.logins.document import CALLBACK_PATH, published
from gateway.logins.links import ConnectLinks
from gateway.rest import fail, metrics_app, rest_app
from gateway.rest.late_pages import LatePages
from gateway.server.drain import LAST_WORD_SECONDS
from gateway.signals import asked_to_stop
from gateway.store import node, session_file
from gateway.store.session_file import SessionFile
from gateway.store.shared_sessions import SharedSessionRecords
from gateway.telemetry import families

if TYPE_CHECKING:
    from gateway.logins.connecting import Connecting
    from gateway.rest.connect import ConnectPages

log = structlog.stdlib.get_logger("gateway")


class HttpService:
    """Use `serve`, once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._settings = settings = gateway.current.config.gateway
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._waiting = backlogs_of(settings)
        self._is_draining = False
        self._sessions: Sessions | None = None
        self._tasks: TaskGroup | None = None
        self._sse = LegacySse(
            settings=settings,
            handle=gateway.handle,
            on_open=gateway.server.open,
            on_close=gateway.server.close,
            on_notification=gateway.server.hear,
            places=gateway.places,
            in_flight=gateway.in_flight,
            count_notification=gateway.limits.count_notification,
            waiting=self._waiting,
            store=gateway.store if settings.store is not None else None,
        )

    async def serve(self, on_listening: Callable[[str], None] = lambda url: None) -> None:
        """Serve until a signal ends us.

        Args:
            on_listening: told the base URL once connections are accepted.

        Raises:
            ConfigError: an address cannot be listened on, or a file of keys not be used; nothing was started.
        """
        gateway, settings = self._gateway, self._settings
        gateway.guardian.own_process()
        gateway.entry = entry = await anyio.to_thread.run_sync(self._open_entry)
        tls = await anyio.to_thread.run_sync(ServerTls, settings.tls) if settings.tls is not None else None
        listener, aside = self._take_addresses(tls)
        watch_http(gateway.metrics, listener, self._waiting)
        links = gateway.logins.links = ConnectLinks(gateway.state_keys, settings.public_url or _local_url(settings))
        async with asked_to_stop() as stop, gateway.running() as tg:
            signs_in = self._sign_in_settings() is not None
            pages = LatePages(lambda: self._build_pages(entry, links), CALLBACK_PATH, signs_in=signs_in)
            rest = self._build_rest(entry)
            await anyio.to_thread.run_sync(sdk.load)  # before anybody is there who would notice
            self._tasks = tg
            self._sessions = sessions = await anyio.to_thread.run_sync(self._open_sessions, backlogs_of(settings), tg)
            overload = Overload(settings.max_lag, settings.max_memory, gateway.metrics.limit_decided)
            gateway.metrics.histogram(families.LOOP_LAG, overload.lag)
            guard = _guard(settings)
            front = self._front(entry, sessions, overload, guard, rest, pages, tg)
            tg.start_soon(overload.run)
            tg.start_soon(entry.run)
            tg.start_soon(sessions.run)
            if tls is not None:
                tg.start_soon(tls.follow)
            if aside is not None:
                await tg.start(aside.serve, metrics_app(gateway.metrics, guard), fail)
            await tg.start(listener.serve, front, front.fail, self._on_connection_refused)
            if links.address is None and is_loopback(settings.host):
                links.address = listener.url
            await gateway.workers.begin(tg)
            on_listening(listener.url)
            await stop.wait()
            await self._leave(listener, sessions)

    def _take_addresses(self, tls: ServerTls | None) -> tuple[HttpListener, HttpListener | None]:
        """Whoever serves agents, and whoever serves metrics apart from them.

        Raises:
            ConfigError: an address cannot be had.
        """
        settings, metrics, waiting = self._settings, self._settings.metrics, self._waiting
        bounds, arrivals, timing = bounds_of(settings), self._gateway.workers.arrivals, self._gateway.timing.front
        listener = HttpListener(settings.host, settings.port, bounds, waiting, tls, arrivals(0, tls), timing)
        if metrics.host is None:
            return listener, None
        return listener, HttpListener(metrics.host, metrics.port, bounds, waiting, arrivals=arrivals(1), timing=timing)

    def _front(
        self,
        entry: Authenticators,
        sessions: Sessions,
        overload: Overload,
        guard: Guard,
        rest: Rest,
        pages: LatePages,
        tasks: TaskGroup,
    ) -> HttpFront:
        gateway, settings = self._gateway, self._settings
        streamable = Streamable(
            settings=settings,
            handle=gateway.handle,
            sessions=sessions,
            in_flight=gateway.in_flight,
            count_notification=gateway.limits.count_notification,
            on_notification=gateway.server.hear,
            tasks=tasks,
            waiting=self._waiting,
            on_refused=self._on_refused,
        )
        return HttpFront(
            guard=guard,
            overload=overload,
            recognise=entry.recognise,
            authenticate=entry.authenticate,
            policy=gateway.policy,
            has_view=gateway.server.has_view,
            has_view_now=gateway.library.has,
            streamable=streamable,
            sse=self._sse,
            rest=rest,
            fail_rest=fail,
            resource_metadata=entry.resource_metadata,
            proxies=self._proxies,
            on_refused=self._on_refused,
            published=published(settings.public_url),
            pages=pages,
        )

    def _on_connection_refused(self, address: str, request: HttpRequest | None, error: GatewayError) -> None:
        """A client went beyond a bound while its request arrived, whose head may not have been there yet."""
        if request is not None:
            self._on_refused(request, error)
        else:
            self._gateway.recorder.refused(None, None, address, None, error)

    def _on_refused(self, request: HttpRequest, error: GatewayError, status: int | None = None) -> None:
        """A request ended before it was a call."""
        if self._gateway.audit.on_error is not None:
            self._gateway.audit.on_error(request, error)
        if serves_mcp(request.path.rstrip("/")):
            address = self._proxies.origin(request.address, request.headers.get("x-forwarded-for"))
            what = f"{request.method} {request.path}"
            self._gateway.recorder.refused(request, what, address, request.user, error, status)

    def _on_revoked(self, principals: frozenset[str]) -> None:
        """What they have open ends."""
        gateway = self._gateway
        gateway.audit.on_change("revoked", principals=sorted(principals))
        gateway.server.end_streams(principals)
        gateway.parking.end_those_of(principals)
        gateway.drain.end_those_of(principals)
        gateway.logins.end_those_of(principals)
        self._sse.close_those_of(principals)
        if self._tasks is not None and self._sessions is not None:
            self._tasks.start_soon(self._sessions.close_those_of, principals)

    def _open_sessions(self, kept: Backlogs, tasks: TaskGroup) -> Sessions:
        gateway, settings, store = self._gateway, self._settings, self._gateway.store
        shared = settings.store is not None
        ids = SessionIds(gateway.state_keys, store.now if shared else time.time)
        file = settings.state_dir / session_file.NAME
        records = SharedSessionRecords(store) if shared else SessionFile(file)
        gateway.server.tasks.list.use(records, shared=bool(shared))
        here = node.of(store) if shared else node.identify(settings.state_dir)
        idle, lifetime = settings.session_idle_timeout, settings.session_lifetime
        front = gateway.timing.front
        sessions = Sessions(gateway.places, idle, lifetime, gateway.server, ids, records, here, kept.open, tasks, front)
        facts = gateway.server.session_facts
        facts.note, facts.note_soon, facts.node = sessions.note, sessions.note_soon, store.node
        if shared:
            sessions.relay = SessionRelay(store, gateway.conversations, sessions.find, facts.apply, tasks)
        return sessions

    def _open_entry(self) -> Authenticators:
        gateway, settings = self._gateway, self._settings
        return Authenticators(
            settings,
            loopback=is_loopback(settings.host),
            on_revoked=self._on_revoked,
            observe=gateway.metrics.limit_decided,
            registered=gateway.nodes.agents(),
            on_change=gateway.audit.on_change,
            on_accepted=gateway.logins.subjects.note,
        )

    def _sign_in_settings(self) -> OAuthSettings | None:
        """The issuer where people sign in on the pages, if they do."""
        auth = self._settings.auth
        return auth.oauth if auth.enabled and auth.oauth is not None and auth.oauth.sign_in is not None else None

    def _build_pages(self, entry: Authenticators, links: ConnectLinks) -> "ConnectPages":
        from gateway.logins.sign_in import SignIn
        from gateway.rest.connect import ConnectPages

        gateway, oauth = self._gateway, self._sign_in_settings()
        sign_in = SignIn(oauth, entry.identify, gateway.state_keys) if oauth is not None else None
        count = gateway.limits.count
        return ConnectPages(self._connecting(), links, entry.authenticate, count, sign_in, entry.attempt)

    def _connecting(self) -> "Connecting":
        from gateway.logins.connecting import Connecting

        gateway = self._gateway
        return Connecting(
            gateway.logins,
            gateway.store,
            lambda: gateway.current.config.enabled,
            lambda principal, server: gateway.policy.grant(principal).sees_upstream(server),
            gateway.record,
            asks_key=self._settings.auth.enabled,
        )

    def _build_rest(self, entry: Authenticators) -> Rest:
        gateway = self._gateway
        return rest_app(
            gateway.current,
            gateway.upstreams,
            gateway.library,
            gateway.policy,
            gateway.metrics,
            entry.agents,
            restart=gateway.workers.restart,
            count=gateway.limits.count,
            is_draining=lambda: self._is_draining,
            lacks_scope=entry.lacks_scope,
            changes=replace(gateway.audit.changes, on_log_level=gateway.workers.tell_log_level),
            activity=gateway.recorder.activity,
            load=gateway.load,
            connecting=self._connecting,
        )

    async def _leave(self, listener: HttpListener, sessions: Sessions) -> None:
        """Stop serving. Whoever sends us traffic is told first, and sockets are closed last."""
        gateway = self._gateway
        settings = gateway.current.config.gateway
        self._is_draining = True
        log.info("draining", drain_delay=settings.drain_delay)
        gateway.workers.leaving(settings.drain_delay + settings.drain_timeout)
        await anyio.sleep(settings.drain_delay)
        latest = anyio.current_time() + settings.drain_timeout
        await listener.refuse()
        await gateway.finish()
        await listener.close_idle()
        await gateway.drain.wait(max(0.0, latest - anyio.current_time()))  # for what was on its way until now
        sessions.shut()
        self._sse.shut()
        await listener.close(latest - anyio.current_time() + LAST_WORD_SECONDS)
        await gateway.workers.leave()


def _local_url(settings: GatewaySettings) -> str | None:
    """Where a gateway is reached that listens to this machine only, if that is known beforehand."""
    if not settings.port or not is_loopback(settings.host):
        return None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.tls is None else 'https'}://{host}:{settings.port}"


def _guard(settings: GatewaySettings) -> Guard:
    public = urlsplit(settings.public_url or "")
    hosts = [settings.host, *filter(None, [public.netloc]), *settings.allowed_hosts]
    origins = [f"{public.scheme}://{public.netloc}"] if public.netloc else []
    return Guard(hosts, [*origins, *settings.allowed_origins])
