"""Records of sessions in the store, as two nodes see them: in memory and on a real server."""

from collections.abc import AsyncGenerator, Callable
from itertools import count

import pytest

from gateway.errors import StoreUnavailable
from gateway.store import shared_sessions
from gateway.store.memory import Memory, MemoryStore
from gateway.store.sessions import SessionName
from gateway.store.shared import Store
from gateway.store.shared_sessions import SharedSessionRecords
from gateway.store.valkey_store import ValkeyStore
from tests.store.servers import STATE_KEYS, ValkeyServer, running, valkey
from tests.support import wait_until

pytestmark = pytest.mark.anyio

_people = count()


@pytest.fixture(params=["memory", "valkey"])
async def stores(request: pytest.FixtureRequest, server: ValkeyServer) -> AsyncGenerator[tuple[Store, Store]]:
    memory = Memory()
    makers: dict[str, Callable[[], Store]] = {
        "memory": lambda: MemoryStore(memory),
        "valkey": lambda: ValkeyStore(server.url, STATE_KEYS),
    }
    make = makers[request.param]
    one, other = make(), make()
    async with running(one, other):
        yield one, other


class People:
    """Sessions of people that no other test knows."""

    def __init__(self, store: Store) -> None:
        self._number = next(_people)
        self._now = store.now()

    def __call__(self, key: str, principal: str = "alice", root: str = "", age: float = 60) -> SessionName:
        owner = f"key:{principal}-{self._number}"
        issued = self._now - age
        root = f"key:{root}-{self._number}" if root else owner
        return SessionName(f"{key}-{self._number}", owner, root, issued, issued + 3600)


async def test_what_one_node_notes_the_other_reads(stores: tuple[Store, Store]) -> None:
    one, other = map(SharedSessionRecords, stores)
    named = People(stores[0])
    await one.note(named("1"), {"level": "info", "resource a://ü": "", "gone": "x"})
    await other.note(named("1"), {"gone": None, "level": "debug", "more": "y"})
    for records in (one, other):
        assert await records.read(named("1")) == {"resource a://ü": "", "level": "debug", "more": "y"}
        assert await records.read(named("2")) == {}


async def test_what_ends_on_one_node_has_ended_on_the_other_which_hears_of_it(stores: tuple[Store, Store]) -> None:
    one, other = map(SharedSessionRecords, stores)
    named = People(stores[0])
    await one.note(named("1"), {"level": "info"})
    await one.end(named("1"))
    assert await other.read(named("1")) is None
    assert await other.read(named("2")) == {}
    heard = set[str]()

    async def is_heard() -> bool:
        heard.update(await other.follow())
        return named("1").key in heard

    await wait_until(is_heard)
    assert named("2").key not in heard


async def test_all_that_principals_opened_until_now_ends(stores: tuple[Store, Store]) -> None:
    one, other = map(SharedSessionRecords, stores)
    named = People(stores[0])
    await one.end_those_of([named("").principal], 60)
    for ended in (named("1"), named("2", "agent", "alice")):
        assert await other.read(ended) is None
    for alive in (named("1", "bob"), named("2", age=-60)):
        assert await other.read(alive) == {}


async def test_of_too_many_ended_ones_the_older_half_is_one_moment(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_sessions, "MAX_ENDED_EACH", 10)
    one, other = map(SharedSessionRecords, stores)
    named = People(stores[0])
    for number in range(11):
        await one.end(named(f"{number}", age=100 - number))
    assert [await other.read(named(f"{number}", age=100 - number)) for number in range(11)] == [None] * 11
    assert await other.read(named("never ended", age=99)) is None
    assert await other.read(named("never ended", age=90.5)) == {}
    assert await other.read(named("never ended", "bob", age=99)) == {}


async def test_what_is_noted_of_one_principal_is_bounded(server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_sessions, "MAX_BYTES_EACH", 2000)
    store = ValkeyStore(server.url, STATE_KEYS)
    async with running(store):
        records, named = SharedSessionRecords(store), People(store)
        await records.note(named("theirs", "bob"), {"x": "y"})
        for number in range(20):
            await records.note(named(f"{number}"), {"x": "y" * 100})
        kept = [number for number in range(20) if await records.read(named(f"{number}"))]
        assert 1 <= len(kept) <= 2000 // 100
        await records.note(named("large"), {"x": "y" * 4000})
        assert await records.read(named("large")) == {}
        assert await records.read(named("theirs", "bob")) == {"x": "y"}


async def test_without_the_store_nobody_is_told_that_a_session_ended() -> None:
    with valkey() as server:
        store = ValkeyStore(server.url, STATE_KEYS)
        async with running(store):
            records, named = SharedSessionRecords(store), People(store)
            server.kill()
            with pytest.raises(StoreUnavailable):
                await records.read(named("1"))
            with pytest.raises(StoreUnavailable):
                await records.end(named("1"))
            await records.note(named("1"), {"level": "info"})
            assert await records.follow() == ()
