"""Connections that one agent, or one identity, has to itself (`isolation`): made when needed, closed with it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import anyio
from anyio.abc import TaskGroup

from gateway.errors import UpstreamUnavailable
from gateway.protocol import Era
from gateway.request import Agent
from gateway.upstream.link import Link

MAX_PRIVATE_LINKS: Final = 256
"""Most connections of their own that agents may have to one upstream."""
IDLE_SECONDS: Final = 300.0
"""How long an identity's connection outlives its last request; nobody tells us when an identity has gone."""


@dataclass(slots=True)
class _Private:
    link: Link
    has_end: bool
    """Whether we will be told that its agent has gone."""
    used_at: float


class PrivateLinks:
    """One upstream's private connections.

    Args:
        make: makes a link; its task is run here.
    """

    def __init__(self, upstream: str, isolation: Literal["identity", "session"], make: Callable[[], Link]) -> None:
        self._upstream = upstream
        self._isolation = isolation
        self._make = make
        self._links: dict[str, _Private] = {}
        self._tasks: TaskGroup | None = None

    @property
    def links(self) -> list[Link]:
        return [private.link for private in self._links.values()]

    def link_for(self, agent: Agent) -> Link:
        """
        Raises:
            UpstreamUnavailable: too many have one.
        """
        has_end = self._isolation == "session" and agent.era is Era.HANDSHAKE  # a modern request is an agent by itself
        key = agent.id if has_end else agent.principal.id
        private = self._links.get(key)
        if private is None:
            if len(self._links) >= MAX_PRIVATE_LINKS or self._tasks is None:
                reason = f"{len(self._links)} agents have connections of their own to it"
                raise UpstreamUnavailable(self._upstream, "busy", reason)
            private = self._links[key] = _Private(self._make(), has_end, 0.0)
            self._tasks.start_soon(private.link.run)
        private.used_at = time.monotonic()
        return private.link

    def release(self, agent_id: str) -> None:
        """That agent has gone: close what was its own."""
        if agent_id in self._links:
            self._links.pop(agent_id).link.stop()

    async def run(self) -> None:
        """The owner of them all. Ends by cancellation."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                await anyio.sleep(IDLE_SECONDS / 10)
                for key, private in list(self._links.items()):
                    if not private.has_end and time.monotonic() - private.used_at >= IDLE_SECONDS:
                        self._close_if_idle(key, private)

    def _close_if_idle(self, key: str, private: _Private) -> None:
        session = private.link.session
        if session is None or not session.connection.calls:
            del self._links[key]
            private.link.stop()
