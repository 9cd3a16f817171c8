"""The share of those who do not say who they are."""

import pytest

from gateway.errors import RateLimited
from gateway.frontend.anonymous import AnonymousQueue, Pace

pytestmark = pytest.mark.anyio


def test_after_a_quiet_moment_nobody_waits_and_then_each_has_its_turn() -> None:
    pace = Pace(rate=10, burst=3, max_wait=1)
    assert [pace.wait(100.0) for _ in range(3)] == [0, 0, 0]
    assert [pace.wait(100.0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert pace.wait(100.3) == pytest.approx(0.1)
    assert [pace.wait(200.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_in_the_long_run_it_is_so_many_a_second_however_many_ask() -> None:
    pace = Pace(rate=10, burst=3, max_wait=1)
    turns = [pace.wait(second / 100) for second in range(1000)]
    assert sum(turn is not None for turn in turns) == pytest.approx(10 * 10 + 3 + 10, abs=2)
    assert max(turn for turn in turns if turn is not None) <= 1


async def test_who_would_wait_for_too_long_is_refused() -> None:
    queue = AnonymousQueue(Pace(rate=0.001, burst=1, max_wait=0.0))
    await queue.admit()
    with pytest.raises(RateLimited):
        await queue.admit()
