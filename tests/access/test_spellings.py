"""What a rule about URIs is held against: one URI in many spellings, and those that have no meaning for sure."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.access.policy import Policy, Rule
from gateway.access.spellings import glob_forms, normal_form, spellings
from gateway.request import Principal

SPELLED = [
    "test://secret/x",
    "test://secret/../secret/x",
    "TEST://SECRET/x",
    "test://secret//x",
    "test://%73ecret/x",
    "test://secret/%78",
    "test://secret/./x",
    "test://secret/a/../x",
    "test://open/../secret/x",
    "test://open/..//secret/x",
    "test://open/%2e%2e/secret/x",
    "test://open/.%2E/secret/x",
    "test://secret%2Fx",
    "test://secret%5cx",
    "test:\\\\secret\\x",
    "test://secret/%2578",
    "test://secret/x%00",
    "test:///secret/x",
    "test:/secret/x",
    "test:secret/x",
    "test://secret/x/",
    "test://secret/x?",
    "test://secret/x#y",
    "test://me@secret:80/x",
    "test://secret./x",
    " test://secret/x",
    "test://secret/x\n",
    "test://secret/\u00ff%ffx",
    "test://secret/%",
]


@pytest.mark.parametrize("uri", SPELLED)
@pytest.mark.parametrize("rule", [Rule(("*",), deny=("test://secret/*",)), Rule(("*",), allow=("test://open/*",))])
@pytest.mark.parametrize("prefix", ["", "b+"])
def test_no_spelling_of_a_uri_gets_past_a_rule(uri: str, rule: Rule, prefix: str) -> None:
    grant = Policy([rule]).grant(Principal("key:1"))
    assert not grant.admits_uri("b", uri, [prefix + uri], is_listed=False)


@pytest.mark.parametrize(
    "uri",
    [
        "test://open/x",
        "test://open/x/",
        "test://open/a/../x",
        "test://open/%C3%A9",
        "test://open/a b",
        "test://open/x?of=a%2Fb%25",
        "test://open/x.y/..z",
        "test://open",
        "note:7",
        "7",
    ],
)
def test_what_is_only_unusual_is_allowed(uri: str) -> None:
    grant = Policy([Rule(("*",), deny=("test://secret/*",))]).grant(Principal("key:1"))
    assert grant.admits_uri("b", uri, [uri], is_listed=False)


def test_an_allowed_uri_is_allowed_as_it_is_written_and_in_normal_form() -> None:
    grant = Policy([Rule(("*",), allow=("file:///docs/*", "FILE:///docs/*"))]).grant(Principal("key:1"))
    for uri, is_allowed in [
        ("file:///docs/x", True),
        ("FILE:///docs/x", True),
        ("file:///docs/./x", True),
        ("file:///docs/../etc/x", False),
        ("file:///etc/../docs/x", False),
        ("File:///docs/x", False),
    ]:
        assert grant.admits_uri("b", uri, [uri], is_listed=False) == is_allowed


def test_what_was_listed_is_taken_as_it_is_written() -> None:
    grant = Policy([Rule(("*",), allow=("file:///docs/*",), deny=("file:///etc/*",))]).grant(Principal("key:1"))
    uri = "file:///docs/../etc/100%"
    assert grant.admits_uri("b", uri, [uri], is_listed=True)
    assert not grant.admits_uri("b", uri, [uri], is_listed=False)


def test_rules_about_names_say_nothing_of_uris() -> None:
    grant = Policy([Rule(("*",), deny=("files__delete",))]).grant(Principal("key:1"))
    assert grant.admits_uri("b", "file:///a%2Fb", ["file:///a%2Fb"], is_listed=False)


def test_a_uri_that_is_shadowed_is_denied_by_its_own_name_and_allowed_by_its_public_one() -> None:
    grant = Policy([Rule(("*",), allow=("*",), deny=("f:1",))]).grant(Principal("key:1"))
    assert not grant.admits_uri("b", "f:1", ["b+f:1"], is_listed=True)
    grant = Policy([Rule(("*",), allow=("f:*",))]).grant(Principal("key:1"))
    assert not grant.admits_uri("b", "f:1", ["b+f:1"], is_listed=True)
    assert grant.admits_uri("a", "f:1", ["f:1"], is_listed=True)


def test_a_files_host_may_as_well_be_absent() -> None:
    assert "file:///etc/passwd" in spellings("file://localhost/etc/passwd")


@pytest.mark.parametrize(
    ("glob", "forms"),
    [
        ("git__*", ("git__*",)),
        ("test://Secret/*", ("test://Secret/*", "test://secret/*")),
        ("file:///a%20b/*", ("file:///a%20b/*", "file:///a b/*")),
        ("*://x", ("*://x",)),
    ],
)
def test_a_glob_for_uris_means_all_spellings_of_itself(glob: str, forms: tuple[str, ...]) -> None:
    assert glob_forms(glob) == forms


@given(st.text("aA/.:%2e?#@ \\é", max_size=20) | st.text())
def test_everything_has_a_normal_form_or_none(uri: str) -> None:
    form = normal_form(uri)
    assert form is None or "/../" not in form.partition("?")[0].partition("#")[0]
    assert uri in set(spellings(uri)) or not uri


def test_what_would_be_another_scheme_without_its_dots_has_no_normal_form() -> None:
    assert normal_form("./file:/etc/passwd") is None
    assert normal_form("x/../file:/etc/passwd") is None
    assert normal_form("./a/b:c") == "a/b:c"


@given(st.text("abc/.:", min_size=1, max_size=12))
@example("./a:.")
def test_a_normal_form_is_its_own(uri: str) -> None:
    form = normal_form(uri)
    assert form is None or normal_form(form) in (form, None)


@pytest.mark.parametrize("uri", ["memo://1", "MEMO://1", "%6demo://1", "memo:/a/../1"])
def test_a_glob_without_a_colon_is_about_uris_too_if_it_can_match_one(uri: str) -> None:
    grant = Policy([Rule(("*",), deny=("memo*",))]).grant(Principal("key:1"))
    assert not grant.admits_uri("b", uri, [uri], is_listed=False)
    grant = Policy([Rule(("*",), allow=("file*/public/*",))]).grant(Principal("key:1"))
    assert grant.admits_uri("b", "file:///public/x", ["file:///public/x"], is_listed=False)
    climbing = "file:///public/../etc/passwd"
    assert not grant.admits_uri("b", climbing, [climbing], is_listed=False)


@pytest.mark.parametrize("uri", ["test://secret/x", "TEST://secret/x", "test://secret/%78", "test://open/../secret/x"])
def test_no_spelling_gets_past_a_rule_about_groups_that_are_not_all_known(uri: str) -> None:
    rules = [Rule(("group:guests",), deny=("test://secret/*",))]
    grant = Policy(rules).grant(Principal("oauth:i|s", groups_cut=True))
    assert not grant.admits_uri("b", uri, [uri], is_listed=False)


@pytest.mark.parametrize(
    ("glob", "uri"),
    [
        ("https://h:443/x*", "https://h/x1"),
        ("https://h:443/x*", "https://H:0443/x1"),
        ("https://h/a?of=1*", "https://h./a?of=1"),
        ("https://h/a?of=1*", "https://me@h:443/a?of=1"),
    ],
)
def test_ports_and_queries_of_a_rule_hold_for_other_spellings_of_the_host(glob: str, uri: str) -> None:
    grant = Policy([Rule(("*",), deny=(glob,))]).grant(Principal("key:1"))
    assert not grant.admits_uri("b", uri, [uri], is_listed=False)
