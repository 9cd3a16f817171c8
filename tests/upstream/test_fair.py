"""Who gets a place, as tables: the shares, and the turns."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.fair import ALL, FairPlaces

Places = FairPlaces[str]


def fill(places: Places, tenant: str) -> int:
    """How many places one tenant gets now."""
    count = 0
    while places.enter(tenant):
        count += 1
    return count


@pytest.mark.parametrize(
    ("limit", "alone", "second", "third"),
    [(1, 1, 0, 0), (2, 1, 1, 0), (3, 2, 1, 0), (4, 3, 1, 0), (8, 6, 1, 1), (256, 192, 48, 12)],
)
def test_one_tenant_leaves_room_for_others(limit: int, alone: int, second: int, third: int) -> None:
    places = Places(limit)
    assert [fill(places, tenant) for tenant in ("ann", "bob", "eve")] == [alone, second, third]


@pytest.mark.parametrize("limit", [1, 2, 3, 256])
def test_who_is_alone_has_all(limit: int) -> None:
    assert fill(Places(limit), ALL) == limit


def test_any_number_where_there_is_no_limit() -> None:
    places = Places(None)
    assert all(places.enter("ann") for _ in range(1000))


def test_turns_go_round() -> None:
    places = Places(2)
    assert places.enter("ann")
    assert places.enter("bob")
    for ticket in ("ann 1", "ann 2", "ann 3", "bob 1", "eve 1"):
        assert places.wait(ticket[:3], ticket)
    order: list[str] = []
    leaving = ["ann", "bob"]
    while leaving:
        admitted = places.leave(leaving.pop(0))
        order += admitted
        leaving += [ticket[:3] for ticket in admitted]
    assert order == ["ann 1", "bob 1", "eve 1", "ann 2", "ann 3"]
    assert places.waiting == 0
    assert fill(places, ALL) == 2, "all were given back"


def test_nobody_overtakes_his_own() -> None:
    places = Places(4)
    assert fill(places, "ann") == 3
    assert places.wait("ann", "ann 1")
    assert places.leave("ann") == ["ann 1"]
    assert places.wait("ann", "ann 2")
    assert not places.enter("ann")
    assert places.enter("bob")


def test_one_tenant_does_not_fill_the_queue_either() -> None:
    places = Places(0, 8)
    assert [places.wait("ann", str(number)) for number in range(7)] == [True] * 6 + [False]
    assert places.wait("bob", "first")
    assert not places.wait("bob", "second"), "the last place is for who has none"
    assert places.wait("eve", "first")
    assert not places.wait("joe", "first")
    assert places.waiting == 8


def test_who_withdraws_makes_room() -> None:
    places = Places(0, 1)
    assert places.wait("ann", "first")
    places.withdraw("ann", "another")
    assert not places.wait("bob", "first")
    places.withdraw("ann", "first")
    places.withdraw("ann", "first")
    assert places.waiting == 0
    assert places.wait("bob", "first")


def test_more_places_are_for_those_who_wait() -> None:
    places = Places(0, 9)
    for ticket in ("ann 1", "ann 2", "bob 1"):
        assert places.wait(ticket[:3], ticket)
    assert places.resize(2, 9) == ["ann 1", "bob 1"]
    assert places.resize(None, 9) == ["ann 2"]


STEPS = st.lists(st.tuples(st.sampled_from(("enter", "wait", "leave")), st.sampled_from(("ann", "bob", "eve"))))


@given(st.integers(1, 8), STEPS)
def test_whatever_happens_a_newcomer_waits_for_no_tenant_alone(limit: int, steps: list[tuple[str, str]]) -> None:
    places, held = Places(limit, 20), Counter[str]()
    for verb, tenant in steps:
        if verb == "enter":
            held[tenant] += places.enter(tenant)
        elif verb == "wait":
            places.wait(tenant, tenant)
        elif held[tenant]:
            held[tenant] -= 1
            held.update(places.leave(tenant))
        assert held.total() <= limit
        if limit > 1 and len(+held) == 1:
            assert held.total() < limit
