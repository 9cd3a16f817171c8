"""Two nodes, one cap on requests in flight: never more than it, and nearly all of it wherever they are."""

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from gateway.access.shared_slots import SLOTS, SharedSlots
from gateway.call import Call
from gateway.errors import TooManyRequests
from gateway.request import ANONYMOUS, Principal
from gateway.server.agents import ConnectedAgent
from gateway.store.memory import Memory, MemoryStore
from gateway.store.shared import Store
from gateway.store.valkey_store import ValkeyStore
from tests.store.servers import STATE_KEYS, ValkeyServer
from tests.support import wait_until

pytestmark = pytest.mark.anyio


def call(principal: Principal) -> Call:
    agent = ConnectedAgent(principal, None, "2026-07-28", lasting=False)
    return Call(1, "tools/call", {}, agent, agent.opener, lambda method, params: None)


class Node:
    def __init__(self, store: Store, cap: int) -> None:
        self.store = store
        self.slots = SharedSlots(store, cap, lambda limit, allowed: None)
        self.calls: list[Call] = []

    async def take(self, principal: str, times: int = 1) -> int:
        """How many of so many requests are let in."""
        before = len(self.calls)

        async def one() -> None:
            request = call(Principal(principal))
            with suppress(TooManyRequests):
                if not self.slots.take_now(request):
                    await self.slots.take(request)
                self.calls.append(request)

        async with anyio.create_task_group() as tg:
            for _ in range(times):
                tg.start_soon(one)
        return len(self.calls) - before

    def give(self, times: int) -> None:
        for _ in range(times):
            self.slots.give(self.calls.pop())


Make = Callable[[int], "list[Node]"]


@asynccontextmanager
async def running(nodes: list[Node]) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tg:
        for node in nodes:
            await tg.start(node.store.run)
            tg.start_soon(node.slots.run)
        await wait_until(lambda: all(node.store.nodes == len(nodes) for node in nodes))
        yield
        for node in nodes:
            node.give(len(node.calls))
        tg.cancel_scope.cancel()


@pytest.fixture(params=["memory", "valkey"])
def make(request: pytest.FixtureRequest, server: ValkeyServer) -> Make:
    def two(cap: int) -> list[Node]:
        memory = Memory()
        if request.param == "memory":
            return [Node(MemoryStore(memory), cap) for _ in range(2)]
        return [Node(ValkeyStore(server.url, STATE_KEYS), cap) for _ in range(2)]

    return two


@pytest.mark.parametrize("cap", [3, 10, 200, 1000])
async def test_two_nodes_together_let_in_no_more_than_the_cap(make: Make, cap: int) -> None:
    nodes = make(cap)
    async with running(nodes):
        taken = [0, 0]

        async def take(number: int) -> None:
            taken[number] = await nodes[number].take(f"both {cap}", cap)

        async with anyio.create_task_group() as tg:
            tg.start_soon(take, 0)
            tg.start_soon(take, 1)
        slow = sum(node.slots.shared_out for node in nodes)  # where the machine was busy
        assert sum(taken) <= cap + slow
        assert sum(taken) >= (cap - 1 if cap <= 10 else cap * 0.9) - slow


@pytest.mark.parametrize("cap", [3, 10, 1000])
async def test_one_node_may_have_nearly_all_and_leaves_the_other_the_rest(make: Make, cap: int) -> None:
    one, other = nodes = make(cap)
    async with running(nodes):
        first = 0

        async def has_nearly_all() -> bool:
            nonlocal first
            got = await one.take(f"one {cap}", cap - first)
            first += got
            return first >= cap - 8

        await wait_until(has_nearly_all, 20)
        rest = await other.take(f"one {cap}", cap)
        assert first + rest <= cap + sum(node.slots.shared_out for node in nodes)
        one.give(first)

        async def has_all() -> bool:
            got = await other.take(f"one {cap}", first)
            other.give(got)
            return rest + got >= cap - 8

        await wait_until(has_all, 20)


async def test_a_few_need_no_store(make: Make) -> None:
    one, _ = nodes = make(1000)
    async with running(nodes):
        requests = [call(Principal("few")) for _ in range(8)]
        assert all(one.slots.take_now(each) for each in requests)
        assert not one.slots.take_now(call(Principal("few")))
        for each in requests:
            one.slots.give(each)
            one.slots.give(each)  # twice is once
        request = call(Principal("few"))
        assert one.slots.take_now(request)
        one.slots.give(request)


async def test_agents_count_for_whoever_is_behind_them_and_nobody_for_nobody(make: Make) -> None:
    one, other = nodes = make(3)
    async with running(nodes):
        assert await one.take("root", 2) == 2
        agent = call(Principal("agent:1", root="root"))
        assert not other.slots.take_now(agent)
        await other.slots.take(agent)
        with pytest.raises(TooManyRequests):
            await other.slots.take(call(Principal("agent:2", root="root")))
        other.slots.give(agent)
        assert all(one.slots.take_now(call(ANONYMOUS)) for _ in range(10))


class Away(MemoryStore):
    is_quick = False


async def test_without_the_store_each_node_goes_by_its_share() -> None:
    memory = Memory()
    refused: list[str] = []
    slots = SharedSlots(Away(memory), 10, lambda limit, allowed: refused.append(limit))
    other = MemoryStore(memory)
    assert other.nodes == 2
    requests = [call(Principal("away")) for _ in range(6)]
    assert all(slots.take_now(each) for each in requests[:5])
    with pytest.raises(TooManyRequests):
        slots.take_now(requests[5])
    assert refused == ["in_flight_principal"]


async def test_slots_of_a_node_that_is_gone_are_free_again() -> None:
    now = 0.0
    memory = MemoryStore(Memory(lambda: now))
    assert await memory.do(SLOTS, ["s"], ["gone", 0, 10, 0, 10, 3000]) == 10
    assert await memory.do(SLOTS, ["s"], ["there", 0, 10, 0, 10, 3000]) == 0
    now = 3.1
    assert await memory.do(SLOTS, ["s"], ["there", 0, 10, 0, 10, 3000]) == 10


async def test_what_is_in_use_is_counted_however_many_there_are_to_have() -> None:
    """How many there are depends on how many nodes there are, of which two may have different ideas."""
    memory = MemoryStore()
    assert await memory.do(SLOTS, ["s"], ["one", 0, 6, 0, 10, 3000]) == 6
    assert await memory.do(SLOTS, ["s"], ["other", 0, 4, 0, 10, 3000]) == 4
    assert await memory.do(SLOTS, ["s"], ["one", 6, 1, 8, 8, 3000]) == 6
    assert await memory.do(SLOTS, ["s"], ["other", 4, 1, 8, 10, 3000]) == 4


async def test_both_forms_of_the_script_say_the_same(server: ValkeyServer) -> None:
    chance = random.Random(1)
    memory, valkey = MemoryStore(), ValkeyStore(server.url, STATE_KEYS)
    async with anyio.create_task_group() as tg:
        await tg.start(valkey.run)
        for _ in range(200):
            arguments = [
                chance.choice("abc"),
                chance.randrange(12),
                chance.randrange(2),
                chance.choice([0, 8]),
                20,
                60_000,
            ]
            assert await memory.do(SLOTS, ["same"], arguments) == await valkey.do(SLOTS, ["same"], arguments)
        tg.cancel_scope.cancel()


async def test_who_waits_for_the_store_while_all_others_end_has_a_slot_to_give_back() -> None:
    asked, answer = anyio.Event(), anyio.Event()

    class Slow(MemoryStore):
        async def do(self, script: Any, keys: Any, arguments: Any = (), *, patience: float = 0.0) -> Any:
            asked.set()
            await answer.wait()
            return 0  # which is what a late answer to another question may say

    slots = SharedSlots(Slow(), 100, lambda limit, allowed: None)
    requests = [call(Principal("anna")) for _ in range(200)]
    held = [each for each in requests if slots.take_now(each)]
    late = requests[-1]
    async with anyio.create_task_group() as tg:
        tg.start_soon(slots.take, late)
        await asked.wait()
        for each in held:
            slots.give(each)
        answer.set()
    slots.give(late)
    assert slots.take_now(late), "nothing is counted that has ended"
