"""Registered agents that all nodes know: in the store, and of each a copy in every node, so that no call waits.

Who changes something says so to all; a version tells who missed it. Once the store has said nothing for long, nobody
knows who was revoked, and no agent gets in until it is back. Tokens are not in it, nor what signs them.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import anyio
import structlog

from gateway import jsonrpc
from gateway.errors import NotSaved, StoreUnavailable
from gateway.store.agents import AgentSession, MemoryAgentStore, as_json, from_json
from gateway.store.memory import Memory
from gateway.store.shared import BUMP_KEYS, WAIT_SECONDS, Script, Store
from gateway.store.table import BACKGROUND_SECONDS

log = structlog.stdlib.get_logger("gateway.store")

TABLE: Final = "agents"
UNTIL: Final = "agents:until"
CHANGE_SECONDS: Final = 2.0
"""How long who registers or revokes an agent, or lists them, waits for the store. Calls do not."""
GRACE_SECONDS: Final = 0.05
"""How long a change's message may take, before everything is read again because of its version."""


class SharedAgentStore(MemoryAgentStore):
    """
    Args:
        clock: seconds since 1970; the store's if None.
    """

    def __init__(self, store: Store, clock: Callable[[], float] | None = None) -> None:
        super().__init__(clock or store.now)
        self._store = store
        self._known = -1
        """The version of what is known here."""
        self._removed: dict[str, AgentSession | None] = {}
        """What could not be removed from the store yet."""
        self._gone: list[str] = []
        self._reading = anyio.Lock()
        self._changed = anyio.Event()
        store.on_message(TABLE, self._hear)
        store.on_version(TABLE, self._on_version)

    async def add(self, session: AgentSession, cap: int) -> bool:
        """
        Raises:
            StoreUnavailable: it was not added, as far as is known.
        """
        self._store.check()
        value = self._store.seal(_key(session.id), jsonrpc.dumps(as_json(session)))
        keys = (TABLE, UNTIL, _root_key(session.root), *BUMP_KEYS)
        arguments = (session.id, value, session.expires, cap, round(self._clock()))
        version = await self._store.do(ADD, keys, arguments, patience=CHANGE_SECONDS)
        if not version:
            return False
        self._sessions[session.id] = session
        self._tell(version, added=session)
        return True

    async def get(self, id: str) -> AgentSession | None:
        """
        Raises:
            StoreUnavailable: nobody knows who was revoked meanwhile, or it is not known here and cannot be asked for.
        """
        self._store.check()
        known = await super().get(id)
        if known is not None or id in self._removed or id in self._sessions:
            return known
        session = self._open(id, await self._store.do(ONE, [TABLE], [id]))
        return session if session is not None and session.expires > self._clock() else None

    async def sessions(self) -> list[AgentSession]:
        """
        Raises:
            StoreUnavailable: it cannot be known who is there.
        """
        self._store.check()
        if self._known < 0:
            await self._read(CHANGE_SECONDS)
        return sorted(await super().sessions(), key=lambda session: session.created)

    async def remove(self, ids: Collection[str]) -> None:
        for id in ids:
            self._removed[id] = self._sessions.pop(id, None) or self._removed.get(id)
        try:
            await self._remove(CHANGE_SECONDS)
        except StoreUnavailable as error:
            log.error("agents revoked on this node only, until the store is back", ids=[*ids], reason=error.message)
            what, remedy = (
                "Revoked on this node, but not yet on the others",
                "It is tried again until the store is back.",
            )
            raise NotSaved(what, "the store does not answer", remedy) from None

    async def unsaved(self, id: str) -> AgentSession | None:
        return self._removed.get(id)

    async def follow(self) -> Collection[str]:
        self._changed = anyio.Event()
        try:
            if self._removed:
                await self._remove(BACKGROUND_SECONDS)
            if self._known != self._store.version(TABLE):
                if self._known >= 0:
                    await anyio.sleep(GRACE_SECONDS)
                if self._known != self._store.version(TABLE):
                    await self._read(BACKGROUND_SECONDS)
        except StoreUnavailable as error:
            log.debug("agents not followed", reason=error.message)
        gone, self._gone = self._gone, []
        return gone

    async def wait(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    async def aclose(self) -> None:
        if self._removed:
            try:
                await self._remove(WAIT_SECONDS)
            except StoreUnavailable as error:
                log.error("agents that were revoked are not", ids=[*self._removed], reason=error.message)

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _remove(self, patience: float) -> None:
        removed = dict(self._removed)
        roots = list({_root_key(session.root) for session in removed.values() if session is not None})
        version = await self._store.do(REMOVE, (TABLE, UNTIL, *roots, *BUMP_KEYS), [*removed], patience=patience)
        for id in removed:
            self._removed.pop(id, None)
        self._tell(version, removed=[*removed])

    async def _read(self, patience: float) -> None:
        async with self._reading:
            raw = await self._store.do(ALL, [TABLE, BUMP_KEYS[0]], patience=patience)
            fields = {name.decode(): value for name, value in zip(raw[1::2], raw[2::2], strict=True)}
            sessions = {id: session for id, value in fields.items() if (session := self._open(id, value)) is not None}
            before = self._sessions
            self._sessions = {id: session for id, session in sessions.items() if id not in self._removed}
            now = self._clock()
            self._gone += [id for id, each in before.items() if id not in self._sessions and each.expires > now]
            self._known = int(raw[0] or 0)
            self._on_version()  # which may have been another since

    def _open(self, id: str, sealed: bytes | None) -> AgentSession | None:
        value = self._store.open(_key(id), sealed) if sealed is not None else None
        return from_json(**jsonrpc.loads(value)) if value is not None else None

    def _tell(self, version: int, added: AgentSession | None = None, removed: Sequence[str] = ()) -> None:
        if self._known == version - 1:
            self._known = version
        news = {"version": version, "added": as_json(added) if added is not None else None, "removed": removed}
        self._store.tell(TABLE, jsonrpc.dumps(news))

    def _hear(self, sender: str, message: bytes) -> None:
        news = jsonrpc.loads(message)
        if news["added"] is not None and (session := from_json(**news["added"])).id not in self._removed:
            self._sessions[session.id] = session
        for id in news["removed"]:
            if self._sessions.pop(id, None) is not None:
                self._gone.append(id)
                self._changed.set()
        if self._known == news["version"] - 1:
            self._known = news["version"]

    def _on_version(self) -> None:
        if self._known != self._store.version(TABLE):
            self._changed.set()


def _key(id: str) -> str:
    return f"{TABLE}:{id}"


def _root_key(root: str) -> str:
    return f"agents-of:{root}"


# --- Scripts ----------------------------------------------------------------------------------------------------------


def _add(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    id, value, until, cap, now = arguments
    table = {name: each for name, each in memory.get(keys[0], {}).items() if each[1] > now}
    if sum(root == keys[2] for _, _, root in table.values()) >= cap:
        return 0
    memory.set(keys[0], table | {id: (value, until, keys[2])}, None)
    return memory.bump(TABLE)


def _remove(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    memory.set(keys[0], {id: each for id, each in memory.get(keys[0], {}).items() if id not in arguments}, None)
    return memory.bump(TABLE)


def _all(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
    fields = [part for id, each in memory.get(keys[0], {}).items() for part in (id.encode(), each[0])]
    return [memory.versions[TABLE], *fields]


def _one(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> bytes | None:
    found = memory.get(keys[0], {}).get(arguments[0])
    return found[0] if found is not None else None


_BUMP: Final = f"""
redis.call('PUBLISH', KEYS[#KEYS], '')
return redis.call('HINCRBY', KEYS[#KEYS - 1], '{TABLE}', 1)
"""

ADD: Final = Script(
    "agents: add",
    f"""
local id, value, expires, cap, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[1], gone)
  redis.call('ZREM', KEYS[2], gone)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
if redis.call('ZCARD', KEYS[3]) >= cap then return 0 end
redis.call('HSET', KEYS[1], id, value)
redis.call('ZADD', KEYS[2], expires, id)
redis.call('ZADD', KEYS[3], expires, id)
redis.call('EXPIREAT', KEYS[3], redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2])
{_BUMP}
""",
    _add,
)
"""Keys: the sessions, when each ends, those of one root. Arguments: an id, what is kept, when it ends, the root's cap,
now. Returns the version, or 0 at the cap."""

REMOVE: Final = Script(
    "agents: remove",
    f"""
for _, id in ipairs(ARGV) do
  redis.call('HDEL', KEYS[1], id)
  for at = 2, #KEYS - 2 do redis.call('ZREM', KEYS[at], id) end
end
{_BUMP}
""",
    _remove,
)
"""Keys: the sessions, when each ends, those of their roots. Arguments: ids. Returns the version."""

ALL: Final = Script(
    "agents: all",
    f"""
local all = redis.call('HGETALL', KEYS[1])
table.insert(all, 1, redis.call('HGET', KEYS[2], '{TABLE}') or 0)
return all
""",
    _all,
)
"""Keys: the sessions, versions. Returns the version, and ids and what is kept by turns."""

ONE: Final = Script("agents: one", "return redis.call('HGET', KEYS[1], ARGV[1])", _one)
