"""So many a second, and no more."""

from gateway.upstream.pacer import Pacer


def test_a_burst_is_for_free_and_the_rest_waits_its_turn() -> None:
    pacer = Pacer(rate=10, burst=3)
    assert [round(pacer.delay(0.0), 3) for _ in range(5)] == [0.0, 0.0, 0.0, 0.1, 0.2]
    assert round(pacer.delay(0.1), 3) == 0.2
    assert [pacer.delay(100.0) for _ in range(3)] == [0.0] * 3
