"""When a store is quick, and when it is silent, as a table."""

from gateway.store.contact import QUICK_SECONDS, STRIKES, StoreContact
from gateway.store.shared import SILENCE_SECONDS


def test_one_slow_answer_may_be_our_own_doing_and_several_are_not() -> None:
    contact = StoreContact(0.0)
    assert not contact.is_quick
    contact.answered(0.0, 0.001)
    assert contact.is_quick
    for _ in range(STRIKES - 1):
        contact.answered(1.0, 2 * QUICK_SECONDS)
    assert contact.is_quick
    contact.answered(1.0, 2 * QUICK_SECONDS)
    assert not contact.is_quick
    assert contact.reason == "it takes 100 ms to answer"
    contact.answered(1.0, 0.001)
    assert contact.is_quick
    assert contact.reason == ""


def test_what_does_not_answer_is_not_quick() -> None:
    contact = StoreContact(0.0)
    contact.answered(0.0, 0.0)
    for _ in range(STRIKES):
        contact.overdue(0.3)
    assert not contact.is_quick


def test_it_is_silent_when_nothing_was_heard_for_long() -> None:
    contact = StoreContact(0.0)
    contact.failed("refused")
    assert not contact.is_silent(SILENCE_SECONDS - 0.1)
    assert contact.is_silent(SILENCE_SECONDS)
    contact.answered(SILENCE_SECONDS, 3.0)  # slow, and yet heard
    assert not contact.is_silent(2 * SILENCE_SECONDS - 0.1)
    assert contact.silence(7.0) == 2.0
