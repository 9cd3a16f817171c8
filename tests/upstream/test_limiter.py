"""The gate in front of an upstream."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import anyio
import pytest

from gateway.upstream.limiter import ConcurrencyLimiter, Lease


@pytest.mark.anyio
async def test_no_limit() -> None:
    places = ConcurrencyLimiter(None, 0)
    assert all([await places.acquire() for _ in range(1000)])


@pytest.mark.anyio
async def test_first_come_first_served_and_one_too_many_fails_at_once() -> None:
    places = ConcurrencyLimiter(1, 2)
    order: list[str] = []

    async def wait(name: str) -> None:
        assert await places.acquire()
        order.append(name)

    assert await places.acquire()
    async with anyio.create_task_group() as tg:
        tg.start_soon(wait, "first")
        await anyio.wait_all_tasks_blocked()
        tg.start_soon(wait, "second")
        await anyio.wait_all_tasks_blocked()
        assert not await places.acquire()
        assert order == []
        places.release()
        await anyio.wait_all_tasks_blocked()
        assert order == ["first"]
        places.release()
    assert order == ["first", "second"]
    places.release()
    assert await places.acquire()


@pytest.mark.anyio
async def test_who_gives_up_waiting_leaves_no_gap() -> None:
    places = ConcurrencyLimiter(1, 5)
    assert await places.acquire()
    async with anyio.create_task_group() as tg:
        for _ in range(3):
            tg.start_soon(places.acquire)
        await anyio.wait_all_tasks_blocked()
        assert places.waiting == 3
        tg.cancel_scope.cancel()
    assert places.waiting == 0
    places.release()
    assert await places.acquire()
    assert not await ConcurrencyLimiter(0, 0).acquire()


@pytest.mark.anyio
async def test_waiting_is_bounded() -> None:
    places = ConcurrencyLimiter(1, 5)
    assert await places.acquire()
    assert not await places.acquire(0.01)
    assert places.waiting == 0
    places.release()
    assert await places.acquire(0.01)


@pytest.mark.anyio
async def test_a_place_is_given_past_one_who_is_just_leaving() -> None:
    places = ConcurrencyLimiter(1, 5)
    assert await places.acquire()
    async with anyio.create_task_group() as tg:
        tg.start_soon(places.acquire)
        await anyio.wait_all_tasks_blocked()
        tg.cancel_scope.cancel()
        places.release()
    assert await places.acquire()
    assert not await ConcurrencyLimiter(0, 0).acquire()


@pytest.mark.anyio
async def test_more_places_are_for_those_who_wait() -> None:
    places = ConcurrencyLimiter(1, 2)
    assert await places.acquire()
    async with anyio.create_task_group() as tg:
        tg.start_soon(places.acquire)
        tg.start_soon(places.acquire)
        await anyio.wait_all_tasks_blocked()
        places.resize(2, 2)
        await anyio.wait_all_tasks_blocked()
        assert places.waiting == 1
        places.resize(None, 2)
    assert places.waiting == 0


@pytest.mark.anyio
async def test_with_fewer_places_nobody_loses_one_and_nobody_gets_one_too_early() -> None:
    places = ConcurrencyLimiter(2, 1)
    assert await places.acquire()
    assert await places.acquire()
    places.resize(1, 1)
    async with anyio.create_task_group() as tg:
        tg.start_soon(places.acquire)
        await anyio.wait_all_tasks_blocked()
        places.release()
        await anyio.wait_all_tasks_blocked()
        assert places.waiting == 1
        places.release()
    assert places.waiting == 0


@contextmanager
def paused(lease: Lease) -> Generator[None]:
    lease.pause()
    try:
        yield
    finally:
        lease.resume()


async def lease_of(places: ConcurrencyLimiter) -> Lease:
    assert await places.acquire()
    return Lease(places)


@pytest.mark.anyio
async def test_a_place_is_others_while_its_request_pauses() -> None:
    places = ConcurrencyLimiter(1, 1)
    lease = await lease_of(places)
    async with anyio.create_task_group() as tg:
        tg.start_soon(places.acquire)
        await anyio.wait_all_tasks_blocked()
        with paused(lease):
            await anyio.wait_all_tasks_blocked()
            assert places.waiting == 0


@pytest.mark.anyio
async def test_to_go_on_takes_no_waiting_and_until_enough_have_ended_nobody_else_begins() -> None:
    places = ConcurrencyLimiter(1, 0)
    lease = await lease_of(places)
    with paused(lease):
        other = await lease_of(places)
    other.release()
    assert not await places.acquire()
    lease.release()
    assert await places.acquire()
    assert not await places.acquire()


@pytest.mark.anyio
async def test_a_request_may_pause_for_several_at_once() -> None:
    places = ConcurrencyLimiter(1, 0)
    lease = await lease_of(places)
    with paused(lease):
        with paused(lease):
            other = await lease_of(places)
            assert not await places.acquire()
        other.release()
        (await lease_of(places)).release()
    assert not await places.acquire()


@pytest.mark.anyio
@pytest.mark.parametrize("pauses", [1, 2])
async def test_a_request_that_ends_while_it_pauses_gives_its_place_once(pauses: int) -> None:
    places = ConcurrencyLimiter(1, 0)
    lease = await lease_of(places)
    with ExitStack() as stack:
        for _ in range(pauses):
            stack.enter_context(paused(lease))
        lease.release()
    with paused(lease):  # too late: it is over
        assert await places.acquire()
        assert not await places.acquire()
    assert not await places.acquire()
