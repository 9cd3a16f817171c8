"""Who hears of changes: sessions and what they subscribed to, and listen streams.

What upstreams are asked for it is a matter of `upstream_subscriptions`; who has to be told when they may see something
else, of `reconciling`.
"""

import gc
from collections.abc import Collection, Hashable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio

from gateway.access.expiry import until_expiry
from gateway.access.places import SessionQuota
from gateway.bridge.subscriptions import Resource, Subscriber, by_upstream, requested
from gateway.bridge.tasks import TaskHandles
from gateway.call import Call, string
from gateway.catalogue.library import CatalogueViews
from gateway.errors import DefinitionChanged, GatewayError, InvalidRequest, UnknownResource
from gateway.jsonrpc import as_object
from gateway.pause import Pause
from gateway.protocol import CHANGE_NOTIFICATIONS, META_SUBSCRIPTION_ID
from gateway.request import Agent, Principal
from gateway.server.agents import ConnectedAgent
from gateway.server.listeners import Listeners
from gateway.server.lookup import Lookup, Opener
from gateway.server.reconciling import ListenerReconciler
from gateway.server.results import BoundedResults
from gateway.server.task_news import TaskNews
from gateway.server.telling import Telling
from gateway.server.upstream_subscriptions import UpstreamSubscriptions
from gateway.upstream.audience import Audience
from gateway.upstream.listing import Listing, LoginListing
from gateway.upstream.upstream import Upstream

REST: Final = 10
"""How many times as long as it took to make something of a list that changed, lists that change are left alone: servers
may say so as often as they like, and get a tenth of our time for it."""


class Listening:
    """All listeners. Handles `resources/subscribe`, `resources/unsubscribe` and `subscriptions/listen`."""

    def __init__(
        self,
        lookup: Lookup,
        library: CatalogueViews,
        upstreams: Mapping[str, Upstream],
        places: SessionQuota,
        handles: TaskHandles,
        results: BoundedResults,
        rest: float = REST,
    ) -> None:
        self._lookup = lookup
        self._library = library
        self._upstreams = upstreams
        self._places = places
        self._tasks = TaskNews(lookup, upstreams, handles, results)
        self._listeners = Listeners(lookup)
        self._subscriptions = self._listeners.subscriptions
        self._upstream_subscriptions = UpstreamSubscriptions(self._listeners, upstreams)
        self.reconciler = ListenerReconciler(
            lookup, library, upstreams, self._listeners, self._upstream_subscriptions, self.on_resource_updated
        )
        """For when they may see something else."""
        self._sessions: dict[str, Subscriber] = {}
        self._streams: set[tuple[Principal, anyio.Event]] = set()
        self._turn = anyio.Lock()
        self._rest = rest
        self._rests_until = float("-inf")
        self._is_over = False
        """Whether the gateway is about to stop, so that there will be no more news."""
        self._telling = Telling()

    async def run(self) -> None:
        """Do in short steps what is for very many, until cancelled."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._telling.run)
            tg.start_soon(self.reconciler.run)

    # --- Sessions ---------------------------------------------------------------------------------------------------

    def open(self, agent: ConnectedAgent) -> None:
        """A handshake-era agent has connected: from now on it hears of changes."""
        opener = Opener(agent)
        listener = self._sessions[agent.id] = self._listeners.make(opener, tuple(CHANGE_NOTIFICATIONS), agent.notify)
        self._listeners.add(listener, opener)

    def introduced(self, agent: Agent) -> None:
        """It has said what it declares, on which it may depend what it sees."""
        if (listener := self._sessions.get(agent.id)) is not None:
            self._subscriptions.rekey(listener, self._listeners.key(self._listeners.viewers[listener]))

    async def close(self, agent: ConnectedAgent) -> None:
        """It has gone."""
        listener = self._sessions.pop(agent.id, None)
        if listener is not None:
            await self._leave(listener)

    async def subscribe(self, request: Call) -> dict[str, Any]:
        uri = string(request.params, "uri")
        owner = await self._lookup.owner(request, uri)
        self._lookup.check(request, "resources", owner)
        listener = self._session(request.agent)
        request.upstream = owner.upstream
        self._subscriptions.subscribe(listener, uri, (owner.upstream, owner.original))
        try:
            await self._upstream_subscriptions.want({owner.upstream: {owner.original}}, listener)
        except BaseException:  # it failed, or the agent no longer waits for it
            self._subscriptions.unsubscribe(listener, uri)
            await self._upstream_subscriptions.give_up({owner.upstream: {owner.original}})
            raise
        return {}

    async def unsubscribe(self, request: Call) -> dict[str, Any]:
        listener = self._session(request.agent)
        resource = self._subscriptions.unsubscribe(listener, string(request.params, "uri"))
        if resource is not None:
            request.upstream, own = resource
            await self._upstream_subscriptions.want({request.upstream: {own}})
        return {}

    async def drop(self, agent: ConnectedAgent, uri: str) -> None:
        """It is subscribed to that no longer."""
        listener = self._sessions.get(agent.id)
        if listener is not None and (resource := self._subscriptions.unsubscribe(listener, uri)) is not None:
            await self._upstream_subscriptions.give_up({resource[0]: {resource[1]}})

    async def resume(self, agent: ConnectedAgent, uris: Collection[str], *, look_again: bool = True) -> None:
        """Its session was made anew, and had subscribed to these: it is told to look at them again."""
        listener = self._sessions.get(agent.id)
        opener = Opener(agent)
        if listener is None:
            return
        for uri in uris:
            with suppress(GatewayError):
                owner = await self._lookup.owner(opener, uri)
                self._lookup.check(opener, "resources", owner)
                self._subscriptions.subscribe(listener, uri, (owner.upstream, owner.original))
        for upstream, owns in by_upstream(listener.resources.values()).items():
            # One that is away is asked when it is back.
            await self._upstream_subscriptions.want_if_possible(listener, upstream, owns)
        for uri in list(listener.resources) if look_again else ():
            listener.notify("notifications/resources/updated", {"uri": uri})

    def _session(self, agent: Agent) -> Subscriber:
        """
        Raises:
            InvalidRequest: there is no way to tell it anything later.
        """
        listener = self._sessions.get(agent.id)
        if listener is None:
            raise InvalidRequest("This needs a session. Open one with initialize.")
        return listener

    # --- Listen streams ---------------------------------------------------------------------------------------------

    async def listen(self, request: Call) -> dict[str, Any]:
        """Acknowledge, then pass on what was asked for until the agent leaves, its credential expires, or the gateway
        stops."""
        principal, ended = request.principal, anyio.Event()
        with self._places.held(principal), until_expiry(principal, ended.set):
            return await self._listen(request, ended)

    async def _listen(self, request: Call, ended: anyio.Event) -> dict[str, Any]:
        pause = Pause(turn=self._listeners.large)
        await pause.if_due()  # who sends a filter may send many
        wanted, asked = requested(request.params)
        handles = self._tasks.requested(request, wanted)
        kinds = [kind for kind in CHANGE_NOTIFICATIONS if wanted.get(f"{kind}ListChanged") is True]
        request.params.clear()  # whatever else it holds would be kept as long as the stream
        del wanted
        tag = {META_SUBSCRIPTION_ID: request.id}

        def notify(method: str, params: dict[str, Any] | None) -> None:
            rest = params or {}
            request.notify(method, {**rest, "_meta": {**as_object(rest.get("_meta")), **tag}})

        # Mute until acknowledged: that comes first on the stream, and only once nothing can be missed any more.
        listener = self._listeners.make(request, kinds, _mute)
        self._listeners.add(listener, request, asked)
        stream = request.principal, ended
        self._streams.add(stream)
        try:
            for uri in asked:
                await pause.if_due()  # to find out whose a URI is may take a while
                with suppress(UnknownResource, DefinitionChanged):
                    owner = await self._lookup.owner(request, uri)
                    self._lookup.check(request, "resources", owner)
                    self._subscriptions.subscribe(listener, uri, (owner.upstream, owner.original))
            self._subscriptions.release(listener)
            async with anyio.create_task_group() as tg:
                for upstream, uris in by_upstream(listener.resources.values()).items():
                    tg.start_soon(self._upstream_subscriptions.take_up, listener, upstream, uris)
            async with self._tasks.heard(request, handles) as tasks:
                honoured: dict[str, Any] = {f"{kind}ListChanged": True for kind in kinds}
                if listener.resources:
                    honoured["resourceSubscriptions"] = list(listener.resources)
                if tasks.agreed:
                    honoured["taskIds"] = tasks.agreed
                notify("notifications/subscriptions/acknowledged", {"notifications": honoured})
                listener.notify = notify
                tasks.deliver_to(notify)
                if not self._is_over:
                    await ended.wait()
        finally:
            self._streams.discard(stream)
            await self._leave(listener)
        return {"_meta": tag}

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
                self._rests_until = anyio.current_time() + self._rest * (anyio.current_time() - began)

    async def _take_in(self, upstream: Upstream, announced: Collection[str]) -> None:
        if self._upstreams.get(upstream.name) is not upstream:
            return  # it does not serve yet, or not any more
        if self._upstream_subscriptions.is_asked_otherwise(upstream):
            self.reconciler.restore_soon(upstream.name)
        await self._library.examine(upstream.name, upstream.listing)
        if self._upstreams.get(upstream.name) is not upstream:
            return
        listing = upstream.listing  # perhaps it is another by now, which is examined at once then
        if _labels(listing) == self._library.labels.get(upstream.name, frozenset()):
            ownership = self._library.ownership
            affected = await self._library.take_in(upstream.name, listing)
            if self._library.ownership is not ownership:
                self.reconciler.look_again({})
        else:  # who sees which list becomes another question
            before = self.reconciler.seen()
            await self._library.take_in(upstream.name, listing)
            self.reconciler.look_again(before)
            affected = set[str | None]()
        changes: dict[Hashable, set[str]] = {}
        library = self._library
        for key in self._listeners.distinct_keys():
            view, grant, selection = key
            changes[key] = set(library.changes(view, grant, selection)) if library.base(view) in affected else set()
            if view == upstream.name and grant.unrestricted:
                changes[key].update(announced)
        pause = Pause()
        for _ in self._subscriptions.lists_changed(changes):
            await pause.if_due()

    def on_resource_updated(self, upstream: str, uri: str, audience: Audience) -> None:
        """Subscribers hear of what all share; what one's own connection says is for that one alone."""
        subscriptions = self._subscriptions
        if audience.is_private:
            for _ in subscriptions.resource_updated(upstream, uri, lambda one: self._concerns(one, audience)):
                pass
        else:
            concerns = partial(self._may_hear, upstream, uri)
            self._telling.tell((upstream, uri), lambda: subscriptions.resource_updated(upstream, uri, concerns))

    def _concerns(self, listener: Subscriber, audience: Audience) -> bool:
        return audience.includes(self._listeners.viewers[listener].agent)

    def _may_hear(self, upstream: str, uri: str, listener: Subscriber) -> bool:
        """What changed for it may be that it may no longer hear of what it subscribed to."""
        return not self.reconciler.has_yet_to_tell(listener) or listener.admits(upstream, uri)

    # --- Inside -----------------------------------------------------------------------------------------------------

    async def _leave(self, listener: Subscriber) -> None:
        """It hears nothing from now on; that takes a step for each of its resources, and many may leave at once."""
        listener.notify = _mute
        less: list[Resource] = []
        pause = Pause(turn=self._listeners.large)
        with anyio.CancelScope(shield=True):
            for uri in list(listener.resources) if not self._is_over else ():
                await pause.if_due()
                if (resource := self._subscriptions.unsubscribe(listener, uri)) is not None:
                    less.append(resource)
        self._listeners.remove(listener)
        self.reconciler.forget(listener)
        if less:
            await self._upstream_subscriptions.give_up(by_upstream(less))


def _mute(method: str, params: dict[str, Any] | None) -> None: ...


def _labels(listing: Listing | None) -> frozenset[str]:
    """For which clients a listing has something else."""
    if isinstance(listing, LoginListing):
        return frozenset(listing.own)
    return frozenset(label for label, variation in listing.variants.items() if variation) if listing else frozenset()
