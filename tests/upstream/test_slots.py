"""The gate in front of an upstream."""

from contextlib import ExitStack

import anyio
import pytest

from gateway.upstream.slots import Slots, Turn


@pytest.mark.anyio
async def test_no_limit() -> None:
    slots = Slots(None, 0)
    assert all([await slots.take() for _ in range(1000)])


@pytest.mark.anyio
async def test_first_come_first_served_and_one_too_many_fails_at_once() -> None:
    slots = Slots(1, 2)
    order: list[str] = []

    async def wait(name: str) -> None:
        assert await slots.take()
        order.append(name)

    assert await slots.take()
    async with anyio.create_task_group() as tg:
        tg.start_soon(wait, "first")
        await anyio.wait_all_tasks_blocked()
        tg.start_soon(wait, "second")
        await anyio.wait_all_tasks_blocked()
        assert not await slots.take()
        assert order == []
        slots.give()
        await anyio.wait_all_tasks_blocked()
        assert order == ["first"]
        slots.give()
    assert order == ["first", "second"]
    slots.give()
    assert await slots.take()


@pytest.mark.anyio
async def test_who_gives_up_waiting_leaves_no_gap() -> None:
    slots = Slots(1, 5)
    assert await slots.take()
    async with anyio.create_task_group() as tg:
        for _ in range(3):
            tg.start_soon(slots.take)
        await anyio.wait_all_tasks_blocked()
        assert slots.waiting == 3
        tg.cancel_scope.cancel()
    assert slots.waiting == 0
    slots.give()
    assert await slots.take()
    assert not await Slots(0, 0).take()


@pytest.mark.anyio
async def test_waiting_is_bounded() -> None:
    slots = Slots(1, 5)
    assert await slots.take()
    assert not await slots.take(0.01)
    assert slots.waiting == 0
    slots.give()
    assert await slots.take(0.01)


@pytest.mark.anyio
async def test_a_slot_is_given_past_one_who_is_just_leaving() -> None:
    slots = Slots(1, 5)
    assert await slots.take()
    async with anyio.create_task_group() as tg:
        tg.start_soon(slots.take)
        await anyio.wait_all_tasks_blocked()
        tg.cancel_scope.cancel()
        slots.give()
    assert await slots.take()
    assert not await Slots(0, 0).take()


@pytest.mark.anyio
async def test_more_slots_are_for_those_who_wait() -> None:
    slots = Slots(1, 2)
    assert await slots.take()
    async with anyio.create_task_group() as tg:
        tg.start_soon(slots.take)
        tg.start_soon(slots.take)
        await anyio.wait_all_tasks_blocked()
        slots.resize(2, 2)
        await anyio.wait_all_tasks_blocked()
        assert slots.waiting == 1
        slots.resize(None, 2)
    assert slots.waiting == 0


@pytest.mark.anyio
async def test_with_fewer_slots_nobody_loses_one_and_nobody_gets_one_too_early() -> None:
    slots = Slots(2, 1)
    assert await slots.take()
    assert await slots.take()
    slots.resize(1, 1)
    async with anyio.create_task_group() as tg:
        tg.start_soon(slots.take)
        await anyio.wait_all_tasks_blocked()
        slots.give()
        await anyio.wait_all_tasks_blocked()
        assert slots.waiting == 1
        slots.give()
    assert slots.waiting == 0


async def turn_of(slots: Slots) -> Turn:
    assert await slots.take()
    return Turn(slots)


@pytest.mark.anyio
async def test_a_slot_is_others_while_its_request_pauses() -> None:
    slots = Slots(1, 1)
    turn = await turn_of(slots)
    async with anyio.create_task_group() as tg:
        tg.start_soon(slots.take)
        await anyio.wait_all_tasks_blocked()
        with turn.paused():
            await anyio.wait_all_tasks_blocked()
            assert slots.waiting == 0


@pytest.mark.anyio
async def test_to_go_on_takes_no_waiting_and_until_enough_have_ended_nobody_else_begins() -> None:
    slots = Slots(1, 0)
    turn = await turn_of(slots)
    with turn.paused():
        other = await turn_of(slots)
    other.end()
    assert not await slots.take()
    turn.end()
    assert await slots.take()
    assert not await slots.take()


@pytest.mark.anyio
async def test_a_request_may_pause_for_several_at_once() -> None:
    slots = Slots(1, 0)
    turn = await turn_of(slots)
    with turn.paused():
        with turn.paused():
            other = await turn_of(slots)
            assert not await slots.take()
        other.end()
        (await turn_of(slots)).end()
    assert not await slots.take()


@pytest.mark.anyio
@pytest.mark.parametrize("pauses", [1, 2])
async def test_a_request_that_ends_while_it_pauses_gives_its_slot_once(pauses: int) -> None:
    slots = Slots(1, 0)
    turn = await turn_of(slots)
    with ExitStack() as stack:
        for _ in range(pauses):
            stack.enter_context(turn.paused())
        turn.end()
    with turn.paused():  # too late: it is over
        assert await slots.take()
        assert not await slots.take()
    assert not await slots.take()
