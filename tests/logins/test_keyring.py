"""Logins sealed with a key that is in the system's keyring: one of the tests' own, which is a file."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.logins.record import Login, RegisteredClient
from gateway.logins.vault import FileVault
from gateway.store import secret
from tests.interaction._gateway import http_gateway
from tests.logins.test_desk import Desk, automatic
from tests.support import command, http_server, run_program

BACKEND: Final = "tests.config.keyring_backend.Backend"
NONE: Final = "keyring.backends.fail.Keyring"
NULL: Final = "keyring.backends.null.Keyring"


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file; the keyring is locked while it is not there."""
    path = tmp_path / "keyring.json"
    path.write_text("{}")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", BACKEND)
    monkeypatch.setenv("TEST_KEYRING", str(path))
    return path


def write_config(folder: Path, **settings: Any) -> Path:
    path = folder / "servers.json"
    settings = {"state_dir": str(folder / "state"), "login_key": "keyring", **settings}
    path.write_text(json.dumps({"gateway": settings, "servers": {"notes": {"url": "http://127.0.0.1:9/mcp"}}}))
    return path


def login_of(name: str) -> Login:
    return Login(
        principal="",
        owner="somebody",
        server=name,
        url="https://a.example/mcp",
        issuer="https://a.example",
        resource="https://a.example/mcp",
        token_endpoint="https://a.example/token",
        registered=RegisteredClient("client"),
        access="access",
    )


def test_a_login_is_kept_under_a_key_of_the_keyring(tmp_path: Path, keyring: Path) -> None:
    with http_server("tests.servers.guarded") as url:
        servers = {"notes": {"url": url}}
        with http_gateway(tmp_path, servers, login_key="keyring") as gateway:
            here = Desk(tmp_path, gateway.base, url.removesuffix("/mcp"))
            assert here.log_in(automatic)[0] == 0
            here.until("ready")
            assert here.verb("call", "notes__who").returncode == 0
            (kept,) = json.loads(here.verb("logins", "--json").stdout)
            assert kept["server"] == "notes"
            ((name, key),) = json.loads(keyring.read_text()).items()
            assert name == f"mcp-gateway/logins in {tmp_path / 'state' / 'logins'}"
            for file in (path for path in (tmp_path / "state").rglob("*") if path.is_file()):
                assert key.encode() not in file.read_bytes()
        keyring.write_text("{}")  # another keyring: what was sealed with the key of the first does not open
        assert json.loads(here.verb("logins", "--json").stdout) == []


@pytest.mark.anyio
async def test_logins_of_before_open_still(tmp_path: Path, keyring: Path) -> None:
    state = tmp_path / "state"
    await FileVault(state / "logins", [secret.load(state / "state.key").hex()]).put(login_of("notes"))
    done = run_program(command("gateway", "logins", "--json", "-c", str(write_config(tmp_path))))
    assert [each["server"] for each in json.loads(done.stdout)] == ["notes"]
    assert "logins in" in keys_of(keyring)


def keys_of(keyring: Path) -> str:
    return " ".join(json.loads(keyring.read_text()))


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (NONE, "there is no keyring on this machine; set gateway.login_key to state"),
        (NULL, "the keyring does not keep what it is given"),
        (BACKEND, "the keyring is locked; unlock it"),
    ],
)
@pytest.mark.parametrize("verb", ["logins", "login notes --no-browser", "logout notes"])
def test_where_there_is_none_commands_say_so_first(
    tmp_path: Path, keyring: Path, monkeypatch: pytest.MonkeyPatch, backend: str, words: str, verb: str
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    keyring.unlink()
    done = run_program(command("gateway", *verb.split(), "-c", str(write_config(tmp_path))))
    assert done.returncode == 3
    assert done.stderr.startswith(f"mcp-gateway: Logins cannot be opened: {words}"), done.stderr


def test_a_gateway_waits_for_a_keyring_that_is_locked(tmp_path: Path, keyring: Path) -> None:
    with http_server("tests.servers.guarded") as url:
        servers = {"notes": {"url": url}}
        with http_gateway(tmp_path, servers, login_key="keyring") as gateway:
            here = Desk(tmp_path, gateway.base, url.removesuffix("/mcp"))
            assert here.log_in(automatic)[0] == 0
        locked = keyring.rename(tmp_path / "locked.json")
        with http_gateway(tmp_path, servers, login_key="keyring") as gateway:
            here = Desk(tmp_path, gateway.base, url.removesuffix("/mcp"))
            assert "the keyring is locked" in here.until("backing off")["reason"]
            locked.rename(keyring)
            here.until("ready")


def test_a_keyring_is_one_machines(tmp_path: Path) -> None:
    path = write_config(tmp_path, store="redis://127.0.0.1:1", state_keys=["k" * 32])
    done = run_program(command("gateway", "check", "-c", str(path)))
    assert done.returncode == 2
    assert "a keyring is one machine's" in done.stderr + done.stdout
