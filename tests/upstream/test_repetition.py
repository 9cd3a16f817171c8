"""A retry repeats nothing that was said."""

from gateway.upstream.repetition import MAX_KEPT, Repetition


def test_once_until_it_works_again() -> None:
    said = Repetition()
    assert [said.is_new("stderr", "a"), said.is_new("stderr", "a"), said.is_new("noise", "a")] == [True, False, True]
    said.forget()
    assert said.is_new("stderr", "a")


def test_it_is_bounded() -> None:
    said = Repetition()
    for number in range(MAX_KEPT + 10):
        assert said.is_new(str(number))
    assert not said.is_new("0")
    assert said.is_new("one more")
    assert said.is_new("one more"), "no longer remembered, and so never swallowed"
