"""Public names: valid for agents, unique, and independent of everything but the names themselves."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue.naming import own_names, public_names, public_prefix, unused
from tests.catalogue.listings import names

VALID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@pytest.mark.parametrize("name", ["github", "my-server", "a_b_c", "A1", "0", "-x-", "db-202401", "x" * 32])
def test_a_clean_upstream_name_is_its_own_prefix(name: str) -> None:
    assert public_prefix(name) == name


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("my server", "my_server-e606ef"),
        ("a__b", "a_b-8546af"),
        ("x_", "x-e4eaed"),
        ("_x", "x-33c6c3"),
        ("a.b", "a_b-28b8f5"),
        ("a/b/c é", "a_b_c-6726d9"),
        ("日本", "server-4cb764"),
        ("", "server-cec7ea"),
        ("a" * 33, "a" * 25 + "-7ade3c"),
        ("x" * 24 + "_y" + "z" * 9, "x" * 24 + "-c2c638"),
    ],
)
def test_any_other_gets_a_hash_that_no_release_may_change(name: str, prefix: str) -> None:
    assert public_prefix(name) == prefix


@given(names | st.text())
def test_a_prefix_can_never_be_mistaken_for_prefix_and_name(upstream: str) -> None:
    prefix = public_prefix(upstream)
    assert VALID.fullmatch(prefix)
    assert len(prefix) <= 32
    assert "__" not in prefix
    assert not prefix.startswith("_")
    assert not prefix.endswith("_")


@given(names, names)
def test_prefixes_are_injective(one: str, other: str) -> None:
    assert (public_prefix(one) == public_prefix(other)) == (one == other)


@pytest.mark.parametrize(
    ("upstream", "own", "public"),
    [
        ("github", ["search"], {"search": "github__search"}),
        ("github", ["_x_", "__"], {"_x_": "github___x_", "__": "github____"}),
        ("github", ["files/read", "a.b"], {"files/read": "github__files_read", "a.b": "github__a_b"}),
        ("github", ["été"], {"été": "github__ete"}),
        ("github", [], {}),
        # the one that needed no change keeps the name
        ("gh", ["a.b", "a_b", "a/b"], {"a_b": "gh__a_b", "a.b": "gh__a_b_31d1e1bc", "a/b": "gh__a_b_82badf67"}),
        # none can keep it
        ("gh", ["a.b", "a/b"], {"a.b": "gh__a_b_31d1e1bc", "a/b": "gh__a_b_82badf67"}),
        # the hash itself is taken, by a name that needs no change
        ("gh", ["a.b", "a_b", "a_b_31d1e1bc"], {"a_b": "gh__a_b", "a_b_31d1e1bc": "gh__a_b_31d1e1bc"}),
        # … or by one that did, whichever comes first
        (
            "gh",
            ["a.b", "a/b", "a.b_31d1e1bc"],
            {"a.b": "gh__a_b_31d1e1bc", "a.b_31d1e1bc": "gh__a_b_31d1e1bc_fb6e096c"},
        ),
        ("gh", ["n" * 60], {"n" * 60: "gh__" + "n" * 60}),
        ("gh", ["n" * 61], {"n" * 61: "gh__" + "n" * 51 + "_6ee6208d"}),
        (None, ["search", "c d"], {"search": "search", "c d": "c_d"}),
        (None, ["c d", "c/d"], {"c d": "c_d_d7d8bfec", "c/d": "c_d_af4b328f"}),
        (None, [""], {"": "_1271cf25"}),
    ],
)
def test_examples(upstream: str | None, own: list[str], public: dict[str, str]) -> None:
    named = public_names(upstream, own)
    assert public.items() <= named.items()
    assert named.keys() == set(own)
    assert len(set(named.values())) == len(named)


def test_a_long_name_yields_to_the_short_one_that_is_its_public_form() -> None:
    long = "n" * 70
    [cut] = public_names(None, [long]).values()
    named = public_names(None, [long, cut])
    assert named[cut] == cut
    assert named[long] != cut
    assert named[long].startswith("n" * 55 + "_")


@given(st.none() | names, st.lists(names), st.randoms(use_true_random=False))
def test_names_are_valid_unique_and_independent_of_order(upstream: str | None, own: list[str], random: Random) -> None:
    named = public_names(upstream, own)
    assert named.keys() == set(own)
    assert all(VALID.fullmatch(public) for public in named.values())
    assert len(set(named.values())) == len(named)
    head = "" if upstream is None else public_prefix(upstream) + "__"
    assert all(public.startswith(head) for public in named.values())
    assert all(named[name] == head + name for name in own if VALID.fullmatch(head + name))

    random.shuffle(own)
    assert public_names(upstream, own) == named


@given(names, st.lists(names), names, st.lists(names))
def test_two_upstreams_never_share_a_name(one: str, own: list[str], other: str, others: list[str]) -> None:
    if one != other:
        assert set(public_names(one, own).values()).isdisjoint(public_names(other, others).values())


@pytest.mark.parametrize(
    ("own", "renamed", "public"),
    [
        (["a", "b"], {"a": "c"}, {"a": "gh__c", "b": "gh__b"}),
        (["a"], {"a": "my tool"}, {"a": "gh__my_tool"}),
        (["a"], {"a": "a"}, {"a": "gh__a"}),
        (["a"], {"gone": "c"}, {"a": "gh__a"}),
        (["a", "b"], {"a": "b", "b": "a"}, {"a": "gh__b", "b": "gh__a"}),
        (["a", "b"], {"a": "b", "b": "c"}, {"a": "gh__b", "b": "gh__c"}),
        # onto a tool that is there: the newcomer is marked
        (["a", "b"], {"a": "b"}, {"a": "gh__b_ca234c55", "b": "gh__b"}),
        # two onto the same: neither has the better claim
        (["a", "b"], {"a": "c", "b": "c"}, {"a": "gh__c_ca234c55", "b": "gh__c_fd9d3f51"}),
    ],
)
def test_renaming(own: list[str], renamed: dict[str, str], public: dict[str, str]) -> None:
    assert public_names("gh", own, renamed) == public


@given(st.lists(names))
def test_an_upstream_seen_alone_keeps_its_names_verbatim(own: list[str]) -> None:
    assert own_names(own) == {name: name for name in own}


def test_renaming_in_an_upstream_seen_alone() -> None:
    long = "x" * 80
    assert own_names(["a", "b"], {"a": long}) == {"a": long, "b": "b"}
    assert own_names(["a", long], {"a": long}) == {"a": f"{long}_ca234c55", long: long}


def test_a_name_that_is_taken_is_marked_until_it_is_not() -> None:
    first = unused("n", "key", ())
    second = unused("n", "key", {first})
    third = unused("n", "key", {first, second})
    assert first == "n"
    assert len({first, second, third}) == 3
    assert all(re.fullmatch(r"n_[0-9a-f]{8}", name) for name in (second, third))
