"""Who calls what, over the last minute: counted, forgotten, and bounded."""

from bisect import bisect_left

import pytest

from gateway.request import Principal
from gateway.telemetry import activity
from gateway.telemetry.activity import SLICE_SECONDS, SLICES, Activity, ActivityReport
from gateway.telemetry.cells import DURATIONS

ALICE = Principal("key:alice", "api_key", "alice")
BOB = Principal("key:bob", "api_key", "bob")


def call(at: Activity, who: Principal, target: str, seconds: float, now: float, *, ok: bool = True) -> None:
    at.cell(who, "up", target, now).add(seconds, bisect_left(DURATIONS, seconds), ok)


def everything(at: Activity, now: float) -> ActivityReport:
    return at.read(now, lambda principal, upstream: True)


def test_calls_are_summed_by_upstream_by_tool_and_by_caller() -> None:
    at = Activity()
    for number in range(20):
        call(at, ALICE, "fast", 0.002, number, ok=number % 4 > 0)
        call(at, BOB, "slow", 2.0 if number == 19 else 0.7, number)
    seen = everything(at, 20)
    assert (seen.all.count, seen.all.failed, seen.seconds) == (40, 5, 20)
    assert {key: sum.count for key, sum in seen.by_target.items()} == {("up", "fast"): 20, ("up", "slow"): 20}
    assert {id: (who.owner, sum.count, most) for id, (who, sum, most) in seen.by_principal.items()} == {
        "key:alice": ("alice", 20, "fast"),
        "key:bob": ("bob", 20, "slow"),
    }
    slow = seen.by_target["up", "slow"]
    assert slow.longest == 2.0
    assert 0.5 < slow.quantile(0.5) <= 1
    assert seen.by_target["up", "fast"].quantile(0.95) <= 0.0025
    assert slow.seconds == pytest.approx(19 * 0.7 + 2.0)


def test_what_is_older_than_a_minute_is_forgotten_and_now_is_a_few_seconds() -> None:
    at = Activity()
    for second in range(int(SLICE_SECONDS * SLICES) * 2):
        call(at, ALICE, "tool", 0.01, second)
    now = SLICE_SECONDS * SLICES * 2
    assert everything(at, now).all.count == SLICE_SECONDS * SLICES
    assert everything(at, now).all.recent == 2 * SLICE_SECONDS
    assert everything(at, now + 30).all.recent == 0
    assert everything(at, now + 61).all.count == 0


def test_only_what_may_be_known_is_in_it() -> None:
    at = Activity()
    call(at, ALICE, "hers", 0.01, 0)
    call(at, BOB, "his", 0.01, 0)
    seen = at.read(1, lambda principal, upstream: principal == BOB)
    assert (seen.all.count, list(seen.by_target), list(seen.by_principal)) == (1, [("up", "his")], ["key:bob"])


def test_many_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MOST", 10)
    at = Activity()
    for number in range(100):
        call(at, ALICE, f"file:///{number}", 0.01, 0)
    seen = everything(at, 1)
    assert (seen.all.count, len(seen.by_target)) == (100, 11)
    assert seen.by_principal[activity.OTHERS.id][1].count == 90
    assert at.read(1, lambda principal, upstream: principal == ALICE).all.count == 10
