"""Whose each URI is: by the order of the upstreams, at a bounded cost, and one upstream at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue.ownership import MAX_STEPS, Claimants, Claims, Ownership, Shadowed, shadowed
from gateway.catalogue.patterns import pattern


def ownership(**claimed: tuple[list[str], list[str]]) -> Ownership:
    claimants = Claimants()
    for name, (uris, templates) in claimed.items():
        claimants.update(name, Claims.of(uris, templates))
    return claimants.ownership(claimed)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("f:{x}", "f:{y}", True),
        ("f:{x}", "g:{x}", False),
        ("{+any}", "g:{x}", True),
        ("db://users/{id}", "db://users/{id}/posts", False),
        ("db://users/{+id}", "db://users/{id}/posts", True),
        ("db://users/{id}", "db://users/{id}{?page}", True),
        ("f:{x}-1", "f:2-{y}", True),
        ("f:{x}-1", "f:{y}-2", False),
        ("f:{x}/{y}", "f:{z}", False),
        ("f:{x,y}", "f:1,{z}", True),
        ("f:{x*}", "f:1/2", True),
        ("f:{x", "f:{y}/z", True),
        ("f:{x}" + "a" * 200, "f:{y}" + "b" * 200, True),  # too long to find out
    ],
)
def test_two_templates_overlap_where_a_uri_could_be_of_both(one: str, other: str, overlap: bool) -> None:
    assert pattern(one).overlaps(pattern(other)) == overlap
    assert pattern(other).overlaps(pattern(one)) == overlap


texts = st.text("ab/?:", max_size=4)
simple = st.builds("{}{{x}}{}".format, texts, texts) | st.builds("{}{{+x}}{}".format, texts, texts)


@given(simple, simple, st.text("ab/?:", max_size=8))
def test_what_both_match_is_an_overlap(one: str, other: str, uri: str) -> None:
    if pattern(one).match(uri) and pattern(other).match(uri):
        assert pattern(one).overlaps(pattern(other))


def test_the_first_that_could_serve_a_uri_owns_it() -> None:
    owned = ownership(a=(["f:1"], ["g:{x}"]), b=(["f:1", "g:1", "h:1"], ["f:{x}"]), c=(["f:2"], ["{+any}"]))
    assert {uri: owned.owner(uri) for uri in ("f:1", "g:1", "g:2", "f:2", "h:1", "i:1")} == {
        "f:1": "a",
        "g:1": "a",
        "g:2": "a",
        "f:2": "b",
        "h:1": "b",
        "i:1": "c",
    }
    assert owned.shadows == {
        "b": {("resources", "f:1"): "a", ("resources", "g:1"): "a", ("templates", "f:{x}"): "a"},
        "c": {("resources", "f:2"): "b", ("templates", "{+any}"): "a"},
    }


def test_an_update_is_as_if_everything_were_made_anew() -> None:
    claimants = Claimants()
    for name, uris in (("a", ["f:1"]), ("b", ["f:1", "f:2"]), ("c", ["f:1"])):
        claimants.update(name, Claims.of(uris, []))
    claimants.ownership("abc")
    claimants.update("a", Claims.of(["f:2"], []))
    assert claimants.ownership("abc") == ownership(a=(["f:2"], []), b=(["f:1", "f:2"], []), c=(["f:1"], []))
    claimants.update("b", None)
    assert claimants.ownership("ac") == ownership(a=(["f:2"], []), c=(["f:1"], []))


def test_what_is_not_compared_counts_as_shadowed() -> None:
    """Then it has a prefix, and one owner, whatever that costs in beauty. Nobody gets the bare one by it."""
    uris = [f"f:{number}" for number in range(MAX_STEPS)]
    own, earlier = Claims.of(uris, ["g:{x}"]), Claims.of([], ["f:x{a}", "f:{a}y"])
    assert shadowed(own, earlier) == Shadowed(frozenset(uris), frozenset(["g:{x}"]))
    claimants = Claimants()
    claimants.update("a", earlier)
    claimants.update("b", own)
    assert claimants.ownership("ab").public("b", "f:1") == "b+f:1"


def test_hostile_claims_cost_little() -> None:
    """Compared one with one, these would take minutes."""
    hostile = Claims.of((f"f:{number}" for number in range(20_000)), (f"f:{{x}}{number}" for number in range(20_000)))
    assert shadowed(hostile, hostile).uris == hostile.uris
