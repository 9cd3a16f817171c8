"""Two nodes on one store: values, scripts, messages and versions are the same in memory and on a real server."""

from collections.abc import AsyncGenerator, Callable
from itertools import count
from typing import Any

import anyio
import pytest

from gateway.errors import StoreUnavailable
from gateway.store.memory import Memory, MemoryStore
from gateway.store.shared import MAX_MESSAGE, Script, Store
from gateway.store.valkey_store import ValkeyStore
from tests.store.servers import STATE_KEYS, ValkeyServer, running, valkey
from tests.support import wait_until

pytestmark = pytest.mark.anyio

Nodes = tuple[Store, Store]
_names = count()


def key() -> str:
    """One that no other test uses."""
    return f"test:{next(_names)}"


@pytest.fixture(params=["memory", "valkey"])
async def nodes(request: pytest.FixtureRequest, server: ValkeyServer) -> AsyncGenerator[Nodes]:
    memory = Memory()
    makers: dict[str, Callable[[], Store]] = {
        "memory": lambda: MemoryStore(memory),
        "valkey": lambda: ValkeyStore(server.url, STATE_KEYS),
    }
    make = makers[request.param]
    one, other = make(), make()
    async with running(one, other):
        await wait_until(lambda: one.nodes == other.nodes == 2)
        yield one, other


def heard_by(store: Store, topic: str) -> list[tuple[str, bytes]]:
    heard: list[tuple[str, bytes]] = []
    store.on_message(topic, lambda sender, message: heard.append((sender, message)))
    return heard


# --- Values -----------------------------------------------------------------------------------------------------------


async def test_what_one_node_sets_the_other_gets(nodes: Nodes) -> None:
    one, other = nodes
    name = key()
    assert await other.get(name) is None
    await one.set(name, b"first", 60)
    await one.set(name, b"\0\xff second", None)
    assert await other.get(name) == b"\0\xff second"


async def test_only_one_of_two_nodes_adds_a_value(nodes: Nodes) -> None:
    one, other = nodes
    name = key()
    assert await one.add(name, b"one", 60)
    assert not await other.add(name, b"other", 60)
    assert await other.get(name) == b"one"


async def test_a_value_is_gone_when_its_time_is_over_or_it_is_deleted(nodes: Nodes) -> None:
    one, other = nodes
    short, long = key(), key()
    await one.set(short, b"", 0.05)
    await one.set(long, b"", 60)

    async def is_gone() -> bool:
        return await other.get(short) is None

    await wait_until(is_gone)
    assert await other.get(long) == b""
    assert await other.delete(long, short) == 1
    assert await one.get(long) is None


# --- Scripts ----------------------------------------------------------------------------------------------------------


def _at_most(memory: Memory, keys: Any, arguments: Any) -> list[int]:
    used = memory.get(keys[0], 0) + int(arguments[0])
    if used <= int(arguments[1]):
        memory.set(keys[0], used, None)
        return [1, used]
    return [0, used - int(arguments[0])]


AT_MOST = Script(
    "test: at most",
    """
    local used = tonumber(redis.call('GET', KEYS[1]) or '0') + ARGV[1]
    if used <= tonumber(ARGV[2]) then redis.call('SET', KEYS[1], used) return {1, used} end
    return {0, used - ARGV[1]}
    """,
    _at_most,
)


async def test_a_script_is_one_step(nodes: Nodes) -> None:
    name, allowed = key(), 0

    async def ask(store: Store) -> None:
        nonlocal allowed
        is_allowed, _ = await store.do(AT_MOST, [name], [1, 25])
        allowed += is_allowed

    async with anyio.create_task_group() as tg:
        for _ in range(20):
            for store in nodes:
                tg.start_soon(ask, store)
    assert allowed == 25
    assert await nodes[0].do(AT_MOST, [name], [1, 25]) == [0, 25]


# --- Messages ---------------------------------------------------------------------------------------------------------


async def test_a_message_for_one_node_is_heard_by_that_one(nodes: Nodes) -> None:
    one, other = nodes
    heard, elsewhere = heard_by(other, "topic"), heard_by(other, "another topic")
    assert await one.send("topic", b"hello", other.node)
    await wait_until(lambda: heard)
    assert heard == [(one.node, b"hello")]
    assert not elsewhere


async def test_a_message_for_all_is_heard_by_all_others_in_order(nodes: Nodes) -> None:
    one, other = nodes
    own, heard = heard_by(one, "topic"), heard_by(other, "topic")
    for number in range(50):
        one.tell("topic", str(number).encode())
    assert await one.send("topic", b"last")
    await wait_until(lambda: len(heard) == 51)
    assert [message for _, message in heard] == [*(str(number).encode() for number in range(50)), b"last"]
    assert not own


async def test_who_is_not_there_hears_nothing_and_the_sender_learns_it(nodes: Nodes) -> None:
    one, _ = nodes
    assert not await one.send("topic", b"hello", "0123456789abcdef")


async def test_who_no_longer_listens_hears_nothing(nodes: Nodes) -> None:
    one, other = nodes
    first: list[bytes] = []
    stop = other.on_message("topic", lambda sender, message: first.append(message))
    second = heard_by(other, "topic")
    stop()
    await one.send("topic", b"hello")
    await wait_until(lambda: second)
    assert not first


async def test_a_message_has_its_bounds(nodes: Nodes) -> None:
    one, _ = nodes
    with pytest.raises(ValueError, match="bytes are more than"):
        await one.send("topic", b" " * (MAX_MESSAGE + 1))


# --- On a server ------------------------------------------------------------------------------------------------------


async def test_a_message_that_comes_too_late_is_dropped(server: ValkeyServer) -> None:
    one, other = ValkeyStore(server.url, STATE_KEYS), ValkeyStore(server.url, STATE_KEYS)
    async with running(one, other):
        heard = heard_by(other, "topic")
        one.tell("topic", b"too late", seconds=-1.0)
        one.tell("topic", b"in time")
        await wait_until(lambda: heard)
    assert heard == [(one.node, b"in time")]


async def test_nothing_in_the_store_can_be_read_moved_or_made_up(server: ValkeyServer) -> None:
    one, other = ValkeyStore(server.url, STATE_KEYS), ValkeyStore(server.url, ["another gateway's, which is as long"])
    first, second = key(), key()
    async with running(one, other):
        await one.set(first, b"canary", 60)
        sealed = await raw(server, "GET", f"mcp-gateway:{first}")
        assert b"canary" not in sealed
        assert await other.get(first) is None
        await raw(server, "SET", f"mcp-gateway:{second}", sealed)
        assert await one.get(second) is None
        await raw(server, "SET", f"mcp-gateway:{second}", b"canary")
        assert await one.get(second) is None
        heard = heard_by(one, "topic")
        other.tell("topic", b"made up")
        await say_as_a_friend(server, one)
        await wait_until(lambda: heard)
    assert [message for _, message in heard] == [b"real"]


async def test_an_old_state_key_still_opens(server: ValkeyServer) -> None:
    old, new = (
        ValkeyStore(server.url, STATE_KEYS),
        ValkeyStore(server.url, ["a new key of enough characters", *STATE_KEYS]),
    )
    name = key()
    async with running(old, new):
        await old.set(name, b"sealed before", 60)
        assert await new.get(name) == b"sealed before"
        await new.set(name, b"sealed since", 60)
        assert await old.get(name) is None


async def test_a_server_that_forgot_its_scripts_is_told_them_again(server: ValkeyServer) -> None:
    store = ValkeyStore(server.url, STATE_KEYS)
    name = key()
    async with running(store):
        await store.do(AT_MOST, [name], [1, 9])
        await raw(server, "SCRIPT", "FLUSH")
        assert await store.do(AT_MOST, [name], [1, 9]) == [1, 2]


async def test_a_node_that_leaves_is_no_longer_counted(server: ValkeyServer) -> None:
    one, other = ValkeyStore(server.url, STATE_KEYS), ValkeyStore(server.url, STATE_KEYS)
    async with running(one):
        async with running(other):
            await wait_until(lambda: one.nodes == 2)
        await wait_until(lambda: one.nodes == 1, timeout=2.0)


async def test_a_store_that_was_killed_fails_at_once_and_is_back_soon_after_it() -> None:
    with valkey() as server:
        one, other = ValkeyStore(server.url, STATE_KEYS), ValkeyStore(server.url, STATE_KEYS)
        async with running(one, other):
            await wait_until(lambda: one.is_quick and one.nodes == 2)
            heard = heard_by(other, "topic")
            server.kill()
            await wait_until(lambda: not one.is_quick)
            with pytest.raises(StoreUnavailable, match="does not answer"), anyio.fail_after(0.1):
                await one.get("anything")
            one.check()  # for a moment, what is known is good enough
            server.start()
            await wait_until(lambda: one.is_quick and other.is_quick)
            await one.set("anything", b"new", 60)
            assert await other.get("anything") == b"new"

            async def arrives() -> bool:
                await one.send("topic", b"hello", other.node)
                return bool(heard)

            await wait_until(arrives)


async def test_a_store_that_is_not_there_at_the_start_is_used_once_it_is() -> None:
    with valkey() as server:
        server.kill()
        store = ValkeyStore(server.url, STATE_KEYS)
        async with running(store):
            with pytest.raises(StoreUnavailable):
                await store.get("anything")
            server.start()
            await wait_until(lambda: store.is_quick)
            assert await store.get("anything") is None


async def raw(server: ValkeyServer, *command: Any) -> Any:
    """What the server says to somebody who is no gateway."""
    from valkey.asyncio import Valkey

    client: Any = Valkey.from_url(server.url)
    try:
        return await client.execute_command(*command)
    finally:
        await client.aclose()


async def say_as_a_friend(server: ValkeyServer, hearer: Store) -> None:
    friend = ValkeyStore(server.url, STATE_KEYS)
    async with running(friend):
        await friend.send("topic", b"real", hearer.node)
