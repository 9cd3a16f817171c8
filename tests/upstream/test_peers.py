"""What one node learns of an upstream, the others learn too: that a list changed, that it fails, and works again."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import pytest

from gateway.errors import GatewayError
from gateway.store.memory import Memory, MemoryStore
from gateway.upstream.audience import Audience
from gateway.upstream.breaker import BreakerState
from gateway.upstream.guardian import Guardian
from gateway.upstream.peers import Peers
from tests.support import wait_until
from tests.upstream.ends import Got, Mcp, byte_server, response, service, supervised
from tests.upstream.test_isolation import agent
from tests.upstream.test_upstream import Kept

pytestmark = pytest.mark.anyio

CHANGED = "notifications/tools/list_changed"


class Node:
    """One of the nodes that share a store, with an upstream of its own configuration."""

    def __init__(self, guardian: Guardian, memory: Memory, url: str, **settings: Any) -> None:
        self.kept = Kept(guardian, url, **settings)
        self.store = MemoryStore(memory)
        self.upstream = self.kept.upstream
        self.upstream.peers = Peers(self.store, {"up": self.upstream}, lambda config: str(config.url))

    def tools(self) -> list[str]:
        listing = self.upstream.listing
        return [tool["name"] for tool in listing.tools] if listing is not None else []

    async def fail(self, *principals: str) -> list[str]:
        """What becomes of a call of each, of a tool that does not work."""
        return [await self.outcome("broken", principal) for principal in principals]

    async def outcome(self, tool: str, principal: str) -> str:
        try:
            await self.kept.call(tool, agent=agent(principal, "2026-07-28"))
        except GatewayError as error:
            return type(error).__name__
        return "answered"


@pytest.fixture
def make(guardian: Guardian) -> Callable[..., Node]:
    return partial(Node, guardian, Memory())


class Service(Mcp):
    """Has a tool that fails while `works` is false, and lists what there is."""

    def __init__(self) -> None:
        self.names = ["a"]
        super().__init__(service("modern", **{"tools/list": self.listing}), on={"broken": self.broken})
        self.works = False

    def listing(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"tools": [{"name": name, "inputSchema": {}} for name in self.names]}

    async def broken(self, got: Got) -> None:
        if self.works:
            await self.answer(got)
        else:
            await got.send(response(status="503 Service Unavailable"))


async def test_what_one_node_hears_of_lists_the_others_fetch(make: Callable[..., Node]) -> None:
    mcp = Service()
    async with byte_server(mcp) as server, AsyncExitStack() as stack:
        one, other, third = make(server.url), make(server.url), make(server.url)
        for node in (one, other, third):
            await stack.enter_async_context(supervised(node.upstream))
            await node.upstream.settled.wait()
        mcp.names.append("b")
        one.upstream.on_message(CHANGED, {}, Audience())
        await wait_until(lambda: all(node.tools() == ["a", "b"] for node in (one, other, third)))


async def test_not_if_it_is_another_server_or_a_program_of_its_own(make: Callable[..., Node]) -> None:
    heard: list[bytes] = []
    mcp = Service()
    async with byte_server(mcp) as server, byte_server(Service()) as elsewhere, AsyncExitStack() as stack:
        one, other = make(server.url), make(elsewhere.url)
        other.store.on_message("upstreams", lambda sender, message: heard.append(message))
        for node in (one, other):
            await stack.enter_async_context(supervised(node.upstream))
            await node.upstream.settled.wait()
        asked = mcp.methods().count("tools/list")
        other.upstream.on_peer_change = lambda method: pytest.fail("it is another server")
        one.upstream.on_message(CHANGED, {}, Audience())
        await wait_until(lambda: heard)
        await wait_until(lambda: mcp.methods().count("tools/list") > asked)
        one.upstream.config = one.upstream.config.model_copy(update={"url": None})
        one.upstream.on_message(CHANGED, {}, Audience())
        await wait_until(lambda: mcp.methods().count("tools/list") > asked + 1)
        assert len(heard) == 1


async def test_where_one_node_found_failures_another_needs_only_one(make: Callable[..., Node]) -> None:
    mcp = Service()
    breaker = {"failures": 4, "cooldown": 60}
    async with byte_server(mcp) as server, AsyncExitStack() as stack:
        one, other, alone = make(server.url, breaker=breaker), make(server.url, breaker=breaker), make(server.url)
        for node in (one, other, alone):
            await stack.enter_async_context(supervised(node.upstream))
            await node.upstream.settled.wait()
        assert await one.fail("ann", "bob", "ann", "bob") == ["HttpRefusal"] * 4
        assert one.upstream.breaker.state is BreakerState.OPEN
        assert other.upstream.breaker.state is BreakerState.CLOSED  # a hint is no proof
        assert await other.fail("ann", "eve") == ["HttpRefusal", "CircuitOpen"]


async def test_what_one_tenant_suffers_at_one_node_is_no_hint(make: Callable[..., Node]) -> None:
    async with byte_server(Service()) as server, AsyncExitStack() as stack:
        one, other = (make(server.url, breaker={"failures": 3, "cooldown": 60}) for _ in range(2))
        for node in (one, other):
            await stack.enter_async_context(supervised(node.upstream))
            await node.upstream.settled.wait()
        assert await one.fail(*["ann"] * 4) == ["HttpRefusal"] * 3 + ["CircuitOpen"]
        assert await other.fail("bob", "bob") == ["HttpRefusal"] * 2


async def test_an_answer_speaks_against_a_hint(make: Callable[..., Node]) -> None:
    async with byte_server(Service()) as server, AsyncExitStack() as stack:
        one, other = (make(server.url, breaker={"failures": 4, "cooldown": 60}) for _ in range(2))
        for node in (one, other):
            await stack.enter_async_context(supervised(node.upstream))
            await node.upstream.settled.wait()
        await one.fail("ann", "bob", "ann", "bob")
        assert await other.outcome("a", "ann") == "answered"
        assert await other.fail("ann", "eve") == ["HttpRefusal"] * 2


async def test_where_it_works_for_one_node_again_the_others_try_at_once(make: Callable[..., Node]) -> None:
    mcp = Service()
    async with byte_server(mcp) as server, AsyncExitStack() as stack:
        quick = make(server.url, breaker={"failures": 2, "cooldown": 0.01})
        other = make(server.url, breaker={"failures": 2, "cooldown": 60})
        for node in (quick, other):
            await stack.enter_async_context(supervised(node.upstream))
            await node.upstream.settled.wait()
        for node in (other, quick):
            await node.fail("ann", "bob")
        assert await other.fail("joe") == ["CircuitOpen"]
        mcp.works = True
        await wait_until(lambda: quick.upstream.breaker.retry_after(anyio.current_time()) == 0)
        assert await quick.outcome("broken", "joe") == "answered"
        assert await other.outcome("broken", "joe") == "answered"
