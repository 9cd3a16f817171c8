"""Keeps what is known of an upstream fresh while its main connection is up: lists, subscriptions, log level.

Changes are heard in the era's own way (`list_changed` notifications, or one `subscriptions/listen` stream); what an
upstream neither announces nor lets expire is fetched once per connection. Hearing comes first and fetching second, so
that no change falls between the two: whenever an ear opens that was closed, everything is fetched.
"""

import time
from collections.abc import Awaitable, Collection, Iterable, Set
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import structlog

from gateway.errors import GatewayError, UpstreamLost
from gateway.pause import Pause
from gateway.protocol import CHANGE_NOTIFICATIONS, Era
from gateway.upstream.audience import SEVERAL, Audience
from gateway.upstream.listen import ListenStreams
from gateway.upstream.subscribe import SubscribeRequests, pacer

if TYPE_CHECKING:
    from gateway.upstream.session import Negotiated, UpstreamSession
    from gateway.upstream.transport.pending import CallOptions
    from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.upstream")

LISTS_OF: Final = {"tools": ("tools",), "resources": ("resources", "templates", "skills"), "prompts": ("prompts",)}
"""Capability → the lists that belong to it. Skills have no notification of their own; they consist of resources."""
ALL_LISTS: Final = tuple(kind for kinds in LISTS_OF.values() for kind in kinds)
LISTEN_KEYS: Final = {
    "tools": "toolsListChanged",
    "resources": "resourcesListChanged",
    "prompts": "promptsListChanged",
}


class Watch:
    """What is to be kept fresh at one upstream; outlives its connections."""

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        self._timing = upstream.timing
        self._session: UpstreamSession | None = None
        self._agreed: Negotiated | None = None
        self._stale: set[str] = set()
        self._announced_kinds: set[str] = set()
        self._wake = anyio.Event()
        self._fetched = anyio.Event()
        self._fetched_at = float("-inf")
        self._wanted: Set[str] = frozenset()
        """A view of what is wanted now, or a set that was."""
        self._wanted_by: set[str] = set()
        """Root principals on whose behalf; at most `SEVERAL`, and kept until nothing is wanted any more."""
        self._subscriptions: SubscribeRequests | ListenStreams | None = None
        """How the connection there is now is asked for it."""
        self._pacer = pacer()
        self._missed: dict[str, None] = {}
        """Resources that may have changed while we did not hear, of which those who want them are yet to be told."""
        self._has_missed = anyio.Event()
        self._log_level: str | None = None
        self._suspected = anyio.Event()
        self._hears = False
        """Whether we would hear of a change, in the handshake era."""
        self._listening = anyio.Event()
        """Set once we hear of changes, or never will."""

    def attach(self, session: "UpstreamSession", agreed: "Negotiated") -> None:
        """A new connection is up."""
        self._session, self._agreed = session, agreed
        self._note_users(session)
        self._hears, self._listening = False, anyio.Event()
        if session.era is Era.MODERN:
            self._subscriptions = self._listen_streams(session, agreed)
        else:
            self._subscriptions = SubscribeRequests(session, self._wanted, self._pacer, self._upstream.config.timeout)

    async def load(self) -> bool:
        """Fetch everything. Returns whether it could be fetched, and is still true."""
        self._stale.clear()
        self._wake = anyio.Event()
        await self._fetch(ALL_LISTS)
        return not self._stale

    async def run(self, session: "UpstreamSession") -> None:
        """Fetch everything and keep it fresh, until cancelled."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._check_suspicions, session)
            tg.start_soon(self._tell_of_missed)
            if isinstance(self._subscriptions, ListenStreams):
                tg.start_soon(self._subscriptions.run)
            elif self._subscriptions is not None:
                tg.start_soon(self._hear, session)
                tg.start_soon(self._restore, session, self._subscriptions, list(self._wanted))
            with anyio.move_on_after(self._timing.hearing_seconds):
                await self._listening.wait()
            await self.load()
            await self._keep_fresh()

    def detach(self) -> None:
        """The connection is of no more use."""
        self._session = self._subscriptions = None

    # --- Lists ------------------------------------------------------------------------------------------------------

    def on_changed(self, method: str) -> None:
        """The upstream said that one of its lists changed."""
        for capability, notification in CHANGE_NOTIFICATIONS.items():
            if method == notification:
                self._stale.update(LISTS_OF[capability])
                self._announced_kinds.add(capability)
        self._wake.set()

    def on_differing(self, kind: str) -> None:
        """What the upstream serves is not what it listed: its lists have changed, and it did not say so."""
        self._stale.update(LISTS_OF[kind])
        self._wake.set()

    def is_older_than(self, seconds: float) -> bool:
        """Whether the lists may have changed unheard since they were fetched, that long ago."""
        return not self._announced() and time.monotonic() - self._fetched_at >= seconds

    async def freshen(self, patience: float) -> None:
        """Fetch all lists again. Whoever asks meanwhile waits for the same fetch."""
        fetched = self._fetched
        self._all_stale()
        with anyio.move_on_after(patience):
            await fetched.wait()

    def _announced(self) -> bool:
        """Whether the upstream says by itself when any of its lists changes."""
        if self._agreed is None:
            return True
        if not (self._subscriptions.hears if isinstance(self._subscriptions, ListenStreams) else self._hears):
            return False
        offered = [self._agreed.capabilities.get(name) for name in LISTS_OF]
        return all(capability is None or _announces(capability) for capability in offered)

    def _all_stale(self) -> None:
        self._stale.update(ALL_LISTS)
        self._wake.set()

    async def _keep_fresh(self) -> None:
        while True:
            with anyio.move_on_after(self._timing.list_retry_seconds if self._stale else float("inf")):
                await self._wake.wait()
            self._wake = anyio.Event()
            await anyio.sleep(self._timing.debounce_seconds)
            stale, self._stale = self._stale, set()
            await self._fetch(sorted(stale))

    async def _fetch(self, kinds: Collection[str]) -> None:
        from gateway.upstream.lister import fetch  # needs the SDK; see Link

        upstream, session = self._upstream, self._session
        assert session is not None
        assert self._agreed is not None
        fetched = await fetch(
            session, self._agreed, upstream.config.timeout, upstream.offer.known, kinds, timing=self._timing
        )
        if session.connection.closed is not None:
            return  # what could not be fetched says nothing about the upstream
        self._fetched_at = time.monotonic()
        self._stale.update(fetched.failed)
        announced, self._announced_kinds = self._announced_kinds, set()
        await upstream.offer.publish(fetched.listing, fetched.problems, announced)
        self._fetched.set()
        self._fetched = anyio.Event()
        await upstream.learning.again(session, self._agreed, kinds)

    # --- Hearing ----------------------------------------------------------------------------------------------------

    def _on_hearing(self) -> None:
        """We hear of changes. If we did not before, there may have been some."""
        if not self._hears:
            self._hears = True
            self._on_gap()
        self._listening.set()

    def _on_gap(self) -> None:
        """Whatever changed meanwhile was not heard: lists are fetched again, and who subscribed to a resource is told
        to do so."""
        self._all_stale()
        self._miss(self._wanted)

    def _miss(self, uris: Iterable[str]) -> None:
        self._missed.update(dict.fromkeys(uris))
        self._has_missed.set()

    async def _tell_of_missed(self) -> None:
        """In short steps: it may be very many."""
        while True:
            await self._has_missed.wait()
            self._has_missed = anyio.Event()
            pause = Pause()
            while self._missed:
                await pause.if_due()
                uri = next(iter(self._missed))
                del self._missed[uri]
                self._upstream.on_message("notifications/resources/updated", {"uri": uri}, Audience())

    async def _hear(self, session: "UpstreamSession") -> None:
        """The handshake era's way: the transport listens by itself."""
        session.connection.on_gap = self._on_gap
        await session.connection.hears.wait()
        self._on_hearing()

    # --- Is it still there? -----------------------------------------------------------------------------------------

    def suspect(self) -> None:
        """A request could not be delivered: find out whether the upstream is gone. HTTP has no other way to tell."""
        self._suspected.set()

    async def _check_suspicions(self, session: "UpstreamSession") -> None:
        while True:
            await self._suspected.wait()
            self._suspected = anyio.Event()
            method = "ping" if session.era is Era.HANDSHAKE else "server/discover"
            try:
                await session.request(method, {}, {"timeout": self._timing.check_seconds})
            except UpstreamLost as error:
                session.connection.close(error)
            except GatewayError:
                pass  # slow, or an answer, whatever it says: it is there

    # --- Subscriptions ----------------------------------------------------------------------------------------------

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
        self._wanted = uris
        self._wanted_by = {*sorted({*self._wanted_by, *roots})[:SEVERAL]} if uris else set()
        if self._session is None or self._subscriptions is None:
            if todo is not None:
                todo.clear()
            return  # taken up by the next connection
        self._note_users(self._session)
        self._subscriptions.wanted = uris
        await self._subscriptions.take_up(self._subscriptions.differences() if todo is None else todo)

    def _note_users(self, session: "UpstreamSession") -> None:
        """Who subscribes by a connection uses it, although the requests are the gateway's own."""
        for root in self._wanted_by:
            session.connection.audience.used_by(root)

    async def set_log_level(self, level: str | None) -> None:
        self._log_level = level
        if self._session is not None and self._session.era is Era.HANDSHAKE:
            await self._send_log_level(self._session)

    async def _restore(
        self, session: "UpstreamSession", subscriptions: SubscribeRequests, inherited: Collection[str]
    ) -> None:
        """Tell a new handshake-era connection what the last one knew. What is wanted later, `want` asks for."""
        await self._try(self._send_log_level(session))
        for uri in inherited:
            await self._try(subscriptions.reconcile(uri))
        self._miss(uri for uri in inherited if uri in self._wanted)

    async def _try(self, step: Awaitable[object]) -> None:
        try:
            await step
        except GatewayError as error:
            log.warning("not restored", upstream=self._upstream.name, reason=error.message)

    async def _send_log_level(self, session: "UpstreamSession") -> None:
        if self._log_level is not None and self._agreed is not None and "logging" in self._agreed.capabilities:
            options: CallOptions = {"timeout": self._upstream.config.timeout}
            await session.request("logging/setLevel", {"level": self._log_level}, options)

    # --- subscriptions/listen ---------------------------------------------------------------------------------------

    def _listen_streams(self, session: "UpstreamSession", agreed: "Negotiated") -> ListenStreams:
        def on_frame(method: str, params: dict[str, Any]) -> None:
            self._upstream.on_message(method, params, session.connection.audience)

        def on_gap(uris: Collection[str], of_lists: bool) -> None:
            if of_lists:
                self._all_stale()
            self._miss(uris)

        lists = {key: True for name, key in LISTEN_KEYS.items() if _announces(agreed.capabilities.get(name))}
        return ListenStreams(
            session, self._wanted, lists, on_frame, on_gap, self._on_listening, self.suspect, self._timing
        )

    def _on_listening(self) -> None:
        self._listening.set()


def _announces(capability: Any) -> bool:
    return isinstance(capability, dict) and cast("dict[str, Any]", capability).get("listChanged") is True
