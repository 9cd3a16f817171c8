"""What may be repeated, how long to wait, and the budget: tables."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.retry import (
    BASE_SECONDS,
    LEAST,
    MAX_SECONDS,
    SHARE,
    WINDOW_SECONDS,
    RetryBudget,
    delay,
    is_repeatable,
)

READ_ONLY = {"name": "t", "annotations": {"readOnlyHint": True}}
IDEMPOTENT = {"name": "t", "annotations": {"readOnlyHint": False, "idempotentHint": True}}


@pytest.mark.parametrize(
    ("method", "params", "tool", "repeatable"),
    [
        ("tools/list", {}, None, True),
        ("prompts/list", {}, None, True),
        ("resources/list", {}, None, True),
        ("resources/templates/list", {}, None, True),
        ("resources/read", {"uri": "a:"}, None, True),
        ("prompts/get", {"name": "p"}, None, True),
        ("completion/complete", {}, None, True),
        ("ping", {}, None, True),
        ("server/discover", {}, None, True),
        ("logging/setLevel", {}, None, False),
        ("resources/subscribe", {}, None, False),
        ("tasks/cancel", {}, None, False),
        ("of/an-extension", {}, None, False),
        ("tools/call", {"name": "t"}, None, False),
        ("tools/call", {"name": "t"}, {"name": "t"}, False),
        ("tools/call", {"name": "t"}, {"name": "t", "annotations": {"destructiveHint": False}}, False),
        ("tools/call", {"name": "t"}, {"name": "t", "annotations": {"readOnlyHint": "yes"}}, False),
        ("tools/call", {"name": "t"}, {"name": "t", "annotations": ["readOnlyHint"]}, False),
        ("tools/call", {"name": "t"}, READ_ONLY, True),
        ("tools/call", {"name": "t"}, IDEMPOTENT, True),
        ("tools/call", {"name": "t", "inputResponses": {"q": {}}}, READ_ONLY, False),
        ("tools/call", {"name": "t", "requestState": "s"}, READ_ONLY, False),
        ("prompts/get", {"name": "p", "inputResponses": {"q": {}}}, None, False),
    ],
)
def test_what_may_be_repeated(method: str, params: dict[str, Any], tool: Any, repeatable: bool) -> None:
    assert is_repeatable(method, params, tool) is repeatable


def test_delays_double_with_full_jitter() -> None:
    assert [delay(attempt, 1.0) for attempt in (1, 2, 3, 4, 5, 6, 7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert delay(3, 0.0) == 0.0
    assert delay(2, 0.5) == BASE_SECONDS


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_delays_are_bounded(attempt: int, chance: float) -> None:
    assert 0 <= delay(attempt, chance) <= MAX_SECONDS


# --- The budget ----------------------------------------------------------------------------------------------------


def spend(budget: RetryBudget, now: float) -> int:
    return sum(budget.take(now) for _ in range(1000))


@pytest.mark.parametrize(("requests", "retries"), [(0, 3), (1, 3), (15, 3), (20, 4), (100, 20), (1000, 200)])
def test_a_fifth_of_the_requests_and_never_fewer_than_three(requests: int, retries: int) -> None:
    budget = RetryBudget()
    for _ in range(requests):
        budget.requested(0)
    assert spend(budget, 0) == retries
    assert spend(budget, 0) == 0


def test_requests_and_retries_are_forgotten_after_a_minute() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.requested(0)
    assert spend(budget, 30) == 20
    assert spend(budget, WINDOW_SECONDS) == 0, "the requests are forgotten, the retries are not"
    assert spend(budget, WINDOW_SECONDS + 30) == LEAST


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=300))
def test_retries_are_never_more_than_the_share(steps: list[tuple[float, bool]]) -> None:
    budget, now = RetryBudget(), 0.0
    requests, retries = list[float](), list[float]()
    for wait, is_request in steps:
        now += wait
        if is_request:
            budget.requested(now)
            requests.append(now)
        elif budget.take(now):
            retries.append(now)
        asked = sum(at > now - WINDOW_SECONDS for at in requests)
        repeated = sum(at > now - WINDOW_SECONDS * 0.9 for at in retries)  # the budget forgets in steps of a tenth
        assert not repeated or retries[-1] < now or repeated <= max(LEAST, SHARE * asked)
