"""The connections to one upstream: the one that all share, those of one client's own, and which of them serves whom.

Where the configuration does not say (`isolation`), it is a matter of eras. An upstream of the handshake era hears only
once what its client can answer, so a client that can be asked something gets a session of its own there.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from gateway.config.models import OutOfOrder, ServerConfig
from gateway.errors import GatewayError
from gateway.protocol import LIST_METHODS, Era
from gateway.request import Agent, Principal, is_askable
from gateway.upstream.audience import Audience
from gateway.upstream.breaker import Breaker
from gateway.upstream.breakers import Breakers
from gateway.upstream.connect import Connector
from gateway.upstream.credentials import Credentials, CredentialSource
from gateway.upstream.guardian import Guardian
from gateway.upstream.hearing import ConnectionHandler, ListenStream
from gateway.upstream.learning import OwnLists
from gateway.upstream.link import Link
from gateway.upstream.personal import OwnSource
from gateway.upstream.private import PrivateLink, PrivateLinks, declared
from gateway.upstream.transport.stderr import StderrLog

if TYPE_CHECKING:
    from gateway.upstream.session import Negotiated, UpstreamSession
    from gateway.upstream.transport.api import ReadResource
    from gateway.upstream.transport.pending import CallOptions
    from gateway.upstream.upstream import Upstream

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

Isolation = Literal["shared", "identity", "session"]

_OWN: Final = LIST_METHODS.keys() | {"subscriptions/listen"}
"""What only the gateway itself asks an upstream."""


class UpstreamLinks:
    """
    Args:
        only: the one client of the whole gateway, where there is but one (stdio).
        credentials: what connections prove themselves with; None if they need not.
        host: the socket of what runs its program for all workers, where it is not started here.
        read_resource: reads what a call's argument links to, as its agent may.
        lazy: whether to connect only once somebody needs it.
    """

    def __init__(
        self,
        upstream: "Upstream",
        breakers: Breakers,
        guardian: Guardian,
        only: Agent | None,
        credentials: CredentialSource | None,
        host: Path | None,
        read_resource: "ReadResource | None",
        *,
        lazy: bool,
    ) -> None:
        self.only = only
        self.agreed: Negotiated | None = None
        """What was agreed on with it last."""
        self.may_shake_hands = True
        """Whether an upstream that speaks the modern era may speak the other too; found out by who prefers that."""
        self._upstream = upstream
        self._breakers = breakers
        self._guardian = guardian
        self._credentials = credentials
        self._read_resource = read_resource
        self._log_level: str | None = None
        self._with_own_process = set[str]()
        """Ids of sessions."""
        config, timing = upstream.config, upstream.timing
        self.has_main = not self.has_own_lists
        """Whether there is a connection that all share; where all are somebody's own, there is none."""
        shared = credentials.of(None) if credentials is not None else None
        self._connector = self._connector_for(
            self.declared, lambda: Audience(agent=only), self._main_era, shared, host=host
        )
        self.main = Link(
            self._connector,
            self._serve,
            upstream.on_status,
            lazy=lazy,
            out_of_order=_out_of_order(config),
            on_refusal=upstream.reports.refusal,
            timing=timing,
        )
        """The one that all share."""
        if shared is not None and self.has_main:
            self.main.on_end = shared.follow(self.main.on_login)
        self._given: Isolation | None = self._asked_for()
        """What the configuration says, if it does."""
        self.private = PrivateLinks(upstream.name, self._private_link, config.max_sessions, timing)

    # --- Which one serves an agent ----------------------------------------------------------------------------------

    def link_now(self, agent: Agent) -> Link | None:
        """The connection that all share, if an agent is served by that; None if `link` must decide."""
        isolation = self._given
        if isolation is None and not agent.capabilities:
            return self.main  # nobody who could be asked anything
        if isolation or self._is_served_by_main(agent):
            return self.main if isolation in (None, "shared") else None
        if self.agreed is None or self.isolation(agent, self.agreed.era) is not None:
            return None
        return self.main

    async def link(self, agent: Agent, until: float) -> "Link | PrivateLink":
        """The connection that serves an agent. One of its own is released when the call is over.

        Args:
            until: when to give up waiting for one of its own that is in use, in the loop's time.

        Raises:
            GatewayError: there is none.
        """
        isolation = await self._isolation_for(agent)
        if isolation in (None, "shared"):
            return self.main
        upstream = self._upstream
        if agent.lasting and agent.id not in self._with_own_process and upstream.config.command is not None:
            upstream.observer.on_own_process(upstream.name, agent)
            self._with_own_process.add(agent.id)
        return await self.own(agent, isolation, max(0.0, until - anyio.current_time()))

    async def own(
        self, agent: Agent, isolation: Literal["identity", "session"], patience: float, *, is_call: bool = True
    ) -> PrivateLink:
        """One of an agent's own, for a request; waits at most so many seconds for one that is in use.

        Args:
            is_call: see `PrivateLinks.acquire`.

        Raises:
            UpstreamUnavailable: too many have one.
        """
        # Where it does not show on whose behalf the upstream asks, nobody else may be at work beside it.
        alone = self._connector.is_one_channel and is_askable(agent)
        era = self._own_era(agent)
        return await self.private.acquire(agent, isolation, patience, era=era, alone=alone, is_call=is_call)

    def credentials_of(self, agent: Agent) -> Credentials | None:
        """What the connection proves itself with that serves an agent."""
        return self._credentials.of(agent.opener) if self._credentials is not None else None

    @property
    def has_credentials(self) -> bool:
        return self._credentials is not None

    @property
    def has_own_lists(self) -> bool:
        """Whether only who has logged in for themselves is told what there is."""
        return self._credentials is not None and self._credentials.has_own_lists

    def isolation(self, agent: Agent, era: Era) -> "Isolation | None":
        """What applies to a request of an upstream of that era; None is the main connection, too. A client of the
        handshake era that can be asked has a session of its own also where the upstream speaks both."""
        if self._given or self._is_served_by_main(agent):
            return self._given
        if era is Era.HANDSHAKE:
            return "session"
        # Who has one of its own keeps it: the process that asked something is the one to be answered.
        prefers_own = agent.era is Era.HANDSHAKE and (self.may_shake_hands or self.private.has(agent))
        return "session" if prefers_own else None

    async def _isolation_for(self, agent: Agent) -> "Isolation | None":
        if self._given or self._is_served_by_main(agent):
            return self._given
        return self.isolation(agent, await self._upstream.era(agent))

    def _is_served_by_main(self, agent: Agent) -> bool:
        return not is_askable(agent) or (self.only is not None and self._main_declares(declared(agent)))

    def _main_declares(self, capabilities: Mapping[str, Any]) -> bool:
        session = self.main.session
        return capabilities == (session.capabilities if session is not None else self.declared())

    def reconsider(self) -> None:
        """Whose login it wants may be known now: the first refusal tells."""
        self._given = self._asked_for()

    def _asked_for(self) -> "Isolation | None":
        """What the configuration asks for: who has a login of their own has their own connections, too."""
        isolation = self._upstream.config.isolation
        if self._credentials is not None and self._credentials.is_personal and isolation != "session":
            return "identity"
        return isolation

    def _own_era(self, agent: Agent) -> Era:
        """The era to try first on a connection of an agent's own. The modern one only where all speak it: the bridge
        takes the calls of modern agents to be made in the era of the main connection."""
        own = self._upstream.offer.own
        spoken = own.era if own is not None and self.has_own_lists else None
        if self.agreed is not None:
            spoken = self.agreed.era
        return Era.HANDSHAKE if spoken is Era.HANDSHAKE else agent.era

    def _main_era(self) -> Era:
        """The era that the main connection tries first: its one client's, if it has but one."""
        return Era.MODERN if self.only is None else self.only.era

    def declared(self) -> Mapping[str, Any]:
        """What the main connection says its client can do."""
        if self.only is not None:
            return declared(self.only)
        return ASKABLE if self._upstream.config.isolation == "shared" else FOR_ALL

    # --- All of them ------------------------------------------------------------------------------------------------

    def in_flight(self) -> int:
        """How many requests await an answer, but for those that only the gateway itself makes."""
        links = [self.main, *self.private.links]
        sessions = [link.session for link in links if link.session is not None]
        calls = (call for session in sessions for call in session.connection.pending.values())
        return sum(call.method not in _OWN for call in calls)

    async def set_log_level(self, level: str | None) -> None:
        """Ask for log messages from that level on (handshake era), now and after every reconnect."""
        self._log_level = level
        await self._upstream.watch.set_log_level(level)
        for link in self.private.links:
            if link.session is not None:
                await self._send_log_level(link.session)

    async def tell(self, agent: Agent, method: str, params: dict[str, Any] | None) -> None:
        """Pass on a notification of an agent's, on the connections that are its own."""
        links = [self.main] if self.only is not None else self.private.of(agent.id)
        for session in [link.session for link in links if link.session is not None]:
            if session.era is Era.HANDSHAKE and session.connection.closed is None:
                await session.connection.notify(method, params)

    def release(self, agent_id: str) -> None:
        """That agent has gone: close what was its own."""
        self.private.release(agent_id)
        self._with_own_process.discard(agent_id)

    # --- While one is up --------------------------------------------------------------------------------------------

    async def _serve(self, session: "UpstreamSession", agreed: "Negotiated") -> None:
        """While the main connection is up: keep the lists fresh and the subscriptions alive."""
        upstream = self._upstream
        self.agreed = agreed
        self.may_shake_hands = upstream.config.era != "modern"
        upstream.tally.connections += 1
        upstream.offer.found()
        self._breakers.renewed()
        watch = upstream.watch
        try:
            watch.attach(session, agreed)
            lazy = upstream.config.lazy and not self.main.called
            if lazy and await watch.load() and not self.main.called:
                self.main.rest("only its lists were wanted")
            else:
                await watch.run(session)
        finally:
            watch.detach()

    async def _serve_private(
        self, breaker: Breaker, era: Era, lists: OwnLists | OwnSource, session: "UpstreamSession", agreed: "Negotiated"
    ) -> None:
        """While a connection of one client's is up."""
        breaker.renewed()
        if (own := self._upstream.offer.own) is not None and era is Era.MODERN:
            own.era = agreed.era
        self.may_shake_hands &= agreed.era is era or era is Era.MODERN
        await self._send_log_level(session)
        self._upstream.pulse()
        await lists.follow(session, agreed)

    async def _send_log_level(self, session: "UpstreamSession") -> None:
        declares = self.agreed is not None and "logging" in self.agreed.capabilities
        if self._log_level is not None and declares and session.era is Era.HANDSHAKE:
            options: CallOptions = {"timeout": self._upstream.config.timeout}
            with suppress(GatewayError):
                await session.request("logging/setLevel", {"level": self._log_level}, options)

    # --- Making them ------------------------------------------------------------------------------------------------

    def _connector_for(
        self,
        capabilities: Callable[[], Mapping[str, Any]],
        audience: Callable[[], Audience],
        era: Callable[[], Era],
        credentials: Credentials | None,
        listener: ListenStream | None = None,
        host: Path | None = None,
    ) -> Connector:
        upstream = self._upstream
        return Connector(
            upstream.name,
            upstream.config,
            capabilities=capabilities,
            peer=ConnectionHandler(listener or upstream),
            stderr=lambda: StderrLog(upstream.reports.stderr, time.monotonic),
            guardian=self._guardian,
            host=host,
            audience=audience,
            era=era,
            traffic=upstream.tally.traffic,
            on_unauthorized=lambda: upstream.on_unauthorized(upstream.name),
            credentials=credentials,
            timing=upstream.timing,
            api=(upstream.api, self._read_resource) if upstream.api is not None else None,
        )

    def _private_link(
        self, capabilities: Mapping[str, Any], audience: Callable[[], Audience], era: Era, principal: Principal
    ) -> Link:
        upstream = self._upstream
        lists = OwnLists(upstream, upstream.learning)
        if upstream.offer.own is not None and self._credentials is not None and self._credentials.is_personal:
            lists = OwnSource(upstream, upstream.offer.own, principal.root_id if self.has_own_lists else "")
        credentials = self._credentials.of(principal) if self._credentials is not None else None
        connector = self._connector_for(lambda: capabilities, audience, lambda: era, credentials, lists)
        breaker = upstream.new_breaker(partial(upstream.reports.breaker, " for one client"))
        link = Link(
            connector,
            partial(self._serve_private, breaker, era, lists),
            upstream.reports.private_status,
            lazy=True,
            breaker=breaker,
            out_of_order=_out_of_order(upstream.config),
            timing=upstream.timing,
        )
        if credentials is not None:
            link.on_end = credentials.follow(link.on_login)
        return link


def _out_of_order(config: ServerConfig) -> str:
    return config.reason if isinstance(config, OutOfOrder) else ""
