"""Keeps what is known of an upstream fresh while its main connection is up: lists, subscriptions, log level.

Changes are heard in the era's own way (`list_changed` notifications, or one `subscriptions/listen` stream); what an
upstream neither announces nor lets expire is fetched once per connection. Hearing comes first and fetching second, so
that no change falls between the two: whenever an ear opens that was closed, everything is fetched.
"""

import time
from collections.abc import Awaitable, Collection
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import structlog

from gateway.errors import GatewayError, UpstreamError, UpstreamLost
from gateway.protocol import CHANGE_NOTIFICATIONS, Era
from gateway.upstream.audience import SEVERAL, Audience
from gateway.upstream.backoff import Backoff
from gateway.upstream.pacer import Pacer

if TYPE_CHECKING:
    from gateway.upstream.calls import CallOptions
    from gateway.upstream.session import Negotiated, Session
    from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.upstream")

DEBOUNCE_SECONDS: Final = 0.05
"""Changes that come in a burst are fetched once."""
RETRY_SECONDS: Final = 30.0
"""How soon a list that could not be fetched is asked for again."""
CHECK_SECONDS: Final = 5.0
"""How long an upstream we have reason to doubt may take to show that it is there."""
ACKNOWLEDGE_SECONDS: Final = 10.0
"""How long a change of what is listened to waits for the upstream to say that it has taken it up."""
HEARING_SECONDS: Final = 1.0
"""How long the first listing waits until changes are heard. If that takes longer, everything is fetched once more."""

SUBSCRIPTIONS_PER_SECOND: Final = 1_000
SUBSCRIPTIONS_AT_ONCE: Final = 100
"""How fast one upstream is subscribed to resources, whoever asks for how many."""
RELISTEN_SECONDS: Final = 0.05
URIS_PER_SECOND: Final = 20_000
"""How often what is listened to changes, at most: the more it is, the less often."""

LISTS_OF: Final = {"tools": ("tools",), "resources": ("resources", "templates"), "prompts": ("prompts",)}
"""Capability → the lists that belong to it."""
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
        self._session: Session | None = None
        self._agreed: Negotiated | None = None
        self._stale: set[str] = set()
        self._announced_kinds: set[str] = set()
        self._wake = anyio.Event()
        self._fetched = anyio.Event()
        self._fetched_at = float("-inf")
        self._wanted: frozenset[str] = frozenset()
        self._inherited: frozenset[str] = frozenset()
        """What was wanted when the connection came up. What is wanted later, `want` asks for."""
        self._subscribed: set[str] = set()
        """What a connection of the handshake era has been told that we want."""
        self._asking: dict[str, anyio.Event] = {}
        """What it is just being told, by somebody who may give up before it has answered."""
        self._wanted_by: set[str] = set()
        """Root principals on whose behalf; at most `SEVERAL`, and kept until nothing is wanted any more."""
        self._subscribing = Pacer(SUBSCRIPTIONS_PER_SECOND, SUBSCRIPTIONS_AT_ONCE)
        self._relisten = anyio.Event()
        self._acknowledged = anyio.Event()
        self._log_level: str | None = None
        self._suspected = anyio.Event()
        self._hears = False
        """Whether we would hear of a change."""
        self._listening = anyio.Event()
        """Set once we hear of changes, or never will."""

    def attach(self, session: "Session", agreed: "Negotiated") -> None:
        """A new connection is up."""
        self._session, self._agreed, self._inherited = session, agreed, self._wanted
        self._subscribed, self._asking = set(), {}
        self._note_users(session)
        self._hears, self._listening = False, anyio.Event()

    async def load(self) -> bool:
        """Fetch everything. Returns whether it could be fetched, and is still true."""
        self._stale.clear()
        self._wake = anyio.Event()
        await self._fetch(ALL_LISTS)
        return not self._stale

    async def run(self, session: "Session") -> None:
        """Fetch everything and keep it fresh, until cancelled."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._check_suspicions, session)
            if session.era is Era.MODERN:
                tg.start_soon(self._listen, session)
            else:
                tg.start_soon(self._hear, session)
                tg.start_soon(self._restore, session)
            with anyio.move_on_after(HEARING_SECONDS):
                await self._listening.wait()
            await self.load()
            await self._keep_fresh()

    def detach(self) -> None:
        """The connection is of no more use."""
        self._session = None

    # --- Lists ------------------------------------------------------------------------------------------------------

    def on_changed(self, method: str) -> None:
        """The upstream said that one of its lists changed."""
        for capability, notification in CHANGE_NOTIFICATIONS.items():
            if method == notification:
                self._stale.update(LISTS_OF[capability])
                self._announced_kinds.add(capability)
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
        if not self._hears:
            return False
        offered = [self._agreed.capabilities.get(name) for name in LISTS_OF]
        return all(capability is None or _announces(capability) for capability in offered)

    def _all_stale(self) -> None:
        self._stale.update(ALL_LISTS)
        self._wake.set()

    async def _keep_fresh(self) -> None:
        while True:
            with anyio.move_on_after(RETRY_SECONDS if self._stale else float("inf")):
                await self._wake.wait()
            self._wake = anyio.Event()
            await anyio.sleep(DEBOUNCE_SECONDS)
            stale, self._stale = self._stale, set()
            await self._fetch(sorted(stale))

    async def _fetch(self, kinds: Collection[str]) -> None:
        from gateway.upstream.lister import fetch  # needs the SDK; see Link

        upstream, session = self._upstream, self._session
        assert session is not None
        assert self._agreed is not None
        fetched = await fetch(session, self._agreed, upstream.config.timeout, upstream.known, kinds)
        if session.connection.closed is not None:
            return  # what could not be fetched says nothing about the upstream
        self._fetched_at = time.monotonic()
        self._stale.update(fetched.failed)
        announced, self._announced_kinds = self._announced_kinds, set()
        await upstream.publish(fetched.listing, fetched.problems, announced)
        self._fetched.set()
        self._fetched = anyio.Event()
        await upstream.relearn(session, self._agreed, kinds)

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
        self._tell_to_refetch(self._wanted)

    def _tell_to_refetch(self, uris: Collection[str]) -> None:
        for uri in sorted(uris):
            self._upstream.on_message("notifications/resources/updated", {"uri": uri}, Audience())

    async def _hear(self, session: "Session") -> None:
        """The handshake era's way: the transport listens by itself."""
        session.connection.on_gap = self._on_gap
        await session.connection.hears.wait()
        self._on_hearing()

    # --- Is it still there? -----------------------------------------------------------------------------------------

    def suspect(self) -> None:
        """A request could not be delivered: find out whether the upstream is gone. HTTP has no other way to tell."""
        self._suspected.set()

    async def _check_suspicions(self, session: "Session") -> None:
        while True:
            await self._suspected.wait()
            self._suspected = anyio.Event()
            method = "ping" if session.era is Era.HANDSHAKE else "server/discover"
            try:
                await session.forward(method, {}, {"timeout": CHECK_SECONDS})
            except UpstreamLost as error:
                session.connection.close(error)
            except GatewayError:
                pass  # slow, or an answer, whatever it says: it is there

    # --- Subscriptions ----------------------------------------------------------------------------------------------

    async def want(self, uris: frozenset[str], now: Collection[str] | None, roots: Collection[str]) -> None:
        before, self._wanted = self._wanted, uris
        self._wanted_by = {*sorted({*self._wanted_by, *roots})[:SEVERAL]} if uris else set()
        session = self._session
        if session is None:
            return  # taken up by the next connection
        self._note_users(session)
        if session.era is Era.MODERN:
            await self._want_listening(before)
            return
        refusal: UpstreamError | None = None
        for uri in sorted(uris if now is None else uris.intersection(now)):
            try:
                await self._subscribe(session, uri)
            except UpstreamError as error:
                self._wanted -= {uri}
                refusal = refusal or error  # which says nothing of the others
        for uri in sorted(self._subscribed - uris):
            await self._unsubscribe(session, uri)
        if refusal is not None:
            raise refusal

    async def _want_listening(self, before: frozenset[str]) -> None:
        if self._wanted != before:
            acknowledged = self._acknowledged
            self._relisten.set()
            with anyio.move_on_after(ACKNOWLEDGE_SECONDS):
                await acknowledged.wait()

    async def _subscribe(self, session: "Session", uri: str) -> None:
        """Once for all who want it. Who asked for it first may give up; then the next does."""
        while session is self._session and uri not in self._subscribed:
            if (asking := self._asking.get(uri)) is not None:
                await asking.wait()
                continue
            asking = self._asking[uri] = anyio.Event()
            try:
                await self._pace()
                await session.forward("resources/subscribe", {"uri": uri}, self._options())
                if session is self._session:
                    self._subscribed.add(uri)
            finally:
                asking.set()
                if self._asking.get(uri) is asking:
                    del self._asking[uri]

    async def _unsubscribe(self, session: "Session", uri: str) -> None:
        if uri in self._subscribed and uri not in self._wanted:
            self._subscribed.discard(uri)
            await self._pace()
            await session.forward("resources/unsubscribe", {"uri": uri}, self._options())

    def _options(self) -> "CallOptions":
        return {"timeout": self._upstream.config.timeout}

    def _note_users(self, session: "Session") -> None:
        """Who subscribes by a connection uses it, although the requests are the gateway's own."""
        for root in self._wanted_by:
            session.connection.audience.used_by(root)

    async def _pace(self) -> None:
        if delay := self._subscribing.delay(anyio.current_time()):
            await anyio.sleep(delay)

    async def set_log_level(self, level: str | None) -> None:
        self._log_level = level
        if self._session is not None and self._session.era is Era.HANDSHAKE:
            await self._send_log_level(self._session)

    async def _restore(self, session: "Session") -> None:
        """Tell a new handshake-era connection what the last one knew."""
        await self._try(self._send_log_level(session))
        for uri in sorted(self._inherited & self._wanted):
            await self._try(self._subscribe(session, uri))
        self._tell_to_refetch(self._inherited & self._wanted)

    async def _try(self, step: Awaitable[object]) -> None:
        try:
            await step
        except GatewayError as error:
            log.warning("not restored", upstream=self._upstream.name, reason=error.message)

    async def _send_log_level(self, session: "Session") -> None:
        if self._log_level is not None and self._agreed is not None and "logging" in self._agreed.capabilities:
            await session.forward("logging/setLevel", {"level": self._log_level}, self._options())

    # --- subscriptions/listen ---------------------------------------------------------------------------------------

    async def _listen(self, session: "Session") -> None:
        """One listen stream at a time; when what is wanted changes, the next is open before the last is closed."""
        last = anyio.CancelScope()
        async with anyio.create_task_group() as tg:
            while True:
                self._relisten = anyio.Event()
                settled, scope = anyio.Event(), anyio.CancelScope()
                if wanted := self._filter():
                    tg.start_soon(self._stream, session, wanted, settled, scope)
                    with anyio.move_on_after(ACKNOWLEDGE_SECONDS):
                        await settled.wait()
                self._acknowledged.set()
                self._acknowledged = anyio.Event()
                self._listening.set()
                last.cancel()
                last = scope
                opened_at = anyio.current_time()
                await self._relisten.wait()
                # Each change sends everything that is wanted once more.
                rest = RELISTEN_SECONDS + len(self._wanted) / URIS_PER_SECOND
                await anyio.sleep(max(0.0, opened_at + rest - anyio.current_time()))

    def _filter(self) -> dict[str, Any]:
        assert self._agreed is not None
        capabilities = self._agreed.capabilities
        wanted: dict[str, Any] = {key: True for name, key in LISTEN_KEYS.items() if _announces(capabilities.get(name))}
        if self._wanted:
            wanted["resourceSubscriptions"] = sorted(self._wanted)
        return wanted

    async def _stream(
        self, session: "Session", wanted: dict[str, Any], settled: anyio.Event, scope: anyio.CancelScope
    ) -> None:
        """Keep one listen stream open. `settled` is set when it is acknowledged, or cannot be opened."""
        backoff, refused = Backoff(), False

        def on_frame(method: str, params: dict[str, Any] | None) -> None:
            self._on_hearing()
            if method == "notifications/subscriptions/acknowledged":
                settled.set()
            else:
                self._upstream.on_message(method, params or {}, session.connection.audience)

        with scope:
            while not refused:
                opened_at = anyio.current_time()
                try:
                    options: CallOptions = {"on_notification": on_frame}
                    await session.forward("subscriptions/listen", {"notifications": wanted}, options)
                except UpstreamError as error:
                    log.warning("listen refused", upstream=self._upstream.name, reason=error.message)
                    refused = True
                except GatewayError:
                    self.suspect()
                self._hears = False
                settled.set()
                await anyio.sleep(backoff.after(anyio.current_time() - opened_at, 1.0))
        settled.set()


def _announces(capability: Any) -> bool:
    return isinstance(capability, dict) and cast("dict[str, Any]", capability).get("listChanged") is True
