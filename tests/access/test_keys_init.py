"""`mcp-gateway keys init`: a first start has all it needs, and no later one changes it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.access.api_keys import ApiKeys
from gateway.access.key_hashes import OWN_KEY
from gateway.cli import cli
from gateway.config.reading import envfile
from gateway.config.reading.loader import load

Init = Callable[..., Result]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)

    def run(*args: str) -> Result:
        return CliRunner().invoke(cli, ["keys", "init", *args], prog_name="mcp-gateway")

    return run


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.anyio
async def test_first_start_makes_a_key_that_works(init: Init, tmp_path: Path) -> None:
    done = init("keys", "--owner", "ops")
    assert done.exit_code == 0, done.output
    key = done.stdout.strip()
    assert OWN_KEY.fullmatch(key)
    assert key not in done.stderr
    assert key.encode() not in b"".join(read(tmp_path / "keys").values())
    keys = ApiKeys(tmp_path / "keys" / "api_keys.json", environment="production", loopback=False)
    principal = keys.recognise(key)
    assert principal is not None
    assert (principal.owner, set(principal.scopes)) == ("ops", {"read", "write", "admin"})


def test_secrets_are_settings_that_only_the_owner_reads(init: Init, tmp_path: Path) -> None:
    assert init().exit_code == 0
    (tmp_path / "servers.yaml").write_text("servers: {}\n")
    settings = load(tmp_path / "servers.yaml", environ={}).gateway
    assert len(settings.state_keys) == 1
    assert settings.auth.agent_tokens.signing_key
    assert settings.auth.agent_tokens.signing_key not in settings.state_keys
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in (".env", "api_keys.json")} == {0o600}


def test_second_start_changes_nothing(init: Init, tmp_path: Path) -> None:
    init("keys")
    before = read(tmp_path / "keys")
    again = init("keys")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "Nothing to do" in again.stderr
    assert read(tmp_path / "keys") == before


def test_what_is_there_is_kept_and_what_is_missing_added(init: Init, tmp_path: Path) -> None:
    own = "# mine\nGATEWAY_STATE_KEYS=" + "k" * 40 + "\nOTHER=1"
    (tmp_path / ".env").write_text(own)
    (tmp_path / "api_keys.json").write_text("[]")
    done = init()
    assert (done.exit_code, done.stdout) == (0, "")
    text = (tmp_path / ".env").read_text()
    assert text.startswith(own + "\n")
    variables, _ = envfile.parse(text, ".env")
    assert list(variables) == ["GATEWAY_STATE_KEYS", "OTHER", "GATEWAY_AUTH__AGENT_TOKENS__SIGNING_KEY"]
    assert (tmp_path / "api_keys.json").read_text() == "[]"


def test_says_what_it_cannot_write(init: Init, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = init("file/keys")
    assert done.exit_code == 2
    assert "file/keys cannot be written" in done.stderr
