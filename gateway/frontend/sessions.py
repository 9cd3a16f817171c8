"""Handshake-era sessions over HTTP: who owns them, what is in flight in them, and their one standing stream."""

import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import anyio

from gateway import jsonrpc
from gateway.access.places import SessionQuota
from gateway.call import Call
from gateway.errors import InvalidRequest, SessionNotFound
from gateway.frontend.asks import ServerRequests
from gateway.frontend.backlog import Backlog
from gateway.frontend.exchange import Exchange
from gateway.frontend.streams import Streams
from gateway.jsonrpc import Message, RequestId
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent


class Session:
    """One session. `agent.id` is its id.

    Args:
        kept: counts what its client could be given again.
    """

    def __init__(self, agent: ConnectedAgent, kept: Backlog | None = None) -> None:
        self.agent = agent
        self.asks = ServerRequests()
        self.streams = Streams(kept)
        self.in_flight: dict[RequestId, Call] = {}
        self.used_at = time.monotonic()
        agent.outlet = self._notify
        agent.inquiry = self._ask

    @property
    def busy(self) -> bool:
        return bool(self.in_flight) or self.streams.standing.connection is not None

    def begin(self, call: Call) -> None:
        """A request begins.

        Raises:
            InvalidRequest: another of the same id is in flight; answers could not be told apart.
        """
        if call.id in self.in_flight:
            raise InvalidRequest(f"Request id {call.id!r} is already in use; give every request an id of its own.")
        self.in_flight[call.id] = call

    def end(self, call: Call) -> None:
        if self.in_flight.get(call.id) is call:
            del self.in_flight[call.id]
        self.used_at = time.monotonic()

    def cancel(self, id: object) -> None:
        """The agent no longer waits for that request."""
        if jsonrpc.is_id(id) and (call := self.in_flight.get(id)) is not None:
            call.cancel()

    def shut(self) -> None:
        """The session is over: cancel what is in flight and end its streams."""
        for call in list(self.in_flight.values()):
            call.cancel()
        self.asks.close()
        self.streams.standing.end()
        self.streams.clear()

    def write(self, message: Message) -> None:
        """Send a message that belongs to no request, and must not be lost."""
        self.streams.standing.push(message, must=True)

    async def ask(self, exchange: Exchange, call: Call, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """Ask on a call's own stream, or on the standing one if its client wants none."""
        return await self.asks.ask(exchange.write if exchange.streams else self.write, method, params, call)

    def _notify(self, method: str, params: dict[str, Any] | None) -> None:
        self.streams.standing.push(jsonrpc.notification(method, params), once=True)

    async def _ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        return await self.asks.ask(self.write, method, params)


class Sessions:
    """All open sessions.

    Args:
        idle_timeout: seconds without a request or a stream after which a session ends.
        on_close: told when one has ended.
    """

    def __init__(
        self, places: SessionQuota, idle_timeout: float, on_close: Callable[[ConnectedAgent], Awaitable[None]]
    ) -> None:
        self._places = places
        self._idle_timeout = idle_timeout
        self._on_close = on_close
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, session: Session) -> None:
        """
        Raises:
            TooManySessions: the cap is reached.
        """
        self._places.take(session.agent.opener)
        self._open[session.agent.id] = session

    def get(self, id: str, principal: Principal, view: str | None) -> Session:
        """
        Raises:
            SessionNotFound: it does not exist, or is another principal's or another view's: to the caller, the same.
        """
        session = self._open.get(id)
        if session is None or session.agent.opener.id != principal.id or session.agent.view != view:
            raise SessionNotFound
        session.used_at = time.monotonic()
        return session

    async def close(self, session: Session) -> None:
        if self._open.pop(session.agent.id, None) is not None:
            self._places.give(session.agent.opener)
            session.shut()
            await self._on_close(session.agent)

    async def close_those_of(self, principals: Collection[str]) -> None:
        """End the sessions of principals (ids) that are no longer good, and of their agents."""
        for session in [s for s in self._open.values() if s.agent.opener.is_one_of(principals)]:
            await self.close(session)

    def shut(self) -> None:
        """The gateway stops: end every stream. What the sessions held upstream ends with the upstreams."""
        for session in self._open.values():
            session.shut()

    async def sweep(self) -> None:
        """End idle sessions, for ever."""
        while True:
            await anyio.sleep(min(self._idle_timeout / 4, 30))
            latest = time.monotonic() - self._idle_timeout
            for session in [s for s in self._open.values() if not s.busy and s.used_at < latest]:
                await self.close(session)
