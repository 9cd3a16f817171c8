"""Who wants to hear of which change, in either era's words, and so what each upstream is to be asked for.

A listener is a handshake-era session (it hears every list change, and the resources it subscribed to one by one) or one
`subscriptions/listen` stream (it hears what it named). Pure bookkeeping: upstreams are subscribed once, however many
listeners there are, and an update costs what its own listeners cost, however many others there are.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import InvalidParams
from gateway.protocol import CHANGE_NOTIFICATIONS
from gateway.request import Notify

Resource = tuple[str, str]
"""`(upstream, its own URI)`."""

MAX_RESOURCES: Final = 1_000
"""Most resources that one listener is subscribed to."""
MAX_BYTES: Final = 128 * 1024
"""Most bytes of their URIs together."""


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


def check_bounds(uris: Collection[str]) -> None:
    """
    Raises:
        InvalidParams: one listener may not subscribe to so many.
    """
    if len(uris) > MAX_RESOURCES or sum(len(uri.encode("utf-8", "surrogatepass")) for uri in uris) > MAX_BYTES:
        raise InvalidParams(f"At most {MAX_RESOURCES} resources and {MAX_BYTES} bytes of URIs can be subscribed to.")


class _Wanted:
    """What is wanted of one upstream."""

    def __init__(self) -> None:
        self.listeners: dict[str, dict[Listener, list[str]]] = {}
        """Own URI → who subscribed to it → the public URIs it did so by, in that order."""
        self._parents: dict[str, set[str]] = {}
        """What URIs are without the slashes at their end → those URIs: of what lies below, they are told too."""
        self._lengths: Counter[int] = Counter()
        """Of those."""

    def add(self, listener: Listener, public: str, own: str) -> None:
        if own not in self.listeners:
            self.listeners[own] = {}
            parent = own.rstrip("/")
            if parent not in self._parents:
                self._lengths[len(parent)] += 1
            self._parents.setdefault(parent, set()).add(own)
        self.listeners[own].setdefault(listener, []).append(public)

    def discard(self, listener: Listener, public: str, own: str) -> None:
        publics = self.listeners[own][listener]
        publics.remove(public)
        if publics:
            return
        del self.listeners[own][listener]
        if self.listeners[own]:
            return
        del self.listeners[own]
        parent = own.rstrip("/")
        self._parents[parent].discard(own)
        if not self._parents[parent]:
            del self._parents[parent]
            self._lengths[len(parent)] -= 1
            if not self._lengths[len(parent)]:
                del self._lengths[len(parent)]

    def concerned(self, own: str) -> Iterator[str]:
        """The URIs somebody subscribed to that are this one or that it lies below, the closest first."""
        if own in self.listeners:
            yield own
        for length in sorted(self._lengths, reverse=True):
            if own[length : length + 1] == "/":
                yield from sorted(self._parents.get(own[:length], set()) - {own}, key=len, reverse=True)


class Subscriptions:
    """All listeners, and what they want of each upstream together."""

    def __init__(self) -> None:
        self._listeners: dict[Listener, None] = {}
        self._by_key: dict[Hashable, dict[Listener, None]] = {}  # in the order they came
        self._wanted: dict[str, _Wanted] = {}

    def add(self, listener: Listener) -> None:
        self._listeners[listener] = None
        self._by_key.setdefault(listener.key, {})[listener] = None
        for public, resource in listener.resources.items():
            self._want(listener, public, resource)

    def remove(self, listener: Listener) -> set[str]:
        """Returns the upstreams of which less may be wanted now."""
        if listener not in self._listeners:
            return set()
        del self._listeners[listener]
        self._drop_key(listener)
        for public, resource in listener.resources.items():
            self._forget(listener, public, resource)
        return {upstream for upstream, _ in listener.resources.values()}

    def rekey(self, listener: Listener, key: Hashable) -> None:
        """It sees something else now."""
        if key != listener.key and listener in self._listeners:
            self._drop_key(listener)
            self._by_key.setdefault(key, {})[listener] = None
        listener.key = key

    def _drop_key(self, listener: Listener) -> None:
        alike = self._by_key[listener.key]
        del alike[listener]
        if not alike:
            del self._by_key[listener.key]

    def subscribe(self, listener: Listener, uri: str, resource: Resource) -> None:
        """
        Raises:
            InvalidParams: it has as many as may be.
        """
        if uri not in listener.resources:
            check_bounds([*listener.resources, uri])
            listener.resources[uri] = resource
            self._want(listener, uri, resource)

    def unsubscribe(self, listener: Listener, uri: str) -> str | None:
        """Returns the upstream of which less may be wanted now."""
        resource = listener.resources.pop(uri, None)
        if resource is None:
            return None
        self._forget(listener, uri, resource)
        return resource[0]

    def wanted(self, upstream: str) -> frozenset[str]:
        """The resources that upstream is to be subscribed to."""
        wanted = self._wanted.get(upstream)
        return frozenset(wanted.listeners) if wanted is not None else frozenset()

    # --- Deliveries ---------------------------------------------------------------------------------------------------

    def keys(self) -> set[Hashable]:
        """What the listeners see, each once."""
        return set(self._by_key)

    def lists_changed(self, changes: Mapping[Hashable, Collection[str]]) -> None:
        """Tell everybody which of the lists they see changed."""
        for key, kinds in changes.items():
            for listener in list(self._by_key.get(key, ())) if kinds else ():
                for kind in kinds:
                    if kind in listener.kinds:
                        listener.notify(CHANGE_NOTIFICATIONS[kind], None)

    def resource_updated(self, upstream: str, own: str, concerns: Callable[[Listener], bool] = lambda _: True) -> None:
        """Tell who subscribed to the resource, or to what it is part of, under the URI they know it by, and nothing
        else; each once."""
        wanted = self._wanted.get(upstream)
        if wanted is None:
            return
        told: set[Listener] = set()
        for uri in list(wanted.concerned(own)):
            for listener, publics in list(wanted.listeners.get(uri, {}).items()):
                if listener in told or not publics or not concerns(listener):
                    continue
                if own == uri or listener.admits(upstream, own):
                    told.add(listener)
                    listener.notify("notifications/resources/updated", {"uri": publics[0] + own[len(uri) :]})

    def _want(self, listener: Listener, public: str, resource: Resource) -> None:
        if listener not in self._listeners:
            return  # it has left meanwhile
        upstream, own = resource
        self._wanted.setdefault(upstream, _Wanted()).add(listener, public, own)

    def _forget(self, listener: Listener, public: str, resource: Resource) -> None:
        upstream, own = resource
        wanted = self._wanted.get(upstream)
        if wanted is None or listener not in wanted.listeners.get(own, {}):
            return  # it has left meanwhile, and gave everything up
        wanted.discard(listener, public, own)
        if not wanted.listeners:
            del self._wanted[upstream]
