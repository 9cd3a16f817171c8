"""What an upstream says unasked on one of its connections, and whom that concerns."""

from typing import Any, Protocol

from gateway.errors import MethodNotFound
from gateway.upstream.audience import Audience


class ListenStream(Protocol):
    """What one upstream's connections have in common."""

    def on_message(self, method: str, params: dict[str, Any], audience: Audience) -> None:
        """A notification that belongs to no request, and whom it may concern."""
        ...

    def on_noise(self, text: str) -> None: ...


class ConnectionHandler:
    """The `MessageHandler` of an upstream's connections."""

    def __init__(self, upstream: ListenStream) -> None:
        self._upstream = upstream

    def on_notification(self, method: str, params: dict[str, Any] | None, audience: Audience) -> None:
        self._upstream.on_message(method, params or {}, audience)

    async def on_request(self, method: str, params: dict[str, Any] | None, audience: Audience) -> dict[str, Any]:
        """Asked on behalf of no request that could be told: it is the one client's business, or nobody's."""
        if method == "ping":
            return {}
        if audience.agent is None:
            raise MethodNotFound(method)
        return await audience.agent.ask(method, params)

    def on_noise(self, text: str) -> None:
        self._upstream.on_noise(text)
