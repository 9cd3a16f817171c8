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
