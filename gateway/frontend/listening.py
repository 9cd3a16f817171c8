"""Who hears of changes: sessions and what they subscribed to, listen streams, and what upstreams are asked for it."""

import gc
from collections.abc import Collection, Generator, Hashable, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, cast

import anyio

from gateway.access.policy import Grant
from gateway.bridge.subscriptions import Listener, Subscriptions, check_bounds
from gateway.catalogue.catalogue import Catalogue, changed
from gateway.catalogue.library import Library, Selection
from gateway.errors import DefinitionChanged, GatewayError, InvalidParams, InvalidRequest, UnknownResource
from gateway.frontend.agents import ConnectedAgent
from gateway.frontend.expiry import until_expiry
from gateway.frontend.lookup import Lookup, Opener, Viewer
from gateway.frontend.places import Places
from gateway.jsonrpc import as_object
from gateway.pause import Pause
from gateway.protocol import CHANGE_NOTIFICATIONS, META_SUBSCRIPTION_ID
from gateway.request import Agent, Notify, Principal, Request, string
from gateway.upstream.audience import Audience
from gateway.upstream.listing import Listing
from gateway.upstream.upstream import Upstream

REST: Final = 10
"""How many times as long as it took to make something of a list that changed, lists that change are left alone: servers
may say so as often as they like, and get a tenth of our time for it."""
SUBSCRIBE_SECONDS: Final = 5.0
"""How long an acknowledgement waits for an upstream to take up the subscriptions it is about."""


class Listening:
    """All listeners. Handles `resources/subscribe`, `resources/unsubscribe` and `subscriptions/listen`."""

    def __init__(self, lookup: Lookup, library: Library, upstreams: Mapping[str, Upstream], places: Places) -> None:
        self._lookup = lookup
        self._library = library
        self._upstreams = upstreams
        self._places = places
        self._subscriptions = Subscriptions()
        self._looking_up = anyio.Lock()
        self._sessions: dict[str, Listener] = {}
        self._streams: set[tuple[Principal, anyio.Event]] = set()
        self._turn = anyio.Lock()
        self._rests_until = float("-inf")
        self._is_over = False
        """Whether the gateway is about to stop, so that there will be no more news."""
        self._viewers: dict[Listener, Viewer] = {}

    # --- Sessions ---------------------------------------------------------------------------------------------------

    def open(self, agent: ConnectedAgent) -> None:
        """A handshake-era agent has connected: from now on it hears of changes."""
        opener = Opener(agent)
        listener = self._sessions[agent.id] = self._make(opener, tuple(CHANGE_NOTIFICATIONS), agent.notify)
        self._add(listener, opener)

    def introduced(self, agent: Agent) -> None:
        """It has said what it declares, on which it may depend what it sees."""
        if (listener := self._sessions.get(agent.id)) is not None:
            self._subscriptions.rekey(listener, self._key(self._viewers[listener]))

    async def close(self, agent: ConnectedAgent) -> None:
        """It has gone."""
        listener = self._sessions.pop(agent.id, None)
        if listener is not None:
            await self._want(self._remove(listener))

    async def subscribe(self, request: Request) -> dict[str, Any]:
        uri = string(request.params, "uri")
        owner = await self._lookup.owner(request, uri)
        self._lookup.check(request, "resources", owner)
        listener = self._session(request.agent)
        request.upstream = owner.upstream
        self._subscriptions.subscribe(listener, uri, (owner.upstream, owner.original))
        try:
            await self._want({owner.upstream}, listener)
        except BaseException:  # it failed, or the agent no longer waits for it
            self._subscriptions.unsubscribe(listener, uri)
            raise
        return {}

    async def unsubscribe(self, request: Request) -> dict[str, Any]:
        listener = self._session(request.agent)
        request.upstream = self._subscriptions.unsubscribe(listener, string(request.params, "uri"))
        if request.upstream is not None:
            await self._want({request.upstream})
        return {}

    def _session(self, agent: Agent) -> Listener:
        """
        Raises:
            InvalidRequest: there is no way to tell it anything later.
        """
        listener = self._sessions.get(agent.id)
        if listener is None:
            raise InvalidRequest("This needs a session. Open one with initialize.")
        return listener

    # --- Listen streams ---------------------------------------------------------------------------------------------

    async def listen(self, request: Request) -> dict[str, Any]:
        """Acknowledge, then pass on what was asked for until the agent leaves, its credential expires, or the gateway
        stops."""
        principal, ended = request.principal, anyio.Event()
        with self._places.held(principal), until_expiry(principal, ended.set):
            return await self._listen(request, ended)

    async def _listen(self, request: Request, ended: anyio.Event) -> dict[str, Any]:
        wanted, uris = _filter(request.params)
        kinds = [kind for kind in CHANGE_NOTIFICATIONS if wanted.get(f"{kind}ListChanged") is True]
        request.params.clear()  # whatever else it holds would be kept as long as the stream
        del wanted
        tag = {META_SUBSCRIPTION_ID: request.id}

        def notify(method: str, params: dict[str, Any] | None) -> None:
            rest = params or {}
            request.notify(method, {**rest, "_meta": {**as_object(rest.get("_meta")), **tag}})

        # Mute until acknowledged: that comes first on the stream, and only once nothing can be missed any more.
        listener = self._make(request, kinds, lambda method, params: None)
        pause = Pause(turn=self._looking_up)
        for uri in uris:
            await pause.if_due()  # to find out whose a URI is may take a while
            with suppress(UnknownResource, DefinitionChanged):
                owner = await self._lookup.owner(request, uri)
                self._lookup.check(request, "resources", owner)
                listener.resources[uri] = owner.upstream, owner.original
        self._add(listener, request)
        stream = request.principal, ended
        self._streams.add(stream)
        try:
            async with anyio.create_task_group() as tg:
                for upstream in {upstream for upstream, _ in listener.resources.values()}:
                    tg.start_soon(self._take_up, listener, upstream)
            honoured: dict[str, Any] = {f"{kind}ListChanged": True for kind in kinds}
            if listener.resources:
                honoured["resourceSubscriptions"] = list(listener.resources)
            notify("notifications/subscriptions/acknowledged", {"notifications": honoured})
            listener.notify = notify
            if not self._is_over:
                await ended.wait()
        finally:
            self._streams.discard(stream)
            less = self._remove(listener)
            if not self._is_over:  # else the upstreams go, too
                with anyio.CancelScope(shield=True), anyio.move_on_after(SUBSCRIBE_SECONDS):
                    await self._want(less)
        return {"_meta": tag}

    async def _take_up(self, listener: Listener, upstream: str) -> None:
        """Subscribe to the listener's resources at one upstream; those it refuses, or is too slow for, are dropped."""
        with anyio.move_on_after(SUBSCRIBE_SECONDS), suppress(GatewayError):
            await self._want({upstream}, listener)
            return
        for uri in [uri for uri, (owner, _) in listener.resources.items() if owner == upstream]:
            self._subscriptions.unsubscribe(listener, uri)

    def end_streams(self, principals: Collection[str] | None = None) -> None:
        """End listen streams, gracefully: all of them and each that is still to come (the gateway is about to stop), or
        those of principals (ids) that are no longer good, and of their agents."""
        self._is_over |= principals is None
        for principal, ended in list(self._streams):
            if principals is None or principal.is_one_of(principals):
                ended.set()

    # --- Deliveries -------------------------------------------------------------------------------------------------

    async def on_listing(self, upstream: Upstream, announced: Collection[str]) -> None:
        """Who sees the merged catalogue hears of what changed in it; who sees the upstream alone, what it announced.

        One upstream at a time, in the order they come. What is new may follow at once, as when the gateway starts; what
        changes has a small share of the time, all upstreams together, however often they say so.
        """
        async with self._turn:
            is_new = not self._library.knows(upstream.name)
            if not is_new:
                await anyio.sleep(max(0.0, self._rests_until - anyio.current_time()))
            began = anyio.current_time()
            await self._take_in(upstream, announced)
            if is_new:
                # What an upstream offers stays, as a rule, and is too much to be looked through for garbage again and
                # again: with 20,000 tools that would take a tenth of a second each time.
                gc.freeze()
            else:
                self._rests_until = anyio.current_time() + REST * (anyio.current_time() - began)

    async def _take_in(self, upstream: Upstream, announced: Collection[str]) -> None:
        if self._upstreams.get(upstream.name) is not upstream:
            return  # it does not serve yet, or not any more
        listing = upstream.listing
        if _labels(listing) == self._library.labels.get(upstream.name, frozenset()):
            affected = await self._library.take_in(upstream.name, listing)
        else:  # who sees which list becomes another question
            before = self._seen()
            await self._library.take_in(upstream.name, listing)
            self._tell(before)
            affected = set[str | None]()
        changes: dict[Hashable, set[str]] = {}
        for key in cast("set[tuple[str | None, Grant, Selection]]", self._subscriptions.keys()):
            view, grant, selection = key
            changes[key] = set(self._library.changes(view, grant, selection)) if view in affected else set()
            if view == upstream.name and grant.unrestricted:
                changes[key].update(announced)
        self._subscriptions.lists_changed(changes)

    def on_resource_updated(self, upstream: str, uri: str, audience: Audience) -> None:
        """Subscribers hear of what all share; what one's own connection says is for that one alone."""
        if audience.is_private:
            self._subscriptions.resource_updated(upstream, uri, lambda one: audience.includes(self._viewers[one].agent))
        else:
            self._subscriptions.resource_updated(upstream, uri)

    # --- The configuration changes ------------------------------------------------------------------------------------

    @contextmanager
    def through_change(self) -> Generator[None]:
        """Around a change of what agents may see, or of how it is shown: who saw other lists before is told."""
        before = self._seen()
        yield
        self._tell(before)

    def _seen(self) -> dict[Listener, Catalogue]:
        """What everybody sees."""
        return {listener: self._lookup.catalogue(viewer) for listener, viewer in self._viewers.items()}

    def _tell(self, before: Mapping[Listener, Catalogue]) -> None:
        """Tell who saw other lists before."""
        for listener, viewer in self._viewers.items():
            self._subscriptions.rekey(listener, self._key(viewer))
            for uri in [uri for uri, resource in listener.resources.items() if not listener.admits(*resource)]:
                self._subscriptions.unsubscribe(listener, uri)
            now = self._lookup.catalogue(viewer)
            for kind in changed(before.get(listener, now), now) & set(listener.kinds):
                listener.notify(CHANGE_NOTIFICATIONS[kind], None)

    async def brief(self, upstream: Upstream) -> None:
        """One begins to serve, perhaps in another's place: what was wanted of that is asked of it, and who wanted it is
        told to look again."""
        wanted = self._subscriptions.wanted(upstream.name)
        with suppress(GatewayError):
            await upstream.want(wanted, None, {viewer.principal.root_id for viewer in self._viewers.values()})
        for uri in sorted(wanted):
            self._subscriptions.resource_updated(upstream.name, uri)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _add(self, listener: Listener, viewer: Viewer) -> None:
        self._viewers[listener] = viewer
        self._subscriptions.add(listener)

    def _remove(self, listener: Listener) -> set[str]:
        self._viewers.pop(listener, None)
        return self._subscriptions.remove(listener)

    def _key(self, viewer: Viewer) -> tuple[str | None, Grant, Selection]:
        return viewer.view, self._lookup.grant(viewer), self._lookup.selection(viewer)

    def _make(self, viewer: Viewer, kinds: Collection[str], notify: Notify) -> Listener:
        admits = partial(self._lookup.admits_uri, viewer)
        return Listener(self._key(viewer), kinds, notify, admits=admits)

    async def _want(self, upstreams: set[str], listener: Listener | None = None) -> None:
        """Have these upstreams subscribed to what is wanted now; `listener` is who wants more than before."""
        viewer = self._viewers.get(listener) if listener is not None else None
        roots = () if viewer is None else (viewer.principal.root_id,)
        wants = listener.resources.values() if listener is not None else ()
        for name in upstreams:
            if (upstream := self._upstreams.get(name)) is not None:  # it may have been removed
                now = [own for owner, own in wants if owner == name]
                await upstream.want(self._subscriptions.wanted(name), now, roots)


def _labels(listing: Listing | None) -> frozenset[str]:
    """For which clients a listing has something else."""
    return frozenset(label for label, variation in listing.variants.items() if variation) if listing else frozenset()


def _filter(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What a listen stream asks for: the whole filter, and the URIs in it, each once.

    Raises:
        InvalidParams: it is no filter, or too large a one.
    """
    if not isinstance(params.get("notifications"), dict):
        raise InvalidParams("notifications must be an object")
    wanted = as_object(params["notifications"])
    uris: object = wanted.get("resourceSubscriptions") or []
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in cast("list[object]", uris)):
        raise InvalidParams("resourceSubscriptions must be a list of URIs")
    distinct = list(dict.fromkeys(cast("list[str]", uris)))
    check_bounds(distinct)
    return wanted, distinct
