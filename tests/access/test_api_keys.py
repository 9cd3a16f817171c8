"""API keys at work: who is recognised and who is not, at what cost, and what a change of the file does."""

import hmac
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.access import key_edit, key_hashes
from gateway.access.api_keys import ApiKeys
from gateway.access.key_hashes import KeyHash, Scrypt
from gateway.errors import ConfigError, Unauthenticated
from gateway.request import Principal
from tests.support import wait_until

DEV = "dev-key-alice-001"
OWN = "mgw_abcdefgh234567ab_" + "x" * 43
OTHER_SECRET = OWN[:-1] + "y"
OTHER_ID = OWN.replace("abcdefgh", "bbbbbbbb")
CANARY = "cAnArY-9f31c2"

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api_keys.json"


@pytest.fixture
def load(path: Path) -> Callable[..., ApiKeys]:
    """`load(*entries)`: the keys of a file with these entries."""

    def write_and_load(*entries: Any, **options: Any) -> ApiKeys:
        write(path, *entries)
        where: Any = {"environment": "development", "loopback": True} | options
        return ApiKeys(path, **where)

    return write_and_load


Load = Callable[..., ApiKeys]


def write(path: Path, *entries: Any) -> None:
    path.write_text(json.dumps([{"owner": "alice"} | entry for entry in entries]))


async def recognises(keys: ApiKeys, key: str) -> bool:
    try:
        await keys.authenticate(key)
    except Unauthenticated:
        return False
    return True


# --- Who is recognised --------------------------------------------------------------------------------------------


def slow_hash(key: str, log_n: int = 10) -> str:
    scrypt = Scrypt(b"0123456789abcdef", log_n)
    return str(KeyHash(scrypt(key), scrypt))


@pytest.mark.parametrize(
    ("entry", "key", "id"),
    [
        ({"key": OWN}, OWN, "key:abcdefgh234567ab"),
        ({"key_hash": f"sha256:{key_hashes.sha256(OWN).hex()}", "id": "abcdefgh234567ab"}, OWN, "key:abcdefgh234567ab"),
        ({"key": "chosen", "id": "bob"}, "chosen", "key:bob"),
        ({"key_hash": f"sha256:{key_hashes.sha256('chosen').hex()}", "id": "bob"}, "chosen", "key:bob"),
        ({"key_hash": slow_hash("chosen"), "id": "bob"}, "chosen", "key:bob"),
        ({"key": "mgw_looks_like_ours", "id": "bob"}, "mgw_looks_like_ours", "key:bob"),
    ],
    ids=["own", "own hashed", "foreign", "foreign hashed fast", "foreign hashed slowly", "nearly own"],
)
async def test_each_form_of_a_key(load: Load, entry: dict[str, Any], key: str, id: str) -> None:
    keys = load(entry | {"allowed_upstreams": ["a"], "scopes": ["read"], "rate_limit_rpm": 5}, {"key": "someone-else"})
    assert await keys.authenticate(key) == Principal(
        id, "api_key", "alice", frozenset({"read"}), frozenset({"a"}), rate_limit_rpm=5
    )
    for wrong in (key + "x", key[:-1], key.upper(), "", id, f" {key}", f"{key}\n"):
        assert not await recognises(keys, wrong), wrong


@pytest.mark.parametrize("key", [OTHER_SECRET, OTHER_ID, "chosen", "k" * 1025, "ключ", "\udcff", "\0"])
async def test_strangers(load: Load, key: str) -> None:
    keys = load({"key": OWN}, {"key_hash": slow_hash("other"), "id": "bob"})
    with pytest.raises(Unauthenticated) as error:
        await keys.authenticate(key)
    assert key not in error.value.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"mgw_[a-z2-7_]{1,20}_[\w-]{43}"))
def test_nonsense_is_refused_and_nothing_else_happens(load: Load, key: str) -> None:
    keys = load({"key": OWN})
    assert not anyio.run(recognises, keys, key)


# --- At what cost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "good"),
    [(OWN, True), (OTHER_SECRET, False), (OTHER_ID, False), ("chosen", True), ("not chosen", False)],
    ids=["own", "wrong secret", "unknown id", "foreign", "unknown foreign"],
)
async def test_it_is_the_constant_time_comparison_that_decides(
    load: Load, monkeypatch: pytest.MonkeyPatch, key: str, good: bool
) -> None:
    keys = load({"key": OWN}, {"key": "chosen"})
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def recorded(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    assert await recognises(keys, key) is good
    assert [(len(one), len(other)) for one, other in compared] == [(32, 32)]  # once, whether or not anybody was found

    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: False)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    assert not await recognises(keys, key)


async def test_a_slow_hash_is_computed_once_for_all_requests(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = load({"key_hash": slow_hash("chosen"), "id": "bob"}, {"key_hash": slow_hash("other"), "id": "eve"})
    computed: list[str] = []
    real = Scrypt.__call__

    def counted(self: Scrypt, key: str) -> bytes:
        computed.append(key)
        return real(self, key)

    monkeypatch.setattr(Scrypt, "__call__", counted)
    async with anyio.create_task_group() as tg:
        for _ in range(20):
            tg.start_soon(keys.authenticate, "chosen")
    assert not await recognises(keys, "unknown")
    assert not await recognises(keys, "unknown")
    assert not await recognises(keys, OTHER_ID)
    assert computed == ["chosen", "unknown"]


async def test_no_key_stays_in_memory(load: Load) -> None:
    keys = load({"key": CANARY}, {"key_hash": slow_hash(CANARY + "2"), "id": "bob"})
    assert await recognises(keys, CANARY)
    assert await recognises(keys, CANARY + "2")
    kept = {name: value for name, value in vars(keys).items() if name not in ("_lock", "_on_revoked")}
    assert CANARY.encode() not in pickle.dumps(kept)


async def test_no_key_is_logged(load: Load, path: Path) -> None:
    with capture_logs() as logs:
        keys = load({"key": CANARY}, {"key": DEV})
        await recognises(keys, CANARY + "wrong")
        write(path, {"key": CANARY + "2", "onwer": "x"})
        await keys.reload()
    assert logs
    assert CANARY not in repr(logs)


async def test_plain_keys_are_warned_of_with_the_remedy(load: Load, path: Path) -> None:
    with capture_logs() as logs:
        load({"key": "one"}, {"key": "two"}, {"key": DEV}, {"key_hash": slow_hash("x"), "id": "x"})
    (warning,) = [each for each in logs if each["log_level"] == "warning"]
    assert warning["keys"] == 2
    assert warning["fix"] == f"mcp-gateway keys hash {path}"


async def test_hashed_in_place_they_are_the_same_principals(load: Load, path: Path) -> None:
    keys = load({"key": "chosen"}, {"key": OWN})
    before = [await keys.authenticate(key) for key in ("chosen", OWN)]
    key_edit.hash_in_place(path)
    await keys.reload()
    assert [await keys.authenticate(key) for key in ("chosen", OWN)] == before


# --- Keys that everybody knows ------------------------------------------------------------------------------------

ELSEWHERE: list[dict[str, Any]] = [
    {"environment": "production"},
    {"environment": "Development"},
    {"environment": ""},
    {"loopback": False},
]


async def test_a_dev_key_is_good_at_home(load: Load) -> None:
    assert await recognises(load({"key": DEV}), DEV)


@pytest.mark.parametrize("where", ELSEWHERE, ids=str)
@pytest.mark.parametrize("entry", [{"key": DEV}, {"key_hash": f"sha256:{key_hashes.sha256(DEV).hex()}", "id": "x"}])
async def test_a_dev_key_does_not_load_elsewhere(load: Load, entry: dict[str, Any], where: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        load({"key": "fine"}, entry, **where)
    assert "api_keys.json: [1]: is a key that everybody knows" in error.value.message


@pytest.mark.parametrize("where", ELSEWHERE, ids=str)
async def test_a_dev_key_hidden_in_a_slow_hash_is_not_good_elsewhere(load: Load, where: dict[str, Any]) -> None:
    assert not await recognises(load({"key_hash": slow_hash(DEV), "id": "x"}, **where), DEV)


# --- A change of the file -----------------------------------------------------------------------------------------


async def test_a_revoked_key_is_dead_after_a_reload_and_the_app_is_told(path: Path) -> None:
    write(path)
    (alice, _), (bob, entry) = key_edit.create(path, "alice"), key_edit.create(path, "bob")
    gone: list[frozenset[str]] = []
    keys = ApiKeys(path, environment="production", loopback=False, on_revoked=gone.append)
    assert await recognises(keys, bob)

    key_edit.revoke(path, entry.id)
    await keys.reload()

    assert not await recognises(keys, bob)
    assert await recognises(keys, alice)
    assert gone == [frozenset({f"key:{entry.id}"})]


async def test_a_slowly_hashed_key_is_dead_too_though_its_hash_is_remembered(load: Load, path: Path) -> None:
    keys = load({"key_hash": slow_hash("chosen"), "id": "bob"}, {"key_hash": slow_hash("other"), "id": "eve"})
    assert await recognises(keys, "chosen")
    write(path, {"key_hash": slow_hash("other"), "id": "eve"})
    await keys.reload()
    assert not await recognises(keys, "chosen")


async def test_new_rights_and_new_keys_count_at_once(load: Load, path: Path) -> None:
    keys = load({"key": "one", "id": "one"})
    write(path, {"key": "one", "id": "one", "scopes": ["read"], "owner": "carol"}, {"key": "two", "id": "two"})
    await keys.reload()
    changed = await keys.authenticate("one")
    assert (changed.scopes, changed.owner) == (frozenset({"read"}), "carol")
    assert await recognises(keys, "two")


async def test_a_change_is_taken_in_once(load: Load, path: Path) -> None:
    keys = load({"key": "one"})
    write(path, {"key": "two"})
    with capture_logs() as logs:
        for _ in range(3):
            await keys.reload()
    assert [entry["event"] for entry in logs].count("API keys loaded") == 1


def spoil_json(path: Path) -> None:
    path.write_text("[{")


def spoil_entry(path: Path) -> None:
    write(path, {"key": "new"}, {"key": "x", "scopes": "all"})


def spoil_encoding(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize("spoil", [spoil_json, spoil_entry, spoil_encoding, Path.unlink])
async def test_a_bad_file_changes_nothing_and_is_logged_once(
    load: Load, path: Path, spoil: Callable[[Path], None]
) -> None:
    keys = load({"key": "old"})
    spoil(path)
    with capture_logs() as logs:
        for _ in range(3):
            await keys.reload()
    assert await recognises(keys, "old")
    assert not await recognises(keys, "new")
    (entry,) = logs
    assert entry["log_level"] == "error"
    assert str(path) in entry["reason"]

    write(path, {"key": "new"})
    await keys.reload()
    assert await recognises(keys, "new")
    assert not await recognises(keys, "old")


async def test_a_dev_key_does_not_come_in_by_a_reload(load: Load, path: Path) -> None:
    keys = load({"key": "old"}, environment="production")
    write(path, {"key": DEV})
    await keys.reload()
    assert await recognises(keys, "old")
    assert not await recognises(keys, DEV)


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def renamed_over(path: Path, text: str) -> None:
    other = path.with_name("other")
    other.write_text(text)
    other.replace(path)


def through_a_link(path: Path, text: str) -> None:
    """As mounted secrets change: the name stays a link, to something else."""
    target = path.with_name(f"version-{len(text)}-{hash(text)}")
    target.write_text(text)
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("change", [in_place, renamed_over, through_a_link])
async def test_the_file_is_followed_however_it_is_changed(
    load: Load, path: Path, change: Callable[[Path, str], None]
) -> None:
    keys = load({"key": "one"})
    async with anyio.create_task_group() as tg:
        tg.start_soon(keys.watch, 0.01)
        change(path, json.dumps([{"key": "two", "owner": "alice"}]))  # of the same length
        await wait_until(lambda: recognises(keys, "two"))
        assert not await recognises(keys, "one")
        tg.cancel_scope.cancel()


# --- What agents descend from -------------------------------------------------------------------------------------

AGENT = Principal("agent:1", "agent_token", scopes=frozenset({"read", "write"}), upstreams=frozenset({"a", "b"}))


@pytest.mark.parametrize(
    ("entry", "scopes", "upstreams"),
    [
        ({"scopes": ["read", "write", "admin"]}, {"read", "write"}, {"a", "b"}),
        ({"scopes": ["read"]}, {"read"}, {"a", "b"}),
        ({"allowed_upstreams": ["b", "c"]}, {"read", "write"}, {"b"}),
        ({"allowed_upstreams": ["c"]}, {"read", "write"}, set[str]()),
    ],
)
async def test_an_agent_has_no_more_than_its_key_has_now(
    load: Load, entry: dict[str, Any], scopes: set[str], upstreams: set[str]
) -> None:
    agent = await load({"key": "k", "id": "k"} | entry).bound(AGENT, "key:k")
    assert agent is not None
    assert (agent.id, agent.scopes, agent.upstreams) == (AGENT.id, scopes, upstreams)


async def test_who_has_another_key_under_the_same_id_is_told_apart(load: Load, path: Path) -> None:
    revoked: list[frozenset[str]] = []
    keys = load({"key": "one", "id": "k", "owner": "alice"}, on_revoked=revoked.append)
    before = await keys.authenticate("one")
    in_place(path, json.dumps([{"key": "one", "id": "k", "owner": "alice", "scopes": ["read", "write"]}]))
    await keys.reload()
    assert (await keys.authenticate("one")).key == before.key
    assert revoked == []
    in_place(path, json.dumps([{"key": "two", "id": "k", "owner": "alice"}]))
    await keys.reload()
    after = await keys.authenticate("two")
    assert (after.id, after.key != before.key) == ("key:k", True)
    assert revoked == [{"key:k"}], "what the old one has open ends"
    agent = await keys.bound(AGENT, "key:k")
    assert agent is not None
    assert agent.key == after.key


async def test_an_agent_ends_with_its_key_and_those_of_others_are_not_ours_to_judge(load: Load) -> None:
    keys = load({"key": "k", "id": "k"})
    assert await keys.bound(AGENT, "key:gone") is None
    assert await keys.bound(AGENT, "oauth:issuer|subject") is AGENT
