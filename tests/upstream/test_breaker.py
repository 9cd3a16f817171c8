"""The breaker as a table: what happens when, and the state after it."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.breaker import PROBE_SECONDS, Breaker, BreakerState

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
