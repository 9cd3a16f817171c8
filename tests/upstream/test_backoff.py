"""How long until the next attempt: a table."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.backoff import Backoff
from gateway.upstream.timing import USUAL


def test_it_doubles_up_to_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.after(0, 1.0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_is_over_the_upper_half() -> None:
    assert (Backoff().after(0, 0.0), Backoff().after(0, 0.5)) == (0.25, 0.375)


def test_a_good_connection_starts_it_over() -> None:
    backoff = Backoff(failures=9)
    assert backoff.after(USUAL.stable_seconds - 1, 1.0) == USUAL.backoff_max_seconds
    assert backoff.after(USUAL.stable_seconds, 1.0) == USUAL.backoff_base_seconds
    assert backoff.after(0, 1.0) == 2 * USUAL.backoff_base_seconds


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))))
def test_bounds(history: list[tuple[float, float]]) -> None:
    backoff = Backoff()
    for lived, chance in history:
        assert 0.25 <= backoff.after(lived, chance) <= 60
