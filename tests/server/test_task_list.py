"""Which tasks are remembered of a principal: the latest, however many and however long their handles are."""

from itertools import count

import pytest

from gateway.request import Principal
from gateway.server.task_list import MAX_LISTED, MAX_LISTED_BYTES, TaskList

pytestmark = pytest.mark.anyio

ANN = Principal("key:ann")


async def test_the_oldest_makes_room() -> None:
    ticks = count(1.0)
    tasks = TaskList(lambda: next(ticks))
    for number in range(MAX_LISTED + 3):
        await tasks.add(ANN, f"task-{number}")
    assert await tasks.of(ANN) == [f"task-{number}" for number in range(3, MAX_LISTED + 3)]
    assert await tasks.of(Principal("key:bob")) == []


async def test_long_handles_take_no_more_room_than_there_is() -> None:
    ticks = count(1.0)
    tasks = TaskList(lambda: next(ticks))
    size = MAX_LISTED_BYTES // 100
    for number in range(120):
        await tasks.add(ANN, f"task-{number:03}".ljust(size, "x"))
    assert [handle[5:8] for handle in await tasks.of(ANN)] == [f"{number:03}" for number in range(20, 120)]
