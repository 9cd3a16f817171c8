"""One handshake-era session over HTTP: what is in flight in it, what its agent was asked, and its streams."""

import time
from typing import Any, Final

from gateway import jsonrpc
from gateway.call import Call
from gateway.errors import InvalidRequest
from gateway.frontend.asks import ServerRequests
from gateway.frontend.backlog import Backlog
from gateway.frontend.call_response import CallResponse
from gateway.frontend.http_head import field_lines
from gateway.frontend.relay import SessionRelay
from gateway.frontend.streams import Streams
from gateway.jsonrpc import Message, RequestId
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent
from gateway.store.node import Node
from gateway.store.sessions import SessionName

QUESTION_BITS: Final = 20
"""Of a question's id, besides those that say which run of which node asks it. JavaScript reads 53."""


class HandshakeSession:
    """One session.

    Args:
        kept: counts what its client could be given again.
        id: what its client knows it by; the agent's id, if None.
        name: what is noted of it is noted by.
        node: where it is.
    """

    def __init__(
        self,
        agent: ConnectedAgent,
        kept: Backlog | None = None,
        id: str | None = None,
        name: SessionName | None = None,
        node: Node | None = None,
    ) -> None:
        self.agent = agent
        self.id = id or agent.id
        self.header = field_lines((("mcp-session-id", self.id),))
        """Of each answer in it."""
        self.name = name
        self.node = node
        self.relay: SessionRelay | None = None
        """Reaches the session on other nodes, where there are any."""
        self.moved_to: str | None = None
        """The node that has its standing stream, if it was here before."""
        self.is_clipped = False
        """Whether the id says less than its client declared."""
        # An answer to a question from before a restart must not be taken for the answer to one from after it.
        self.asks = ServerRequests(1 if node is None else (node.run << QUESTION_BITS) + 1)
        self.streams = Streams(kept, "" if node is None else str(node))
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
        if jsonrpc.is_id(id):
            call = self.in_flight.get(id)
            if call is not None:
                call.cancel()
            elif self.relay is not None:
                self.relay.cancel(self, id)

    def answer(self, message: Message, sender: Principal) -> None:
        """An answer to a question, wherever it was asked. See `ServerRequests.answer`."""
        id = message.get("id")
        is_ours = self.node is None or not isinstance(id, int) or id >> QUESTION_BITS == self.node.run
        if self.relay is None or is_ours:
            self.asks.answer(message, sender)
        else:
            self.relay.answer(self, message, sender)

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

    async def ask(
        self, response: CallResponse, call: Call, method: str, params: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Ask on a call's own stream, or on the standing one if its client wants none."""
        return await self.asks.ask(response.write if response.streams else self.write, method, params, call)

    def _notify(self, method: str, params: dict[str, Any] | None) -> None:
        self.streams.standing.push(jsonrpc.notification(method, params), once=True)

    async def _ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        return await self.asks.ask(self.write, method, params)
