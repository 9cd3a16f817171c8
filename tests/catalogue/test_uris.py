"""What stands before a URI that is not its upstream's to use bare."""

import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue.naming import prefixed, unprefixed, uri_prefix, uri_prefixes
from tests.catalogue.listings import names


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


@pytest.mark.parametrize("uri", ["file:///x", "ui://x/y", "ui://", "ui:/x", "x"])
@pytest.mark.parametrize("prefix", ["", "a+", "a-b.c+"])
def test_a_prefix_comes_off_again(prefix: str, uri: str) -> None:
    assert unprefixed(prefix, prefixed(prefix, uri)) == uri


def test_what_hosts_show_keeps_its_scheme() -> None:
    assert prefixed("a+", "ui://x/y") == "ui://a+x/y"


def test_where_a_prefix_is_taken_there_are_others() -> None:
    first, second, third = islice(uri_prefixes("git"), 3)
    assert first == "git+"
    assert all(re.fullmatch(r"git-[0-9a-f]{6}\+", form) for form in (second, third))
    assert second != third
