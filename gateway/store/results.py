"""Results that were too large to be given at once, kept for whom they were for: bounded, for a while, in the store.

A text stands there in chunks of `CHUNK` characters, so that a part of it is read without the rest, and nobody waits
behind a large one. What is whose is a matter of names: they hold the principal's, hashed, so that somebody else's
result is looked for under a name that is not there, like one that never was.

Beside that, a ledger has what is kept, by when it ends, for each root principal and for all together. Who keeps one
more than may be is rid of the oldest, in the same step (`RESERVE`).
"""

import hashlib
import math
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from gateway import jsonrpc
from gateway.config.models import ResultSettings
from gateway.errors import StoreUnavailable
from gateway.pause import Pause
from gateway.request import Principal
from gateway.store.memory import Memory
from gateway.store.shared import Script, Store

CHUNK: Final = 32_768
"""Characters: 32 to 128 KiB."""
MAX_KEPT: Final = 20_000
"""Results that are kept for all together, however small."""
TIDY_SECONDS: Final = 30.0
"""How long those that have expired may still take memory."""

_VALUE: Final = "result:value:"
_OF: Final = "result:of:"
_ALL: Final = "result:all"
_TOTAL: Final = "result:total"
KEYS: Final = (_VALUE, _OF, _ALL, _TOTAL)


class TooLargeToKeep(Exception):
    """A text alone has more bytes than may be kept for one principal, or for all."""


@dataclass(frozen=True, slots=True)
class KeptResult:
    """What is known of a text that is kept."""

    id: str
    """32 hexadecimal digits, unguessable."""
    upstream: str
    tool: str
    """Its public name in the merged view."""
    characters: int
    max_tokens: int
    """Most of it that is given at once to who does not say how much."""


class KeptResults:
    """
    Args:
        settings: how much is kept, and for how long.
    """

    def __init__(self, store: Store, settings: ResultSettings) -> None:
        self._store = store
        self._settings = settings

    def use(self, settings: ResultSettings) -> None:
        """From now on these count; what is kept stays for as long as it was to."""
        self._settings = settings

    @property
    def lifetime(self) -> float:
        """Seconds."""
        return self._settings.lifetime

    async def run(self) -> None:
        """Give up the memory of what has expired, until cancelled. A server does so itself."""
        while True:
            await anyio.sleep(TIDY_SECONDS)
            with suppress(StoreUnavailable):
                await self._store.do(TIDY, KEYS)

    async def keep(
        self, principal: Principal, text: str, size: int, upstream: str, tool: str, max_tokens: int
    ) -> KeptResult:
        """
        Args:
            size: of the text, in bytes of UTF-8.

        Raises:
            TooLargeToKeep: it has too many bytes.
            StoreUnavailable: the store cannot be reached, or is slow; nobody waits for it.
        """
        settings, id = self._settings, secrets.token_hex(16)
        if size > min(settings.max_bytes_per_principal, settings.max_bytes):
            raise TooLargeToKeep
        self._check()
        name = _name(principal, id)
        left = max(1, round(settings.lifetime * 1000))
        member = f"{_short(principal.root_id)}:{name}:{size}:{math.ceil(len(text) / CHUNK)}"
        most = settings.max_bytes_per_principal, settings.max_count_per_principal, settings.max_bytes, MAX_KEPT
        await self._store.do(RESERVE, KEYS, [member, left, *most])
        pause = Pause()
        for number, at in enumerate(range(0, len(text), CHUNK)):
            await pause.if_due()
            self._check()
            chunk = text[at : at + CHUNK].encode("utf-8", "surrogatepass")  # half a surrogate pair is passed on, too
            await self._store.set(f"{_VALUE}{name}:{number}", chunk, settings.lifetime)
        about = jsonrpc.dumps([upstream, tool, len(text), max_tokens])
        await self._store.set(_VALUE + name, about, settings.lifetime)
        return KeptResult(id, upstream, tool, len(text), max_tokens)

    async def find(self, principal: Principal, id: str) -> KeptResult | None:
        """What is kept under that id for the principal; None: nothing, whoever else may have it.

        Raises:
            StoreUnavailable: it cannot be reached.
        """
        about = await self._store.get(_VALUE + _name(principal, id))
        return KeptResult(id, *jsonrpc.loads(about)) if about is not None else None

    async def read(self, principal: Principal, kept: KeptResult, start: int, end: int) -> str | None:
        """Its characters from `start` to before `end`; None: it is kept no longer.

        Raises:
            StoreUnavailable: it cannot be reached.
        """
        name, start, end = _name(principal, kept.id), max(0, start), min(end, kept.characters)
        if start >= end:
            return ""
        first, parts, pause = start // CHUNK, list[str](), Pause()
        for number in range(first, (end - 1) // CHUNK + 1):
            await pause.if_due()
            chunk = await self._store.get(f"{_VALUE}{name}:{number}")
            if chunk is None:
                return None
            parts.append(chunk.decode("utf-8", "surrogatepass"))
        return "".join(parts)[start - first * CHUNK : end - first * CHUNK]

    def _check(self) -> None:
        """
        Raises:
            StoreUnavailable: nobody may wait for it now.
        """
        if not self._store.is_quick:
            raise StoreUnavailable("it is slow, or away")


def _name(principal: Principal, id: str) -> str:
    return f"{_short(principal.id)}:{id}"


def _short(principal: str) -> str:
    return hashlib.sha256(principal.encode("utf-8", "surrogatepass")).hexdigest()[:32]


# --- Scripts ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Ledger:
    """What is kept in memory. By names `principal:id`, as they came: `(root, size, chunks, until)`."""

    all: OrderedDict[str, tuple[str, int, int, float]] = field(
        default_factory=OrderedDict[str, tuple[str, int, int, float]]
    )
    of: dict[str, OrderedDict[str, int]] = field(default_factory=dict[str, OrderedDict[str, int]])
    """Root → name → size."""
    total: int = 0

    def drop(self, memory: Memory, name: str) -> int:
        """Returns its size."""
        root, size, chunks, _ = self.all.pop(name)
        self.of[root].pop(name)
        if not self.of[root]:
            del self.of[root]
        self.total -= size
        for key in (_VALUE + name, *(f"{_VALUE}{name}:{number}" for number in range(chunks))):
            memory.delete(key)
        return size


def _tidied(memory: Memory) -> _Ledger:
    ledger: _Ledger | None = memory.get(_ALL)
    if ledger is None:
        ledger = _Ledger()
    now = memory.now()
    while ledger.all and ledger.all[name := next(iter(ledger.all))][-1] <= now:
        ledger.drop(memory, name)
    memory.set(_ALL, ledger, None)
    return ledger


def _tidy(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    return len(_tidied(memory).all)


def _reserve(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    member, left, max_each, count_each, max_all, count_all = arguments
    root, principal, id, size, chunks = member.split(":")
    size = int(size)
    ledger = _tidied(memory)
    mine = ledger.of.get(root, OrderedDict[str, int]())
    used = sum(mine.values())
    while mine and (used + size > max_each or len(mine) >= count_each):
        used -= ledger.drop(memory, next(iter(mine)))
    while ledger.all and (ledger.total + size > max_all or len(ledger.all) >= count_all):
        ledger.drop(memory, next(iter(ledger.all)))
    name = f"{principal}:{id}"
    ledger.all[name] = root, size, int(chunks), memory.now() + left / 1000
    ledger.of.setdefault(root, OrderedDict())[name] = size
    ledger.total += size
    return len(ledger.all)


_LUA: Final = """
local value, of, all, total = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function drop(member)
  local root, name, size, chunks = string.match(member, '^(%x+):(%x+:%x+):(%d+):(%d+)$')
  redis.call('ZREM', all, member)
  redis.call('ZREM', of .. root, member)
  redis.call('DECRBY', total, size)
  redis.call('UNLINK', value .. name)
  for number = 0, chunks - 1 do redis.call('UNLINK', value .. name .. ':' .. number) end
  return size
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', all, '-inf', now, 'LIMIT', 0, 1000)) do drop(member) end
"""

TIDY: Final = Script("result: tidy", _LUA + "return redis.call('ZCARD', all)", _tidy)
"""Keys: `KEYS`. Forgets what has expired; returns how many are left."""

RESERVE: Final = Script(
    "result: reserve",
    _LUA
    + """
local member, left, size_each, count_each = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local size_all, count_all = tonumber(ARGV[5]), tonumber(ARGV[6])
local root, size = string.match(member, '^(%x+):%x+:%x+:(%d+):%d+$')
local mine, used = redis.call('ZRANGE', of .. root, 0, -1), tonumber(size)
for _, each in ipairs(mine) do used = used + string.match(each, ':(%d+):%d+$') end
for at, each in ipairs(mine) do
  if used <= size_each and #mine - at + 1 < count_each then break end
  used = used - drop(each)
end
while redis.call('ZCARD', all) > 0 do
  if (redis.call('GET', total) or 0) + size <= size_all and redis.call('ZCARD', all) < count_all then break end
  drop(redis.call('ZRANGE', all, 0, 0)[1])
end
if redis.call('ZCARD', all) == 0 then redis.call('SET', total, 0) end
local ends = now + left * 1000
redis.call('ZADD', all, ends, member)
redis.call('ZADD', of .. root, ends, member)
redis.call('INCRBY', total, size)
for _, key in ipairs({all, total, of .. root}) do
  if redis.call('PTTL', key) < left then redis.call('PEXPIRE', key, left) end
end
return redis.call('ZCARD', all)
""",
    _reserve,
)
"""Keys: `KEYS`. Arguments: `root:principal:id:bytes:chunks`; milliseconds it is kept; the most bytes and results of a
root principal's, and of all. Takes note of one that is about to be kept, and forgets what there is no room for besides;
returns how many there are."""
