"""Kept results: in parts, for one principal, bounded and for a while; in memory and on a real server alike."""

import time
from collections.abc import AsyncGenerator

import pytest

from gateway.config.models import ResultSettings
from gateway.errors import StoreUnavailable
from gateway.request import Principal
from gateway.store.memory import Memory, MemoryStore
from gateway.store.results import CHUNK, KEYS, TIDY, KeptResult, KeptResults, TooLargeToKeep
from gateway.store.shared import Store
from gateway.store.valkey_store import ValkeyStore
from tests.store.servers import STATE_KEYS, ValkeyServer, running, valkey
from tests.support import wait_until

pytestmark = pytest.mark.anyio

ANN, BOB = Principal("key:ann"), Principal("key:bob")
AGENT = Principal("agent:1", root="key:ann")
LONG = "".join(f"{number} ☃ 𝄞 \ud800\n" for number in range(10_000))


@pytest.fixture(params=["memory", "valkey"])
async def stores(request: pytest.FixtureRequest) -> AsyncGenerator[tuple[Store, Store]]:
    """Two nodes on one store that nobody else uses."""
    if request.param == "memory":
        memory = Memory()
        one, other = MemoryStore(memory), MemoryStore(memory)
        async with running(one, other):
            yield one, other
        return
    with valkey() as server:
        one, other = ValkeyStore(server.url, STATE_KEYS), ValkeyStore(server.url, STATE_KEYS)
        async with running(one, other):
            await wait_until(lambda: one.is_quick and other.is_quick)
            yield one, other


async def keep(kept: KeptResults, who: Principal, text: str) -> KeptResult:
    return await kept.keep(who, text, len(text.encode("utf-8", "surrogatepass")), "up", "up__tool", 500)


async def there(kept: KeptResults, who: Principal, *results: KeptResult) -> list[bool]:
    return [await kept.find(who, each.id) is not None for each in results]


async def test_any_node_reads_any_part_of_it(stores: tuple[Store, Store]) -> None:
    one, other = (KeptResults(store, ResultSettings()) for store in stores)
    made = await keep(one, ANN, LONG)
    assert len(LONG) > 3 * CHUNK
    found = await other.find(ANN, made.id)
    assert found == made == KeptResult(made.id, "up", "up__tool", len(LONG), 500)
    ends = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, len(LONG) - 1, len(LONG), len(LONG) + 5)
    for start in ends:
        for end in ends:
            assert await other.read(ANN, made, start, end) == LONG[start:end], (start, end)


async def test_an_empty_one(stores: tuple[Store, Store]) -> None:
    kept = KeptResults(stores[0], ResultSettings())
    made = await keep(kept, ANN, "")
    assert await kept.read(ANN, made, 0, 10) == ""


async def test_it_is_its_principals_alone(stores: tuple[Store, Store]) -> None:
    one, other = (KeptResults(store, ResultSettings()) for store in stores)
    made = await keep(one, ANN, LONG)
    for kept in (one, other):
        for who in (BOB, AGENT, Principal("anonymous")):
            assert await kept.find(who, made.id) is None
            assert await kept.read(who, made, 0, 10) is None
        assert await kept.find(ANN, "0" * 32) is None


async def test_it_expires(stores: tuple[Store, Store]) -> None:
    short, long = KeptResults(stores[0], ResultSettings(lifetime=0.3)), KeptResults(stores[1], ResultSettings())
    gone, stays = await keep(short, ANN, "gone"), await keep(long, ANN, "stays")

    async def is_gone() -> bool:
        return await long.find(ANN, gone.id) is None

    await wait_until(is_gone)
    assert await short.read(ANN, gone, 0, 4) is None
    assert await short.read(ANN, stays, 0, 9) == "stays"


async def test_the_oldest_make_room_in_bytes(stores: tuple[Store, Store]) -> None:
    one, other = (KeptResults(store, ResultSettings(max_bytes_per_principal=10_000)) for store in stores)
    theirs = await keep(other, BOB, "x" * 9_000)
    first, second = await keep(one, ANN, "x" * 4_000), await keep(other, AGENT, "x" * 4_000)
    assert await there(one, ANN, first) == await there(one, AGENT, second) == [True]
    third = await keep(one, ANN, "x" * 4_000)
    assert await there(one, ANN, first, third) == [False, True]
    assert await one.read(ANN, first, 0, 10) is None
    assert await there(other, AGENT, second) == [True], "an agent's are among its root's, and the oldest go first"
    whole = await keep(one, ANN, "x" * 10_000)
    assert await there(one, ANN, third, whole) == [False, True]
    assert await there(one, AGENT, second) == [False]
    assert await there(one, BOB, theirs) == [True]
    with pytest.raises(TooLargeToKeep):
        await keep(one, ANN, "x" * 10_001)
    assert await there(one, ANN, whole) == [True]


async def test_the_oldest_make_room_in_number(stores: tuple[Store, Store]) -> None:
    one, other = (KeptResults(store, ResultSettings(max_count_per_principal=3)) for store in stores)
    theirs = await keep(one, BOB, "theirs")
    results = [await keep(kept, ANN, "x") for kept in (one, other, one, other, one)]
    assert await there(one, ANN, *results) == [False, False, True, True, True]
    assert await there(one, BOB, theirs) == [True]


async def test_all_together_are_bounded(stores: tuple[Store, Store]) -> None:
    settings = ResultSettings(max_bytes_per_principal=10_000, max_bytes=25_000)
    one, other = (KeptResults(store, settings) for store in stores)
    people = [Principal(f"key:{number}") for number in range(4)]
    results = [await keep(kept, who, "x" * 8_000) for who, kept in zip(people, (one, other, one, other), strict=True)]
    seen = [await there(one, who, result) for who, result in zip(people, results, strict=True)]
    assert seen == [[False], [True], [True], [True]]


async def test_what_has_expired_takes_no_room(stores: tuple[Store, Store]) -> None:
    settings = ResultSettings(max_bytes_per_principal=10_000, max_bytes=10_000)
    kept = KeptResults(stores[0], settings.model_copy(update={"lifetime": 0.2}))
    await keep(kept, BOB, "x" * 9_000)
    assert await stores[0].do(TIDY, KEYS) == 1

    async def is_tidy() -> bool:
        return await stores[0].do(TIDY, KEYS) == 0

    await wait_until(is_tidy)
    kept.use(settings)
    some = [await keep(kept, ANN, "x" * 3_000) for _ in range(3)]
    assert await there(kept, ANN, *some) == [True] * 3


async def test_memory_gives_it_up() -> None:
    """Not a byte of what has expired is left, and of what was made room for."""
    now = 1000.0
    memory = Memory(lambda: now)
    kept = KeptResults(MemoryStore(memory), ResultSettings(max_count_per_principal=2, lifetime=10))
    for _ in range(5):
        await keep(kept, ANN, LONG)
    values = [key for key in memory._values if key.startswith("result:value")]  # pyright: ignore[reportPrivateUsage]
    assert len(values) == 2 * (1 + -(-len(LONG) // CHUNK))
    now += 11
    await MemoryStore(memory).do(TIDY, KEYS)
    assert not [key for key in memory._values if key.startswith("result:value")]  # pyright: ignore[reportPrivateUsage]


async def test_a_store_that_is_away_is_not_waited_for() -> None:
    with valkey() as server:
        store = ValkeyStore(server.url, STATE_KEYS)
        kept = KeptResults(store, ResultSettings())
        async with running(store):
            await wait_until(lambda: store.is_quick)
            made = await keep(kept, ANN, LONG)
            server.kill()
            await wait_until(lambda: not store.is_quick)
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await keep(kept, ANN, LONG)
            with pytest.raises(StoreUnavailable):
                await kept.find(ANN, made.id)
            assert time.monotonic() - began < 2
            server.start()
            await wait_until(lambda: store.is_quick)
            assert await kept.find(ANN, made.id) is None, "it has forgotten all"
            assert await kept.read(ANN, await keep(kept, ANN, "new"), 0, 3) == "new"


async def test_whoever_reads_the_store_learns_no_text(server: ValkeyServer) -> None:
    store = ValkeyStore(server.url, STATE_KEYS)
    async with running(store):
        await wait_until(lambda: store.is_quick)
        made = await keep(KeptResults(store, ResultSettings()), Principal("key:canary"), "canary " * 100)
        dump = await store._ask("KEYS", "*", patience=1)  # pyright: ignore[reportPrivateUsage]
        names = [name for name in dump if made.id.encode() in name]
        assert len(names) == 2
        for name in dump:
            assert b"canary" not in name
        for name in names:
            assert b"canary" not in await store._ask("GET", name, patience=1)  # pyright: ignore[reportPrivateUsage]
