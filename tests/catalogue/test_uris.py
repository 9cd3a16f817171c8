"""URIs stay verbatim while they have one owner, and name their upstream when they have several."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue.naming import prefixed, unprefixed, uri_prefix, uri_prefixes
from tests.catalogue.listings import names, uris


@pytest.mark.parametrize("name", ["github", "my-server", "a.b", "com.example.server", "x" * 32])
def test_a_clean_upstream_name_is_its_own_uri_prefix(name: str) -> None:
    assert uri_prefix(name) == name + "+"


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("my_server", "my-server-c0d17f+"),
        ("GitHub", "github-9b37ef+"),
        ("3d", "x-3d-d76227+"),
        ("-x", "x-a66885+"),
        ("a+b", "a-b-6258e1+"),
        ("日本", "server-4cb764+"),
        ("x" * 33, "x" * 25 + "-a5956d+"),
    ],
)
def test_any_other_gets_a_hash_that_no_release_may_change(name: str, prefix: str) -> None:
    assert uri_prefix(name) == prefix


@given(names | st.text())
def test_a_prefix_is_the_start_of_a_scheme(upstream: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9.-]{0,32}\+", uri_prefix(upstream))


@given(names, names)
def test_prefixes_are_injective(one: str, other: str) -> None:
    assert (uri_prefix(one) == uri_prefix(other)) == (one == other)


def test_a_uri_is_verbatim_until_a_second_upstream_publishes_it() -> None:
    assert uri_prefixes({"a": ["file:///x"], "b": ["file:///y"]}) == {("a", "file:///x"): "", ("b", "file:///y"): ""}
    assert uri_prefixes({"a": ["file:///x"], "b": ["file:///x"]}) == {
        ("a", "file:///x"): "a+",
        ("b", "file:///x"): "b+",
    }


def test_listing_a_uri_twice_does_not_make_it_contested() -> None:
    assert uri_prefixes({"a": ["file:///x", "file:///x"]}) == {("a", "file:///x"): ""}


def test_a_public_form_makes_way_for_a_uri_that_looks_like_it() -> None:
    prefixes = uri_prefixes({"git": ["https://x"], "b": ["https://x"], "c": ["git+https://x"]})
    assert prefixes["c", "git+https://x"] == ""
    assert re.fullmatch(r"git-[0-9a-f]{6}\+", prefixes["git", "https://x"])
    assert prefixes["b", "https://x"] == "b+"

    marked = prefixes["git", "https://x"] + "https://x"
    again = uri_prefixes({"git": ["https://x"], "b": ["https://x"], "c": ["git+https://x", marked]})
    assert again["c", marked] == ""
    assert again["git", "https://x"] not in {"git+", prefixes["git", "https://x"]}


@given(st.dictionaries(st.sampled_from("abcd") | names, st.lists(uris), max_size=4), st.randoms(use_true_random=False))
def test_public_forms_are_unique_and_independent_of_order(published: dict[str, list[str]], random: Random) -> None:
    prefixes = uri_prefixes(published)
    assert prefixes.keys() == {(upstream, uri) for upstream, own in published.items() for uri in own}
    forms = {(upstream, uri): prefix + uri for (upstream, uri), prefix in prefixes.items()}
    assert len(set(forms.values())) == len(forms)
    originals = {uri for _, uri in prefixes}
    for (_, uri), prefix in prefixes.items():
        owners = sum(uri in own for own in published.values())
        assert (prefix == "") == (owners == 1)
        assert not prefix or prefix + uri not in originals

    shuffled = list(published.items())
    random.shuffle(shuffled)
    assert uri_prefixes({upstream: own[::-1] for upstream, own in shuffled}) == prefixes


@pytest.mark.parametrize("uri", ["file:///x", "ui://x/y", "ui://", "ui:/x", "x"])
@pytest.mark.parametrize("prefix", ["", "a+", "a-b.c+"])
def test_a_prefix_comes_off_again(prefix: str, uri: str) -> None:
    assert unprefixed(prefix, prefixed(prefix, uri)) == uri


def test_what_hosts_show_keeps_its_scheme() -> None:
    assert prefixed("a+", "ui://x/y") == "ui://a+x/y"
    prefixes = uri_prefixes({"a": ["ui://x"], "b": ["ui://x"], "c": ["ui://a+x"]})
    publics = {prefixed(prefix, uri) for (_, uri), prefix in prefixes.items()}
    assert len(publics) == 3
    assert "ui://a+x" in publics
    assert prefixes["c", "ui://a+x"] == ""
