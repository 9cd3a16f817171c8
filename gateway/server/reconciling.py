"""Brings listeners up to date after a change of what they may see, or of whose something is, in short steps.

Who saw other lists before is told; who may no longer hear of something does not; a subscription follows its URI to
another server; and what was wanted of an upstream is asked of whatever serves in its place.
"""

from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import contextmanager, suppress

import anyio
from anyio.abc import TaskGroup

from gateway.bridge.subscriptions import Resource, Subscriber, by_upstream
from gateway.catalogue.catalogue import Catalogue, changed
from gateway.catalogue.library import CatalogueViews
from gateway.errors import DefinitionChanged, UnknownResource
from gateway.pause import Pause
from gateway.protocol import CHANGE_NOTIFICATIONS
from gateway.server.listeners import Listeners
from gateway.server.lookup import Lookup
from gateway.server.upstream_subscriptions import UpstreamSubscriptions
from gateway.upstream.audience import Audience
from gateway.upstream.upstream import Upstream


class ListenerReconciler:
    """
    Args:
        on_updated: tells who subscribed to an upstream's URI that it has changed.
    """

    def __init__(
        self,
        lookup: Lookup,
        library: CatalogueViews,
        upstreams: Mapping[str, Upstream],
        listeners: Listeners,
        upstream_subscriptions: UpstreamSubscriptions,
        on_updated: Callable[[str, str, Audience], None],
    ) -> None:
        self._lookup = lookup
        self._library = library
        self._upstreams = upstreams
        self._listeners = listeners
        self._subscriptions = listeners.subscriptions
        self._upstream_subscriptions = upstream_subscriptions
        self._on_updated = on_updated
        self._due = anyio.Event()
        self._before: dict[Subscriber, Catalogue] = {}
        """Who has yet to be told what has changed, and what they saw before that."""
        self._to_follow: dict[Subscriber, None] = {}
        """Those of whose URIs it has yet to be seen whether they are another server's now."""
        self._to_restore: dict[str, None] = {}
        """Upstreams that have to be asked anew for what is wanted of them."""

    async def run(self) -> None:
        """Do what has become due, until cancelled."""
        async with anyio.create_task_group() as tg:
            while True:
                await self._due.wait()
                self._due = anyio.Event()
                await self._tell(tg)
                await self._follow(tg)
                for name in list(self._to_restore):
                    if (upstream := self._upstreams.get(name)) is not None:
                        tg.start_soon(self.restore_subscriptions, upstream)
                self._to_restore.clear()

    # --- What has changed ---------------------------------------------------------------------------------------------

    @contextmanager
    def through_change(self) -> Generator[None]:
        """Around a change of what agents may see, or of how it is shown: who saw other lists before is told."""
        before = self.seen()
        yield
        self.look_again(before)

    def seen(self) -> dict[Hashable, Catalogue]:
        """What everybody sees, by the key of those who see it."""
        return {key: self._library.view(*key) for key in self._listeners.distinct_keys()}

    def look_again(self, before: Mapping[Hashable, Catalogue]) -> None:
        """Have everybody told what has changed, in short steps; with nothing given, only URIs may lead elsewhere."""
        for listener in self._listeners.viewers:
            if listener.key in before:
                self._before.setdefault(listener, before[listener.key])
            if listener.resources:
                self._to_follow[listener] = None
        self._due.set()

    def restore_soon(self, upstream: str) -> None:
        """See `restore_subscriptions`."""
        self._to_restore[upstream] = None
        self._due.set()

    def has_yet_to_tell(self, listener: Subscriber) -> bool:
        """Whether it may still be subscribed to what it may no longer hear of."""
        return listener in self._before

    def forget(self, listener: Subscriber) -> None:
        """It has left."""
        self._before.pop(listener, None)
        self._to_follow.pop(listener, None)

    # --- What is done about it ----------------------------------------------------------------------------------------

    async def restore_subscriptions(self, upstream: Upstream) -> None:
        """One begins to serve, perhaps in another's place: what was wanted of that is asked of it, and who wanted it is
        told to look again."""
        told = await self._upstream_subscriptions.restore(upstream)
        pause = Pause()
        for uri in told:
            await pause.if_due()
            self._on_updated(upstream.name, uri, Audience())

    async def _tell(self, tasks: TaskGroup) -> None:
        """Tell who saw other lists before; who may no longer hear of something does not."""
        pause = Pause()
        while self._before:
            listener, before = next(iter(self._before.items()))
            if listener in self._subscriptions:
                viewer = self._listeners.viewers[listener]
                self._subscriptions.rekey(listener, self._listeners.key(viewer))
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
            tasks.start_soon(self._upstream_subscriptions.give_up, by_upstream(dropped))

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
            tasks.start_soon(self._upstream_subscriptions.give_up, by_upstream(left))

    def _leads_to(self, listener: Subscriber, uri: str) -> Resource | None:
        """What a URI stands for now; None if for nothing that the listener may have, or it has left."""
        viewer = self._listeners.viewers.get(listener)
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
            await self._upstream_subscriptions.take_up(listener, upstream, owns)
            for uri in sorted(uris):
                if listener in self._subscriptions:
                    listener.notify("notifications/resources/updated", {"uri": uri})
