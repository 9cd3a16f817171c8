"""Learns what one upstream lists for clients that declare something else: over the connections they have anyway.

A connection of one client's own is asked for its lists when it comes up, and again when they change; of several that
declare the same, one is. Where one connection serves all (modern era), a list is asked for in the name of who came.
Nobody waits for any of it.
"""

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog

from gateway.errors import GatewayError
from gateway.protocol import CHANGE_NOTIFICATIONS, Era
from gateway.request import Agent
from gateway.upstream.audience import Audience
from gateway.upstream.variants import era_of, label_of, listing_for
from gateway.upstream.watch import ALL_LISTS, LISTS_OF

if TYPE_CHECKING:
    from gateway.upstream.session import Negotiated, UpstreamSession
    from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.upstream")

MAX_TRIED: Final = 64
"""Labels of which it is remembered that it was tried to learn of them lately."""
REST: Final = 2
"""How many times as long as it took to learn of a label, an upstream is not asked for the next one."""
MAX_WAITING: Final = 4
"""Labels of one upstream that wait to be learnt of at a time. Who comes again is considered again."""


class Learning:
    """What is being learnt of one upstream."""

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        self._sources: dict[str, OwnLists] = {}
        """Label → the connection that is asked for its lists."""
        self._waiting: set[str] = set()
        self._turn = anyio.Lock()
        self._rests_until = float("-inf")
        self._tried_at: dict[str, float] = {}
        """Label → when it was last tried."""
        self._scopes: dict[str, tuple[str, anyio.CancelScope]] = {}
        """Label → the agent for whom it is being learnt, and what ends that."""
        self._asked: dict[str, Mapping[str, Any]] = {}
        """Label → what a client of it declares, of those learnt of over the connection that serves all. Their lists are
        followed from then on."""

    def is_due(self, label: str) -> bool:
        """Whether to learn of a label now: it is not known, and nobody is about to."""
        tried = self._tried_at.get(label)
        return (
            label not in self._waiting
            and len(self._waiting) < MAX_WAITING
            and (tried is None or anyio.current_time() >= tried + self._upstream.timing.list_retry_seconds)
        )

    def note(self, agent: Agent) -> None:
        """Somebody is there for whom its lists may be others. If that is not known, it is found out meanwhile, by a
        connection that serves such an agent anyway."""
        upstream, offer = self._upstream, self._upstream.offer
        if offer.own is not None and upstream.has_own_lists:
            offer.own.note(agent)
            return
        known = offer.known
        if known is None or upstream.links.main.session is None or upstream.tasks is None:
            return
        label = offer.own_label(agent)
        if label is None:
            return
        if label in known.variants and (era_of(label) is Era.HANDSHAKE or label in self._asked):
            offer.use(label)
        elif self.is_due(label):
            upstream.tasks.start_soon(self.learn, label, agent)

    async def learn(self, label: str, agent: Agent) -> None:
        """Learn what is listed for an agent. One label after the other."""
        if label in self._waiting:
            return
        self._waiting.add(label)
        try:
            with anyio.CancelScope() as scope:
                self._scopes[label] = agent.id, scope
                async with self._turn:
                    await anyio.sleep(max(0.0, self._rests_until - anyio.current_time()))
                    await self._learn(label, agent)
        finally:
            self._waiting.discard(label)
            self._scopes.pop(label, None)

    async def _learn(self, label: str, agent: Agent) -> None:
        began = anyio.current_time()
        if len(self._tried_at) >= MAX_TRIED:
            self._tried_at.clear()
        self._tried_at[label] = began
        try:
            seconds = await self._introduce(agent, label)
            self._rests_until = anyio.current_time() + REST * seconds
        except GatewayError as error:
            log.debug("lists not learnt", upstream=self._upstream.name, clients=label, reason=error.message)
            self._rests_until = anyio.current_time() + REST * (anyio.current_time() - began)

    async def _introduce(self, agent: Agent, label: str) -> float:
        """Have an upstream that is up say what it lists for an agent. Returns how many seconds that took.

        Raises:
            GatewayError: it could not be found out.
        """
        upstream, offer, links = self._upstream, self._upstream.offer, self._upstream.links
        began, session, agreed = time.monotonic(), links.main.session, links.agreed
        if session is None or agreed is None or offer.own_label(agent) != label:
            return 0.0
        isolation = links.isolation(agent, agreed.era)
        if isolation is None or isolation == "shared":
            await self._over_main(session, agreed, label, agent.capabilities)
            return time.monotonic() - began
        if len(links.private.links) >= links.private.cap:
            return 0.0  # calls come first
        private = await links.own(agent, isolation, 0.0)
        link = private.link
        try:
            link.wake()
            with anyio.move_on_after(upstream.config.connect_timeout + upstream.config.timeout):
                await upstream.until(lambda: offer.own_label(agent) != label or offer.has_variant(label))
            took = time.monotonic() - began
            await anyio.sleep(upstream.timing.variant_linger_seconds)
            if not link.called:
                link.rest("only its lists were wanted")
            return took
        finally:
            private.release()

    def release(self, agent_id: str) -> None:
        """That agent has gone: nothing more is opened for it."""
        for whose, scope in list(self._scopes.values()):
            if whose == agent_id:
                scope.cancel()

    async def _over_main(
        self, session: "UpstreamSession", agreed: "Negotiated", label: str, capabilities: Mapping[str, Any]
    ) -> None:
        """Ask for the lists of a client of that label by the connection that serves all."""
        self._asked.pop(label, None)
        self._asked[label] = capabilities
        while len(self._asked) > MAX_WAITING:
            del self._asked[next(iter(self._asked))]
        await self.fetch(session, agreed, label, ALL_LISTS, capabilities)

    async def again(self, session: "UpstreamSession", agreed: "Negotiated", kinds: Collection[str]) -> None:
        """Those lists have changed, or may have: so may they have for those who were asked for before."""
        known = self._upstream.offer.known
        for label, capabilities in list(self._asked.items()):
            if known is not None and label in known.variants:
                await self.fetch(session, agreed, label, kinds, capabilities)

    def claim(self, label: str, source: "OwnLists") -> bool:
        """Be the one that is asked for a label's lists. Returns whether it is."""
        return self._sources.setdefault(label, source) is source

    def give_up(self, label: str, source: "OwnLists") -> None:
        if self._sources.get(label) is source:
            del self._sources[label]

    async def fetch(
        self,
        session: "UpstreamSession",
        agreed: "Negotiated",
        label: str,
        kinds: Collection[str],
        capabilities: Mapping[str, Any] | None = None,
    ) -> bool:
        """Fetch lists as they are for a label. Returns whether all could be."""
        from gateway.upstream.lister import fetch  # needs the SDK; see Link

        upstream = self._upstream
        if upstream.offer.known is None:
            return False
        before = listing_for(upstream.offer.known, label)
        timeout = upstream.config.timeout
        fetched = await fetch(session, agreed, timeout, before, kinds, capabilities, upstream.timing)
        if session.connection.closed is None and len(fetched.failed) < len(kinds):
            await upstream.offer.publish_variant(
                label, fetched.listing, [kind for kind in kinds if kind not in fetched.failed]
            )
        return not fetched.failed


class OwnLists:
    """The lists of one client's own connection. Is a `hearing.Listener`."""

    def __init__(self, upstream: "Upstream", learning: Learning) -> None:
        self._upstream = upstream
        self._learning = learning
        self._stale: set[str] = set()
        self._wake = anyio.Event()

    async def follow(self, session: "UpstreamSession", agreed: "Negotiated") -> None:
        """While the connection is up: keep what is known of its lists true."""
        label, timing = label_of(session.era, session.capabilities), self._upstream.timing
        if label == self._upstream.offer.main_label:
            return
        self._stale = set(ALL_LISTS) if self._learning.claim(label, self) else set()
        try:
            while True:
                stale, self._stale = self._stale, set()
                is_source = bool(stale) and self._learning.claim(label, self)
                if is_source and not await self._learning.fetch(session, agreed, label, sorted(stale)):
                    self._stale |= stale
                await anyio.sleep(timing.debounce_seconds)
                with anyio.move_on_after(timing.list_retry_seconds if self._stale else float("inf")):
                    await self._wake.wait()
                self._wake = anyio.Event()
        finally:
            self._learning.give_up(label, self)

    def on_message(self, method: str, params: dict[str, Any], audience: Audience) -> None:
        for capability, notification in CHANGE_NOTIFICATIONS.items():
            if method == notification:
                self._stale.update(LISTS_OF[capability])
                self._wake.set()
        self._upstream.on_message(method, params, audience)

    def on_noise(self, text: str) -> None:
        self._upstream.on_noise(text)
