"""The breaker as a table: what happens when, and the state after it."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.breaker import PROBE_SECONDS, Breaker, BreakerState
from gateway.upstream.breakers import MAX_TENANTS, Breakers

CLOSED, OPEN, HALF_OPEN = BreakerState

Step = tuple[float, str, BreakerState]
"""`(when, what, the state after it)`. `ask` is refused or not as the state before it says; see `Played`."""


class Played:
    """A breaker that opens after 3 failures within 10 s and tries again after 5 s, and the requests it let through."""

    def __init__(self) -> None:
        self.changes: list[BreakerState] = []
        self.breaker = Breaker(3, window=10, cooldown=5, on_change=lambda breaker: self.changes.append(breaker.state))
        self.permits: list[int] = []
        self.refused = 0
        self._causes = count()

    def play(self, at: float, what: str) -> None:
        """`ask`; `fail`, `pass` or `abandon` what was asked last, or with ` first` what was asked first; `fail again`
        for the cause of before; `renew`."""
        breaker = self.breaker
        verb, _, which = what.partition(" ")
        if verb == "ask":
            permit = breaker.admit(at)
            if permit is None:
                self.refused += 1
            else:
                self.permits.append(permit)
        elif verb == "renew":
            breaker.renewed()
        elif self.permits:
            permit = self.permits.pop(0 if which == "first" else -1)
            if verb == "pass":
                breaker.passed(permit)
            elif verb == "fail":
                breaker.failed(permit, at, "it broke", "again" if which == "again" else next(self._causes))
            else:
                breaker.abandoned(permit)


OPENED: list[Step] = [
    (0, "ask", CLOSED),
    (0, "ask", CLOSED),
    (0, "ask", CLOSED),
    (0, "ask", CLOSED),
    (0, "fail", CLOSED),
    (1, "fail", CLOSED),
    (2, "fail", OPEN),
]
"""Open since 2, and one request still under way."""

STORIES: dict[str, tuple[list[Step], int]] = {
    "it opens": ([*OPENED, (2, "ask", OPEN), (6.9, "ask", OPEN)], 2),
    "an answer starts the count over": (
        [
            *[(0, "ask", CLOSED)] * 6,
            *[(0, "fail", CLOSED)] * 2,
            (0, "pass", CLOSED),
            *[(0, "fail", CLOSED)] * 2,
            (0, "fail", OPEN),
        ],
        0,
    ),
    "what is old is forgotten": (
        [
            *[(0, "ask", CLOSED)] * 4,
            (0, "fail", CLOSED),
            (9.9, "fail", CLOSED),
            (10, "fail", CLOSED),
            (10, "fail", OPEN),
        ],
        0,
    ),
    "one cause counts once": ([*[(0, "ask", CLOSED)] * 5, *[(0, "fail again", CLOSED)] * 5], 0),
    "what is abandoned counts for nothing": (
        [
            *[(0, "ask", CLOSED)] * 4,
            (0, "fail", CLOSED),
            (0, "fail", CLOSED),
            (0, "abandon", CLOSED),
            (0, "fail", OPEN),
        ],
        0,
    ),
    "one probe": ([*OPENED, (7, "ask", HALF_OPEN), (7, "ask", HALF_OPEN), (100, "ask", HALF_OPEN)], 2),
    "a probe that is answered closes it": (
        [*OPENED, (7, "ask", HALF_OPEN), (8, "pass", CLOSED), (8, "ask", CLOSED), (8, "ask", CLOSED)],
        0,
    ),
    "then it takes as many failures as before": (
        [
            *OPENED,
            (7, "ask", HALF_OPEN),
            (8, "pass", CLOSED),
            *[(8, "ask", CLOSED)] * 3,
            *[(8, "fail", CLOSED)] * 2,
            (8, "fail", OPEN),
        ],
        0,
    ),
    "a probe that fails opens it again": (
        [*OPENED, (7, "ask", HALF_OPEN), (8, "fail", OPEN), (12.9, "ask", OPEN), (13, "ask", HALF_OPEN)],
        1,
    ),
    "a probe that is abandoned leaves its place to the next": (
        [*OPENED, (7, "ask", HALF_OPEN), (7, "abandon", OPEN), (7, "ask", HALF_OPEN), (7, "ask", HALF_OPEN)],
        1,
    ),
    "a new connection is tried at once": ([*OPENED, (3, "renew", OPEN), (3, "ask", HALF_OPEN), (3, "fail", OPEN)], 0),
    "a new connection is no proof": (
        [*OPENED, (7, "ask", HALF_OPEN), (7, "renew", HALF_OPEN), (7, "ask", HALF_OPEN)],
        1,
    ),
    "a new connection does not outlive its probe": (
        [*OPENED, (3, "renew", OPEN), (3, "ask", HALF_OPEN), (3, "fail", OPEN), (7.9, "ask", OPEN)],
        1,
    ),
    "a late answer closes nothing": ([*OPENED, (3, "pass first", OPEN), (3, "ask", OPEN)], 1),
    "nor does it take the probe's place": (
        [*OPENED, (7, "ask", HALF_OPEN), (7, "pass first", HALF_OPEN), (7, "ask", HALF_OPEN)],
        1,
    ),
    "a late failure does not prolong it": ([*OPENED, (6, "fail first", OPEN), (7, "ask", HALF_OPEN)], 0),
}


@pytest.mark.parametrize("story", STORIES)
def test_the_state_after_each_step(story: str) -> None:
    steps, refused = STORIES[story]
    played = Played()
    states: list[BreakerState] = []
    for at, what, _ in steps:
        played.play(at, what)
        states.append(played.breaker.state)
    assert states == [state for _, _, state in steps]
    assert played.refused == refused


def test_what_it_says_of_itself() -> None:
    played = Played()
    breaker = played.breaker
    assert (breaker.reason, breaker.openings, breaker.retry_after(0)) == ("", 0, None)
    for at, what, _ in OPENED:
        played.play(at, what)
    assert (breaker.reason, breaker.openings, breaker.retry_after(4)) == ("it broke", 1, 3)
    played.play(7, "ask")
    assert breaker.retry_after(7) == PROBE_SECONDS
    played.play(8, "fail")
    assert (breaker.openings, breaker.retry_after(8)) == (1, 5), "it never closed in between"
    assert breaker.retry_after(99) == 0
    played.play(13, "ask")
    played.play(13, "pass")
    assert (breaker.reason, breaker.retry_after(13)) == ("", None)
    assert played.changes == [OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED]


VERBS = ("ask", "pass", "fail", "abandon", "pass first", "fail first", "fail again", "renew")


@given(st.lists(st.tuples(st.floats(0, 4), st.sampled_from(VERBS))))
def test_whatever_happens_there_is_at_most_one_probe(steps: list[tuple[float, str]]) -> None:
    played, now = Played(), 0.0
    for wait, what in steps:
        now += wait
        state, admitted = played.breaker.state, len(played.permits)
        played.play(now, what)
        if what == "ask" and state is HALF_OPEN:
            assert len(played.permits) == admitted, "refused while a probe is on its way"
        if played.breaker.state is not CLOSED:
            assert played.breaker.reason
            assert played.breaker.retry_after(now) is not None
    assert played.breaker.state is HALF_OPEN or played.breaker.admit(now + 5) is not None, "it is tried in the end"


# --- Tenants -------------------------------------------------------------------------------------------------------


class Shared:
    """A breaker that tenants share: it opens after 4 failures within 10 s and tries again after 5 s."""

    def __init__(self) -> None:
        self.breaker = Breaker(4, window=10, cooldown=5)
        self._causes = count()

    def fail(self, at: float, *tenants: str | None) -> BreakerState:
        """Each of them asks, and none gets an answer. None is the connection's own failure."""
        permits = [self.breaker.admit(at, tenant or "") for tenant in tenants]
        for tenant, permit in zip(tenants, permits, strict=True):
            if permit is not None:
                self.breaker.failed(permit, at, "it broke", next(self._causes), tenant)
        return self.breaker.state

    def succeed(self, at: float, tenant: str) -> BreakerState:
        permit = self.breaker.admit(at, tenant)
        assert permit is not None
        self.breaker.passed(permit)
        return self.breaker.state


@pytest.mark.parametrize(
    ("tenants", "after"),
    [
        (["ann"] * 100, CLOSED),
        (["ann"] * 100 + ["bob"], CLOSED),
        (["ann"] * 100 + ["bob"] * 2, OPEN),
        (["ann", "bob", "eve", "joe"], OPEN),
        ([None] * 4, OPEN),
        ([None] * 3 + ["ann"] * 100, CLOSED),
    ],
)
def test_no_tenant_opens_it_for_all(tenants: list[str | None], after: BreakerState) -> None:
    shared = Shared()
    assert shared.fail(1, *tenants) is after


def test_one_failure_is_enough_only_where_it_is_not_a_tenants() -> None:
    one = Breaker(1, window=10, cooldown=5)
    one.failed(0, 0, "it broke", 1, "ann")
    one.failed(0, 0, "it broke", 2, "ann")
    assert one.state is CLOSED
    one.failed(0, 0, "it broke", 3, "bob")
    assert one.state is OPEN


def test_a_success_in_between_speaks_for_the_upstream() -> None:
    shared = Shared()
    shared.fail(0, "ann", "ann", "bob")
    shared.succeed(0, "eve")
    assert shared.fail(1, "ann", "bob", "bob") is CLOSED
    assert shared.fail(1, "ann") is OPEN


def test_old_failures_of_tenants_are_forgotten() -> None:
    shared = Shared()
    shared.fail(0, "ann", "ann")
    assert shared.fail(10, "bob", "bob") is CLOSED
    assert shared.fail(10, "ann", "ann") is OPEN


def test_no_tenant_keeps_it_open_by_being_the_probe() -> None:
    shared = Shared()
    shared.fail(0, None, None, None, None)
    ann = shared.breaker.admit(5, "ann")
    assert ann is not None
    assert shared.breaker.admit(5.9, "bob") is None, "one probe, and the next when it takes too long"
    bob = shared.breaker.admit(6, "bob")
    assert bob is not None
    assert shared.breaker.admit(99, "ann") is None
    shared.breaker.failed(ann, 8, "no answer", 0, "ann")
    assert shared.breaker.state is HALF_OPEN
    shared.breaker.passed(bob)
    assert shared.breaker.state is CLOSED


def test_a_tenants_failing_probe_keeps_only_him_out() -> None:
    shared = Shared()
    shared.fail(0, None, None, None, None)
    assert shared.fail(5, "ann") is OPEN
    assert (shared.breaker.retry_after(5, "ann"), shared.breaker.retry_after(5, "bob")) == (5, 0)
    assert shared.breaker.admit(9, "ann") is None
    assert shared.succeed(9, "bob") is CLOSED
    assert shared.breaker.admit(9, "ann") is not None


def test_a_probe_that_finds_no_connection_keeps_all_out() -> None:
    shared = Shared()
    shared.fail(0, None, None, None, None)
    assert shared.fail(5, None) is OPEN
    assert [shared.breaker.admit(9, tenant) for tenant in ("ann", "bob")] == [None, None]


class Told(Breakers):
    def __init__(self) -> None:
        self.told: list[str] = []
        super().__init__(
            lambda on_change: Breaker(2, window=10, cooldown=5, on_change=on_change),
            lambda whose, breaker: self.told.append(f"{breaker.state.value}{whose}"),
        )

    def fail(self, tenant: str) -> None:
        for cause in range(2):
            for breaker in (self.of(tenant), self.shared):
                permit = breaker.admit(0, tenant)
                if permit is not None:
                    breaker.failed(permit, 0, "it broke", cause, tenant if breaker is self.shared else None)


def test_what_befalls_the_only_tenant_is_shown_as_what_befalls_all() -> None:
    breakers = Told()
    breakers.fail("ann")
    assert (breakers.shown.state, breakers.openings, breakers.told) == (OPEN, 1, ["open"])
    assert breakers.of("bob").state is CLOSED
    assert breakers.shown.state is CLOSED, "no longer"
    breakers.fail("bob")
    assert breakers.told == ["open", "open", "open for one principal"], "of all, then his own"
    assert (breakers.shown.state, breakers.openings) == (OPEN, 2)


def test_what_befalls_one_of_several_is_told_as_such() -> None:
    breakers = Told()
    breakers.of("bob")
    breakers.fail("ann")
    assert (breakers.shown.state, breakers.openings, breakers.told) == (CLOSED, 0, ["open for one principal"])


def test_a_new_connection_is_tried_at_once_by_everybody() -> None:
    breakers = Told()
    breakers.fail("ann")
    breakers.fail("bob")
    breakers.renewed()
    assert breakers.of("ann").admit(0, "ann") is not None
    assert breakers.shared.admit(0, "ann") is not None


def test_tenants_that_are_remembered_are_bounded() -> None:
    breakers = Told()
    first = breakers.of("first")
    for number in range(MAX_TENANTS):
        breakers.of(str(number))
    assert breakers.of("first") is not first
