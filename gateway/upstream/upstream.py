"""One upstream: its connections, what it offers, and the one way to ask it something."""

import time
from collections.abc import Callable, Collection, Generator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import anyio
import structlog
from anyio.abc import TaskGroup

from gateway.call import Call
from gateway.config.models import OutOfOrder, ServerConfig
from gateway.errors import GatewayError, UpstreamUnavailable
from gateway.protocol import CHANGE_NOTIFICATIONS, LIST_METHODS, Era
from gateway.request import Agent, Principal, is_askable
from gateway.telemetry.cells import Tally
from gateway.telemetry.health import Health
from gateway.upstream.audience import Audience
from gateway.upstream.breaker import Breaker, BreakerState
from gateway.upstream.breakers import Breakers
from gateway.upstream.connect import Connector
from gateway.upstream.credentials import Credentials, CredentialSource
from gateway.upstream.guardian import Guardian
from gateway.upstream.hearing import ConnectionHandler, ListenStream
from gateway.upstream.learning import Learning, OwnLists
from gateway.upstream.limiter import ConcurrencyLimiter, Lease
from gateway.upstream.link import TROUBLED, Link, State, Status
from gateway.upstream.listing import Listing
from gateway.upstream.permit import BreakerPermit
from gateway.upstream.private import PrivateLink, PrivateLinks, declared
from gateway.upstream.repetition import Repetition
from gateway.upstream.retry import RetryBudget
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.stderr import MAX_NOISE, BoundedLog, StderrLog
from gateway.upstream.variants import era_of, label_of, listing_for, rebased, used, varied
from gateway.upstream.watch import Watch

if TYPE_CHECKING:
    from gateway.upstream.api.source import ApiSource
    from gateway.upstream.peers import Peers
    from gateway.upstream.session import Negotiated, UpstreamSession
    from gateway.upstream.transport.api import ReadResource
    from gateway.upstream.transport.pending import CallOptions

log = structlog.stdlib.get_logger("gateway.upstream")

FOR_ALL: Final[Mapping[str, Any]] = {
    "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}
}
"""What we declare on behalf of agents of all kinds: what needs nothing of those that know nothing of it."""
ASKABLE: Final[Mapping[str, Any]] = {
    **FOR_ALL,
    "sampling": {},
    "elicitation": {"form": {}, "url": {}},
    "roots": {},
}
"""What we declare where clients share a session by the owner's wish; what one of them lacks, it is not asked."""

_KINDS: Final = {
    **{kind: kind for kind in ("tools", "resources", "prompts", "skills")},
    "resource_templates": "templates",
}
"""What it lists → the field of its listing."""

Isolation = Literal["shared", "identity", "session"]

_OWN: Final = LIST_METHODS.keys() | {"subscriptions/listen"}
"""What only the gateway itself asks an upstream."""


class Observer(Protocol):
    """Who is told what happens at an upstream. Called on the loop; must not block."""

    async def on_listing(self, upstream: "Upstream", announced: Collection[str]) -> None:
        """What it offers changed, or began or ceased to count; `announced` are the kinds of lists (`tools`, …) it said
        had changed, which need not be true."""
        ...

    def on_resource_updated(self, upstream: str, uri: str, audience: Audience) -> None:
        """The upstream says that a resource of its changed; `audience` is whom that may concern."""
        ...

    def on_message(self, upstream: str, method: str, params: dict[str, Any], audience: Audience) -> None:
        """Another notification that belongs to no request, such as a log message."""
        ...

    def on_own_process(self, upstream: str, agent: Agent) -> None:
        """A session is about to get a process of its own.

        Raises:
            StateGone: it had one before, at a node that is gone, and does not know that yet.
        """
        ...


class Upstream:
    """A supervised upstream.

    Args:
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
        self.api = _api_source(name, config)
        """The document that it is made of, where it is an HTTP API."""
        self._read_resource = read_resource
        self._credentials = credentials
        self.tally = tally if tally is not None else Tally()
        self.peers: Peers | None = None
        """Tells other nodes, where there are any."""
        self.on_unauthorized: Callable[[str], None] = lambda name: None
        """Told its name whenever it says that our credentials are not good."""
        self.successor: Upstream | None = None
        """What takes its place as soon as it is ready, after a change of the configuration."""
        self.agreed: Negotiated | None = None
        self.settled = anyio.Event()
        """Set once it is known what the upstream offers, or that it cannot be known now."""
        self._began = time.monotonic()
        self._observer = observer
        self._guardian = guardian
        self._listing = listing
        self._lost_at: float | None = None
        self._withdrawn = False
        self._untold = False
        """Whether the observer has yet to hear what it offers."""
        self._tasks: TaskGroup | None = None
        self._life = anyio.CancelScope()
        self._changed: anyio.Event | None = None
        """There while somebody waits for a change."""
        self._engagements = 0
        self._may_shake_hands = True
        """Whether an upstream that speaks the modern era may speak the other too; found out by who prefers that."""
        self._log_level: str | None = None
        self._noise = BoundedLog(self._on_noise, time.monotonic, MAX_NOISE)
        self._only = only
        self._said = Repetition()
        host = host if config.type == "stdio" and not config.per_worker else None
        self.is_hosted = host is not None
        """Whether its program is one of all workers."""
        shared = credentials.of(None) if credentials is not None else None
        self._connector = self._connector_for(
            self._declared,
            lambda: Audience(agent=only),
            self._main_era,
            shared,
            host=host,
        )
        self._main = Link(
            self._connector,
            self._serve,
            self._on_status,
            lazy=config.lazy and listing is not None,
            out_of_order=_out_of_order(config),
            on_refusal=self._on_refusal,
            timing=timing,
        )
        if shared is not None:
            self._main.on_end = shared.follow(self._main.on_login)
        self._given_isolation: Isolation | None = self._isolation_asked_for()
        self._private = PrivateLinks(name, self._private_link, config.max_sessions, timing)
        self._with_own_process = set[str]()
        """Ids of sessions."""
        self._learning = Learning(self)
        self._watch = Watch(self)
        self._breakers = Breakers(self._new_breaker, self._on_breaker, self._on_shared_breaker)
        self._limiter = ConcurrencyLimiter(config.max_concurrency, config.max_queue)
        self.retry_budget = RetryBudget()
        self.calls: dict[Call, None] = {}
        """The agents' calls that it is at work on, the latest last."""
        if listing is not None:
            self.settled.set()

    # --- What it offers ---------------------------------------------------------------------------------------------

    @property
    def listing(self) -> Listing | None:
        """What it offers now; None when nothing is known, or it has been away for longer than `grace`."""
        return None if self._withdrawn else self._listing

    @property
    def known(self) -> Listing | None:
        """What it offered when last seen, however long ago."""
        return self._listing

    @property
    def status(self) -> Status:
        return self._main.status

    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._began

    def expect_no_longer(self) -> None:
        """Nobody waits any more for a first word of what it offers; when it comes, everybody is told."""
        if not self.settled.is_set():
            self.settled.set()
            if self._tasks is not None:
                self._tasks.start_soon(self._observer.on_listing, self, ())

    def unavailable(self) -> UpstreamUnavailable:
        """Why nothing can be had of it now."""
        if self._listing is None and self._main.session is not None:
            return UpstreamUnavailable(self.name, State.STARTING.value, "what it offers is not known yet")
        return self._main.unavailable()

    def is_stale(self) -> bool:
        """Whether its lists have outlived the `ttlMs` they came with, and it would not have told us of a change."""
        ttl_ms = self._listing.ttl_ms if self._listing is not None else None
        if ttl_ms is None or self._main.session is None:
            return False
        return self._watch.is_older_than(max(ttl_ms / 1000, self.timing.min_ttl_seconds))

    def remember(self, listing: Listing) -> None:
        """What it offered when another node saw it last, if nothing is known here."""
        if self._listing is None:
            self._listing = listing
            self.settled.set()

    async def freshen(self, patience: float) -> None:
        """Have the lists fetched again; waits for that at most `patience` seconds."""
        await self._watch.freshen(patience)

    async def publish(self, listing: Listing, problems: Collection[str], announced: Collection[str] = ()) -> None:
        """A fresh listing is there. Waits until the observer has made something of it, for all upstreams' turns.

        Args:
            announced: the kinds of lists the upstream said had changed.
        """
        listing = replace(listing, label=label_of(Era.of(listing.version), self._declared()))
        if self._listing is not None:
            listing = replace(listing, variants=rebased(self._listing, listing))
        self._untold |= listing != self._listing or self._withdrawn
        self._listing = listing
        self._withdrawn = False
        self._pulse()
        self._main.degrade("; ".join(problems))
        for problem in problems:
            log.warning("upstream list incomplete", upstream=self.name, problem=problem)
        if self._untold or announced:
            await self._observer.on_listing(self, announced)
            self._untold = False
        self.settled.set()
        self._pulse()

    # --- What it offers to clients that declare something else (variants.py) ----------------------------------------

    @property
    def main_label(self) -> str:
        """That of its lists for those who share the main connection."""
        if self._listing is not None and self._listing.label:
            return self._listing.label
        return label_of(self._known_era() or Era.MODERN, self._declared())

    def label(self, agent: Agent) -> str | None:
        """Under which label stands what it lists for an agent, as far as is known; None where that is what it lists
        for all."""
        label = self._own_label(agent)
        if label is not None and not self._has_variant(label) and self._known_era() is Era.MODERN:
            return label_of(Era.MODERN, declared(agent))  # perhaps it speaks no other
        return label

    def _own_label(self, agent: Agent) -> str | None:
        """By the connection that the agent has, or would have."""
        era = self._known_era()
        if era is None:
            return None
        if self._isolation(agent, era) in (None, "shared"):
            if era is Era.HANDSHAKE and self._only is None:
                return None  # it knows of its one session's client only
            own = era
        else:
            shakes = era is Era.HANDSHAKE or (agent.era is Era.HANDSHAKE and self._may_shake_hands)
            own = Era.HANDSHAKE if shakes else Era.MODERN
        label = label_of(own, declared(agent))
        return label if label != self.main_label else None

    def note(self, agent: Agent) -> None:
        """Somebody is there for whom its lists may be others. If that is not known, it is found out meanwhile, by a
        connection that serves such an agent anyway."""
        known, session = self._listing, self._main.session
        if known is None or session is None or self._tasks is None:
            return
        label = self._own_label(agent)
        if label is None:
            return
        if label in known.variants and (era_of(label) is Era.HANDSHAKE or self._learning.is_fresh(label)):
            self._listing = used(known, label)
        elif self._learning.is_due(label):
            self._tasks.start_soon(self._learning.learn, label, agent)

    async def introduce(self, agent: Agent, label: str) -> float:
        """Have an upstream that is up say what it lists for an agent. Returns how many seconds that took.

        Raises:
            GatewayError: it could not be found out.
        """
        began, session, agreed = time.monotonic(), self._main.session, self.agreed
        if session is None or agreed is None or self._own_label(agent) != label:
            return 0.0
        isolation = self._isolation(agent, agreed.era)
        if isolation in (None, "shared"):
            await self._learning.over_main(session, agreed, label, agent.capabilities)
            return time.monotonic() - began
        if len(self._private.links) >= self._private.cap:
            return 0.0  # calls come first
        alone = self._connector.is_one_channel and is_askable(agent)
        private = await self._private.acquire(agent, isolation, 0.0, era=self._own_era(agent), alone=alone)
        link = private.link
        try:
            link.wake()
            with anyio.move_on_after(self.config.connect_timeout + self.config.timeout):
                await self.until(lambda: self._own_label(agent) != label or self._has_variant(label))
            took = time.monotonic() - began
            await anyio.sleep(self.timing.variant_linger_seconds)
            if not link.called:
                link.rest("only its lists were wanted")
            return took
        finally:
            private.release()

    async def publish_variant(self, label: str, other: Listing, kinds: Collection[str]) -> None:
        """These lists of it are known for clients of a label."""
        known = self._listing
        if known is None:
            return
        fresh = {kind: getattr(other, kind) for kind in kinds}
        listing = varied(known, label, replace(listing_for(known, label), **fresh))
        self._untold |= listing != known
        self._listing = listing
        self._pulse()
        if self._untold and not self._withdrawn:
            await self._observer.on_listing(self, ())
            self._untold = False

    async def relearn(self, session: "UpstreamSession", agreed: "Negotiated", kinds: Collection[str]) -> None:
        """Its main lists were fetched: so are those that clients got by the same connection."""
        await self._learning.again(session, agreed, kinds)

    def _has_variant(self, label: str) -> bool:
        return self._listing is not None and label in self._listing.variants

    def _known_era(self) -> Era | None:
        if self.agreed is not None:
            return self.agreed.era
        return Era.of(self._listing.version) if self._listing is not None else None

    # --- Asking it --------------------------------------------------------------------------------------------------

    def enter(self, call: Call) -> None:
        """It begins to work on a call."""
        self.calls[call] = None

    def leave(self, call: Call) -> None:
        del self.calls[call]
        if self._changed is not None:
            self._pulse()

    def timeout(self, call: Call, params: Mapping[str, Any]) -> float:
        """Seconds it has for a call, without progress."""
        tool = params.get("name") if call.method == "tools/call" else None
        return self.config.timeout_of(tool if isinstance(tool, str) else None)

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

    def link_now(self, agent: Agent) -> Link | None:
        """The connection that all share, if an agent is served by that; None if `link` must decide."""
        isolation = self._given_isolation
        if isolation is None and not agent.capabilities:
            return self._main  # nobody who could be asked anything
        if isolation or self._is_served_by_main(agent):
            return self._main if isolation in (None, "shared") else None
        if self.agreed is None or self._isolation(agent, self.agreed.era) is not None:
            return None
        return self._main

    async def link(self, agent: Agent, until: float) -> "Link | PrivateLink":
        """The connection that serves an agent. One of its own is released when the call is over.

        Args:
            until: when to give up waiting for one of its own that is in use, in the loop's time.

        Raises:
            GatewayError: there is none.
        """
        isolation = await self._isolation_for(agent)
        if isolation in (None, "shared"):
            return self._main
        if agent.lasting and agent.id not in self._with_own_process and self.config.command is not None:
            self._observer.on_own_process(self.name, agent)
            self._with_own_process.add(agent.id)
        # Where it does not show on whose behalf the upstream asks, nobody else may be at work beside it.
        alone = self._connector.is_one_channel and is_askable(agent)
        patience = max(0.0, until - anyio.current_time())
        return await self._private.acquire(agent, isolation, patience, era=self._own_era(agent), alone=alone)

    def credentials_of(self, agent: Agent) -> Credentials | None:
        """What the connection proves itself with that serves an agent."""
        return self._credentials.of(agent.opener) if self._credentials is not None else None

    def admit(self, link: Link, tenant: str, call: Call | None = None) -> BreakerPermit:
        """Let an attempt pass the breakers.

        Raises:
            CircuitOpen: one of them is open.
        """
        return BreakerPermit(link, self._breakers, tenant, call)

    def tool(self, name: str) -> Mapping[str, Any] | None:
        """Its description of a tool, by its own name."""
        tools = self._listing.tools if self._listing is not None else ()
        return next((tool for tool in tools if tool.get("name") == name), None)

    def suspect(self, link: Link) -> None:
        """A request could not be delivered on a link that seems to be up."""
        if link is self._main:
            self._watch.suspect()

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The raw result of a request of the gateway's own.

        Raises:
            GatewayError: the upstream's own error, or why there is no answer.
        """
        options: CallOptions = {"timeout": self.config.timeout}
        return await (await self._reach("")).forward(method, params, options)

    async def _reach(self, tenant: str) -> "UpstreamSession":
        """The session, as soon as there is one.

        Raises:
            CircuitOpen, UpstreamUnavailable: there is none.
        """
        link = self._main
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

    async def _isolation_for(self, agent: Agent) -> "Isolation | None":
        if self._given_isolation or self._is_served_by_main(agent):
            return self._given_isolation
        return self._isolation(agent, await self.era(agent))

    def _is_served_by_main(self, agent: Agent) -> bool:
        return not is_askable(agent) or (self._only is not None and self._main_declares(declared(agent)))

    def _isolation(self, agent: Agent, era: Era) -> "Isolation | None":
        """What applies to a request, of an upstream of that era. Where the configuration does not say: an upstream of
        the handshake era hears only once what its client can answer, so a client that can be asked gets a session of
        its own. So does one of that era where the upstream speaks both."""
        if self._given_isolation or self._is_served_by_main(agent):
            return self._given_isolation
        if era is Era.HANDSHAKE:
            return "session"
        # Who has one of its own keeps it: the process that asked something is the one to be answered.
        prefers_own = agent.era is Era.HANDSHAKE and (self._may_shake_hands or self._private.has(agent))
        return "session" if prefers_own else None

    def _isolation_asked_for(self) -> "Isolation | None":
        """What the configuration asks for: who has a login of their own has their own connections, too."""
        if self._credentials is not None and self._credentials.is_personal and self.config.isolation != "session":
            return "identity"
        return self.config.isolation

    def _own_era(self, agent: Agent) -> Era:
        """The era to try first on a connection of an agent's own. The modern one only where all speak it: the bridge
        takes the calls of modern agents to be made in the era of the main connection."""
        return Era.HANDSHAKE if self.agreed is not None and self.agreed.era is Era.HANDSHAKE else agent.era

    def _main_era(self) -> Era:
        """The era that the main connection tries first: its one client's, if it has but one."""
        return Era.MODERN if self._only is None else self._only.era

    def _main_declares(self, capabilities: Mapping[str, Any]) -> bool:
        session = self._main.session
        return capabilities == (session.capabilities if session is not None else self._declared())

    async def era(self, agent: Agent | None = None) -> Era:
        """The era it speaks, which has to be found out first, for that agent, if it never was connected.

        Raises:
            UpstreamUnavailable, CircuitOpen: it is not connected, and never was.
        """
        if self.agreed is not None:
            return self.agreed.era
        tenant = agent.opener.root_id if agent is not None else ""
        return (await self._reach(tenant)).era

    def health(self) -> Health:
        """What metrics show of it."""
        state, breaker = self.status.state.value, self.breaker.state.value
        queued, listing = self._limiter.waiting, self.listing
        items = {kind: len(getattr(listing, field)) for kind, field in _KINDS.items()} if listing is not None else {}
        at_work = max(0, len(self.calls) - queued)
        return Health(self.name, state, breaker, self._breakers.openings, at_work, queued, items, self.tally)

    @property
    def breaker(self) -> Breaker:
        """What applies to all."""
        return self._breakers.shown

    def in_flight(self) -> int:
        """How many requests await an answer, but for those that only the gateway itself makes."""
        links = [self._main, *self._private.links]
        sessions = [link.session for link in links if link.session is not None]
        calls = (call for session in sessions for call in session.connection.calls.values())
        return sum(call.method not in _OWN for call in calls)

    # --- Subscriptions and log level (the bridge counts; we keep what it wants across reconnects) -------------------

    async def want(self, uris: Set[str], todo: set[str] | None = None, roots: Collection[str] = ()) -> None:
        """Be subscribed to exactly these resources, soon and after every reconnect.

        Args:
            uris: all that are wanted. May be a view of what is, so that whoever wants a few more need not copy them.
            todo: those that are new or gone since; waits for them alone, and takes out what is done. None: all that
                differ.
            roots: the root principals on whose behalf there are more than before.

        Raises:
            UpstreamError: it refused one of them.
            GatewayError: it could not be told of all of them.
        """
        await self._watch.want(uris, todo, roots)

    async def set_log_level(self, level: str | None) -> None:
        """Ask for log messages from that level on (handshake era), now and after every reconnect."""
        self._log_level = level
        await self._watch.set_log_level(level)
        for link in self._private.links:
            if link.session is not None:
                await self._send_log_level(link.session)

    async def tell(self, agent: Agent, method: str, params: dict[str, Any] | None) -> None:
        """Pass on a notification of an agent's, on the connections that are its own."""
        links = [self._main] if self._only is not None else self._private.of(agent.id)
        for session in [link.session for link in links if link.session is not None]:
            if session.era is Era.HANDSHAKE and session.connection.closed is None:
                await session.connection.notify(method, params)

    # --- Life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The owner of all its connections. Ends by cancellation or `stop`; leaves nothing behind."""
        with self._life:
            async with anyio.create_task_group() as self._tasks:
                if self.api is not None:
                    self._tasks.start_soon(self.api.run)
                self._tasks.start_soon(self._main.run)
                self._tasks.start_soon(self._private.run)

    def stop(self) -> None:
        """Disconnect for good: `run` ends, and what is in flight fails."""
        self._life.cancel()
        self.settled.set()
        self._pulse()

    def adjust(self, config: ServerConfig) -> None:
        """Take up a configuration that asks for no other connection (`config.diff.LIVE_KEYS`)."""
        self.config = config
        self._limiter.resize(config.max_concurrency, config.max_queue)
        self._private.cap = config.max_sessions

    @property
    def is_ready(self) -> bool:
        """Whether calls can be sent to it. A lazy one that rests is: the first call starts it."""
        state = self.status.state
        return state in (State.READY, State.DEGRADED) or (state is State.STOPPED and self.config.lazy)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds that depends on its state, on what it offers, or on who is engaged with it."""
        while not condition():
            if self._changed is None:
                self._changed = anyio.Event()
            await self._changed.wait()

    @contextmanager
    def engaged(self) -> Generator[None]:
        """While somebody is in the middle of something with it: draining waits for that."""
        self._engagements += 1
        try:
            yield
        finally:
            self._engagements -= 1
            self._pulse()

    async def drain(self, patience: float) -> None:
        """Wait until nobody is engaged with it any more, for at most `patience` seconds."""
        with anyio.move_on_after(patience):
            await self.until(lambda: not self._engagements and not self.calls)

    def _pulse(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def restart(self) -> None:
        """Close the main connection and open it anew; with none, try now."""
        if self._main.session is not None:
            self._main.session.connection.restart()
        self._main.rest("it was restarted")
        self._main.wake()

    def wake(self) -> None:
        self._main.wake()

    def release(self, agent_id: str) -> None:
        """That agent has gone: close what was its own."""
        self._learning.release(agent_id)
        self._private.release(agent_id)
        self._with_own_process.discard(agent_id)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _connector_for(
        self,
        capabilities: Callable[[], Mapping[str, Any]],
        audience: Callable[[], Audience],
        era: Callable[[], Era],
        credentials: Credentials | None,
        listener: ListenStream | None = None,
        host: Path | None = None,
    ) -> Connector:
        return Connector(
            self.name,
            self.config,
            capabilities=capabilities,
            peer=ConnectionHandler(listener or self),
            stderr=lambda: StderrLog(self._on_stderr, time.monotonic),
            guardian=self._guardian,
            host=host,
            audience=audience,
            era=era,
            traffic=self.tally.traffic,
            on_unauthorized=lambda: self.on_unauthorized(self.name),
            credentials=credentials,
            timing=self.timing,
            api=(self.api, self._read_resource) if self.api is not None else None,
        )

    def _private_link(
        self, capabilities: Mapping[str, Any], audience: Callable[[], Audience], era: Era, principal: Principal
    ) -> Link:
        lists = OwnLists(self, self._learning)
        credentials = self._credentials.of(principal) if self._credentials is not None else None
        connector = self._connector_for(lambda: capabilities, audience, lambda: era, credentials, lists)
        breaker = self._new_breaker(partial(self._on_breaker, " for one client"))
        serve = partial(self._serve_private, breaker, era, lists)
        link = Link(
            connector,
            serve,
            self._on_private_status,
            lazy=True,
            breaker=breaker,
            out_of_order=_out_of_order(self.config),
            timing=self.timing,
        )
        if credentials is not None:
            link.on_end = credentials.follow(link.on_login)
        return link

    def _new_breaker(self, on_change: Callable[[Breaker], None]) -> Breaker:
        config = self.config.breaker
        return Breaker(config.failures, config.window, config.cooldown, on_change)

    def _declared(self) -> Mapping[str, Any]:
        """What the main connection says its client can do."""
        if self._only is not None:
            return declared(self._only)
        return ASKABLE if self.config.isolation == "shared" else FOR_ALL

    async def _serve(self, session: "UpstreamSession", agreed: "Negotiated") -> None:
        """While the main connection is up: keep the lists fresh and the subscriptions alive."""
        self.agreed = agreed
        self.tally.connections += 1
        self._may_shake_hands = self.config.era != "modern"
        self._lost_at = None
        self._breakers.renewed()
        try:
            self._watch.attach(session, agreed)
            lazy = self.config.lazy and not self._main.called
            if lazy and await self._watch.load() and not self._main.called:
                self._main.rest("only its lists were wanted")
            else:
                await self._watch.run(session)
        finally:
            self._watch.detach()

    async def _serve_private(
        self, breaker: Breaker, era: Era, lists: OwnLists, session: "UpstreamSession", agreed: "Negotiated"
    ) -> None:
        """While a connection of one client's is up."""
        breaker.renewed()
        self._may_shake_hands &= agreed.era is era or era is Era.MODERN
        await self._send_log_level(session)
        self._pulse()
        await lists.follow(session, agreed)

    async def _send_log_level(self, session: "UpstreamSession") -> None:
        declares = self.agreed is not None and "logging" in self.agreed.capabilities
        if self._log_level is not None and declares and session.era is Era.HANDSHAKE:
            options: CallOptions = {"timeout": self.config.timeout}
            with suppress(GatewayError):
                await session.forward("logging/setLevel", {"level": self._log_level}, options)

    def _on_status(self, status: Status) -> None:
        if status.state in (State.READY, State.STOPPED):
            self._said.forget()
        say = log.warning if status.state in TROUBLED else log.info
        if not self._said.is_new(status.state.value, status.reason):
            say = log.debug  # the next attempt failed like the one before
        elif status.state is State.STOPPED and not status.reason:
            say = log.debug  # the gateway ends, and has said so
        say("upstream " + status.state.value, upstream=self.name, reason=status.reason or None)
        self._given_isolation = self._isolation_asked_for()  # the first refusal may have told whose login it wants
        self._pulse()
        if status.state is State.OUT_OF_ORDER:
            self._withdrawn = True
            self.settled.set()
            if self._tasks is not None:
                self._tasks.start_soon(self._observer.on_listing, self, ())
        if status.state in (State.BACKING_OFF, State.LOGIN_NEEDED):
            self.tally.failures += status.state is State.BACKING_OFF
            self.expect_no_longer()
            if self._lost_at is None and self._tasks is not None:
                self._lost_at = time.monotonic()
                self._tasks.start_soon(self._expire, self._lost_at)

    def _on_private_status(self, status: Status) -> None:
        """What becomes of one agent's connection says nothing about what the upstream offers."""
        state = status.state.value
        log.info(f"upstream {state} for one agent", upstream=self.name, reason=status.reason or None)

    def _on_breaker(self, whose: str, breaker: Breaker) -> None:
        if breaker.state is BreakerState.OPEN:
            wait = round(breaker.retry_after(anyio.current_time()) or 0.0, 1)
            log.warning(f"breaker open{whose}", upstream=self.name, reason=breaker.reason, retry_after=wait)
        else:
            log.info(f"breaker {breaker.state.value}{whose}", upstream=self.name)

    def _on_shared_breaker(self, breaker: Breaker) -> None:
        if self.peers is not None:
            self.peers.breaker_changed(self, breaker)

    async def _expire(self, lost_at: float) -> None:
        """Withdraw its items once it has been away for longer than the grace period."""
        await anyio.sleep(self.config.grace)
        if self._lost_at == lost_at and self._listing is not None:
            self._withdrawn = True
            await self._observer.on_listing(self, ())

    def _on_stderr(self, line: str, suppressed: int) -> None:
        say = log.info if self._is_up() or self._said.is_new("stderr", line) else log.debug
        say("stderr", upstream=self.name, line=line, suppressed=suppressed or None)

    def _on_refusal(self, text: str) -> None:
        body = "".join(c if c.isprintable() else " " for c in text)
        say = log.info if self._said.is_new("refusal", body) else log.debug
        say("upstream refused", upstream=self.name, body=body)

    def _is_up(self) -> bool:
        return self._main.session is not None

    # --- What it says unasked (hearing.Listener) ----------------------------------------------------------------------

    def on_message(self, method: str, params: dict[str, Any], audience: Audience) -> None:
        if method in CHANGE_NOTIFICATIONS.values():
            self._watch.on_changed(method)
            if self.peers is not None:
                self.peers.list_changed(self, method)
        elif method == "notifications/resources/updated":
            if isinstance(uri := params.get("uri"), str):
                self._observer.on_resource_updated(self.name, uri, audience)
        else:
            self._observer.on_message(self.name, method, params, audience)

    # --- What other nodes say of it (peers) ---------------------------------------------------------------------------

    def on_peer_change(self, method: str) -> None:
        """Another node heard that one of its lists changed."""
        self._watch.on_changed(method)

    def on_peer_breaker(self, wait: float | None) -> None:
        """Another node leaves it alone for so many seconds; None if it works again."""
        self._breakers.shared.hint(anyio.current_time(), wait)

    def on_noise(self, text: str) -> None:
        self._noise.say(text)

    def _on_noise(self, text: str, suppressed: int) -> None:
        say = log.warning if self._is_up() or self._said.is_new("noise", text) else log.debug
        say("upstream noise", upstream=self.name, noise=text, suppressed=suppressed or None)


def _api_source(name: str, config: ServerConfig) -> "ApiSource | None":
    if config.type != "openapi" or isinstance(config, OutOfOrder):
        return None
    from gateway.upstream.api.source import ApiSource

    return ApiSource(name, config)


def _out_of_order(config: ServerConfig) -> str:
    return config.reason if isinstance(config, OutOfOrder) else ""
