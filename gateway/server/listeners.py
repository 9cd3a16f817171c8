"""All who listen for changes, each on somebody's behalf: sessions opened with a handshake, and listen streams."""

from collections.abc import Collection, Iterable
from functools import partial
from typing import cast

import anyio

from gateway.access.policy import Grant
from gateway.bridge.subscriptions import Subscriber, Subscriptions
from gateway.catalogue.visibility import Selection
from gateway.request import Agent, Notify
from gateway.server.lookup import Lookup, Viewer

ListenerKey = tuple[str | None, Grant, Selection]
"""What a listener sees: its view, what it may have of it, and which variants. Those with equal ones see the same."""


class Listeners:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.subscriptions = Subscriptions()
        self.viewers: dict[Subscriber, Viewer] = {}
        """On whose behalf each listens."""
        self.large = anyio.Lock()
        """What filters of very many resources share: one of them at a time takes a step."""

    def make(self, viewer: Viewer, kinds: Collection[str], notify: Notify) -> Subscriber:
        """One that is told nothing before it is added."""
        admits = partial(self._lookup.admits_uri, viewer)
        return Subscriber(self.key(viewer), kinds, notify, admits=admits, root=viewer.principal.root_id)

    def add(self, listener: Subscriber, viewer: Viewer, reserve: Iterable[str] = ()) -> None:
        """See `Subscriptions.add`."""
        self.subscriptions.add(listener, reserve)
        self.viewers[listener] = viewer

    def remove(self, listener: Subscriber) -> None:
        """See `Subscriptions.remove`."""
        self.subscriptions.remove(listener)
        self.viewers.pop(listener, None)

    def key(self, viewer: Viewer) -> ListenerKey:
        return viewer.view, self._lookup.grant(viewer), self._lookup.selection(viewer)

    def distinct_keys(self) -> set[ListenerKey]:
        """What the listeners see, each once."""
        return cast("set[ListenerKey]", self.subscriptions.keys())

    def wanting(self, upstream: str, own: str) -> dict[str, Agent]:
        """Which principals want to hear of a resource, and an agent of each."""
        viewers = [self.viewers.get(each) for each in self.subscriptions.listeners(upstream, own)]
        return {viewer.agent.opener.id: viewer.agent for viewer in viewers if viewer is not None}
