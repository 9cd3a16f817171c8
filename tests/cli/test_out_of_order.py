"""A server that lacks a variable is out of order, and says so; the others run."""

import json
import sys
from pathlib import Path

import pytest

from gateway.config.models import OutOfOrder
from gateway.config.reading.loader import load
from gateway.errors import ConfigError
from tests.cli.conftest import Invoke, Program, Write, stdio
from tests.cli.test_folders import ASK
from tests.interaction._http import post, request
from tests.support import free_port, listens, run_process

TEXT = f"""\
gateway: {{port: PORT}}
servers:
  time: {stdio("gateway.demo.time")}
  hub: {{url: "https://example.com/mcp", headers: {{Authorization: "Bearer ${{HUB_TOKEN}}"}}}}
"""
MISSING = "servers.yaml:4: server 'hub': headers.Authorization: the environment variable HUB_TOKEN is not set"


@pytest.fixture(autouse=True)
def patience(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first listing waits for what starts on a busy machine."""
    monkeypatch.setenv("GATEWAY_STARTUP_WAIT", "60s")


def test_the_others_are_served_and_its_state_says_why(write: Write, folder: Path) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    write(TEXT.replace("PORT", str(port)))
    with run_process([sys.executable, "-m", "gateway", "serve"], ready=lambda: listens(port), cwd=folder):
        status, answer = post(f"{base}/mcp", request("tools/list"))
        assert status == 200
        assert {tool["name"] for tool in answer["result"]["tools"]} >= {"time__now"}
        import httpx2

        state = httpx2.get(f"{base}/upstreams/hub").json()
    assert state["state"] == "out of order"
    assert "HUB_TOKEN is not set; set it" in state["last_error"]


def test_strict_does_not_start_and_check_fails(program: Program, invoke: Invoke, write: Write) -> None:
    write(TEXT.replace("PORT", "0"))
    for words in (
        ("serve", "--strict"),
        ("stdio", "-c", "servers.yaml", "--strict"),
        ("--strict", "-c", "servers.yaml"),
    ):
        done = program(*words)
        assert done.returncode == 2
        assert MISSING in done.stderr
    checked = invoke("check")
    assert checked.exit_code == 2
    assert MISSING in checked.output.replace("\n  ", " ")
    assert "the gateway starts without these servers" in checked.output


def test_tools_shows_the_others_and_says_what_is_lacking(program: Program, write: Write) -> None:
    write(TEXT.replace("PORT", "0"))
    done = program("tools")
    assert done.returncode == 1
    assert "time__now" in done.stdout
    assert "HUB_TOKEN is not set" in done.stderr


def test_stdio_serves_and_logs_it(program: Program, write: Write) -> None:
    write(TEXT.replace("PORT", "0"))
    done = program("-c", "servers.yaml", stdin=ASK)
    assert "time__now" in done.stdout
    assert "HUB_TOKEN is not set" in done.stderr


@pytest.mark.parametrize("entry", ["{command: x, env_file: nowhere.env}", "{command: '${X}'}", "{url: '${X}/mcp'}"])
def test_whatever_of_its_environment_it_lacks(entry: str, write: Write) -> None:
    path = write(f"servers: {{a: {entry}, b: {{command: y}}}}")
    config = load(path, environ={}, strict=False)
    assert [type(server).__name__ for server in config.enabled.values()] == ["OutOfOrder", "ServerConfig"]
    with pytest.raises(ConfigError):
        load(path, environ={})


def test_what_is_wrong_with_the_file_or_with_the_gateways_settings_stays_fatal(write: Write) -> None:
    for text in (
        "servers: {a: {comand: x}}",
        "gateway: {port: '${X}'}\nservers: {}",
        "servers: {a: {url: '${X}', timeout: soon}}",
    ):
        with pytest.raises(ConfigError):
            load(write(text), environ={}, strict=False)


def test_two_readings_of_one_file_are_equal(write: Write) -> None:
    """So a reload of a file that has not changed changes nothing."""
    path = write("servers: {a: {url: '${X}/mcp'}}")
    first, second = (load(path, environ={}, strict=False).servers["a"] for _ in range(2))
    assert isinstance(first, OutOfOrder)
    assert first == second
    assert first != load(path, environ={"X": "http://x"}, strict=False).servers["a"]


def test_dotenv_beside_the_file(write: Write, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    path = write("servers: {a: {command: '${X}'}}", "conf/servers.yaml")
    write("X=beside\nGATEWAY_PORT=7\nGATEWAY_API_KEYS_FILE=keys.json\n", "conf/.env")
    config = load(path, environ={})
    assert (config.servers["a"].command, config.gateway.port) == ("beside", 7)
    assert config.gateway.auth.api_keys_file == folder / "conf" / "keys.json"
    assert folder / "conf" / ".env" in config.files
    write("X=here\n", ".env")
    assert load(path, environ={}).servers["a"].command == "here"
    assert load(path, environ={"X": "set"}).servers["a"].command == "set"


def test_doctor_names_the_variable_once_and_tries_the_others(program: Program, write: Write) -> None:
    write(TEXT.replace("PORT", str(free_port())))
    report = json.loads(program("doctor", "--json").stdout)
    assert [each["name"] for each in report["servers"]] == ["time"]
    assert sum("HUB_TOKEN" in finding["text"] for finding in report["findings"]) == 1
