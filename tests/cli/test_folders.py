"""Clients start the gateway in whatever folder is open: what lies there starts nothing unless it is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import SECONDS, Program, Write, stdio

ASK = "".join(
    json.dumps({"jsonrpc": "2.0", **message}) + "\n"
    for message in (
        {
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        },
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
    )
)
OWN = f"servers: {{own: {stdio('gateway.demo.time')}}}"
CLONED = f"servers: {{cloned: {stdio('gateway.demo.notes')}}}"


@pytest.fixture(autouse=True)
def patience(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first listing waits for what starts on a busy machine."""
    monkeypatch.setenv("GATEWAY_STARTUP_WAIT", "60s")


@pytest.fixture
def home(write: Write) -> Path:
    """The user's own configuration."""
    return write(OWN, "home/.config/mcp-gateway/servers.yaml")


def _servers(done: "subprocess.CompletedProcess[str]") -> set[str]:
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    listing = next(answer for answer in answers if answer.get("id") == 2)
    return {tool["name"].partition("__")[0] for tool in listing["result"]["tools"]}


@pytest.mark.parametrize("verb", [(), ("stdio",), ("--log-level", "info")], ids=" ".join)
def test_the_users_own_is_used_and_the_log_says_what_was_passed_over(
    verb: tuple[str, ...], program: Program, write: Write, home: Path
) -> None:
    cloned = write(CLONED)
    done = program(*verb, stdin=ASK)
    assert _servers(done) == {"own"}
    assert "passed over" in done.stderr
    assert str(cloned) in done.stderr
    assert str(home) in done.stderr


def test_without_one_of_ones_own_it_is_the_shipped_one(program: Program, write: Write) -> None:
    write(CLONED)
    assert _servers(program("stdio", stdin=ASK)) == {"time", "notes"}


@pytest.mark.parametrize("name", ["GATEWAY_CONFIG", "GATEWAY_UPSTREAM_CONFIG_FILE", "GATEWAY_PYTHON"])
def test_nor_does_its_dotenv_name_anything(name: str, program: Program, write: Write, folder: Path) -> None:
    """Not even beside a configuration that is named and lies elsewhere."""
    own = write("servers: {own: {command: '${GATEWAY_PYTHON}', args: [-P, -m, gateway.demo.time]}}", "home/own.yaml")
    write(f"{name}={folder / 'evil.yaml'}\n", ".env")
    write(CLONED, "evil.yaml")
    done = program("-c", str(own), stdin=ASK)
    assert _servers(done) == {"own"}
    assert str(folder / ".env") in done.stderr


@pytest.mark.parametrize("how", [("-c", "servers.yaml"), ("stdio", "-c", "./servers.yaml"), ("stdio", "servers.yaml")])
def test_it_is_used_when_it_is_named(how: tuple[str, ...], program: Program, write: Write, home: Path) -> None:
    write(CLONED)
    done = program(*how, stdin=ASK)
    assert _servers(done) == {"cloned"}
    assert "passed over" not in done.stderr


def test_or_named_by_the_environment(
    program: Program, write: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(CLONED)
    monkeypatch.setenv("GATEWAY_CONFIG", "servers.yaml")
    assert _servers(program(stdin=ASK)) == {"cloned"}


def test_the_dotenv_beside_the_file_is_read(program: Program, write: Write) -> None:
    own = write("servers: {own: {command: '${PY}', args: [-P, -m, gateway.demo.time]}}", "home/own.yaml")
    write(f"PY={sys.executable}\n", "home/.env")
    assert _servers(program("-c", str(own), stdin=ASK)) == {"own"}


def test_who_types_a_verb_in_a_folder_means_that_folder(program: Program, write: Write, home: Path) -> None:
    write(CLONED)
    names = {tool["name"].partition("__")[0] for tool in json.loads(program("tools", "--json").stdout)}
    assert names == {"cloned"}


def test_a_package_in_the_folder_is_not_taken_for_ours(program: Program, write: Write, folder: Path) -> None:
    """`python -m` looks into the folder it is started in: what client-config prints does not."""
    write("raise SystemExit('not this one')", "gateway/__init__.py")
    write(OWN, "own.yaml")
    snippet = subprocess.run(
        [sys.executable, "-P", "-m", "gateway", "client-config", "cursor", "-c", "own.yaml"],
        capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    entry = json.loads(snippet.stdout)["mcpServers"]["gateway"]
    words = [entry["command"], *entry["args"]]
    assert Path(words[0]).is_absolute()
    assert Path(words[words.index("-c") + 1]) == folder / "own.yaml"
    done = subprocess.run(words, input=ASK, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert _servers(done) == {"own"}


def test_the_shipped_servers_are_not_looked_for_in_the_folder(program: Program, write: Write) -> None:
    write("raise SystemExit('not this one')", "gateway/demo/time.py")
    words = [sys.executable, "-P", "-m", "gateway"]
    done = subprocess.run(words, input=ASK, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert _servers(done) == {"time", "notes"}
