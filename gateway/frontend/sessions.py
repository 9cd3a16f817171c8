"""Handshake-era sessions over HTTP: who owns them, what is in flight in them, and their one standing stream.

A session's id is sealed (`session_ids`), so that one which is not open here is made anew: after a restart, on another
node, or because it was idle and is in memory no longer. What has ended stays ended, for the records say so.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import anyio
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.access.places import SessionQuota
from gateway.errors import SessionNotFound, StoreUnavailable, TooManySessions
from gateway.frontend.backlog import Backlog
from gateway.frontend.relay import STANDING, SessionRelay
from gateway.frontend.session import HandshakeSession
from gateway.frontend.session_ids import SealedSession, SessionIds
from gateway.frontend.streams import FormerStream
from gateway.frontend.timing import USUAL, FrontTiming
from gateway.jsonrpc import as_object
from gateway.protocol import HANDSHAKE_VERSIONS
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent, introduce
from gateway.store.node import Node
from gateway.store.sessions import SessionName, SessionRecords

MOST_AT_ONCE: Final = 100
"""How many of those do at a time."""
SAID: Final = "said"
"""The fact that says what its client declared, where that is too long for an id."""


class SessionHost(Protocol):
    """What sessions are sessions of: the MCP server that agents see."""

    def open(self, agent: ConnectedAgent) -> None:
        """A handshake-era agent has connected."""
        ...

    async def restore(self, agent: ConnectedAgent, facts: Mapping[str, str]) -> None:
        """It has connected a second time, here or elsewhere, and these facts were noted of it: see `Sessions.note`."""
        ...

    async def find_lost(
        self, agent: ConnectedAgent, facts: Mapping[str, str], is_gone: Callable[[str], Awaitable[bool]]
    ) -> None:
        """It is about to connect again: find out what of its own is gone with its node."""
        ...

    async def idle(self, agent: ConnectedAgent) -> None:
        """It has not been in use for long, and is about to be closed."""
        ...

    async def close(self, agent: ConnectedAgent) -> None:
        """It has gone."""
        ...


class Sessions:
    """All sessions that are open here.

    Args:
        idle_timeout: seconds without a request or a stream after which a session is open no longer.
        lifetime: seconds from when a session was opened in which it can be made anew.
        kept: opens what counts what a session's client could be given again.
        tasks: outlives any one request.
    """

    def __init__(
        self,
        places: SessionQuota,
        idle_timeout: float,
        lifetime: float,
        host: SessionHost,
        ids: SessionIds,
        records: SessionRecords,
        node: Node,
        kept: Callable[[Principal], Backlog],
        tasks: TaskGroup,
        timing: FrontTiming = USUAL,
    ) -> None:
        self._places = places
        self._idle_timeout = idle_timeout
        self._lifetime = lifetime
        self._host = host
        self._ids = ids
        self._records = records
        self._node = node
        self._kept = kept
        self._tasks = tasks
        self._timing = timing
        self._open: dict[str, HandshakeSession] = {}
        self._by_key: dict[str, HandshakeSession] = {}
        self.relay: SessionRelay | None = None
        self._looked = dict[str, float]()
        """Root principal → when it was last looked for sessions of which it could do without."""

    def __len__(self) -> int:
        return len(self._open)

    # --- Open, find, close --------------------------------------------------------------------------------------------

    def open(self, principal: Principal, view: str | None, params: Mapping[str, Any]) -> HandshakeSession:
        """A session for whoever sends `initialize` with these parameters. Then it is `opened`, or if that fails
        `discard`ed.

        Raises:
            InvalidParams: they cannot be used.
            TooManySessions: the cap is reached.
        """
        agent = ConnectedAgent(principal, view, HANDSHAKE_VERSIONS[0])
        introduce(agent, params)
        id, sealed = self._ids.make(principal, view, agent.version, agent.capabilities, agent.info)
        session = self._add(id, sealed, agent)
        session.is_clipped = sealed.is_clipped
        return session

    def opened(self, session: HandshakeSession) -> None:
        """Its client will know the id."""
        if session.is_clipped and session.name is not None:
            said = {"capabilities": session.agent.capabilities, "info": session.agent.info}
            self._tasks.start_soon(self._records.note, session.name, {SAID: jsonrpc.dumps(said).decode()})

    def get(self, id: str, principal: Principal, view: str | None) -> HandshakeSession | None:
        """The session, if it is open here; else see `take_up`.

        Raises:
            SessionNotFound: it is another principal's or another view's: as if it did not exist.
        """
        session = self._open.get(id)
        if session is None:
            return None
        if session.agent.opener.id != principal.id or session.agent.view != view:
            raise SessionNotFound
        session.used_at = time.monotonic()
        return session

    async def take_up(self, id: str, principal: Principal, view: str | None) -> HandshakeSession:
        """A session that is not open here.

        Raises:
            SessionNotFound: it has ended, never was, or is another principal's or another view's: all the same.
            TooManySessions: the cap is reached.
        """
        sealed, name = self._unsealed(id, principal, view)
        facts = await self._records.read(name)
        if (session := self.get(id, principal, view)) is not None:
            return session  # another request of it was quicker
        if facts is None:
            raise SessionNotFound
        capabilities, info = sealed.capabilities, sealed.info
        if sealed.is_clipped and SAID in facts:
            said = jsonrpc.loads(facts[SAID].encode())
            capabilities, info = as_object(said["capabilities"]), as_object(said["info"])
        agent = ConnectedAgent(principal, view, sealed.version, capabilities, info)
        agent.is_known_as(sealed.key, id)
        await self._host.find_lost(agent, facts, self._is_gone)
        if (session := self.get(id, principal, view)) is not None:
            return session
        session = self._add(id, sealed, agent)
        self._tasks.start_soon(self._host.restore, agent, facts)
        if self.relay is not None and (node := facts.get(STANDING)) is not None and node != self.relay.node:
            self.relay.forward(session, node)
        return session

    def find(self, key: str) -> HandshakeSession | None:
        """The session of a key, if it is open here."""
        return self._by_key.get(key)

    async def end(self, id: str, principal: Principal, view: str | None) -> None:
        """End a session, wherever it is open.

        Raises:
            SessionNotFound: as `take_up`.
        """
        session = self.get(id, principal, view)
        _, name = self._unsealed(id, principal, view)
        if session is None and await self._records.read(name) is None:
            raise SessionNotFound
        await self._records.end(name)
        await self._close_key(name.key)

    async def discard(self, session: HandshakeSession) -> None:
        """It never began; its client does not know the id."""
        await self._close(session)

    async def note(self, agent: ConnectedAgent, changes: Mapping[str, str | None]) -> None:
        """Note facts of a session by name; None forgets one. They are for `SessionHost.restore`."""
        if (session := self._by_key.get(agent.id)) is not None and session.name is not None:
            await self._records.note(session.name, changes)
            if self.relay is not None:
                self.relay.changed(agent, changes)

    def note_soon(self, agent: ConnectedAgent, changes: Mapping[str, str | None]) -> None:
        """As `note`, without waiting for it."""
        if agent.id in self._by_key:
            self._tasks.start_soon(self.note, agent, changes)

    def stream_opened(self, session: HandshakeSession, former: FormerStream | None = None) -> None:
        """The client has its standing stream here now; it may have had it elsewhere before."""
        session.moved_to = None
        if self.relay is not None and session.name is not None:
            self.relay.stream_opened(session, former)
            self._tasks.start_soon(self._records.note, session.name, {STANDING: self.relay.node})

    def stream_closed(self, session: HandshakeSession) -> None:
        """It is here no longer."""
        if self.relay is not None and session.name is not None and session.moved_to is None:
            self.relay.stream_closed(session)
            self._tasks.start_soon(self._records.note, session.name, {STANDING: None})

    async def close_those_of(self, principals: Collection[str]) -> None:
        """End the sessions of principals (ids) that are no longer good, and of their agents."""
        for session in [s for s in self._open.values() if s.agent.opener.is_one_of(principals)]:
            await self._close(session)
        await self._records.end_those_of(principals, self._lifetime)

    def shut(self) -> None:
        """The gateway stops: end every stream. What the sessions held upstream ends with the upstreams."""
        for session in self._open.values():
            session.shut()

    # --- In the background --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Forget idle sessions, and end those that others end, until cancelled."""
        try:
            async with anyio.create_task_group() as tg:
                tg.start_soon(self._sweep)
                tg.start_soon(self._follow)
        finally:
            await self._records.aclose()

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(min(self._idle_timeout / 4, 30))
            for session in self._unused(self._idle_timeout):
                await self._host.idle(session.agent)
                if not session.busy:
                    await self._close(session)
            self._looked.clear()

    async def _follow(self) -> None:
        while True:
            await anyio.sleep(self._timing.follow_seconds)
            for key in await self._records.follow():
                await self._close_key(key)

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _is_gone(self, node: str) -> bool:
        """Whether a node is, or an earlier run of this one."""
        if self.relay is None or node == self.relay.node:
            return True
        with suppress(StoreUnavailable):
            return await self.relay.is_gone(node)
        return False

    def _unsealed(self, id: str, principal: Principal, view: str | None) -> tuple[SealedSession, SessionName]:
        sealed = self._ids.open(id, principal, view)
        name = self._name(sealed, principal)
        if name.expires <= time.time() and id not in self._open:
            raise SessionNotFound
        return sealed, name

    def _name(self, sealed: SealedSession, principal: Principal) -> SessionName:
        expires = sealed.issued + self._lifetime
        return SessionName(sealed.key, principal.id, principal.root_id, sealed.issued, expires)

    def _add(self, id: str, sealed: SealedSession, agent: ConnectedAgent) -> HandshakeSession:
        principal = agent.opener
        agent.is_known_as(sealed.key, id)
        session = HandshakeSession(agent, self._kept(principal), id, self._name(sealed, principal), self._node)
        session.relay = self.relay
        try:
            self._places.take(principal)
        except TooManySessions:
            self._make_room(principal)
            self._places.take(principal)
        self._open[id] = self._by_key[sealed.key] = session
        self._host.open(agent)
        return session

    def _make_room(self, principal: Principal) -> None:
        """Forget sessions that have not been in use for longest, for they can be made anew: the principal's own, or if
        it has none anybody's."""
        root, now = principal.root_id, time.monotonic()
        if now - self._looked.get(root, float("-inf")) < self._timing.follow_seconds:
            return  # to look costs more than to be refused
        self._looked[root] = now
        unused = sorted(self._unused(self._timing.unused_seconds), key=lambda session: session.used_at)
        own = [session for session in unused if session.agent.opener.root_id == root]
        for session in (own or unused)[:MOST_AT_ONCE]:
            self._drop(session)
            self._tasks.start_soon(self._host.close, session.agent)

    def _unused(self, seconds: float) -> list[HandshakeSession]:
        """Those that were not in use for so long."""
        latest = time.monotonic() - seconds
        return [session for session in self._open.values() if session.used_at < latest and not session.busy]

    async def _close_key(self, key: str) -> None:
        if (session := self._by_key.get(key)) is not None:
            await self._close(session)

    async def _close(self, session: HandshakeSession) -> None:
        if self._drop(session):
            await self._host.close(session.agent)

    def _drop(self, session: HandshakeSession) -> bool:
        """It is open no longer. Returns whether it was."""
        if self._open.pop(session.id, None) is None:
            return False
        del self._by_key[session.agent.id]
        self._places.give(session.agent.opener)
        session.shut()
        return True
