"""`api_keys.json`: what it may say, how it complains, and what the edits make of it."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import key_edit, key_file, key_hashes
from gateway.access.key_file import KeyEntry, KeyFile
from gateway.access.key_hashes import OWN_KEY, KeyHash, Scrypt
from gateway.errors import ConfigError

CANARY = "cAnArY-9f31c2"
FILE = Path("keys.json")
SHA = "sha256:" + "0" * 64
OWN = "mgw_abcdefgh234567ab_" + "x" * 43


def parsed(*entries: Any) -> KeyFile:
    return key_file.parse(json.dumps(entries), FILE)


def only(**entry: Any) -> KeyEntry:
    (found,) = parsed({"owner": "alice", **entry}).entries
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api_keys.json"


def write(path: Path, *entries: Any) -> None:
    path.write_text(json.dumps(entries))


# --- Reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "field", "value"),
    [
        ({}, "upstreams", None),
        ({"allowed_upstreams": []}, "upstreams", None),
        ({"allowed_upstreams": None}, "upstreams", None),
        ({"allowed_upstreams": ["a", "b"]}, "upstreams", frozenset({"a", "b"})),
        ({}, "rate_limit_rpm", None),
        ({"rate_limit_rpm": 7}, "rate_limit_rpm", 7),
        ({"rate_limit_rpm": -1}, "rate_limit_rpm", -1),
        ({}, "scopes", frozenset({"read", "write"})),
        ({"scopes": ["admin"]}, "scopes", frozenset({"admin"})),
        ({"id": "ci"}, "id", "ci"),
        ({"key": OWN}, "id", "abcdefgh234567ab"),
    ],
)
def test_a_field_and_its_absence(entry: dict[str, Any], field: str, value: object) -> None:
    assert getattr(only(**{"key": "some-key", **entry}), field) == value


def test_a_foreign_key_has_an_id_of_its_own_that_stays() -> None:
    first, second, again = only(key="one"), only(key="two"), only(key="one")
    assert first.id == again.id != second.id
    assert first.id != only(key="one", owner="bob").id


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"key": "k", "ownr": "a", "owner": "a"}, "keys.json: [0].ownr: unknown field; did you mean 'owner'?"),
        ({"key": "k", "owner": "a", "allowed-upstreams": []}, "did you mean 'allowed_upstreams'?"),
        ({"key": "k", "owner": "a", "xyz": 1}, "[0].xyz: unknown field; known are key, key_hash, id, owner"),
        ({"key": "k"}, "[0].owner: is required"),
        ({"key": "k", "owner": ""}, "[0].owner: must be text"),
        ({"key": "k", "owner": "a\nb"}, "[0].owner: must be text"),
        ({"owner": "a"}, "[0]: must have a key or a key_hash"),
        ({"key": None, "owner": "a"}, "[0]: must have a key or a key_hash"),
        ({"key": "k", "key_hash": SHA, "id": "x", "owner": "a"}, "[0]: must have a key or a key_hash"),
        ({"key_hash": SHA, "owner": "a"}, "[0].id: is required"),
        ({"key": "", "owner": "a"}, "[0].key: must be"),
        ({"key": "a b", "owner": "a"}, "[0].key: must be"),
        ({"key": "ключ", "owner": "a"}, "[0].key: must be"),
        ({"key": "k" * 1025, "owner": "a"}, "[0].key: must be"),
        ({"key": 5, "owner": "a"}, "[0].key: must be"),
        ({"key_hash": "md5:00", "id": "x", "owner": "a"}, "[0].key_hash: must be"),
        ({"key_hash": "sha256:00", "id": "x", "owner": "a"}, "[0].key_hash: must be"),
        ({"key_hash": f"scrypt:40:8:1:{'a' * 22}:{'a' * 43}", "id": "x", "owner": "a"}, "[0].key_hash: must be"),
        ({"key_hash": f"scrypt:14:8:99:{'a' * 22}:{'a' * 43}", "id": "x", "owner": "a"}, "[0].key_hash: must be"),
        ({"key": "k", "owner": "a", "id": "a b"}, "[0].id: must be"),
        ({"key": OWN, "owner": "a", "id": "other"}, "[0].id: must be abcdefgh234567ab"),
        ({"key": "k", "owner": "a", "allowed_upstreams": "a"}, "[0].allowed_upstreams: must be a list"),
        ({"key": "k", "owner": "a", "allowed_upstreams": [1]}, "[0].allowed_upstreams: must be a list"),
        ({"key": "k", "owner": "a", "rate_limit_rpm": 0}, "[0].rate_limit_rpm: must be"),
        ({"key": "k", "owner": "a", "rate_limit_rpm": -2}, "[0].rate_limit_rpm: must be"),
        ({"key": "k", "owner": "a", "rate_limit_rpm": True}, "[0].rate_limit_rpm: must be"),
        ({"key": "k", "owner": "a", "rate_limit_rpm": "60"}, "[0].rate_limit_rpm: must be"),
        ({"key": "k", "owner": "a", "scopes": []}, "[0].scopes: must be"),
        ({"key": "k", "owner": "a", "scopes": ["wirte"]}, "did you mean 'write'?"),
        ({"key": "k", "owner": "a", "scopes": [["read"]]}, "[0].scopes: must be"),
        (3, "[0]: must be an object"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(entry: Any, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        parsed(entry)
    assert complaint in error.value.message
    assert "keys.json: [0]" in error.value.message


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parsed({"key": "k", "owner": "a"}, {"key": "k2"}, {"owner": 1})
    assert "[1].owner" in error.value.message
    assert "[2].owner" in error.value.message
    assert "[0]" not in error.value.message


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ({"key": "one", "owner": "a"}, "[1]: has the same key as [0]"),
        ({"key": "one", "owner": "b", "id": "x"}, "[1]: has the same key as [0]"),
        ({"key": "two", "owner": "b", "id": "first"}, "[1].id: is the same as that of [0]"),
        ({"key_hash": SHA, "owner": "b", "id": "first"}, "[1].id: is the same as that of [0]"),
    ],
)
def test_duplicates(second: Any, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        parsed({"key": "one", "owner": "a", "id": "first"}, second)
    assert complaint in error.value.message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[\n{]", "keys.json:2: is not JSON"),
        ("{}", "keys.json: must be a JSON list"),
        ("", "is not JSON"),
        ('[{"owner": "a", "owner": "b"}]', "has 'owner' twice"),
        ("[" * 100_000, "keys.json: "),
    ],
)
def test_not_even_a_list(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        key_file.parse(text, FILE)
    assert complaint in error.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
OTHERS = dict.fromkeys(("key_hash", "owner", "id", "scopes", "allowed_upstreams", "x"), JSON)
ENTRY = st.fixed_dictionaries({"key": st.text(max_size=5).map(lambda text: CANARY + text)}, optional=OTHERS)


@given(st.lists(ENTRY | JSON, max_size=3))
def test_a_file_is_good_or_an_error_and_no_error_repeats_a_key(entries: list[Any]) -> None:
    message = ""
    try:
        parsed(*entries)
    except ConfigError as error:
        message = error.message
    assert CANARY not in message


# --- Hashes -------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.none() | st.binary(min_size=16, max_size=16).map(Scrypt))
def test_a_hash_is_read_as_it_was_written(digest: bytes, scrypt: Scrypt | None) -> None:
    kept = KeyHash(digest, scrypt)
    assert key_hashes.parse(str(kept)) == kept


def test_minted_keys_are_recognisable_and_have_256_random_bits() -> None:
    minted = [key_hashes.mint() for _ in range(50)]
    for key, id in minted:
        match = OWN_KEY.fullmatch(key)
        assert match
        assert match[1] == id
        assert len(id) >= 10
    secrets = {key.split("_", 2)[2] for key, _ in minted}
    assert len(secrets) == 50
    assert {len(secret) for secret in secrets} == {43}  # 256 bits at 6 a character


# --- Edits --------------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_create_makes_a_file_with_a_hash(path: Path) -> None:
    key, entry = key_edit.create(path / "deep" / "keys.json", "alice", ["b", "a", "b"], 30, ["read"])
    assert mode(path / "deep" / "keys.json") == 0o600
    text = (path / "deep" / "keys.json").read_text()
    assert key not in text
    assert key.split("_", 2)[2] not in text
    (kept,) = key_file.load(path / "deep" / "keys.json").entries
    assert kept == entry
    assert kept.hash == KeyHash(key_hashes.sha256(key))
    assert (kept.owner, kept.upstreams, kept.rate_limit_rpm, kept.scopes) == (
        "alice",
        frozenset({"a", "b"}),
        30,
        frozenset({"read"}),
    )


def test_create_adds_and_leaves_the_rest_as_it_was(path: Path) -> None:
    there = {"key": "k", "owner": "a", "scopes": ["admin"], "allowed_upstreams": ["x"], "rate_limit_rpm": -1}
    write(path, there)
    path.chmod(0o644)
    key_edit.create(path, "bob")
    assert json.loads(path.read_text())[0] == there
    assert len(key_file.load(path).entries) == 2
    assert mode(path) == 0o600


@pytest.mark.parametrize("bad", [{"owner": ""}, {"rate_limit_rpm": 0}, {"scopes": ["root"]}, {"upstreams": [""]}])
def test_create_refuses_what_would_not_load(path: Path, bad: Any) -> None:
    values: Any = {"owner": "alice"} | bad
    with pytest.raises(ConfigError):
        key_edit.create(path, **values)
    assert not path.exists()


def test_edits_refuse_a_bad_file_and_leave_it(path: Path) -> None:
    path.write_text('[{"key": "x"}]')
    for edit in (lambda: key_edit.create(path, "a"), lambda: key_edit.revoke(path, "x"), lambda: hash_in_place(path)):
        with pytest.raises(ConfigError):
            edit()
    assert path.read_text() == '[{"key": "x"}]'


def hash_in_place(path: Path) -> key_edit.Hashed:
    return key_edit.hash_in_place(path)


def test_revoke_by_id_whatever_the_form(path: Path) -> None:
    write(path, {"key": "one", "owner": "a"}, {"key": "two", "owner": "b", "id": "bee"}, {"key": OWN, "owner": "c"})
    first, *_ = key_file.load(path).entries
    for id, left in ((first.id, ["b", "c"]), ("abcdefgh234567ab", ["b"]), ("bee", [])):
        assert key_edit.revoke(path, id).id == id
        assert [entry.owner for entry in key_file.load(path).entries] == left


def test_revoke_of_nobody_suggests_somebody(path: Path) -> None:
    write(path, {"key": "one", "owner": "a", "id": "alice-laptop"})
    with pytest.raises(ConfigError, match="did you mean alice-laptop"):
        key_edit.revoke(path, "alice-labtop")


def test_hashing_hides_every_key_and_keeps_everything_else(path: Path, tmp_path: Path) -> None:
    own = "mgw_abcdefgh234567ab_" + (CANARY + "x" * 43)[:43]
    write(path, {"key": CANARY + "1", "owner": "a", "scopes": ["read"]}, {"key": own, "owner": "b"})
    path.chmod(0o644)
    before = key_file.load(path)
    assert before.exposed == 2

    assert [entry.owner for entry in hash_in_place(path).hashed] == ["a", "b"]

    after = key_file.load(path)
    assert [(e.id, e.owner, e.scopes) for e in after.entries] == [(e.id, e.owner, e.scopes) for e in before.entries]
    foreign, ours = (entry.hash for entry in after.entries)
    assert foreign.scrypt is not None
    assert foreign.scrypt(CANARY + "1") == foreign.digest
    assert ours == KeyHash(key_hashes.sha256(own))
    assert after.exposed == 0
    assert mode(path) == 0o600
    assert [file for file in tmp_path.iterdir() if CANARY in file.read_text()] == []
    assert list(tmp_path.iterdir()) == [path]


def test_all_hashes_of_a_file_share_a_salt_also_later_ones(path: Path) -> None:
    write(path, {"key": "one", "owner": "a"})
    hash_in_place(path)
    write(path, *json.loads(path.read_text()), {"key": "two", "owner": "a"})
    hash_in_place(path)
    assert len({entry.hash.scrypt for entry in key_file.load(path).entries}) == 1


def test_hashing_leaves_what_everybody_knows(path: Path) -> None:
    write(path, {"key": "dev-key-alice-001", "owner": "alice"})
    done = hash_in_place(path)
    assert [entry.owner for entry in done.left] == ["alice"]
    assert done.hashed == []
    assert "dev-key-alice-001" in path.read_text()


def test_a_link_is_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "real.json")
    write(tmp_path / "real.json")
    key_edit.create(path, "alice")
    assert path.is_symlink()
    assert len(key_file.load(tmp_path / "real.json").entries) == 1
