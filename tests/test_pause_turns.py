"""Many long works of a kind: between two rounds of the loop, one of them goes on."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from gateway.pause import Pause

pytestmark = pytest.mark.anyio


async def test_of_many_works_that_share_a_turn_one_goes_on_at_a_time() -> None:
    turn, steps = anyio.Lock(), 0
    most = before = 0

    async def work() -> None:
        nonlocal steps
        pause = Pause(clock=iter(range(100)).__next__, turn=turn)  # each step is long
        for _ in range(5):
            await pause.if_due()
            steps += 1

    async with anyio.create_task_group() as tg:
        for _ in range(10):
            tg.start_soon(work)
        while steps < 50:
            before = steps
            await checkpoint()
            most = max(most, steps - before)
    assert most <= 2
