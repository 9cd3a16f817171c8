"""Connections to one origin: turns, waiting for them, reuse, age, and what connecting can run into."""

import asyncio
import socket
from typing import Any

import anyio
import pytest

from gateway.names import Resolver
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport import pool as pool_module
from gateway.upstream.transport.pool import Origin, Pool
from gateway.upstream.transport.wire import HttpConnection, WireError
from tests.support import free_port, wait_until
from tests.upstream.conftest import PassTime
from tests.upstream.ends import DEADLINE, ByteServer, Got, byte_server, response
from tests.upstream.test_wire import REQUEST, Collected, exchange, pool_to

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


async def answer(got: Got) -> None:
    await got.send(response(b"hello"))


def start(wire: HttpConnection) -> Collected:
    reply = Collected()
    wire.start(REQUEST, reply)
    return reply


def limited(server: ByteServer, limit: int) -> Pool:
    return Pool(Origin.of(server.url), DEADLINE, limit)


# --- Turns ---------------------------------------------------------------------------------------------------------


async def test_one_more_than_the_limit_waits_its_turn() -> None:
    async with byte_server(answer) as server, anyio.create_task_group() as tg:
        pool = limited(server, 2)
        first, _ = await pool.acquire(), await pool.acquire()
        third: list[HttpConnection] = []

        async def wait() -> None:
            third.append(await pool.acquire())

        tg.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert third == []
        assert pool.take() is None
        await start(first).ended
        await wait_until(lambda: third == [first])
        await wait_until(lambda: server.connections == 2)


async def test_turns_are_taken_in_order() -> None:
    order: list[int] = []

    async with byte_server(answer) as server:
        pool = limited(server, 1)

        async def one(number: int) -> None:
            wire = await pool.acquire()
            order.append(number)
            await start(wire).ended

        async with anyio.create_task_group() as tg:
            for number in range(20):
                tg.start_soon(one, number)
        assert order == list(range(20))
        assert server.connections == 1


async def test_a_broken_connection_gives_its_turn_back() -> None:
    async def drop(got: Got) -> None:
        await got.drop()

    async with byte_server(drop) as server:
        pool = limited(server, 1)
        for _ in range(3):
            with pytest.raises(WireError):
                await exchange(pool)
        for _ in range(3):
            with anyio.fail_after(DEADLINE):
                (await pool.acquire()).abort()


async def test_no_connection_gives_its_turn_back() -> None:
    pool = Pool(Origin("http", "127.0.0.1", free_port()), DEADLINE, limit=1)
    for _ in range(3):
        with anyio.fail_after(DEADLINE), pytest.raises(WireError):
            await pool.acquire()


async def test_who_waits_no_more_takes_no_turn() -> None:
    async with byte_server(answer) as server:
        pool = limited(server, 1)
        held = await pool.acquire()
        async with anyio.create_task_group() as tg:
            tg.start_soon(pool.acquire)
            await anyio.wait_all_tasks_blocked()
            tg.cancel_scope.cancel()
        await start(held).ended
        assert pool.take() is held


async def test_a_turn_given_to_one_who_is_just_leaving_is_passed_on() -> None:
    async with byte_server(answer) as server:
        pool = limited(server, 1)
        held = await pool.acquire()
        tasks: list[asyncio.Task[Any] | None] = []

        async def leave() -> None:
            tasks.append(asyncio.current_task())
            await pool.acquire()

        async with anyio.create_task_group() as tg:
            tg.start_soon(leave)
            await anyio.wait_all_tasks_blocked()
            pool.release(held)  # the turn is given …
            assert tasks[0] is not None
            tasks[0].cancel()  # … and its taker cancelled before it runs
        with anyio.fail_after(DEADLINE):
            assert await pool.acquire() is held


async def test_standing_streams_take_no_turn() -> None:
    async with byte_server(answer) as server:
        pool = limited(server, 1)
        standing = await pool.acquire(standing=True)
        with anyio.fail_after(DEADLINE):
            counted = await pool.acquire()
        assert standing is not counted
        standing.abort()
        await wait_until(lambda: server.open == 1)
        assert pool.take() is None  # the end of the standing one gave nobody a turn


async def test_an_idle_connection_keeps_nobody_else_from_a_place() -> None:
    async with byte_server(answer) as server:
        pool = limited(server, 4)
        wires = [await pool.acquire("ann") for _ in range(3)]
        for wire in wires:
            await start(wire).ended
        with anyio.fail_after(DEADLINE):
            assert [await pool.acquire("bob") for _ in range(2)] == wires[:0:-1]
        assert pool.take("cid") is wires[0]
        assert server.connections == 3


async def test_a_place_that_nobody_uses_is_not_taken() -> None:
    async with byte_server(answer) as server:
        pool = limited(server, 4)
        idle = [await pool.acquire("ann") for _ in range(2)]
        for tenant in ("bob", "cid"):
            await pool.acquire(tenant)
        for wire in idle:
            await start(wire).ended
        assert pool.take("bob") is idle[1], "two are in use, though all were taken"
        assert pool.take("bob") is None, "the last is for who has none"
        assert pool.take("dan") is idle[0]


async def test_whose_it_was_gets_it_again_in_their_turn_only() -> None:
    async with byte_server(answer) as server, anyio.create_task_group() as tg:
        pool = limited(server, 1)
        wire = await pool.acquire("ann")
        await start(wire).ended
        assert pool.take("ann") is wire
        got: list[HttpConnection] = []

        async def wait() -> None:
            got.append(await pool.acquire("bob"))

        tg.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await start(wire).ended
        assert pool.take("ann") is None
        await wait_until(lambda: got == [wire])


async def test_a_standing_stream_gives_back_the_place_of_the_connection_it_takes() -> None:
    async with byte_server(answer) as server:
        pool = limited(server, 1)
        wire = await pool.acquire("ann")
        await start(wire).ended
        assert await pool.acquire(standing=True) is wire
        with anyio.fail_after(DEADLINE):
            assert await pool.acquire("bob") is not wire


# --- Reuse ---------------------------------------------------------------------------------------------------------


async def test_the_connection_used_last_is_used_next() -> None:
    async with byte_server(answer) as server:
        pool = pool_to(server.url)
        wires = [await pool.acquire() for _ in range(3)]
        for wire in wires:
            await start(wire).ended
        assert [pool.take() for _ in range(4)] == [*reversed(wires), None]


async def test_a_connection_the_server_closed_is_not_reused() -> None:
    async def answer_and_leave(got: Got) -> None:
        await got.send(response(b"hello"))
        await got.stream.aclose()

    async with byte_server(answer_and_leave) as server:
        pool = pool_to(server.url)
        for _ in range(3):
            assert (await exchange(pool)).body == b"hello"
            await wait_until(lambda: pool.take() is None)
        assert server.connections == 3


async def test_an_old_connection_is_not_reused(pass_time: PassTime) -> None:
    async with byte_server(answer) as server:
        pool = pool_to(server.url)
        await exchange(pool)
        pass_time(USUAL.idle_seconds)
        assert pool.take() is None
        await exchange(pool)
        assert server.connections == 2


async def test_idle_connections_are_closed_in_time() -> None:
    async with byte_server(answer) as server:
        pool = Pool(Origin.of(server.url), DEADLINE, timing=UpstreamTiming(idle_seconds=0.05))
        wires = [await pool.acquire() for _ in range(3)]
        for wire in wires:
            await start(wire).ended
        await wait_until(lambda: server.open == 0)
        assert (await exchange(pool)).body == b"hello"


async def test_closing_leaves_nothing_open() -> None:
    async with byte_server(answer) as server:
        pool = pool_to(server.url)
        await exchange(pool)
        busy, standing = await pool.acquire(), await pool.acquire(standing=True)
        pool.close()
        pool.close()
        await wait_until(lambda: server.open == 0)
        assert not busy.usable
        assert not standing.usable
        with pytest.raises(WireError) as caught:
            await pool.acquire()
        assert not caught.value.delivered


# --- Connecting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "x" * 70])
async def test_no_connection(host: str) -> None:
    with pytest.raises(WireError, match="cannot connect to") as caught:
        await Pool(Origin("http", host, free_port()), DEADLINE).acquire()
    assert not caught.value.delivered


async def test_names_are_looked_up_in_threads_of_our_own_and_all_their_addresses_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Resolver({"up.example": ["192.0.2.1", "127.0.0.2", "127.0.0.1"]}.__getitem__)
    monkeypatch.setattr(pool_module, "resolver", lambda: names)
    connect_to = Pool._connect_to  # pyright: ignore[reportPrivateUsage]
    tried: list[str] = []

    async def recorded(self: Pool, address: str) -> HttpConnection:
        tried.append(address)
        if address == "192.0.2.1":
            raise TimeoutError
        return await connect_to(self, address)

    monkeypatch.setattr(Pool, "_connect_to", recorded)
    async with byte_server(answer) as server:
        pool = Pool(Origin("http", "up.example", Origin.of(server.url).port), DEADLINE)
        assert (await exchange(pool)).body == b"hello"
        assert tried == ["192.0.2.1", "127.0.0.2", "127.0.0.1"]
        assert server.got[0].headers["host"] == "x"


async def test_connecting_is_bounded() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]  # more than the backlog holds: further SYNs go unanswered
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((host, port))
        with pytest.raises(WireError, match=r"no connection within 0\.05 s") as caught:
            await Pool(Origin("http", host, port), 0.05).acquire()
        assert not caught.value.delivered
        for filler in fillers:
            filler.close()


async def test_dead_peers_are_found_out() -> None:
    async with byte_server(answer) as server:
        wire = await pool_to(server.url).acquire()
        transport = wire._transport  # pyright: ignore[reportPrivateUsage]
        assert transport is not None
        assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


ORIGINS = {
    "http://a": (Origin("http", "a", 80), "a"),
    "https://A.b/x?y": (Origin("https", "a.b", 443), "a.b"),
    "http://a:443/": (Origin("http", "a", 443), "a:443"),
    "https://[::1]:8/": (Origin("https", "::1", 8), "[::1]:8"),
    "http://user:pass@a:80/": (Origin("http", "a", 80), "a"),
}


@pytest.mark.parametrize("url", ORIGINS)
def test_origins(url: str) -> None:
    origin, authority = ORIGINS[url]
    assert Origin.of(url) == origin
    assert origin.authority == authority


async def test_cancelled_while_connecting() -> None:
    async with byte_server(answer) as server:
        pool = limited(server, 1)
        for _ in range(5):
            with anyio.move_on_after(0):
                await pool.acquire()
        with anyio.fail_after(DEADLINE):
            await pool.acquire()
