"""Telling very many of something: not all at once, and everybody's turn comes."""

from collections.abc import Callable, Iterator

import anyio
import pytest

from gateway.server import telling
from gateway.server.telling import AT_ONCE, Telling

pytestmark = pytest.mark.anyio


def steps(told: list[str], name: str, count: int) -> Callable[[], Iterator[None]]:
    def tell() -> Iterator[None]:
        for number in range(count):
            told.append(f"{name}{number}")
            yield

    return tell


async def test_few_are_told_at_once_and_the_rest_of_many_later() -> None:
    telling, told = Telling(), list[str]()
    telling.tell("few", steps(told, "f", AT_ONCE - 1))
    assert len(told) == AT_ONCE - 1
    telling.tell("many", steps(told, "m", 3 * AT_ONCE))
    assert len(told) == 2 * AT_ONCE - 1
    async with anyio.create_task_group() as tg:
        tg.start_soon(telling.run)
        await anyio.wait_all_tasks_blocked()
        tg.cancel_scope.cancel()
    assert told[AT_ONCE - 1 :] == [f"m{number}" for number in range(3 * AT_ONCE)]


async def test_others_have_their_turn_between_any_two(monkeypatch: pytest.MonkeyPatch) -> None:
    class Always:
        async def if_due(self) -> None:
            seen.append(len(told))
            await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(telling, "Pause", Always)
    many, told, seen = Telling(), list[str](), list[int]()
    many.tell("many", steps(told, "m", AT_ONCE + 50))
    async with anyio.create_task_group() as tg:
        tg.start_soon(many.run)
        await anyio.wait_all_tasks_blocked()
        tg.cancel_scope.cancel()
    assert seen == list(range(AT_ONCE + 1, AT_ONCE + 51))


async def test_what_is_told_again_meanwhile_is_told_to_all_once_more_and_no_oftener() -> None:
    telling, told = Telling(), list[str]()
    for name in ("a", "b", "c"):
        telling.tell("same", steps(told, name, AT_ONCE + 10))
    async with anyio.create_task_group() as tg:
        tg.start_soon(telling.run)
        await anyio.wait_all_tasks_blocked()
        tg.cancel_scope.cancel()
    assert told == [f"{name}{number}" for name in ("a", "c") for number in range(AT_ONCE + 10)]
