"""The store of one process. Two `MemoryStore` on the same `Memory` are two nodes, as tests need them."""

import secrets
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.abc import TaskStatus

from gateway.store.shared import MAX_MESSAGE, MAX_VALUE, MESSAGE_SECONDS, WAIT_SECONDS, Handler, Script

MAX_KEYS: Final = 200_000
"""Most that are kept. What was written longest ago is forgotten first."""


class Memory:
    """Values with the time at which they are gone.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time, cap: int = MAX_KEYS) -> None:
        self._clock = clock
        self._cap = cap
        self._values: OrderedDict[str, tuple[Any, float]] = OrderedDict()
        self.stores: dict[str, MemoryStore] = {}
        self.versions: defaultdict[str, int] = defaultdict(int)

    def now(self) -> float:
        return self._clock()

    def get(self, key: str, default: Any = None) -> Any:
        found = self._values.get(key)
        if found is None or found[1] <= self._clock():
            return default
        return found[0]

    def set(self, key: str, value: Any, seconds: float | None) -> None:
        self._values[key] = value, float("inf") if seconds is None else self._clock() + seconds
        self._values.move_to_end(key)
        if len(self._values) > self._cap:
            self._drop_expired()
            if len(self._values) > self._cap:
                self._values.popitem(last=False)

    def delete(self, key: str) -> bool:
        there = self.get(key) is not None
        self._values.pop(key, None)
        return there

    def bump(self, name: str) -> int:
        """Make the version called `name` another; returns it."""
        self.versions[name] += 1
        for store in list(self.stores.values()):
            store.version_changed(name)
        return self.versions[name]

    def _drop_expired(self) -> None:
        now = self._clock()
        for key in [key for key, (_, until) in self._values.items() if until <= now]:
            del self._values[key]


class MemoryStore:
    """A `Store`; see there."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.node = secrets.token_hex(8)
        self._memory = memory if memory is not None else Memory()
        self._memory.stores[self.node] = self
        self._handlers: defaultdict[str, list[Handler]] = defaultdict(list)
        self._watchers: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)

    @property
    def is_shared(self) -> bool:
        return len(self._memory.stores) > 1

    @property
    def nodes(self) -> int:
        return max(1, len(self._memory.stores))  # this one, also when it is about to end

    is_quick = True

    def now(self) -> float:
        return self._memory.now()

    def check(self) -> None:
        pass

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        self._memory.stores[self.node] = self
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            self._memory.stores.pop(self.node, None)

    async def get(self, key: str, *, patience: float = WAIT_SECONDS) -> bytes | None:
        return self._memory.get(key)

    async def set(self, key: str, value: bytes, seconds: float | None, *, patience: float = WAIT_SECONDS) -> None:
        check_size(value, MAX_VALUE)
        self._memory.set(key, value, seconds)

    async def add(self, key: str, value: bytes, seconds: float | None, *, patience: float = WAIT_SECONDS) -> bool:
        check_size(value, MAX_VALUE)
        if self._memory.get(key) is not None:
            return False
        self._memory.set(key, value, seconds)
        return True

    async def delete(self, *keys: str, patience: float = WAIT_SECONDS) -> int:
        return sum(self._memory.delete(key) for key in keys)

    async def do(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Any] = (), *, patience: float = WAIT_SECONDS
    ) -> Any:
        return script.local(self._memory, keys, arguments)

    def seal(self, key: str, value: bytes) -> bytes:
        return value

    def open(self, key: str, sealed: bytes) -> bytes | None:
        return sealed

    async def send(
        self,
        topic: str,
        message: bytes,
        to: str | None = None,
        *,
        seconds: float = MESSAGE_SECONDS,
        patience: float = WAIT_SECONDS,
    ) -> bool:
        return self._say(topic, message, to)

    def tell(self, topic: str, message: bytes, to: str | None = None, *, seconds: float = MESSAGE_SECONDS) -> None:
        self._say(topic, message, to)

    def on_message(self, topic: str, handler: Handler) -> Callable[[], None]:
        self._handlers[topic].append(handler)
        return lambda: forget(self._handlers, topic, handler)

    def version(self, name: str) -> int:
        return self._memory.versions.get(name, 0)

    def on_version(self, name: str, handler: Callable[[], None]) -> Callable[[], None]:
        self._watchers[name].append(handler)
        return lambda: forget(self._watchers, name, handler)

    def hear(self, sender: str, topic: str, message: bytes) -> None:
        """Somebody says something to this node."""
        for handler in list(self._handlers.get(topic, ())):
            handler(sender, message)

    def version_changed(self, name: str) -> None:
        for handler in list(self._watchers.get(name, ())):
            handler()

    def _say(self, topic: str, message: bytes, to: str | None) -> bool:
        check_size(message, MAX_MESSAGE)
        if to is not None:
            hearers = [self._memory.stores[to]] if to in self._memory.stores else []
        else:
            hearers = [store for store in self._memory.stores.values() if store is not self]
        for store in hearers:
            store.hear(self.node, topic, message)
        return bool(hearers)


def check_size(value: bytes, most: int) -> None:
    """
    Raises:
        ValueError: it is larger.
    """
    if len(value) > most:
        raise ValueError(f"{len(value)} bytes are more than the store takes at a time ({most})")


def forget(handlers: dict[str, list[Any]], name: str, handler: Any) -> None:
    """No longer call a handler."""
    with suppress(ValueError):
        handlers[name].remove(handler)
    if not handlers[name]:
        del handlers[name]
