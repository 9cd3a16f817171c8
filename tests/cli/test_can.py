"""`mcp-gateway can`: a decision and its reason, for people and for scripts."""

import json

import pytest

from tests.cli.conftest import Invoke, Write

CONFIG = """
gateway:
  state_dir: state
  auth: {api_keys_file: keys.json}
  policy:
    - {who: ["*"], deny: ["*__delete_*"]}
    - {who: [bob, "group:guests", "agent:nightly-*"], allow: ["github__list_*", "file:///srv/*"]}
servers:
  github: {command: x}
  notes: {command: x}
"""
KEYS = [
    {"key": "key-of-alice", "owner": "ALICE", "id": "a1"},
    {"key": "other-key-of-alice", "owner": "ALICE", "id": "a2", "allowed_upstreams": ["notes"]},
    {"key": "key-of-bob", "owner": "bob", "id": "b1", "scopes": ["read"]},
]


@pytest.fixture(autouse=True)
def config(write: Write) -> None:
    write(CONFIG)
    write(json.dumps(KEYS), "keys.json")


@pytest.mark.parametrize(
    ("who", "what", "code", "lines"),
    [
        (
            "ALICE",
            "github__create_issue",
            1,
            [
                "yes   ALICE (key:a1): nothing forbids it",
                "no   ALICE (key:a2): its credential does not include upstream 'github'",
            ],
        ),
        ("a1", "github__create_issue", 0, ["yes   ALICE (key:a1): nothing forbids it"]),
        ("key:a1", "github__delete_repo", 1, ["no   ALICE (key:a1): policy rule 1 denies '*__delete_*'"]),
        ("a2", "notes__add", 0, ["yes   ALICE (key:a2): nothing forbids it"]),
        (
            "bob",
            "github__list_issues",
            0,
            [
                "yes   bob (key:b1): policy rule 2 allows 'github__list_*', "
                "but without the scope `write` a tool can be seen and not called"
            ],
        ),
        ("group:guests", "github__create_issue", 1, ["no   group:guests: no `allow` of policy rule 2 matches it"]),
        ("group:guests", "file:///srv/a", 0, ["yes   group:guests: policy rule 2 allows 'file:///srv/*'"]),
        ("agent:nightly-1", "notes__add", 1, ["no   agent:nightly-1: no `allow` of policy rule 2 matches it"]),
        ("nobody", "notes__add", 0, ["yes   nobody: nothing forbids it"]),
        (
            "a2",
            "elsewhere__add",
            1,
            ["no   ALICE (key:a2): its credential is for some servers only, and none is known to have it"],
        ),
    ],
)
def test_who_may_use_what_and_why(invoke: Invoke, who: str, what: str, code: int, lines: list[str]) -> None:
    done = invoke("can", who, what)
    assert done.stdout.splitlines() == lines
    assert done.exit_code == code
    assert "key-of" not in done.output


def test_what_no_server_is_known_to_have_is_said_so(invoke: Invoke) -> None:
    assert "No server is known to have 'elsewhere__add'" in invoke("can", "a1", "elsewhere__add").stderr
    assert invoke("can", "a1", "notes__add").stderr == ""


PROFILES = (
    CONFIG
    + """
profiles:
  support:
    servers: [github]
    tools: {allow: ["github__get_*", github__reply], deny: ["*_secret"], rename: {github__reply: reply}}
    prompts: []
  found: {discovery: search, pinned: ["notes__*"]}
"""
)
BOUND = [
    {"key": "key-of-carol", "owner": "carol", "id": "c1", "profiles": ["support"]},
    {"key": "key-of-dave", "owner": "dave", "id": "d1", "profiles": ["found"]},
    {"key": "key-of-erin", "owner": "erin", "id": "e1", "profiles": ["gone"]},
]


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["a1", "github__get_issue", "--profile", "support"], 0, "ALICE (key:a1): nothing forbids it"),
        (
            ["carol", "reply", "--profile", "support"],
            0,
            "carol (key:c1): nothing forbids it; profile 'support' calls it 'reply'",
        ),
        (
            ["a1", "github__list_issues", "--profile", "support"],
            1,
            "ALICE (key:a1): no `allow` of profile 'support' matches it",
        ),
        (
            ["a1", "github__get_secret", "--profile", "support"],
            1,
            "ALICE (key:a1): profile 'support' denies '*_secret'",
        ),
        (
            ["a1", "notes__add", "--profile", "support"],
            1,
            "ALICE (key:a1): profile 'support' has nothing of server 'notes' (`servers`: github)",
        ),
        (
            ["dave", "github__get_issue", "--profile", "support"],
            1,
            "dave (key:d1): its credential is not for profile 'support' (for: found)",
        ),
        (
            ["a1", "github__delete_x", "--profile", "found"],
            1,
            "ALICE (key:a1): policy rule 1 denies '*__delete_*'",
        ),
        (
            ["a1", "github__get_issue", "--profile", "found"],
            0,
            "ALICE (key:a1): nothing forbids it; there it is found with find_tools, and not listed",
        ),
        (["a1", "notes__add", "--profile", "found"], 0, "ALICE (key:a1): nothing forbids it"),
        (["carol", "github__get_issue"], 0, "carol (key:c1): nothing forbids it"),
        (["carol", "notes__add"], 1, "carol (key:c1): no profile of its credential has it (support)"),
        (["erin", "notes__add"], 1, "erin (key:e1): its credential is for profiles that there are not"),
    ],
)
def test_what_a_profile_makes_of_it(invoke: Invoke, write: Write, words: list[str], code: int, line: str) -> None:
    write(PROFILES)
    write(json.dumps([*KEYS, *BOUND]), "keys.json")
    done = invoke("can", *words)
    assert done.stdout.splitlines() == [f"{'no' if code else 'yes'}   {line}"]
    assert done.exit_code == code


def test_a_profile_that_there_is_not(invoke: Invoke, write: Write) -> None:
    write(PROFILES)
    done = invoke("can", "a1", "notes__add", "--profile", "suport")
    assert done.exit_code == 2
    assert "did you mean 'support'?" in done.stderr
