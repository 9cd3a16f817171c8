"""`import`: from another client's file into servers.yaml, with nothing lost and no secret written."""

import json
from pathlib import Path

import pytest

from gateway.config import load
from tests.cli.conftest import Invoke, Program, Write
from tests.support import ROOT

CLIENT = {
    "mcpServers": {
        "hub": {
            "command": "docker",
            "args": ["run", "-i", "hub"],
            "env": {"HUB_TOKEN": "ghp_0123456789abcdef", "LOG": "1"},
        },
        "remote": {"type": "http", "url": "https://x.example/mcp", "headers": {"Authorization": "Bearer abc"}},
        "time": {"command": "uvx", "args": ["mcp-server-time"]},
        "gateway": {"command": "/opt/bin/mcp-gateway", "args": ["stdio"]},
    }
}


@pytest.fixture
def client(write: Write) -> Path:
    return write(json.dumps(CLIENT), "client.json")


@pytest.mark.usefixtures("client")
def test_into_the_shipped_file(program: Program, folder: Path) -> None:
    shipped = (ROOT / "servers.yaml").read_text("utf-8")
    target = folder / "servers.yaml"
    target.write_text(shipped, "utf-8")
    target.chmod(0o640)
    done = program("import", "client.json")
    assert (done.returncode, done.stderr) == (0, "")
    text = target.read_text("utf-8")
    assert set(shipped.splitlines()) <= set(text.splitlines())
    assert "ghp_" not in text
    assert "Bearer abc" not in text
    assert target.stat().st_mode & 0o777 == 0o640
    assert "2 servers added" in done.stdout
    assert "time: skipped: another server has that name" in done.stdout
    assert "gateway: skipped: is this gateway itself" in done.stdout
    assert "is yours alone to read: HUB_TOKEN, REMOTE_TOKEN." in done.stdout
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600

    config = load(target, environ={})
    assert list(config.servers) == ["time", "notes", "hub", "remote"]
    assert config.servers["hub"].env["HUB_TOKEN"].startswith("ghp_")
    assert config.servers["remote"].headers == {"Authorization": "Bearer abc"}
    assert load(target, environ={"HUB_TOKEN": "one"}).servers["hub"].env["HUB_TOKEN"] == "one"
    assert [path.name for path in folder.glob(".servers*")] == []

    again = program("import", "client.json")
    assert "Nothing to add" in again.stdout
    assert "hub: skipped: is there already, just so" in again.stdout
    assert target.read_text("utf-8") == text


@pytest.mark.usefixtures("client")
def test_a_dry_run_changes_nothing(invoke: Invoke, write: Write) -> None:
    before = "servers:\n  a: {command: x}\n"
    target = write(before)
    result = invoke("import", "client.json", "--dry-run")
    assert result.exit_code == 0
    assert "+  hub:" in result.stdout
    assert "   a: {command: x}" in result.stdout
    assert "ghp_" not in result.stdout
    assert "Nothing was changed." in result.stdout
    assert target.read_text() == before


@pytest.mark.usefixtures("client")
def test_a_taken_name_gets_a_number_if_asked_for(invoke: Invoke, write: Write) -> None:
    target = write("mcpServers:\n  time: {command: x}\n  time-2: {command: y}\n")
    result = invoke("import", "client.json", "--rename", "--keep-secrets")
    assert result.exit_code == 0
    servers = load(target).servers
    assert list(servers) == ["time", "time-2", "hub", "remote", "time-3"]
    assert servers["time-3"].args == ["mcp-server-time"]
    assert servers["hub"].env["HUB_TOKEN"] == "ghp_0123456789abcdef"
    assert "Set these variables" not in result.stdout


@pytest.mark.usefixtures("client")
def test_a_new_file_where_the_gateway_will_find_it(invoke: Invoke, folder: Path) -> None:
    result = invoke("import", "client.json", "--keep-secrets")
    assert result.exit_code == 0
    target = folder / "home/.config/mcp-gateway/servers.yaml"
    assert list(load(target).servers) == ["hub", "remote", "time"]
    assert target.stat().st_mode & 0o777 == 0o600
    assert json.loads(invoke("check", "--json").stdout)["file"] == str(target)


@pytest.mark.usefixtures("client")
def test_into_another_file_through_a_link(invoke: Invoke, write: Write, folder: Path) -> None:
    real = write("servers:\n", "dotfiles/mine.yaml")
    (folder / "link.yaml").symlink_to(real)
    assert invoke("import", "client.json", "--into", "link.yaml", "--keep-secrets").exit_code == 0
    assert (folder / "link.yaml").is_symlink()
    assert "hub" in load(real).servers


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("servers: {a: {command: x}}\n", "its `servers` is written in braces"),
        ("gateway: {prefix: none}\nservers:\n  a: {command: x}\n", "the gateway could not use the outcome"),
    ],
)
def test_a_file_without_room_is_left_as_it_is(invoke: Invoke, write: Write, before: str, reason: str) -> None:
    target = write(before)
    result = invoke("import", "client.json")
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "  hub:\n    command: docker\n" in result.stdout
    assert target.read_text() == before
    assert [path.name for path in target.parent.glob(".servers*")] == []


def test_servers_that_are_not_valid_are_left_out_and_told_of(invoke: Invoke, write: Write) -> None:
    write(json.dumps({"servers": {"good": {"command": "x"}, "bad": {"foo": 1}}}), "client.json")
    target = write("servers:\n")
    result = invoke("import", "client.json")
    assert result.exit_code == 1
    assert "bad: not added: needs `command`" in result.stdout
    assert list(load(target).servers) == ["good"]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "there is no such file"), ("{", "client.json:1:"), ('{"a": 1}', "no servers in it"), ("[]", "no servers")],
)
def test_unusable_input(invoke: Invoke, write: Write, text: str | None, said: str) -> None:
    if text is not None:
        write(text, "client.json")
    result = invoke("import", "client.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_client_by_its_name(invoke: Invoke, write: Write) -> None:
    write('{"mcpServers": {"mine": {"command": "x"}}}', "home/.cursor/mcp.json")
    target = write("servers:\n")
    assert invoke("import", "cursor").exit_code == 0
    assert list(load(target).servers) == ["mine"]


def test_variables_the_client_had_are_told_of(invoke: Invoke, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESENT", "x")
    servers = {"s": {"command": "x", "env": {"A": "${PRESENT}", "B": "${ABSENT}", "C": "${DEFAULTED:-}"}}}
    write(json.dumps({"mcpServers": servers}), "client.json")
    write("servers:\n")
    result = invoke("import", "client.json")
    assert "ABSENT  s: as before" in result.stdout
    assert "PRESENT " not in result.stdout
    assert "DEFAULTED " not in result.stdout
