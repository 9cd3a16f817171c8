"""How many connections may be held open, and by whom."""

import pytest

from gateway.access.places import SessionQuota
from gateway.errors import TooManySessions
from gateway.request import ANONYMOUS, Principal

ALICE, BOB = Principal("key:alice"), Principal("key:bob")
AGENT = Principal("agent:1", root=ALICE.id)


def test_each_has_as_many_as_the_cap_and_agents_have_their_principals() -> None:
    places = SessionQuota(cap=10, cap_each=2)
    places.take(ALICE)
    places.take(AGENT)
    for principal in (ALICE, AGENT, Principal("agent:2", root=ALICE.id)):
        with pytest.raises(TooManySessions, match="max_sessions_per_principal"):
            places.take(principal)
    places.take(BOB)
    places.give(AGENT)
    places.take(ALICE)


def test_all_together_have_as_many_as_the_cap() -> None:
    places = SessionQuota(cap=3, cap_each=2)
    for principal in (ALICE, ALICE, BOB):
        places.take(principal)
    with pytest.raises(TooManySessions, match="max_sessions"):
        places.take(BOB)
    places.give(ALICE)
    places.take(BOB)


def test_without_authentication_there_is_only_the_cap_of_all() -> None:
    places = SessionQuota(cap=3, cap_each=1)
    for _ in range(3):
        places.take(ANONYMOUS)
    with pytest.raises(TooManySessions):
        places.take(ANONYMOUS)


def test_a_place_that_is_held_is_given_back_whatever_happens() -> None:
    places = SessionQuota(cap=1, cap_each=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), places.held(ALICE):
            raise ZeroDivisionError
    with places.held(ALICE), pytest.raises(TooManySessions), places.held(ALICE):
        pass
    places.take(ALICE)
