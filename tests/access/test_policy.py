"""Who may use what, as tables; and what a restricted principal sees of the catalogue."""

import pytest

from gateway.access.policy import Policy, Rule
from gateway.request import Principal

ALICE = Principal("key:a1", method="api_key", owner="alice")
DEV = Principal("oauth:x|bob", method="oauth", owner="bob", groups=frozenset({"dev"}))
BOT = Principal("agent:j1", method="agent_token", owner="alice", agent_name="nightly-bot", root="key:a1")
IMPOSTOR = Principal("oauth:x|eve", method="oauth", owner="group:admins")
FEW = Principal("key:f", method="api_key", owner="eve", upstreams=frozenset({"git"}))


@pytest.mark.parametrize(
    ("who", "principal", "concerns"),
    [
        ("alice", ALICE, True),
        ("alice", BOT, True),
        ("al*", ALICE, True),
        ("key:a1", ALICE, True),
        ("key:*", DEV, False),
        ("group:dev", DEV, True),
        ("group:*", ALICE, False),
        ("key:a1", BOT, True),
        ("agent:nightly-*", BOT, False),
        ("agent:*", ALICE, False),
        ("*", DEV, True),
        ("Alice", ALICE, False),
        ("", ALICE, False),
        ("owner:alice", ALICE, True),
        ("owner:alice", BOT, True),
        ("owner:group:admins", IMPOSTOR, True),
        ("group:admins", IMPOSTOR, False),
        ("*:admins", IMPOSTOR, True),
        ("*:dev", DEV, False),
        ("oauth:x|bob", DEV, True),
        ("oauth:x|*", ALICE, False),
        ("key:*", Principal("oauth:x|y", owner="key:root", groups=frozenset({"key:root"})), False),
        ("key:root", Principal("oauth:x|y", owner="key:root"), False),
        ("oauth:x|root", Principal("oauth:x|y", owner="oauth:x|root"), False),
        ("agent:bot", Principal("oauth:x|y", owner="agent:bot", groups=frozenset({"agent:bot"})), False),
        ("bob", Principal("oauth:x|y", groups=frozenset({"bob"})), False),
        ("nightly-*", BOT, False),
        ("*", Principal("oauth:x|y"), True),
    ],
)
def test_whom_a_rule_concerns(who: str, principal: Principal, concerns: bool) -> None:
    assert Rule((who,)).concerns(principal) is concerns


@pytest.mark.parametrize(
    ("rules", "principal", "item", "allowed", "because"),
    [
        ([], ALICE, "git__log", True, "nothing forbids it"),
        ([Rule(("bob",), deny=("*",))], ALICE, "git__log", True, "nothing forbids it"),
        ([Rule(("alice",), deny=("git__*",))], ALICE, "git__log", False, "policy rule 1 denies 'git__*'"),
        ([Rule(("alice",), allow=("git__*",))], ALICE, "git__log", True, "policy rule 1 allows 'git__*'"),
        ([Rule(("alice",), allow=("time__*",))], ALICE, "git__log", False, "no `allow` of policy rule 1 matches it"),
        ([Rule(("alice",), allow=())], ALICE, "git__log", False, "no `allow` of policy rule 1 matches it"),
        (
            [Rule(("*",), deny=("*_delete",)), Rule(("alice",), allow=("git__*",))],
            ALICE,
            "git__deleted",
            True,
            "policy rule 2 allows 'git__*'",
        ),
        (
            [Rule(("alice",), allow=("git__*",)), Rule(("*",), deny=("*_delete",))],
            ALICE,
            "git__branch_delete",
            False,
            "policy rule 2 denies '*_delete'",
        ),
        ([Rule(("*",), allow=("time__*",)), Rule(("alice",), allow=("git__*",))], ALICE, "git__log", True, "rule 2"),
        ([Rule(("agent:nightly-*",), allow=("git__*",))], BOT, "git__log", True, "rule 1"),
        ([Rule(("agent:nightly-*",), allow=("git__*",))], BOT, "time__now", False, "rule 1"),
        ([Rule(("alice",), allow=("git__*",)), Rule(("agent:*",), allow=("*",))], BOT, "time__now", False, "rule 1"),
        ([Rule(("key:a1",), deny=("git__*",)), Rule(("agent:*",), allow=("*",))], BOT, "git__log", False, "rule 1"),
        ([], FEW, "time__now", False, "its credential does not include upstream 'time'"),
        ([Rule(("eve",), allow=("*",))], FEW, "time__now", False, "its credential does not include"),
    ],
)
def test_decisions(rules: list[Rule], principal: Principal, item: str, allowed: bool, because: str) -> None:
    verdict = Policy(rules).grant(principal).explain(item.partition("__")[0], item)
    assert verdict.allowed is allowed
    assert because in verdict.reason


def test_grants_are_shared_by_those_who_see_the_same() -> None:
    policy = Policy([Rule(("group:dev",), deny=("x",))])
    other = Principal("oauth:x|carol", method="oauth", owner="carol", groups=frozenset({"dev", "ops"}))
    assert policy.grant(DEV) == policy.grant(other)
    assert hash(policy.grant(DEV)) == hash(policy.grant(other))
    assert policy.grant(ALICE).unrestricted
    assert not policy.grant(DEV).unrestricted


@pytest.mark.parametrize(
    ("rules", "item", "allowed"),
    [
        ([Rule(("group:x",), deny=("git__*",))], "git__log", False),
        ([Rule(("group:x",), deny=("git__*",))], "time__now", True),
        ([Rule(("group:x",), allow=("git__*",))], "time__now", False),
        ([Rule(("group:x",), allow=("git__*",))], "git__log", True),
        ([Rule(("group:x",), allow=("git__*",)), Rule(("group:y",), allow=("time__*",))], "git__log", False),
        ([Rule(("*",), allow=("time__*",)), Rule(("group:x",), allow=("git__*",))], "git__log", False),
        ([Rule(("*",), allow=("time__*",)), Rule(("group:x",), allow=("git__*",))], "time__now", True),
        ([Rule(("*",), allow=("*",)), Rule(("group:x", "key:k"), deny=("time__*",))], "time__now", False),
        ([Rule(("eve",), deny=("*",))], "git__log", True),
        ([Rule(("group:dev",), allow=("git__*",)), Rule(("group:x",), allow=("time__*",))], "git__log", True),
    ],
)
def test_groups_that_are_not_known_only_take_away(rules: list[Rule], item: str, allowed: bool) -> None:
    many = Principal("oauth:x|bob", method="oauth", owner="bob", groups=frozenset({"dev"}), groups_cut=True)
    grant = Policy(rules).grant(many)
    assert grant.explain(item.partition("__")[0], item).allowed is allowed
    assert grant.unrestricted is (rules[0].who == ("eve",))
