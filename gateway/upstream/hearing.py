"""What an upstream says unasked on one of its connections, and whom that concerns."""

from typing import TYPE_CHECKING, Any, Protocol

from gateway.errors import MethodNotFound
from gateway.request import Agent

if TYPE_CHECKING:
    from gateway.upstream.calls import Call


class Listener(Protocol):
    """What one upstream's connections have in common."""

    def on_message(self, method: str, params: dict[str, Any], agent: Agent | None) -> None:
        """A notification that belongs to no request; `agent` is the one client of the connection it came by, if it has
        but one."""
        ...

    def on_noise(self, text: str) -> None: ...


class Hearing:
    """The `Peer` of one connection.

    Args:
        agent: its one client, if it has but one.
    """

    def __init__(self, upstream: Listener, agent: Agent | None) -> None:
        self._upstream = upstream
        self._agent = agent

    def on_notification(self, method: str, params: dict[str, Any] | None, call: "Call | None") -> None:
        self._upstream.on_message(method, params or {}, self._agent)

    async def on_request(self, method: str, params: dict[str, Any] | None, call: "Call | None") -> dict[str, Any]:
        """Asked on behalf of no request that could be told: it is the one client's business, or nobody's."""
        if method == "ping":
            return {}
        if self._agent is None:
            raise MethodNotFound(method)
        return await self._agent.ask(method, params)

    def on_noise(self, text: str) -> None:
        self._upstream.on_noise(text)
