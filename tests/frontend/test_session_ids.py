"""Sealed session ids: what they carry, for whom they open, and in how many spellings."""

import string
from typing import Any

import pytest

from gateway.errors import SessionNotFound
from gateway.frontend.session_ids import MAX_ID, SealedSession, SessionIds
from gateway.request import Principal

ALICE, BOB = Principal("key:alice"), Principal("key:bob")
OLD, NEW = "o" * 32, "n" * 32
INFO = {"name": "tests", "title": "Tests", "version": "1"}
CAPABILITIES: dict[str, Any] = {"roots": {"listChanged": True}, "sampling": {"tools": {}}, "elicitation": {"form": {}}}


def make(ids: SessionIds, capabilities: dict[str, Any] = CAPABILITIES, **info: str) -> tuple[str, SealedSession]:
    return ids.make(ALICE, "up", "2025-06-18", capabilities, INFO | info)


def test_an_id_carries_what_its_client_said() -> None:
    ids = SessionIds([OLD], lambda: 1000.25)
    id, sealed = make(ids)
    assert ids.open(id, ALICE, "up") == sealed
    assert sealed == SealedSession(sealed.key, 1000.25, "2025-06-18", CAPABILITIES, INFO)
    assert len(id) < 400
    assert "tests" not in id


def test_all_keys_open_and_the_first_seals() -> None:
    before, during, after = SessionIds([OLD]), SessionIds([NEW, OLD]), SessionIds([NEW])
    old, _ = make(before)
    new, _ = make(during)
    for id in (old, new):
        during.open(id, ALICE, "up")
    after.open(new, ALICE, "up")
    for ids, id in ((after, old), (before, new)):
        with pytest.raises(SessionNotFound):
            ids.open(id, ALICE, "up")


@pytest.mark.parametrize(("principal", "view"), [(BOB, "up"), (ALICE, None), (ALICE, ""), (ALICE, "other")])
def test_an_id_opens_for_nobody_else(principal: Principal, view: str | None) -> None:
    ids = SessionIds([OLD])
    with pytest.raises(SessionNotFound):
        ids.open(make(ids)[0], principal, view)


def test_no_other_spelling_opens() -> None:
    ids = SessionIds([OLD])
    id, _ = make(ids, note="x")
    alphabet = string.ascii_letters + string.digits + "-_"
    changed = [id[:place] + other + id[place + 1 :] for place in range(len(id)) for other in (alphabet[-1], "A", "é")]
    last = [id[:-1] + other for other in alphabet]
    padded = [id + more for more in ("=", "==", "A", " ", "\n", "%3D")]
    for other in {*changed, *last, *padded, id.swapcase(), id[:-1], id[1:], "", "x" * 5000} - {id}:
        with pytest.raises(SessionNotFound):
            ids.open(other, ALICE, "up")


@pytest.mark.parametrize("filler", [0, 1000, 2500, 3000, 7000])
def test_an_id_is_never_longer_than_a_header_may_be(filler: int) -> None:
    ids = SessionIds([OLD])
    whole = CAPABILITIES | {"experimental": {"x": "y" * filler}}
    id, sealed = make(ids, whole)
    assert len(id) <= MAX_ID
    assert ids.open(id, ALICE, "up") == sealed
    assert sealed.is_clipped is (filler >= 2900)
    assert sealed.capabilities == (CAPABILITIES if sealed.is_clipped else whole)


def test_who_could_be_asked_can_be_asked_whatever_is_clipped() -> None:
    ids = SessionIds([OLD])
    id, sealed = make(ids, {name: {"x": "y" * 4000} for name in CAPABILITIES}, name="n" * 800)
    assert len(id) <= MAX_ID
    assert sealed.is_clipped
    assert sealed.capabilities == {name: {} for name in CAPABILITIES}
