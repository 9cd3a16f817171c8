"""Agents that two nodes know through a real store: who is there, who was revoked, and what if nobody can tell."""

import math
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.errors import NotSaved, StoreUnavailable
from gateway.store.agents import AgentSession
from gateway.store.shared import BUMP_KEYS, SILENCE_SECONDS
from gateway.store.shared_agents import REMOVE, TABLE, UNTIL, SharedAgentStore
from gateway.store.valkey_store import ValkeyStore
from tests.store.servers import STATE_KEYS, ValkeyServer, valkey
from tests.support import wait_until

pytestmark = pytest.mark.anyio

FOREVER = 4_000_000_000
ONE = AgentSession(
    *("1", "agent", "1.0", "alice", ("key:alice",), frozenset({"read"}), frozenset({"a"}), None, 0, FOREVER)
)


class Node:
    """One node, which follows as the gateway does."""

    def __init__(self, server: ValkeyServer, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.store = ValkeyStore(server.url, STATE_KEYS, silence_seconds)
        self.agents = SharedAgentStore(self.store)
        self.gone: list[str] = []

    async def follow(self) -> None:
        while True:
            self.gone += await self.agents.follow()
            await self.agents.wait(1.0)

    async def is_gone(self, id: str) -> bool:
        return id in self.gone and await self.agents.get(id) is None


@pytest.fixture(scope="module")
def server() -> Generator[ValkeyServer]:
    """A server of these tests' own: they count everybody whom it knows."""
    with valkey() as running:
        yield running


@asynccontextmanager
async def two(server: ValkeyServer, silence_seconds: float = SILENCE_SECONDS) -> AsyncGenerator[tuple[Node, Node]]:
    nodes = Node(server, silence_seconds), Node(server, silence_seconds)
    async with anyio.create_task_group() as tg:
        for node in nodes:
            await tg.start(node.store.run)
            tg.start_soon(node.follow)
        yield nodes
        there = [session.id for node in nodes for session in await node.agents.sessions()]  # neither may know all yet
        await nodes[0].agents.remove(there)
        tg.cancel_scope.cancel()


async def test_who_registered_at_one_node_is_known_at_the_other_at_once(server: ValkeyServer) -> None:
    async with two(server) as (one, other):
        assert await one.agents.add(ONE, 10)
        assert await other.agents.get("1") == ONE
        assert await other.agents.get("unknown") is None
        await wait_until(lambda: other.agents.sessions())
        assert await other.agents.sessions() == [ONE]


async def test_the_cap_counts_what_all_nodes_have(server: ValkeyServer) -> None:
    async with two(server) as nodes:
        added: list[bool] = []

        async def add(node: Node, id: str) -> None:
            added.append(await node.agents.add(replace(ONE, id=id), 5))

        async with anyio.create_task_group() as tg:
            for number in range(10):
                for node in nodes:
                    tg.start_soon(add, node, f"{number} {node.store.node}")
        assert sum(added) == 5
        assert await nodes[0].agents.add(replace(ONE, id="another's", ancestors=("key:bob",)), 5)


async def test_a_cap_has_room_again_when_somebody_is_revoked_or_expires(server: ValkeyServer) -> None:
    async with two(server) as (one, other):
        assert await one.agents.add(replace(ONE, id="past", expires=1), 1)
        assert await other.agents.add(ONE, 1)
        assert not await one.agents.add(replace(ONE, id="2"), 1)
        await one.agents.remove(["1"])
        assert await other.agents.add(replace(ONE, id="2"), 1)


async def test_who_is_revoked_at_one_node_is_gone_at_the_other_within_a_second(server: ValkeyServer) -> None:
    async with two(server) as (one, other):
        await one.agents.add(ONE, 10)
        await wait_until(lambda: other.agents.sessions())
        await one.agents.remove(["1"])
        await wait_until(lambda: other.is_gone("1"), timeout=1.0)


async def test_also_if_the_message_was_lost(server: ValkeyServer) -> None:
    async with two(server) as (one, other):
        await one.agents.add(ONE, 10)
        await wait_until(lambda: other.agents.sessions())
        await one.store.do(REMOVE, (TABLE, UNTIL, *BUMP_KEYS), ["1"])  # which tells nobody
        await wait_until(lambda: other.is_gone("1"), timeout=1.0)


async def test_a_node_that_starts_later_knows_all(server: ValkeyServer) -> None:
    async with two(server) as (one, _):
        await one.agents.add(ONE, 10)
        async with two(server) as (late, _):
            assert await late.agents.sessions() == [ONE]


async def test_a_store_that_is_away_lets_those_in_who_are_known() -> None:
    with valkey() as server:
        async with two(server, math.inf) as (one, other):
            await one.agents.add(ONE, 10)
            await wait_until(lambda: other.agents.sessions())
            server.kill()
            await wait_until(lambda: not other.store.is_quick)
            assert await other.agents.get("1") == ONE
            with pytest.raises(StoreUnavailable):
                await other.agents.get("who may be registered elsewhere")
            server.start()
            await wait_until(lambda: one.store.is_quick and other.store.is_quick)


async def test_a_store_that_is_silent_lets_no_agent_in_and_says_why() -> None:
    with valkey() as server:
        async with two(server, 1.0) as (one, other):
            await one.agents.add(ONE, 10)
            await wait_until(lambda: other.agents.sessions())
            server.kill()

            async def says_why() -> bool:
                try:
                    await other.agents.get("1")
                except StoreUnavailable as error:
                    return error.status == 503 and "does not answer" in error.message
                return False

            await wait_until(says_why)
            server.start()
            await wait_until(lambda: one.store.is_quick and other.store.is_quick)


async def test_what_is_revoked_while_the_store_is_away_is_revoked_when_it_is_back(tmp_path: Path) -> None:
    with valkey(tmp_path) as server:
        async with two(server) as (one, other):
            await one.agents.add(ONE, 10)
            await wait_until(lambda: other.agents.sessions())
            server.kill()
            await wait_until(lambda: not one.store.is_quick)
            with pytest.raises(NotSaved, match="not yet on the others"):
                await one.agents.remove(["1"])
            assert await one.agents.get("1") is None
            assert await one.agents.unsaved("1") == ONE
            server.start()
            await wait_until(lambda: one.store.is_quick and other.store.is_quick)

            async def is_gone() -> bool:
                return await one.agents.unsaved("1") is None and await other.agents.get("1") is None

            await wait_until(is_gone)


async def test_no_agent_is_in_the_store_in_plain_words(tmp_path: Path) -> None:
    with valkey(tmp_path) as server:
        async with two(server) as (one, _):
            await one.agents.add(replace(ONE, agent_name="canary"), 10)
            written = everything_in(tmp_path)
    assert b"agents:until" in written
    assert b"canary" not in written


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
