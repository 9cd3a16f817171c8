"""Who wants to hear of which change, in either era's words, and so what each upstream is to be asked for.

A listener is a handshake-era session (it hears every list change, and the resources it subscribed to one by one) or one
`subscriptions/listen` stream (it hears what it named). Pure bookkeeping: upstreams are subscribed once, however many
listeners there are, and an update costs what its own listeners cost, however many others there are.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final, cast

from gateway.errors import InvalidParams, TooManySubscriptions
from gateway.jsonrpc import as_object
from gateway.protocol import CHANGE_NOTIFICATIONS
from gateway.request import ANONYMOUS, Notify

Resource = tuple[str, str]
"""`(upstream, its own URI)`."""

MAX_RESOURCES: Final = 1_000
"""Most resources that one listener is subscribed to."""
MAX_BYTES: Final = 128 * 1024
"""Most bytes of their URIs together."""
MAX_EACH: Final = 20_000
MAX_OF_ALL: Final = 200_000
"""Most resources that all listeners of one principal and its agents are subscribed to, and those of everybody. A
resource counts for each listener, and once more for each `BYTES_OF_ONE` of its URI."""
BYTES_OF_ONE: Final = 256


@dataclass(eq=False, slots=True)
class Subscriber:
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
    root: str = ANONYMOUS.id
    """The root principal it counts for."""
    reserved: int = 0
    """What counts for it already of resources that it is about to be subscribed to, as `Subscriptions` keeps it."""
    size: int = 0
    """Bytes of the URIs in `resources`, as far as `Subscriptions` keeps them."""


def _check_bounds(count: int, size: int) -> None:
    if count > MAX_RESOURCES or size > MAX_BYTES:
        raise InvalidParams(f"At most {MAX_RESOURCES} resources and {MAX_BYTES} bytes of URIs can be subscribed to.")


def _bytes(uri: str) -> int:
    return len(uri.encode("utf-8", "surrogatepass"))


def _cost(uris: Iterable[str]) -> int:
    """What they count for."""
    return sum(1 + _bytes(uri) // BYTES_OF_ONE for uri in uris)


def requested(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
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
    _check_bounds(len(distinct), sum(map(_bytes, distinct)))
    return wanted, distinct


def by_upstream(resources: Iterable[Resource]) -> dict[str, set[str]]:
    """Upstream → its own URIs."""
    found: dict[str, set[str]] = {}
    for upstream, own in resources:
        found.setdefault(upstream, set()).add(own)
    return found


class _Wanted:
    """What is wanted of one upstream."""

    def __init__(self) -> None:
        self.listeners: dict[str, dict[Subscriber, list[str]]] = {}
        """Own URI → who subscribed to it → the public URIs it did so by, in that order."""
        self._parents: dict[str, set[str]] = {}
        """What URIs are without the slashes at their end → those URIs: of what lies below, they are told too."""
        self._lengths: Counter[int] = Counter()
        """Of those."""

    def add(self, listener: Subscriber, public: str, own: str) -> None:
        if own not in self.listeners:
            self.listeners[own] = {}
            parent = own.rstrip("/")
            if parent not in self._parents:
                self._lengths[len(parent)] += 1
            self._parents.setdefault(parent, set()).add(own)
        self.listeners[own].setdefault(listener, []).append(public)

    def discard(self, listener: Subscriber, public: str, own: str) -> None:
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
        self._listeners: dict[Subscriber, None] = {}
        self._by_key: dict[Hashable, dict[Subscriber, None]] = {}  # in the order they came
        self._wanted: dict[str, _Wanted] = {}
        self._counts = Counter[str]()
        """Root principal → what its listeners' resources count for."""
        self._total = 0

    def __contains__(self, listener: Subscriber) -> bool:
        return listener in self._listeners

    def add(self, listener: Subscriber, reserve: Iterable[str] = ()) -> None:
        """
        Args:
            reserve: what it is about to be subscribed to. All of that has room, or it is refused now: of many who come
                at once, some get all they ask for.

        Raises:
            TooManySubscriptions: there would be more than may be.
        """
        listener.reserved = _cost(reserve)
        cost = _cost(listener.resources) + listener.reserved
        self._check_counts(listener.root, cost)
        self._count(listener.root, cost)
        self._listeners[listener] = None
        self._by_key.setdefault(listener.key, {})[listener] = None
        listener.size = sum(map(_bytes, listener.resources))
        for public, resource in listener.resources.items():
            self._want(listener, public, resource)

    def release(self, listener: Subscriber) -> None:
        """It is subscribed to no more of what was reserved for it."""
        self._count(listener.root, -listener.reserved)
        listener.reserved = 0

    def remove(self, listener: Subscriber) -> None:
        """It has left, and gives up all it is subscribed to."""
        if listener in self._listeners:
            self.release(listener)
            for uri in list(listener.resources):
                self.unsubscribe(listener, uri)
            del self._listeners[listener]
            self._drop_key(listener)

    def rekey(self, listener: Subscriber, key: Hashable) -> None:
        """It sees something else now."""
        if key != listener.key and listener in self._listeners:
            self._drop_key(listener)
            self._by_key.setdefault(key, {})[listener] = None
        listener.key = key

    def _drop_key(self, listener: Subscriber) -> None:
        alike = self._by_key[listener.key]
        del alike[listener]
        if not alike:
            del self._by_key[listener.key]

    def subscribe(self, listener: Subscriber, uri: str, resource: Resource) -> None:
        """
        Raises:
            InvalidParams: it has as many as may be.
            TooManySubscriptions: there are as many as may be.
        """
        if uri not in listener.resources:
            size = _bytes(uri)
            _check_bounds(len(listener.resources) + 1, listener.size + size)
            cost = _cost([uri])
            reserved = min(cost, listener.reserved)
            self._check_counts(listener.root, cost - reserved)
            listener.resources[uri] = resource
            listener.size += size
            if listener in self._listeners:  # else it has left meanwhile
                listener.reserved -= reserved
                self._count(listener.root, cost - reserved)
                self._want(listener, uri, resource)

    def unsubscribe(self, listener: Subscriber, uri: str) -> Resource | None:
        """Returns what less may be wanted of now."""
        resource = listener.resources.pop(uri, None)
        if resource is None:
            return None
        listener.size -= _bytes(uri)
        if listener in self._listeners:  # else it has left meanwhile, and gave everything up
            self._count(listener.root, -_cost([uri]))
            self._forget(listener, uri, resource)
        return resource

    def move(self, listener: Subscriber, uri: str, resource: Resource) -> None:
        """What it is subscribed to leads elsewhere now."""
        before = listener.resources[uri]
        listener.resources[uri] = resource
        if listener in self._listeners:
            self._forget(listener, uri, before)
            self._want(listener, uri, resource)

    def wanted(self, upstream: str) -> Set[str]:
        """The resources that upstream is to be subscribed to: a view, which changes with what is wanted."""
        return self._of(upstream).listeners.keys()

    def listeners(self, upstream: str, own: str) -> Collection[Subscriber]:
        """Who subscribed to a resource."""
        return self._of(upstream).listeners.get(own, {}).keys()

    def _check_counts(self, root: str, more: int) -> None:
        if more and self._total + more > MAX_OF_ALL:
            raise TooManySubscriptions(MAX_OF_ALL)
        if more and root != ANONYMOUS.id and self._counts[root] + more > MAX_EACH:
            raise TooManySubscriptions(MAX_EACH)

    def _count(self, root: str, more: int) -> None:
        self._total += more
        self._counts[root] += more
        if not self._counts[root]:
            del self._counts[root]

    # --- Deliveries ---------------------------------------------------------------------------------------------------

    def keys(self) -> set[Hashable]:
        """What the listeners see, each once."""
        return set(self._by_key)

    def lists_changed(self, changes: Mapping[Hashable, Collection[str]]) -> Iterator[None]:
        """Tell everybody which of the lists they see changed. A step for each listener."""
        for key, kinds in changes.items():
            for listener in list(self._by_key.get(key, ())) if kinds else ():
                for kind in kinds:
                    if kind in listener.kinds and listener in self._listeners:
                        listener.notify(CHANGE_NOTIFICATIONS[kind], None)
                yield

    def resource_updated(
        self, upstream: str, own: str, concerns: Callable[[Subscriber], bool] = lambda _: True
    ) -> Iterator[None]:
        """Tell who subscribed to the resource, or to what it is part of, under the URI they know it by, and nothing
        else; each once. A step for each listener."""
        wanted = self._of(upstream)
        told: set[Subscriber] = set()
        for uri in list(wanted.concerned(own)):
            for listener, publics in list(wanted.listeners.get(uri, {}).items()):
                if listener in told or not publics or not concerns(listener):
                    continue
                if own == uri or listener.admits(upstream, own):
                    told.add(listener)
                    listener.notify("notifications/resources/updated", {"uri": publics[0] + own[len(uri) :]})
                yield

    def _of(self, upstream: str) -> _Wanted:
        wanted = self._wanted.get(upstream)
        if wanted is None:
            wanted = self._wanted[upstream] = _Wanted()  # kept: views of it are
        return wanted

    def _want(self, listener: Subscriber, public: str, resource: Resource) -> None:
        upstream, own = resource
        self._of(upstream).add(listener, public, own)

    def _forget(self, listener: Subscriber, public: str, resource: Resource) -> None:
        upstream, own = resource
        self._of(upstream).discard(listener, public, own)
