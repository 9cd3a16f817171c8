"""Metrics are rendered once a second at most, and nobody gets old ones."""

import itertools

import anyio
import anyio.lowlevel
import pytest

from gateway.telemetry.scrapes import Form, Scrapes

pytestmark = pytest.mark.anyio


class Rendering:
    """Takes a moment, and counts."""

    def __init__(self) -> None:
        self.times: list[tuple[float, bool]] = []

    async def __call__(self, names: bool, form: Form) -> bytes:
        self.times.append((anyio.current_time(), names))
        await anyio.lowlevel.checkpoint()
        return str(len(self.times)).encode()


async def test_many_share_what_is_rendered_and_none_gets_old_ones() -> None:
    rendering = Rendering()
    shared = Scrapes(rendering, 0.05)
    assert await shared.get(True) == b"1"
    answers: list[bytes] = []

    async def ask(names: bool) -> None:
        answers.append(await shared.get(names))

    async with anyio.create_task_group() as tg:
        for number in range(60):
            tg.start_soon(ask, number % 2 == 0)
    assert sorted(set(answers)) == [b"2", b"3"], "one for each kind"
    times = [at for at, _ in rendering.times]
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(times))


async def test_who_hangs_up_while_waiting_takes_nobody_along() -> None:
    shared = Scrapes(Rendering(), 0.05)
    await shared.get(True)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await shared.get(True)
    assert await shared.get(True) == b"2"
