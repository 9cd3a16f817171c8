"""Records of sessions that all nodes share, in the store.

What is noted of a session is a hash of sealed facts; of each root principal's sessions those that ended are a sorted
set, by when they were opened. Each change is one script.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import anyio
import structlog

from gateway import jsonrpc
from gateway.errors import StoreUnavailable
from gateway.store.memory import Memory
from gateway.store.session_file import MAX_BYTES_EACH, MAX_ENDED_EACH
from gateway.store.sessions import SessionName
from gateway.store.shared import BUMP_KEYS, Script, Store

log = structlog.stdlib.get_logger("gateway.store")

PATIENCE: Final = 1.0
"""How long a session that is made anew, or ends, waits for the store. Nobody else does."""
RECENT_SECONDS: Final = 86_400.0
MAX_RECENT: Final = 10_000
"""For how long, and of how many, nodes that were away learn that they ended."""
AGAIN_SECONDS: Final = 1.0

_VERSION: Final = "sessions"
_RECENT: Final = "session:recent"


class SharedSessionRecords:
    """See `SessionRecords`. What has to be known for sure raises `StoreUnavailable` when it cannot be found out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_due = False
        self._asked_at = store.now()
        store.on_version(_VERSION, self._on_version)

    async def read(self, session: SessionName) -> Mapping[str, str] | None:
        facts = _facts(session.key)
        keys = facts, _ended(session.root), _floor(session.principal), _floor(session.root)
        ended, floors, pairs = await self._store.do(READ, keys, [session.key], patience=PATIENCE)
        if ended or any(session.issued <= float(floor) for floor in floors if floor):
            return None
        noted: dict[str, str] = {}
        for field, sealed in zip(pairs[::2], pairs[1::2], strict=True):
            opened = self._store.open(f"{facts}:{field.decode()}", sealed)
            if opened is not None:
                name, value = jsonrpc.loads(opened)
                noted[name] = value
        return noted

    async def note(self, session: SessionName, changes: Mapping[str, str | None]) -> None:
        facts = _facts(session.key)
        pairs: list[bytes | str] = []
        for name, value in changes.items():
            field = _short(name)
            sealed = b"" if value is None else self._store.seal(f"{facts}:{field}", jsonrpc.dumps([name, value]))
            pairs += [field, sealed]
        left = max(1, round((session.expires - self._store.now()) * 1000))
        root = _short(session.root)
        keys = facts, f"session:order:{root}", f"session:sizes:{root}"
        try:
            await self._store.do(NOTE, keys, [session.key, left, MAX_BYTES_EACH, *pairs], patience=PATIENCE)
        except StoreUnavailable as error:
            log.warning("changes of a session are not known to other nodes", reason=error.message)

    async def end(self, session: SessionName) -> None:
        left = max(1, round((session.expires - self._store.now()) * 1000))
        keys = _ended(session.root), _facts(session.key), _floor(session.root), _RECENT, *BUMP_KEYS
        more = MAX_ENDED_EACH, round(RECENT_SECONDS), MAX_RECENT, _VERSION
        await self._store.do(END, keys, [session.key, repr(session.issued), left, *more], patience=PATIENCE)

    async def end_those_of(self, principals: Collection[str], lifetime: float) -> None:
        keys = [_floor(principal) for principal in principals]
        until = repr(self._store.now())
        while keys:
            try:
                await self._store.do(RAISE_FLOORS, keys, [until, round(lifetime * 1000)], patience=PATIENCE)
                return
            except StoreUnavailable:
                await anyio.sleep(AGAIN_SECONDS)

    async def follow(self) -> Collection[str]:
        if not self._is_due:
            return ()
        self._is_due, since = False, self._asked_at - AGAIN_SECONDS
        now = self._store.now()
        try:
            ended: list[bytes] = await self._store.do(RECENT, [_RECENT], [repr(since)], patience=PATIENCE)
        except StoreUnavailable:
            self._is_due = True
            return ()
        self._asked_at = now
        return [key.decode() for key in ended]

    async def aclose(self) -> None:
        pass

    def _on_version(self) -> None:
        self._is_due = True


def _short(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _facts(key: str) -> str:
    return f"session:facts:{key}"


def _ended(root: str) -> str:
    return f"session:ended:{_short(root)}"


def _floor(principal: str) -> str:
    return f"session:floor:{_short(principal)}"


# --- Scripts ----------------------------------------------------------------------------------------------------------


def _read(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
    pairs = [part for field, value in memory.get(keys[0], {}).items() for part in (field.encode(), value)]
    return [int(arguments[0] in memory.get(keys[1], {})), [memory.get(key, "") for key in keys[2:]], pairs]


READ: Final = Script(
    "session: read",
    """
local ended = 0
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then ended = 1 end
local floors = {redis.call('GET', KEYS[3]) or '', redis.call('GET', KEYS[4]) or ''}
return {ended, floors, redis.call('HGETALL', KEYS[1])}
""",
    _read,
)
"""Keys: facts, ended, two floors. Argument: the session. Returns whether it ended, the floors, the facts."""


def _note(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    changes = dict(zip(arguments[3::2], arguments[4::2], strict=True))
    facts = {field: value for field, value in (memory.get(keys[0], {}) | changes).items() if value}
    memory.set(keys[0], facts, arguments[1] / 1000)
    return len(facts)


NOTE: Final = Script(
    "session: note",
    """
local facts, order, sizes, session, left = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
for at = 4, #ARGV, 2 do
  if ARGV[at + 1] == '' then redis.call('HDEL', facts, ARGV[at])
  else redis.call('HSET', facts, ARGV[at], ARGV[at + 1]) end
end
local size = 0
for _, value in ipairs(redis.call('HVALS', facts)) do size = size + #value + 64 end
if size == 0 then
  redis.call('ZREM', order, session)
  redis.call('HDEL', sizes, session)
else
  redis.call('PEXPIRE', facts, left)
  redis.call('ZADD', order, redis.call('TIME')[1], session)
  redis.call('HSET', sizes, session, size)
  for _, key in ipairs({order, sizes}) do
    if redis.call('PTTL', key) < tonumber(left) then redis.call('PEXPIRE', key, left) end
  end
end
local total = 0
for _, each in ipairs(redis.call('HVALS', sizes)) do total = total + each end
local head = string.sub(facts, 1, #facts - #session)
while total > tonumber(ARGV[3]) do
  local oldest = redis.call('ZPOPMIN', order)[1]
  if not oldest then break end
  total = total - (redis.call('HGET', sizes, oldest) or 0)
  redis.call('HDEL', sizes, oldest)
  redis.call('DEL', head .. oldest)
end
return redis.call('HLEN', facts)
""",
    _note,
)
"""Keys: facts, the root principal's sessions by age, their sizes. Arguments: the session, milliseconds until it
expires, the most bytes of the principal's, and `field, value` pairs, an empty value for none."""


def _end(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    key, issued, left, cap, _, _, version = arguments
    ended = memory.get(keys[0], {}) | {key: float(issued)}
    if len(ended) > cap:
        by_age = sorted(ended, key=ended.__getitem__)
        gone, kept = by_age[: len(ended) // 2], by_age[len(ended) // 2 :]
        memory.set(keys[2], repr(max(float(memory.get(keys[2], "0")), ended[gone[-1]])), left / 1000)
        ended = {each: ended[each] for each in kept}
    memory.set(keys[0], ended, left / 1000)
    memory.delete(keys[1])
    memory.set(keys[3], memory.get(keys[3], {}) | {key: memory.now()}, RECENT_SECONDS)
    memory.bump(version)
    return len(ended)


END: Final = Script(
    "session: end",
    """
local ended, left = KEYS[1], ARGV[3]
redis.call('ZADD', ended, ARGV[2], ARGV[1])
redis.call('DEL', KEYS[2])
if redis.call('PTTL', ended) < tonumber(left) then redis.call('PEXPIRE', ended, left) end
local count = redis.call('ZCARD', ended)
if count > tonumber(ARGV[4]) then
  local gone = redis.call('ZPOPMIN', ended, math.floor(count / 2))
  local floor = gone[#gone]
  local before = redis.call('GET', KEYS[3])
  if not before or tonumber(before) < tonumber(floor) then
    redis.call('SET', KEYS[3], floor, 'PX', redis.call('PTTL', ended))
  end
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZADD', KEYS[4], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - ARGV[5])
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - ARGV[6])
redis.call('EXPIRE', KEYS[4], ARGV[5])
redis.call('PUBLISH', KEYS[6], '')
return redis.call('HINCRBY', KEYS[5], ARGV[7], 1)
""",
    _end,
)
"""Keys: ended, facts, the root principal's floor, recently ended, and those of a bump. Arguments: the session, when it
was opened, milliseconds until it expires, most that are remembered, how long and how many are recent, the version."""


def _raise_floors(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    for key in keys:
        memory.set(key, repr(max(float(memory.get(key, "0")), float(arguments[0]))), arguments[1] / 1000)
    return len(keys)


RAISE_FLOORS: Final = Script(
    "session: floors",
    """
for _, key in ipairs(KEYS) do
  local before = redis.call('GET', key)
  local floor = ARGV[1]
  if before and tonumber(before) > tonumber(floor) then floor = before end
  redis.call('SET', key, floor, 'PX', ARGV[2])
end
return #KEYS
""",
    _raise_floors,
)
"""Keys: floors. Arguments: the moment until which all is ended, milliseconds to remember that."""


def _recent(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> list[bytes]:
    return [key.encode() for key, at in memory.get(keys[0], {}).items() if at >= float(arguments[0])]


RECENT: Final = Script("session: recent", "return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf')", _recent)
