"""Two nodes, one limit: what they give out together, with a store that answers, does not, or takes too long."""

import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from gateway.access.bucket_script import BUCKETS, Request
from gateway.access.rate_limit import Decision, Limit
from gateway.access.shared_limiter import SharedLimiter
from gateway.store.memory import Memory, MemoryStore
from gateway.store.shared import Script, Store
from gateway.store.valkey_store import ValkeyStore
from tests.faults.proxy import proxy
from tests.store.servers import STATE_KEYS, ValkeyServer
from tests.support import wait_until

pytestmark = pytest.mark.anyio

STINGY = Limit(rpm=1, burst=199)
"""200 at once, and then none for a minute."""
Nodes = tuple[SharedLimiter, SharedLimiter]


@asynccontextmanager
async def running(*stores: Store) -> AsyncGenerator[list[SharedLimiter]]:
    limiters = [SharedLimiter(store) for store in stores]
    async with anyio.create_task_group() as tg:
        for store, limiter in zip(stores, limiters, strict=True):
            await tg.start(store.run)
            tg.start_soon(limiter.run)
        await wait_until(lambda: all(store.nodes == len(stores) for store in stores))
        yield limiters
        tg.cancel_scope.cancel()


@pytest.fixture(params=["memory", "valkey"])
async def nodes(request: pytest.FixtureRequest, server: ValkeyServer) -> AsyncGenerator[list[SharedLimiter]]:
    memory = Memory()
    makers: dict[str, Callable[[], Store]] = {
        "memory": lambda: MemoryStore(memory),
        "valkey": lambda: ValkeyStore(server.url, STATE_KEYS),
    }
    make = makers[request.param]
    async with running(make(), make()) as limiters:
        yield limiters


async def decide(limiter: SharedLimiter, key: str, limit: Limit) -> Decision:
    return limiter.consume(key, limit) or await limiter.consume_later(key, limit)


async def hammer(limiters: Sequence[SharedLimiter], key: str, limit: Limit, times: int, at_once: int = 20) -> int:
    """How many of `times` requests at each node are allowed, so many at once."""
    allowed = 0

    async def some(limiter: SharedLimiter) -> None:
        nonlocal allowed
        for _ in range(times // at_once):
            decision = await decide(limiter, key, limit)
            allowed += decision.allowed

    async with anyio.create_task_group() as tg:
        for limiter in limiters:
            for _ in range(at_once):
                tg.start_soon(some, limiter)
    return allowed


async def test_two_nodes_together_give_out_what_one_would(nodes: list[SharedLimiter]) -> None:
    assert abs(await hammer(nodes, "both", STINGY, 400) - 200) <= 1


async def test_what_one_node_has_leased_and_does_not_use_the_other_gets(nodes: list[SharedLimiter]) -> None:
    one, other = nodes
    first = await hammer([one], "lopsided", STINGY, 100)
    assert first == 100  # fast enough for it to have tokens in advance
    assert abs(first + await hammer([other], "lopsided", STINGY, 400) - 200) <= 1
    assert await hammer(nodes, "lopsided", STINGY, 20) <= 1


async def test_decisions_say_what_is_left_and_when_to_come_back(nodes: list[SharedLimiter]) -> None:
    one, other = nodes
    limit = Limit(rpm=60, burst=0)
    first, second = await decide(one, "said", limit), await decide(other, "said", limit)
    assert (first.allowed, first.remaining, first.retry_after) == (True, 59, 0)
    assert (second.allowed, second.remaining) == (True, 58)
    await hammer(nodes, "said", limit, 100)
    refused = await decide(one, "said", limit)
    assert not refused.allowed
    assert 0 < refused.retry_after <= 1
    assert refused.remaining == 0
    assert one.consume("said", limit) is not None  # nobody asks the store what is known


async def test_a_principal_has_buckets_of_its_own(nodes: list[SharedLimiter]) -> None:
    limit = Limit(rpm=1)
    assert (await decide(nodes[0], "mine", limit)).allowed
    assert not (await decide(nodes[1], "mine", limit)).allowed
    assert (await decide(nodes[1], "yours", limit)).allowed


async def test_what_is_given_back_is_there_again(nodes: list[SharedLimiter]) -> None:
    limit = Limit(rpm=1)
    assert (await decide(nodes[0], "back", limit)).allowed
    nodes[0].give_back("back", limit)

    async def is_there() -> bool:
        return (await decide(nodes[1], "back", limit)).allowed

    await wait_until(is_there)


class Counting(MemoryStore):
    asked = 0

    async def do(self, script: Script, keys: Sequence[str], arguments: Sequence[Any] = (), **more: Any) -> Any:
        self.asked += 1
        return await super().do(script, keys, arguments, **more)


async def test_who_asks_often_is_mostly_answered_at_once() -> None:
    store = Counting()
    async with running(store) as (limiter,):
        assert await hammer([limiter], "often", Limit(rpm=1_000_000), 5000) == 5000
        assert store.asked < 500


async def test_many_principals_share_one_question() -> None:
    store = Counting()
    async with running(store) as (limiter,), anyio.create_task_group() as tg:
        for number in range(200):
            tg.start_soon(decide, limiter, f"one of many {number}", Limit(rpm=60))
    assert store.asked < 20


# --- Without the store ------------------------------------------------------------------------------------------------


async def test_a_store_that_is_away_is_not_waited_for_and_each_node_gives_out_its_share(server: ValkeyServer) -> None:
    async with proxy(server.url) as between:
        stores = [ValkeyStore(f"valkey://127.0.0.1:{between.port}", STATE_KEYS) for _ in range(2)]
        async with running(*stores) as limiters:
            await between.become("refuse")
            await wait_until(lambda: not any(store.is_quick for store in stores))
            for limiter in limiters:
                decisions = [limiter.consume("away", STINGY) for _ in range(200)]
                assert None not in decisions
                assert sum(decision.allowed for decision in decisions if decision is not None) == 100
            await between.become("none")
            await wait_until(lambda: all(store.is_quick for store in stores))
            await wait_until(lambda: not any(limiter.owes for limiter in limiters))
            assert await hammer(limiters, "away", STINGY, 40) <= 2


async def test_a_slow_store_slows_nobody(server: ValkeyServer) -> None:
    async with proxy(server.url) as between:
        store = ValkeyStore(f"valkey://127.0.0.1:{between.port}", STATE_KEYS)
        async with running(store) as (limiter,):
            await between.become("delay", pause=0.2)
            began = time.monotonic()
            assert (await decide(limiter, "slow 0", STINGY)).allowed
            assert time.monotonic() - began < 0.2
            await wait_until(lambda: not store.is_quick)
            decisions = [limiter.consume(f"slow {number}", STINGY) for number in range(50)]
            assert None not in decisions
            await between.become("none")
            await wait_until(lambda: store.is_quick)


async def test_a_store_that_hangs_holds_nobody_up(server: ValkeyServer) -> None:
    async with proxy(server.url) as between:
        store = ValkeyStore(f"valkey://127.0.0.1:{between.port}", STATE_KEYS)
        async with running(store) as (limiter,):
            await between.become("half-open")
            assert (await decide(limiter, "hangs", STINGY)).allowed
            await wait_until(lambda: not store.is_quick)
            assert limiter.consume("hangs", STINGY) is not None


# --- The script -------------------------------------------------------------------------------------------------------


async def test_both_forms_of_the_script_say_the_same(server: ValkeyServer) -> None:
    chance = random.Random(1)
    memory, valkey = MemoryStore(), ValkeyStore(server.url, STATE_KEYS)
    async with running(valkey):
        for _ in range(300):
            request = Request(
                *(
                    200,
                    1e-9,
                    chance.randrange(12),
                    chance.choice([0, 30]),
                    chance.randrange(9),
                    chance.choice([0, 0, 9]),
                )
            )
            name = chance.choice(["a", "b"])
            here = await memory.do(BUCKETS, [name, name + "2"], [*request, *request])
            there = await valkey.do(BUCKETS, [name, name + "2"], [*request, *request], patience=5.0)
            for mine, theirs in zip(here, there, strict=True):
                assert mine[:2] == theirs[:2]
                assert abs(mine[2] - theirs[2]) <= 1
                assert bool(mine[3]) == bool(theirs[3]) or abs(mine[3] - theirs[3]) < 60


async def test_a_bucket_fills_by_the_stores_clock() -> None:
    now = 0.0
    memory = MemoryStore(Memory(lambda: now))
    ask = Request(60, 1.0, 100)
    assert (await memory.do(BUCKETS, ["b"], ask))[0][0] == 60
    now = 10.0
    assert (await memory.do(BUCKETS, ["b"], ask))[0][0] == 10
    now = 5.0
    assert (await memory.do(BUCKETS, ["b"], ask))[0][0] == 0
    now = 1000.0
    assert (await memory.do(BUCKETS, ["b"], ask))[0][0] == 60
