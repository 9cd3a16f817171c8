"""One upstream: what is asked of it, and its life. What it offers is in `offer.py`; its connections, in `links.py`."""

import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.abc import TaskGroup

from gateway.call import Call
from gateway.config.models import OutOfOrder, ServerConfig
from gateway.errors import GatewayError, MethodNotFound, UpstreamUnavailable
from gateway.protocol import CHANGE_NOTIFICATIONS, Era
from gateway.request import Agent, Notify
from gateway.telemetry.cells import Tally
from gateway.telemetry.health import Health
from gateway.upstream.audience import Audience
from gateway.upstream.breaker import Breaker
from gateway.upstream.breakers import Breakers
from gateway.upstream.credentials import CredentialSource
from gateway.upstream.guardian import Guardian
from gateway.upstream.learning import Learning
from gateway.upstream.limiter import ConcurrencyLimiter, Lease
from gateway.upstream.link import TROUBLED, Link, State, Status
from gateway.upstream.links import UpstreamLinks
from gateway.upstream.listing import Listing, LoginListing
from gateway.upstream.observer import Observer
from gateway.upstream.offer import Offer
from gateway.upstream.permit import BreakerPermit
from gateway.upstream.reports import UpstreamReports
from gateway.upstream.retry import RetryBudget
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.watch import Watch

if TYPE_CHECKING:
    from gateway.upstream.api.source import ApiSource
    from gateway.upstream.own_subscriptions import OwnSubscriptions
    from gateway.upstream.peers import Peers
    from gateway.upstream.session import Negotiated, UpstreamSession
    from gateway.upstream.transport.api import ReadResource
    from gateway.upstream.transport.pending import CallOptions

_KINDS: Final = {
    **{kind: kind for kind in ("tools", "resources", "prompts", "skills")},
    "resource_templates": "templates",
}
"""What it lists → the field of its listing."""


class Upstream:
    """A supervised upstream.

    Args:
        observer: told what happens at it.
        listing: what it offered when last seen (the snapshot), or None.
        only: the one client of the whole gateway, where there is but one (stdio).
        tally: where it is counted.
        credentials: what its connections prove themselves with; None if they need not.
        host: the socket of what runs programs for all workers, where there are several.
        read_resource: reads what a call's argument links to, as its agent may.
    """

    def __init__(
        self,
        name: str,
        config: ServerConfig,
        observer: Observer,
        guardian: Guardian,
        listing: Listing | None = None,
        only: Agent | None = None,
        tally: Tally | None = None,
        credentials: CredentialSource | None = None,
        host: Path | None = None,
        timing: UpstreamTiming = USUAL,
        read_resource: "ReadResource | None" = None,
    ) -> None:
        self.name = name
        self.config = config
        self.timing = timing
        self.observer = observer
        self.api = _api_source(name, config)
        """The document that it is made of, where it is an HTTP API."""
        self.tally = tally if tally is not None else Tally()
        self.peers: Peers | None = None
        """Tells other nodes, where there are any."""
        self.on_unauthorized: Callable[[str], None] = lambda name: None
        """Told its name whenever it says that our credentials are not good."""
        self.successor: Upstream | None = None
        """What takes its place as soon as it is ready, after a change of the configuration."""
        self.tasks: TaskGroup | None = None
        """What lives as long as it does, while it runs."""
        self.calls: dict[Call, None] = {}
        """The agents' calls that it is at work on, the latest last."""
        self.retry_budget = RetryBudget()
        self._began = time.monotonic()
        self._life = anyio.CancelScope()
        self._changed: anyio.Event | None = None
        """There while somebody waits for a change."""
        self._engagements = 0
        self._limiter = ConcurrencyLimiter(config.max_concurrency, config.max_queue)
        self.is_limited = config.max_concurrency is not None
        """Whether it works on so many calls at a time and no more. If not, they need no lease."""
        self.reports = UpstreamReports(name, lambda: self.links.main.session is not None)
        self._breakers = breakers = Breakers(self.new_breaker, self.reports.breaker, self._on_shared_breaker)
        host = host if config.type == "stdio" and not config.per_worker else None
        self.is_hosted = host is not None
        """Whether its program is one of all workers."""
        lazy = config.lazy and listing is not None
        self.links = links = UpstreamLinks(self, breakers, guardian, only, credentials, host, read_resource, lazy=lazy)
        self.offer = offer = Offer(self, links, listing)
        self.watch = watch = Watch(self)
        self.learning = Learning(self)
        # What is asked of a part is the part's own. Some of it is asked from everywhere. (CPython is quick with objects
        # of at most 30 attributes.)
        self.settled, self.is_stale = offer.settled, offer.is_stale
        self.want, self.freshen = watch.want, watch.freshen

    # --- What is known of it ----------------------------------------------------------------------------------------

    @property
    def listing(self) -> Listing | None:
        """What it offers now; None when nothing is known, or it has been away for longer than `grace`."""
        return self.offer.listing

    @property
    def known(self) -> Listing | None:
        """What it offered when last seen, however long ago."""
        return self.offer.known

    @property
    def agreed(self) -> "Negotiated | None":
        """What was agreed on with it last."""
        return self.links.agreed

    @property
    def status(self) -> Status:
        return self.links.main.status if self.links.has_main else Status(State.READY)

    def own_status(self, root: str) -> Status:
        """How it is for a principal (the id of its root) that has a login of their own there."""
        own = [link.status for link in self.links.private.of_tenant(root) if link.status.state in TROUBLED]
        return own[-1] if own else Status(State.READY)

    @property
    def own_subscriptions(self) -> "OwnSubscriptions | None":
        """How each principal is subscribed who has a login of their own; None where all share a connection."""
        own = self.offer.own
        return own.subscriptions if own is not None and self.has_own_lists else None

    def own_label(self, root: str) -> str | None:
        """Under which label stands what it lists for a principal that has a login of their own there."""
        own = self.offer.own
        return own.label_for(root) if own is not None and self.has_own_lists else None

    @property
    def has_own_lists(self) -> bool:
        """Whether only who has logged in for themselves is told what it offers."""
        return self.links.has_own_lists

    @property
    def logs_in(self) -> bool:
        """Whether somebody can log in there by a tool of the gateway's own."""
        return isinstance(self.listing, LoginListing)

    @property
    def breaker(self) -> Breaker:
        """What applies to all."""
        return self._breakers.shown

    @property
    def is_ready(self) -> bool:
        """Whether calls can be sent to it. A lazy one that rests is: the first call starts it."""
        state = self.status.state
        return state in (State.READY, State.DEGRADED) or (state is State.STOPPED and self.config.lazy)

    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._began

    def unavailable(self) -> UpstreamUnavailable:
        """Why nothing can be had of it now."""
        if self.known is None and self.links.main.session is not None:
            return UpstreamUnavailable(self.name, State.STARTING.value, "what it offers is not known yet")
        return self.links.main.unavailable()

    def tool(self, name: str) -> Mapping[str, Any] | None:
        """Its description of a tool, by its own name."""
        tools = self.known.tools if self.known is not None else ()
        return next((tool for tool in tools if tool.get("name") == name), None)

    def in_flight(self) -> int:
        """How many requests await an answer, but for those that only the gateway itself makes."""
        return self.links.in_flight()

    def health(self) -> Health:
        """What metrics show of it."""
        state, breaker = self.status.state.value, self.breaker.state.value
        queued, listing = self._limiter.waiting, self.listing
        items = {kind: len(getattr(listing, field)) for kind, field in _KINDS.items()} if listing is not None else {}
        at_work = max(0, len(self.calls) - queued)
        return Health(self.name, state, breaker, self._breakers.openings, at_work, queued, items, self.tally)

    # --- Asking it --------------------------------------------------------------------------------------------------

    def enter(self, call: Call) -> None:
        """It begins to work on a call."""
        self.calls[call] = None

    def leave(self, call: Call) -> None:
        del self.calls[call]
        if call.lease is not None:  # it got one while it was at work
            call.lease.release()
            call.lease = None
        if self._changed is not None:
            self.pulse()

    def timeout(self, call: Call, params: Mapping[str, Any]) -> float:
        """Seconds it has for a call, without progress."""
        config = self.config
        if call.method == "tasks/result":
            return config.max_timeout  # it comes when the task is over
        if not config.timeouts:
            return config.timeout
        tool = params.get("name") if call.method == "tools/call" else None
        return config.timeout_of(tool if isinstance(tool, str) else None)

    def lease_now(self, tenant: str) -> Lease | None:
        """A place among the calls it works on, if one is to be had without waiting."""
        return Lease(self._limiter, tenant) if self._limiter.acquire_now(tenant) else None

    async def lease(self, tenant: str, patience: float) -> Lease:
        """As `lease_now`, waiting at most `patience` seconds.

        Raises:
            UpstreamUnavailable: too many wait already, or none was free in time.
        """
        began = time.monotonic()
        admitted = await self._limiter.acquire(patience, tenant)
        self.tally.queued.observe(time.monotonic() - began)
        if not admitted:
            reason = f"too many requests wait for one of its {self.config.max_concurrency} places"
            raise UpstreamUnavailable(self.name, "busy", reason)
        return Lease(self._limiter, tenant)

    def admit(self, link: Link, tenant: str, call: Call | None = None) -> BreakerPermit:
        """Let an attempt pass the breakers.

        Raises:
            CircuitOpen: one of them is open.
        """
        return BreakerPermit.of(link, self._breakers, tenant, call)

    def suspect(self, link: Link) -> None:
        """A request could not be delivered on a link that seems to be up."""
        if link is self.links.main:
            self.watch.suspect()

    async def ask(
        self, method: str, params: dict[str, Any], capabilities: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The raw result of a request of the gateway's own.

        Args:
            capabilities: what its client can do (modern only); default: what the session declared.

        Raises:
            GatewayError: the upstream's own error, or why there is no answer.
        """
        options: CallOptions = {"timeout": self.config.timeout}
        return await (await self._reach("")).request(method, params, options, capabilities=capabilities)

    async def listen(self, wanted: dict[str, Any], on_notification: Notify, call: Call) -> None:
        """A listen stream on behalf of one of an agent's, until it ends.

        Raises:
            MethodNotFound: the upstream knows no such streams.
            GatewayError: it refuses it, or is away.
        """
        session = await self._reach("")
        if session.era is not Era.MODERN:
            raise MethodNotFound("subscriptions/listen")
        session.connection.audience.used_by(call.principal.root_id)
        options: CallOptions = {"on_notification": on_notification}
        params = {"notifications": wanted}
        await session.request("subscriptions/listen", params, options, capabilities=call.agent.capabilities)

    async def era(self, agent: Agent | None = None) -> Era:
        """The era it speaks, which has to be found out first, for that agent, if it never was connected.

        Raises:
            UpstreamUnavailable, CircuitOpen: it is not connected, and never was.
        """
        if (agreed := self.links.agreed) is not None:
            return agreed.era
        if (own := self.offer.own) is not None and self.has_own_lists and agent is not None:
            if own.era is not None:
                return own.era
            async with self.own_session(agent, self.config.connect_timeout) as session:
                return session.era
        tenant = agent.opener.root_id if agent is not None else ""
        return (await self._reach(tenant)).era

    async def _reach(self, tenant: str) -> "UpstreamSession":
        """The session, as soon as there is one.

        Raises:
            CircuitOpen, UpstreamUnavailable: there is none.
        """
        link = self.links.main
        link.check()
        permit = self.admit(link, tenant)
        try:
            session = await link.ready(self.config.connect_timeout)
        except GatewayError as error:
            permit.failed(error)
            raise
        except BaseException:
            permit.abandon()
            raise
        permit.passed()
        return session

    # --- Logins (personal.py) ---------------------------------------------------------------------------------------

    async def meet(self, agent: Agent, patience: float) -> bool:
        """See `OwnListings.meet`."""
        own = self.offer.own
        return own is not None and self.has_own_lists and await own.meet(agent, patience)

    def label(self, agent: Agent) -> str | None:
        """See `Offer.label`."""
        return self.offer.label(agent)

    def last_label(self, agent: Agent) -> str | None:
        """Under which label stands what somebody saw who had a login of their own."""
        own = self.offer.own
        return own.last_label(agent) if own is not None and self.has_own_lists else None

    async def log_in(self, agent: Agent) -> None:
        """Have a login, and know what it offers with that.

        Raises:
            LoginNeeded: somebody has to log in first.
            GatewayError: it cannot be connected to.
        """
        credentials = self.links.credentials_of(agent)
        if credentials is not None:
            await credentials.prepare()
        if self.has_own_lists:
            await self.meet(agent, self.config.connect_timeout)
        else:
            await self._reach("")
            with anyio.move_on_after(self.config.connect_timeout):
                await self.until(lambda: self.offer.is_told)

    @asynccontextmanager
    async def own_session(self, agent: Agent, patience: float) -> "AsyncGenerator[UpstreamSession]":
        """A session of an agent's own.

        Raises:
            GatewayError: there is none.
        """
        private = await self.links.own(agent, "identity", patience)
        try:
            yield await private.link.ready(patience)
        finally:
            private.release()

    # --- Life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The owner of all its connections. Ends by cancellation or `stop`; leaves nothing behind."""
        with self._life:
            async with anyio.create_task_group() as self.tasks:
                if self.api is not None:
                    self.tasks.start_soon(self.api.run)
                if self.links.has_main:
                    self.tasks.start_soon(self.links.main.run)
                self.tasks.start_soon(self.links.private.run)
                if self.offer.own is not None:
                    self.offer.own.subscriptions.start()

    def expect_again(self) -> None:
        """What is known of what it offers does not count: it has not settled until it has spoken, or failed, anew. One
        that has nothing for all has nothing to say."""
        if self.has_own_lists:
            return
        self.settled = self.offer.settled = anyio.Event()

    def stop(self) -> None:
        """Disconnect for good: `run` ends, and what is in flight fails."""
        self._life.cancel()
        self.settled.set()
        self.pulse()

    def adjust(self, config: ServerConfig) -> None:
        """Take up a configuration that asks for no other connection (`config.diff.LIVE_KEYS`)."""
        self.config = config
        was_limited, self.is_limited = self.is_limited, config.max_concurrency is not None
        self._limiter.resize(config.max_concurrency, config.max_queue)
        if self.is_limited and not was_limited:
            self._count_those_at_work()
        self.links.private.cap = config.max_sessions

    def _count_those_at_work(self) -> None:
        """There are so many places from now on; those who are at work hold one, even if there are more of them. Who
        waits for an agent, or for a task, is not at work."""
        for call in self.calls:
            if call.lease is None and not call.questions and call.method != "tasks/result":
                call.lease = Lease(self._limiter, tenant := call.principal.root_id)
                self._limiter.reacquire(tenant)

    def restart(self) -> None:
        """Close the main connection and open it anew; with none, try now. Where all are somebody's own, each is opened
        anew when it is needed."""
        main = self.links.main
        for link in self.links.private.links if not self.links.has_main else []:
            if link.session is not None:
                link.session.connection.restart()
            link.rest("it was restarted")
        if main.session is not None:
            main.session.connection.restart()
        main.rest("it was restarted")
        main.wake()

    def wake(self) -> None:
        self.links.main.wake()

    def release(self, agent_id: str) -> None:
        """That agent has gone: close what was its own."""
        self.learning.release(agent_id)
        self.links.release(agent_id)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds that depends on its state, on what it offers, or on who is engaged with it."""
        while not condition():
            if self._changed is None:
                self._changed = anyio.Event()
            await self._changed.wait()

    def pulse(self) -> None:
        """Something changed that somebody may wait for."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    @contextmanager
    def engaged(self) -> Generator[None]:
        """While somebody is in the middle of something with it: draining waits for that."""
        self._engagements += 1
        try:
            yield
        finally:
            self._engagements -= 1
            self.pulse()

    async def drain(self, patience: float) -> None:
        """Wait until nobody is engaged with it any more, for at most `patience` seconds."""
        with anyio.move_on_after(patience):
            await self.until(lambda: not self._engagements and not self.calls)

    def on_status(self, status: Status) -> None:
        """The connection that all share has another state."""
        self.reports.status(status)
        self.links.reconsider()
        self.pulse()
        if status.state is State.OUT_OF_ORDER:
            self.offer.withdraw()
        elif status.state in (State.BACKING_OFF, State.LOGIN_NEEDED):
            self.tally.failures += status.state is State.BACKING_OFF
            if status.state is State.LOGIN_NEEDED:
                self.offer.login_needed()
            self.offer.lost()

    def new_breaker(self, on_change: Callable[[Breaker], None]) -> Breaker:
        config = self.config.breaker
        return Breaker(config.failures, config.window, config.cooldown, on_change)

    def _on_shared_breaker(self, breaker: Breaker) -> None:
        if self.peers is not None:
            self.peers.breaker_changed(self, breaker)

    # --- What it says unasked (hearing.ListenStream) ------------------------------------------------------------------

    def on_message(self, method: str, params: dict[str, Any], audience: Audience) -> None:
        if method in CHANGE_NOTIFICATIONS.values():
            self.watch.on_changed(method)
            if self.peers is not None:
                self.peers.list_changed(self, method)
        elif method == "notifications/resources/updated":
            if isinstance(uri := params.get("uri"), str):
                self.observer.on_resource_updated(self.name, uri, audience)
        else:
            self.observer.on_message(self.name, method, params, audience)

    def on_noise(self, text: str) -> None:
        self.reports.noise(text)

    # --- What other nodes say of it (peers) ---------------------------------------------------------------------------

    def on_peer_change(self, method: str) -> None:
        """Another node heard that one of its lists changed."""
        self.watch.on_changed(method)

    def on_peer_breaker(self, wait: float | None) -> None:
        """Another node leaves it alone for so many seconds; None if it works again."""
        self._breakers.shared.hint(anyio.current_time(), wait)


def _api_source(name: str, config: ServerConfig) -> "ApiSource | None":
    if config.type != "openapi" or isinstance(config, OutOfOrder):
        return None
    from gateway.upstream.api.source import ApiSource

    return ApiSource(name, config)
