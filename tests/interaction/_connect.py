"""The matrix: an SDK client at every front, and through it every kind of upstream.

A test that takes the `cell` fixture runs once for each of `CELLS`: every front against one upstream of each era, and
every kind of upstream behind Streamable HTTP.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types
import pytest
from mcp import Client
from mcp.client.session import IncomingMessage
from mcp.client.sse import sse_client

FRONTS: Final = ("stdio-handshake", "stdio-modern", "http-handshake", "http-modern", "sse-handshake")
"""Transport and era of the agent. The legacy SSE transport knows one era only."""

OWN: Final = ("own-handshake", "own-modern")
"""Streamable HTTP at `/mcp/{upstream}`, where the upstream is seen alone and under its own names."""

UPSTREAMS: Final = ("http-handshake", "http-modern", "stdio-handshake", "stdio-modern", "sse-handshake", "sse-modern")
"""Transport and era of the upstream; also what it is called in the gateway's configuration."""

NEAR: Final = UPSTREAMS[:2]
"""One upstream of each era: with the agents' two eras, the four cells."""

CELLS: Final = [(front, upstream) for front in FRONTS + OWN for upstream in NEAR] + [
    (front, upstream) for front in ("http-handshake", "http-modern") for upstream in UPSTREAMS[2:]
]

each_front = pytest.mark.parametrize("place", [(front, NEAR[1]) for front in FRONTS + OWN], ids="/".join, indirect=True)
"""Restricts a test with a `cell` to one upstream, for what no upstream has a say in."""

MODES: Final = {"handshake": "legacy", "modern": "auto"}
VERSIONS: Final = {"handshake": "2025-11-25", "modern": "2026-07-28"}


def era_of(name: str) -> str:
    """`handshake` or `modern`, of a front or an upstream."""
    return name.rpartition("-")[2]


class Agent:
    """An SDK client, and what it was told unasked."""

    def __init__(self, target: Any, era: str, **options: Any) -> None:
        self.era = era
        self.heard: list[dict[str, Any]] = []
        """Notifications as dicts, `method` and `params`, in order of arrival."""
        self._connected = False
        self.client = Client(
            target, mode=MODES[era], cache=None, message_handler=self._hear, read_timeout_seconds=30, **options
        )

    @property
    def modern(self) -> bool:
        return self.era == "modern"

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator["Agent"]:
        """Connect for as long as the block lasts, unless it is connected already."""
        if self._connected:
            yield self
            return
        async with self.client:
            self._connected = True
            yield self

    async def _hear(self, message: IncomingMessage) -> None:
        assert not isinstance(message, Exception), message
        self.heard.append(message.model_dump(by_alias=True, exclude_none=True))

    def heard_of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the notifications of that method."""
        return [one.get("params", {}) for one in self.heard if one["method"] == f"notifications/{method}"]

    @asynccontextmanager
    async def listening(self, *uris: str) -> AsyncGenerator[None]:
        """Hear of changes to every list, and of these resources' updates, in the way of the agent's era."""
        if self.modern:
            kinds = {f"{kind}_list_changed": True for kind in ("tools", "prompts", "resources")}
            async with self.client.listen(**kinds, resource_subscriptions=uris):
                yield
            return
        for uri in uris:
            await self.client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated] - the era's own way
        yield
        for uri in uris:
            await self.client.unsubscribe_resource(uri)  # pyright: ignore[reportDeprecated] - the era's own way


def agent_at(base: str, front: str, upstream: str = "", **options: Any) -> Agent:
    """An agent, not yet connected, at one of the fronts of an HTTP gateway."""
    match front.partition("-")[0]:
        case "sse":
            target = sse_client(f"{base}/sse")
        case "own":
            target = f"{base}/mcp/{upstream}"
        case _:
            target = f"{base}/mcp"
    return Agent(target, era_of(front), **options)


@dataclass(frozen=True)
class Cell:
    """One agent, and the one upstream it is to deal with."""

    agent: Agent
    front: str
    upstream: str

    @property
    def client(self) -> Client:
        return self.agent.client

    @property
    def own(self) -> bool:
        """Whether the agent sees this upstream alone."""
        return self.front in OWN

    def public(self, name: str) -> str:
        """What the agent knows a tool or prompt of the upstream's as."""
        return name if self.own else f"{self.upstream}__{name}"

    def uri(self, own: str) -> str:
        """The same for a resource, which other upstreams have too: it is the first one's."""
        return own if self.own or self.upstream == UPSTREAMS[0] else f"{self.upstream}+{own}"

    async def call(self, tool: str, /, **arguments: Any) -> types.CallToolResult:
        return await self.client.call_tool(self.public(tool), arguments)

    async def counts(self) -> dict[str, int]:
        """How many calls of `slow` are running at the upstream, and how many were cancelled."""
        counts = (await self.call("cancelled_calls")).structured_content
        assert isinstance(counts, dict)
        return counts  # pyright: ignore[reportUnknownVariableType]
