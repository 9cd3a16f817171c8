"""`mcp-gateway keys`: the key on stdout, once; everything else where it does not get into a pipe."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.access.api_keys import ApiKeys
from gateway.access.key_hashes import OWN_KEY
from gateway.access.signing_key import SigningKeys
from gateway.cli import cli
from gateway.config import GatewaySettings

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(tmp_path)
    for name in ("GATEWAY_API_KEYS_FILE", "GATEWAY_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def run(*args: str) -> Result:
        return CliRunner().invoke(cli, ["keys", *args], prog_name="mcp-gateway")

    return run


FILE = ("--file", "keys.json")


def test_create_prints_the_key_alone(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke(
        "create", *FILE, "--owner", "alice", "--upstream", "a", "--upstream", "b", "--rpm", "5", "--scope", "read"
    )
    assert done.exit_code == 0
    assert OWN_KEY.fullmatch(done.stdout.removesuffix("\n"))
    assert "read on a b, 5 requests a minute" in done.stderr
    assert done.stdout.strip() not in done.stderr
    (entry,) = json.loads((tmp_path / "keys.json").read_text())
    assert entry.pop("key_hash").startswith("sha256:")
    del entry["id"]
    assert entry == {"owner": "alice", "allowed_upstreams": ["a", "b"], "rate_limit_rpm": 5, "scopes": ["read"]}


@pytest.mark.anyio
async def test_from_creation_to_revocation(invoke: Invoke, tmp_path: Path) -> None:
    key = invoke("create", *FILE, "--owner", "alice").stdout.strip()
    keys = ApiKeys(tmp_path / "keys.json", environment="production", loopback=False)
    principal = await keys.authenticate(key)
    id = principal.id.removeprefix("key:")

    (listed,) = json.loads(invoke("list", *FILE, "--json").stdout)
    assert listed == {
        "id": id,
        "owner": "alice",
        "allowed_upstreams": [],
        "profiles": None,
        "rate_limit_rpm": None,
        "scopes": ["read", "write"],
        "kept_as": "sha256",
    }
    assert invoke("revoke", *FILE, id).exit_code == 0
    assert json.loads(invoke("list", *FILE, "--json").stdout) == []


def test_list_is_a_table_without_keys(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('[{"key": "cAnArY", "owner": "bob", "id": "bees", "rate_limit_rpm": -1}]')
    done = invoke("list", *FILE)
    header, row = done.stdout.splitlines()
    assert header.split() == ["ID", "OWNER", "RPM", "SCOPES", "UPSTREAMS", "KEPT", "AS"]
    assert row.split() == ["bees", "bob", "unlimited", "read", "write", "all", "upstreams", "plain", "text"]
    assert "mcp-gateway keys hash keys.json" in done.stderr
    assert "cAnArY" not in done.output


@pytest.mark.parametrize("words", [["hash", "keys.json"], ["hash", *FILE]], ids=["named", "option"])
def test_hash(invoke: Invoke, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "keys.json").write_text(
        '[{"key": "cAnArY", "owner": "bob"}, {"key": "dev-key-alice-001", "owner": "alice"}]'
    )
    done = invoke(*words)
    assert done.exit_code == 0
    assert "1 key hashed in keys.json." in done.stderr
    assert "of alice, a key that everybody knows" in done.stderr
    assert done.stdout == ""
    assert "cAnArY" not in (tmp_path / "keys.json").read_text()
    assert "0 keys hashed" in invoke(*words).stderr


def test_the_file_is_the_configured_one(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "servers.yaml").write_text("gateway: {auth: {api_keys_file: here.json}}\nservers: {a: {command: x}}\n")
    assert invoke("create", "--owner", "alice").exit_code == 0
    assert (tmp_path / "here.json").exists()
    assert len(json.loads(invoke("list", "--json", "-c", "servers.yaml").stdout)) == 1


def test_rotate_changes_the_key_of_agent_tokens(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "servers.yaml").write_text("gateway: {state_dir: state}\nservers: {a: {command: x}}\n")
    path = tmp_path / "state" / "signing-key.json"
    first = SigningKeys.from_file(path).signing
    done = invoke("rotate")
    assert (done.exit_code, done.stdout) == (0, "")
    second, *accepted = SigningKeys.from_file(path).all
    assert [key.secret for key in accepted] == [first.secret]
    assert second.kid in done.stderr
    assert "until they expire" in done.stderr
    done = invoke("rotate", "--at-once")
    (only,) = SigningKeys.from_file(path).all
    assert only.secret not in (first.secret, second.secret)
    assert "register again" in done.stderr


def test_rotate_leaves_a_configured_key_to_the_configuration(invoke: Invoke, tmp_path: Path) -> None:
    tokens = "{agent_tokens: {signing_key: cAnArY-of-at-least-thirty-two-characters}}"
    (tmp_path / "servers.yaml").write_text(
        f"gateway: {{state_dir: state, auth: {tokens}}}\nservers: {{a: {{command: x}}}}\n"
    )
    done = invoke("rotate")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "previous_signing_key" in done.stderr
    assert "cAnArY" not in done.output
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["create", "--owner", "a"], "use --file, or set gateway.auth.api_keys_file"),
        (["create", "--file", "keys.json"], "--owner"),
        (["create", "--file", "keys.json", "--owner", "a", "--scope", "root"], "--scope"),
        (["create", "--file", "keys.json", "--owner", "a", "--rpm", "0"], "rate_limit_rpm: must be"),
        (["create", "--file", "bad.json", "--owner", "a"], "bad.json: [0].owner: is required"),
        (["list", "--file", "keys.json"], "keys.json: there is no such file"),
        (["revoke", "--file", "some.json", "alice"], "some.json: has no key 'alice'"),
        (["hash", "bad.json"], "bad.json: [0].owner: is required"),
    ],
)
def test_complaints_go_to_stderr_with_code_2(invoke: Invoke, tmp_path: Path, words: list[str], complaint: str) -> None:
    (tmp_path / "servers.yaml").write_text("servers: {a: {command: x}}\n")
    (tmp_path / "bad.json").write_text('[{"key": "x"}]')
    (tmp_path / "some.json").write_text("[]")
    done = invoke(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert not (tmp_path / "keys.json").exists()


def test_state_makes_a_key_that_a_gateway_takes(invoke: Invoke) -> None:
    first, second = invoke("state"), invoke("state")
    assert first.exit_code == 0
    assert first.stdout != second.stdout
    assert GatewaySettings(state_keys=[first.stdout.removesuffix("\n")], store="redis://localhost").store


@pytest.mark.anyio
async def test_a_key_is_bound_to_profiles(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("create", *FILE, "--owner", "bots", "--profile", "support", "--profile", "sales")
    assert "profiles sales support" in done.stderr
    keys = ApiKeys(tmp_path / "keys.json", environment="production", loopback=False)
    assert (await keys.authenticate(done.stdout.strip())).profiles == {"support", "sales"}
    (listed,) = json.loads(invoke("list", *FILE, "--json").stdout)
    assert listed["profiles"] == ["sales", "support"]
    for wrong in ("[]", '"support"', "[1]"):
        (tmp_path / "keys.json").write_text(f'[{{"key": "cAnArY", "owner": "bob", "id": "bees", "profiles": {wrong}}}]')
        refused = invoke("list", *FILE)
        assert refused.exit_code == 2
        assert "[0].profiles: must be a list of profiles" in refused.stderr
