"""Who wants to hear of which change, in either era's words, and so what each upstream is to be asked for.

A listener is a handshake-era session (it hears every list change, and the resources it subscribed to one by one) or one
`subscriptions/listen` stream (it hears what it named). Pure bookkeeping: upstreams are subscribed once, however many
listeners there are.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field

from gateway.protocol import CHANGE_NOTIFICATIONS
from gateway.request import Notify

Resource = tuple[str, str]
"""`(upstream, its own URI)`."""


@dataclass(eq=False, slots=True)
class Listener:
    """One receiver of change notifications."""

    key: Hashable
    """What it sees: listeners with equal keys see the same lists."""
    kinds: Collection[str]
    """Which lists' changes it hears: any of `tools`, `resources`, `prompts`."""
    notify: Notify
    resources: dict[str, Resource] = field(default_factory=dict[str, Resource])
    """Public URI it subscribed to → where that leads."""
    admits: Callable[[str, str], bool] = lambda upstream, own: True
    """Whether it may hear of an upstream's URI that it did not subscribe to itself, but to what that is part of."""


class Subscriptions:
    """All listeners, and what they want of each upstream together."""

    def __init__(self) -> None:
        self._listeners: dict[Listener, None] = {}  # in the order they came
        self._counts: Counter[Resource] = Counter()

    def add(self, listener: Listener) -> None:
        self._listeners[listener] = None
        self._counts.update(listener.resources.values())

    def remove(self, listener: Listener) -> set[str]:
        """Returns the upstreams of which less may be wanted now."""
        if listener not in self._listeners:
            return set()
        del self._listeners[listener]
        for resource in listener.resources.values():
            self._forget(resource)
        return {upstream for upstream, _ in listener.resources.values()}

    def subscribe(self, listener: Listener, uri: str, resource: Resource) -> None:
        if uri not in listener.resources:
            listener.resources[uri] = resource
            self._counts[resource] += 1

    def unsubscribe(self, listener: Listener, uri: str) -> str | None:
        """Returns the upstream of which less may be wanted now."""
        resource = listener.resources.pop(uri, None)
        if resource is None:
            return None
        self._forget(resource)
        return resource[0]

    def wanted(self, upstream: str) -> frozenset[str]:
        """The resources that upstream is to be subscribed to."""
        return frozenset(uri for owner, uri in self._counts if owner == upstream)

    # --- Deliveries ---------------------------------------------------------------------------------------------------

    def keys(self) -> set[Hashable]:
        """What the listeners see, each once."""
        return {listener.key for listener in self._listeners}

    def lists_changed(self, changes: Mapping[Hashable, Collection[str]]) -> None:
        """Tell everybody which of the lists they see changed."""
        for listener in list(self._listeners):
            for kind in changes.get(listener.key, ()):
                if kind in listener.kinds:
                    listener.notify(CHANGE_NOTIFICATIONS[kind], None)

    def resource_updated(self, upstream: str, own: str, concerns: Callable[[Listener], bool] = lambda _: True) -> None:
        """Tell who subscribed to the resource, under the URI they know it by, and nothing else."""
        for listener in list(self._listeners):
            if not concerns(listener):
                continue
            for public, (owner, uri) in list(listener.resources.items()):
                if owner != upstream:
                    continue
                if own == uri or (own.startswith(uri.rstrip("/") + "/") and listener.admits(upstream, own)):
                    listener.notify("notifications/resources/updated", {"uri": public + own[len(uri) :]})
                    break

    def _forget(self, resource: Resource) -> None:
        self._counts[resource] -= 1
        if self._counts[resource] <= 0:
            del self._counts[resource]
