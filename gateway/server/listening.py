"""Who hears of changes: sessions and what they subscribed to, listen streams, and what upstreams are asked for it."""

import gc
from collections.abc import Collection, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskGroup

from gateway.access.expiry import until_expiry
from gateway.access.places import SessionQuota
from gateway.access.policy import Grant
from gateway.bridge.subscriptions import Resource, Subscriber, Subscriptions, by_upstream, requested
from gateway.bridge.tasks import TaskHandles
from gateway.call import Call, string
from gateway.catalogue.catalogue import Catalogue, changed
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.visibility import Selection
from gateway.errors import DefinitionChanged, GatewayError, InvalidRequest, UnknownResource
from gateway.jsonrpc import as_object
from gateway.pause import Pause
from gateway.protocol import CHANGE_NOTIFICATIONS, META_SUBSCRIPTION_ID
from gateway.request import Agent, Notify, Principal
from gateway.server.agents import ConnectedAgent
from gateway.server.lookup import Lookup, Opener, Viewer
from gateway.server.results import BoundedResults
from gateway.server.task_news import TaskNews
from gateway.server.telling import Telling
from gateway.upstream.audience import Audience
from gateway.upstream.listing import Listing, LoginListing
from gateway.upstream.upstream import Upstream

REST: Final = 10
"""How many times as long as it took to make something of a list that changed, lists that change are left alone: servers
may say so as often as they like, and get a tenth of our time for it."""
SUBSCRIBE_SECONDS: Final = 5.0
"""How long an acknowledgement waits for an upstream to take up the subscriptions it is about."""


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
    ) -> None:
        self._lookup = lookup
        self._library = library
        self._upstreams = upstreams
        self._places = places
        self._tasks = TaskNews(lookup, upstreams, handles, results)
        self._subscriptions = Subscriptions()
        self._large = anyio.Lock()
        """What filters of very many resources share: one of them at a time takes a step."""
        self._sessions: dict[str, Subscriber] = {}
        self._streams: set[tuple[Principal, anyio.Event]] = set()
        self._turn = anyio.Lock()
        self._rests_until = float("-inf")
        self._is_over = False
        """Whether the gateway is about to stop, so that there will be no more news."""
        self._viewers: dict[Subscriber, Viewer] = {}
        self._telling = Telling()
        self._due = anyio.Event()
        self._before: dict[Subscriber, Catalogue] = {}
        """Who has yet to be told what has changed, and what they saw before that."""
        self._to_follow: dict[Subscriber, None] = {}
        """Those of whose URIs it has yet to be seen whether they are another server's now."""
        self._is_personal: dict[str, bool] = {}
        """Upstream → whether each principal subscribed there by a connection of their own, when that was seen last."""
        self._to_restore: dict[str, None] = {}
        """Those of which that is another by now."""

    async def run(self) -> None:
        """Do in short steps what is for very many, until cancelled."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._telling.run)
            while True:
                await self._due.wait()
                self._due = anyio.Event()
                await self._tell(tg)
                await self._follow(tg)
                for name in list(self._to_restore):
                    if (upstream := self._upstreams.get(name)) is not None:
                        tg.start_soon(self.restore_subscriptions, upstream)
                self._to_restore.clear()

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
            await self._leave(listener)

    async def subscribe(self, request: Call) -> dict[str, Any]:
        uri = string(request.params, "uri")
        owner = await self._lookup.owner(request, uri)
        self._lookup.check(request, "resources", owner)
        listener = self._session(request.agent)
        request.upstream = owner.upstream
        self._subscriptions.subscribe(listener, uri, (owner.upstream, owner.original))
        try:
            await self._want({owner.upstream: {owner.original}}, listener)
        except BaseException:  # it failed, or the agent no longer waits for it
            self._subscriptions.unsubscribe(listener, uri)
            await self._give_up({owner.upstream: {owner.original}})
            raise
        return {}

    async def unsubscribe(self, request: Call) -> dict[str, Any]:
        listener = self._session(request.agent)
        resource = self._subscriptions.unsubscribe(listener, string(request.params, "uri"))
        if resource is not None:
            request.upstream, own = resource
            await self._want({request.upstream: {own}})
        return {}

    async def drop(self, agent: ConnectedAgent, uri: str) -> None:
        """It is subscribed to that no longer."""
        listener = self._sessions.get(agent.id)
        if listener is not None and (resource := self._subscriptions.unsubscribe(listener, uri)) is not None:
            await self._give_up({resource[0]: {resource[1]}})

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
            with anyio.move_on_after(SUBSCRIBE_SECONDS), suppress(GatewayError):
                await self._want({upstream: owns}, listener)  # one that is away is asked when it is back
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
        pause = Pause(turn=self._large)
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
        listener = self._make(request, kinds, _mute)
        self._add(listener, request, asked)
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
                    tg.start_soon(self._take_up, listener, upstream, uris)
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

    async def _take_up(self, listener: Subscriber, upstream: str, uris: set[str]) -> None:
        """Subscribe to these at one upstream; each that it refuses, or is too slow for, is dropped."""
        with anyio.move_on_after(SUBSCRIBE_SECONDS), suppress(GatewayError):
            await self._want({upstream: uris}, listener)
        if uris:
            pause = Pause(turn=self._large)
            for uri in [uri for uri, (name, own) in listener.resources.items() if name == upstream and own in uris]:
                await pause.if_due()
                self._subscriptions.unsubscribe(listener, uri)
            await self._give_up({upstream: uris})

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
        is_personal = upstream.own_subscriptions is not None
        if self._is_personal.setdefault(upstream.name, is_personal) is not is_personal:
            self._to_restore[upstream.name] = None  # somebody made, or ended, a login for all
            self._due.set()
        await self._library.examine(upstream.name, upstream.listing)
        if self._upstreams.get(upstream.name) is not upstream:
            return
        listing = upstream.listing  # perhaps it is another by now, which is examined at once then
        if _labels(listing) == self._library.labels.get(upstream.name, frozenset()):
            ownership = self._library.ownership
            affected = await self._library.take_in(upstream.name, listing)
            if self._library.ownership is not ownership:
                self._look_again({})
        else:  # who sees which list becomes another question
            before = self._seen()
            await self._library.take_in(upstream.name, listing)
            self._look_again(before)
            affected = set[str | None]()
        changes: dict[Hashable, set[str]] = {}
        library = self._library
        for key in cast("set[tuple[str | None, Grant, Selection]]", self._subscriptions.keys()):
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
        return audience.includes(self._viewers[listener].agent)

    def _may_hear(self, upstream: str, uri: str, listener: Subscriber) -> bool:
        """What changed for it may be that it may no longer hear of what it subscribed to."""
        return listener not in self._before or listener.admits(upstream, uri)

    # --- The configuration changes ------------------------------------------------------------------------------------

    @contextmanager
    def through_change(self) -> Generator[None]:
        """Around a change of what agents may see, or of how it is shown: who saw other lists before is told."""
        before = self._seen()
        yield
        self._look_again(before)

    def _seen(self) -> dict[Hashable, Catalogue]:
        """What everybody sees, by the key of those who see it."""
        keys = cast("set[tuple[str | None, Grant, Selection]]", self._subscriptions.keys())
        return {key: self._library.view(*key) for key in keys}

    def _look_again(self, before: Mapping[Hashable, Catalogue]) -> None:
        """Have everybody told what has changed, in short steps; with nothing given, only URIs may lead elsewhere."""
        for listener in self._viewers:
            if listener.key in before:
                self._before.setdefault(listener, before[listener.key])
            if listener.resources:
                self._to_follow[listener] = None
        self._due.set()

    async def _tell(self, tasks: TaskGroup) -> None:
        """Tell who saw other lists before; who may no longer hear of something does not."""
        pause = Pause()
        while self._before:
            listener, before = next(iter(self._before.items()))
            if listener in self._subscriptions:
                viewer = self._viewers[listener]
                self._subscriptions.rekey(listener, self._key(viewer))
                await self._drop_denied(listener, tasks, pause)
                now = self._lookup.catalogue(viewer)
                for kind in changed(before, now) & set(listener.kinds):
                    listener.notify(CHANGE_NOTIFICATIONS[kind], None)
            self._before.pop(listener, None)
            await pause.if_due()

    async def _drop_denied(self, listener: Subscriber, tasks: TaskGroup, pause: Pause) -> None:
        dropped: list[Resource] = []
        for uri, resource in list(listener.resources.items()):
            await pause.if_due()
            if not listener.admits(*resource) and self._subscriptions.unsubscribe(listener, uri):
                dropped.append(resource)
        if dropped:
            tasks.start_soon(self._give_up, by_upstream(dropped))

    async def _follow(self, tasks: TaskGroup) -> None:
        """Have subscriptions follow their URIs to other servers."""
        pause = Pause()
        moved: dict[str, dict[Subscriber, set[str]]] = {}
        left: list[Resource] = []
        while self._to_follow:
            listener = next(iter(self._to_follow))
            del self._to_follow[listener]
            for uri, before in list(listener.resources.items()):
                await pause.if_due()
                now = self._leads_to(listener, uri)
                if now not in (None, before) and listener.resources.get(uri) == before:
                    self._subscriptions.move(listener, uri, now)
                    moved.setdefault(now[0], {}).setdefault(listener, set()).add(uri)
                    left.append(before)
        for upstream, listeners in moved.items():
            tasks.start_soon(self._take_over, upstream, listeners)
        if left:
            tasks.start_soon(self._give_up, by_upstream(left))

    def _leads_to(self, listener: Subscriber, uri: str) -> Resource | None:
        """What a URI stands for now; None if for nothing that the listener may have, or it has left."""
        viewer = self._viewers.get(listener)
        if viewer is None or self._lookup.is_own(viewer.view):
            return None
        with suppress(UnknownResource, DefinitionChanged):
            owner = self._lookup.owner_now(viewer, uri)
            return owner.upstream, owner.original
        return None

    async def _take_over(self, upstream: str, listeners: Mapping[Subscriber, set[str]]) -> None:
        """These URIs are this upstream's now: subscribe to them, and have their subscribers look again."""
        for listener, uris in listeners.items():
            owns = {own for uri in uris if (own := listener.resources.get(uri, ("", ""))[1])}
            await self._take_up(listener, upstream, owns)
            for uri in sorted(uris):
                if listener in self._subscriptions:
                    listener.notify("notifications/resources/updated", {"uri": uri})

    async def restore_subscriptions(self, upstream: Upstream) -> None:
        """One begins to serve, perhaps in another's place: what was wanted of that is asked of it, and who wanted it is
        told to look again."""
        wanted = self._subscriptions.wanted(upstream.name)
        was_personal = self._is_personal.get(upstream.name, False)
        self._is_personal[upstream.name] = upstream.own_subscriptions is not None
        with suppress(GatewayError):
            if (own := upstream.own_subscriptions) is not None:
                await own.reconcile({uri: self._wanting(upstream.name, uri) for uri in list(wanted)})
                return  # each is told by a connection of their own
            if was_personal and upstream.offer.own is not None:
                upstream.offer.own.subscriptions.clear()
            await upstream.want(wanted, None, {viewer.principal.root_id for viewer in self._viewers.values()})
        pause = Pause()
        for uri in list(wanted):
            await pause.if_due()
            self.on_resource_updated(upstream.name, uri, Audience())

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _add(self, listener: Subscriber, viewer: Viewer, reserve: Iterable[str] = ()) -> None:
        self._subscriptions.add(listener, reserve)
        self._viewers[listener] = viewer

    async def _leave(self, listener: Subscriber) -> None:
        """It hears nothing from now on; that takes a step for each of its resources, and many may leave at once."""
        listener.notify = _mute
        less: list[Resource] = []
        pause = Pause(turn=self._large)
        with anyio.CancelScope(shield=True):
            for uri in list(listener.resources) if not self._is_over else ():
                await pause.if_due()
                if (resource := self._subscriptions.unsubscribe(listener, uri)) is not None:
                    less.append(resource)
        self._subscriptions.remove(listener)
        for mine in (self._viewers, self._before, self._to_follow):
            mine.pop(listener, None)
        if less:
            await self._give_up(by_upstream(less))

    def _key(self, viewer: Viewer) -> tuple[str | None, Grant, Selection]:
        return viewer.view, self._lookup.grant(viewer), self._lookup.selection(viewer)

    def _make(self, viewer: Viewer, kinds: Collection[str], notify: Notify) -> Subscriber:
        admits = partial(self._lookup.admits_uri, viewer)
        return Subscriber(self._key(viewer), kinds, notify, admits=admits, root=viewer.principal.root_id)

    async def _want(self, changes: Mapping[str, set[str]], listener: Subscriber | None = None) -> None:
        """Have upstreams subscribed to what is wanted now.

        Args:
            changes: upstream → its own URIs, of which more or less are wanted than before; what is done is taken out.
            listener: who wants more.
        """
        viewer = self._viewers.get(listener) if listener is not None else None
        roots = () if viewer is None else (viewer.principal.root_id,)
        for name, todo in changes.items():
            upstream = self._upstreams.get(name)
            if upstream is None:  # it was removed
                continue
            if (own := upstream.own_subscriptions) is None:
                await upstream.want(self._subscriptions.wanted(name), todo, roots)
            elif viewer is not None:
                await own.more(viewer.agent, todo)
            else:
                await own.reconcile({uri: self._wanting(name, uri) for uri in todo})

    def _wanting(self, upstream: str, own: str) -> dict[str, Agent]:
        """Which principals want to hear of a resource, and an agent of each."""
        viewers = [self._viewers.get(each) for each in self._subscriptions.listeners(upstream, own)]
        return {viewer.agent.opener.id: viewer.agent for viewer in viewers if viewer is not None}

    async def _give_up(self, resources: Mapping[str, set[str]]) -> None:
        """Nobody waits for these any more; whether an upstream takes note of it is its own affair."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(SUBSCRIBE_SECONDS), suppress(GatewayError):
            await self._want(resources)


def _mute(method: str, params: dict[str, Any] | None) -> None: ...


def _labels(listing: Listing | None) -> frozenset[str]:
    """For which clients a listing has something else."""
    if isinstance(listing, LoginListing):
        return frozenset(listing.own)
    return frozenset(label for label, variation in listing.variants.items() if variation) if listing else frozenset()
