"""A table that nodes share: fields with a value each, and a version by which every node learns of changes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway.store.memory import Memory
from gateway.store.shared import BUMP_KEYS, Script, Store

BACKGROUND_SECONDS: Final = 5.0
"""How long something may take that no call waits for."""


class Table:
    """
    Args:
        name: of the table, and of its version.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._keys = (name, *BUMP_KEYS)

    async def load(self) -> dict[str, bytes]:
        """All of it, but for what was not sealed by this gateway.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        raw = await self._store.do(ALL, [self._name], patience=BACKGROUND_SECONDS)
        fields = {name.decode(): value for name, value in zip(raw[::2], raw[1::2], strict=True)}
        opened = {name: self._store.open(self._key(name), value) for name, value in fields.items()}
        return {name: value for name, value in opened.items() if value is not None}

    async def get(self, field: str) -> bytes | None:
        """One field; None if it is not there, or was not sealed by this gateway.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        value = await self._store.do(ONE, [self._name], [field], patience=BACKGROUND_SECONDS)
        return self._store.open(self._key(field), value) if value is not None else None

    async def put(self, fields: Mapping[str, bytes]) -> None:
        """
        Raises:
            StoreUnavailable: it cannot be written.
        """
        sealed = [part for name, value in fields.items() for part in (name, self._store.seal(self._key(name), value))]
        await self._store.do(PUT, self._keys, [self._name, *sealed], patience=BACKGROUND_SECONDS)

    async def remove(self, fields: Sequence[str]) -> None:
        """
        Raises:
            StoreUnavailable: it cannot be written.
        """
        await self._store.do(REMOVE, self._keys, [self._name, *fields], patience=BACKGROUND_SECONDS)

    def on_change(self, handler: Callable[[], None]) -> Callable[[], None]:
        """See `Store.on_version`. Who made the change is told too."""
        return self._store.on_version(self._name, handler)

    def _key(self, field: str) -> str:
        return f"{self._name}:{field}"


def _all(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> list[bytes]:
    return [part for name, value in memory.get(keys[0], {}).items() for part in (name.encode(), value)]


def _put(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    fields = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    memory.set(keys[0], memory.get(keys[0], {}) | fields, None)
    return memory.bump(arguments[0])


def _remove(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    rest = {name: value for name, value in memory.get(keys[0], {}).items() if name not in arguments[1:]}
    memory.set(keys[0], rest, None)
    return memory.bump(arguments[0])


_BUMP: Final = """
redis.call('PUBLISH', KEYS[3], '')
return redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
"""

ALL: Final = Script("table: all", "return redis.call('HGETALL', KEYS[1])", _all)
ONE: Final = Script(
    "table: one",
    "return redis.call('HGET', KEYS[1], ARGV[1])",
    lambda memory, keys, arguments: memory.get(keys[0], {}).get(arguments[0]),
)
PUT: Final = Script(
    "table: put",
    "for at = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end" + _BUMP,
    _put,
)
REMOVE: Final = Script(
    "table: remove", "for at = 2, #ARGV do redis.call('HDEL', KEYS[1], ARGV[at]) end" + _BUMP, _remove
)
