"""`client-config`: for each client its own form, and a command that starts this gateway and no other."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import yaml

from gateway import __version__
from gateway.access import key_edit
from gateway.cli.command_line import is_ephemeral, own_command
from gateway.cli.importer.clients import CLIENTS
from gateway.cli.importer.foreign import read_servers
from tests.cli.conftest import SECONDS, Invoke, Program, Write
from tests.interaction._gateway import child, http_gateway

COMMAND = ["/opt/my tools/mcp-gateway", "stdio", "-c", "/etc/servers.yaml"]


READERS = {"codex": tomllib.loads, "continue": yaml.safe_load}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_snippet_starts_this_gateway_on_that_file(client: str, invoke: Invoke, write: Write) -> None:
    path = write("servers: {}")
    result = invoke("client-config", client, "-c", "servers.yaml")
    assert result.exit_code == 0
    ((root, servers),) = READERS.get(client, json.loads)(result.stdout).items()
    roots = {"vscode": "servers", "codex": "mcp_servers", "opencode": "mcp", "zed": "context_servers"}
    assert root == roots.get(client, "mcpServers")
    entry = servers[0] if client == "continue" else servers["gateway"]
    command = entry["command"] if client == "opencode" else [entry["command"], *entry["args"]]
    assert Path(command[0]).is_absolute()
    assert command[-3:] == ["stdio", "-c", str(path)]
    assert CLIENTS[client].title in result.stderr


@pytest.mark.parametrize("client", [name for name, client in CLIENTS.items() if client.http])
def test_what_is_printed_is_read_by_import_as_what_it_means(client: str, invoke: Invoke, write: Write) -> None:
    """For a gateway elsewhere, with a key: import leaves out what is this gateway itself."""
    write("gateway: {auth: {enabled: true}}\nservers: {}")
    snippet = invoke("client-config", client, "--url", "https://gw.example/mcp", "--name", "far/away").stdout
    ending = {"codex": "toml", "continue": "yaml"}.get(client, "json")
    (server,) = read_servers(write(snippet, f"client.{ending}"))
    assert server.name == "far-away"
    assert server.fault == ""
    assert {key.lower(): value for key, value in server.values.pop("headers").items()} in (
        {"authorization": "Bearer YOUR_KEY"},
        {"x-api-key": "YOUR_KEY"},
    )
    assert server.values == {"url": "https://gw.example/mcp"}


def test_the_printed_command_really_does(program: Program, write: Write) -> None:
    write("servers: {}")
    entry = json.loads(program("client-config", "claude-desktop").stdout)["mcpServers"]["gateway"]
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    done = subprocess.run(
        [entry["command"], *entry["args"]],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd="/",
        check=True,
    )
    assert json.loads(done.stdout)["result"]["serverInfo"]["version"] == __version__


@pytest.mark.parametrize(
    ("client", "entry"),
    [
        ("claude-code", {"type": "http", "url": "http://127.0.0.1:9000/mcp"}),
        ("cursor", {"url": "http://127.0.0.1:9000/mcp"}),
        ("vscode", {"type": "http", "url": "http://127.0.0.1:9000/mcp"}),
        ("gemini", {"httpUrl": "http://127.0.0.1:9000/mcp"}),
    ],
)
def test_http_points_to_where_serve_listens(client: str, entry: dict[str, Any], invoke: Invoke, write: Write) -> None:
    write("gateway: {port: 9000}\nservers: {a: {command: '${SURELY_NOT_SET}'}}")
    result = invoke("client-config", client, "--http", "--name", "mine")
    (servers,) = json.loads(result.stdout).values()
    assert servers == {"mine": entry}
    assert "mcp-gateway serve" in result.stderr


def test_http_elsewhere_and_with_a_key(invoke: Invoke, write: Write) -> None:
    write("gateway: {auth: {enabled: true, api_keys_file: keys.json}}\nservers: {}")
    result = invoke("client-config", "claude-code", "--url", "https://gw.example/mcp")
    (servers,) = json.loads(result.stdout).values()
    assert servers["gateway"]["url"] == "https://gw.example/mcp"
    assert servers["gateway"]["headers"] == {"Authorization": "Bearer YOUR_KEY"}


def leaves(value: object) -> Iterator[tuple[str, Any]]:
    """What stands in a document that holds nothing else, by its innermost name."""
    members = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    for name, member in members.items():
        yield name, member
        yield from leaves(member)
    for item in cast("list[object]", value) if isinstance(value, list) else []:
        yield from leaves(item)


def test_what_is_printed_gets_in(invoke: Invoke, folder: Path) -> None:
    """With a key in its place, at a real gateway, for every client that can reach one."""
    key, _ = key_edit.create(folder / "keys.json", "alice")
    auth = {"enabled": True, "api_keys_file": "keys.json"}
    with http_gateway(folder, {"time": child("gateway.demo.time")}, auth=auth) as gateway:
        for client in [name for name, client in CLIENTS.items() if client.http]:
            printed = invoke("client-config", client, "--url", f"{gateway.base}/mcp", "-c", "servers.json").stdout
            assert "YOUR_KEY" in printed
            said = dict(leaves(READERS.get(client, json.loads)(printed.replace("YOUR_KEY", key))))
            answer = httpx2.post(
                next(said[name] for name in ("url", "httpUrl", "serverUrl") if name in said),
                json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
                headers={"Authorization": said["Authorization"]},
                timeout=30,
            )
            assert answer.status_code == 200, (client, answer.text)


def test_where_people_log_in_there_is_no_key_to_print(invoke: Invoke, write: Write) -> None:
    oauth = "oauth: {issuer: 'https://issuer.example', resource: 'https://gw.example/mcp'}"
    write(f"gateway: {{auth: {{enabled: true, {oauth}}}}}\nservers: {{}}")
    result = invoke("client-config", "cursor", "--url", "https://gw.example/mcp")
    assert json.loads(result.stdout) == {"mcpServers": {"gateway": {"url": "https://gw.example/mcp"}}}


def test_claude_desktop_does_not_know_http(invoke: Invoke, write: Write) -> None:
    write("servers: {}")
    for option in (["--http"], ["--url", "http://x/mcp"]):
        result = invoke("client-config", "claude-desktop", *option)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "starts stdio servers only" in result.stderr


def test_variables_that_a_desktop_does_not_have_are_named(invoke: Invoke, write: Write) -> None:
    write("servers: {a: {command: x, env: {A: '${NEEDED}', B: '${OPTIONAL:-}'}}}")
    said = " ".join(invoke("client-config", "cursor").stderr.split())
    assert "servers.yaml needs NEEDED, and" in said
    assert "OPTIONAL" not in said


def test_the_shipped_configuration_is_said_to_be_that(invoke: Invoke, folder: Path) -> None:
    result = invoke("client-config", "cursor")
    said = " ".join(result.stderr.split())
    assert f"write your own, {folder}/home/.config/mcp-gateway/servers.yaml" in said


@pytest.mark.parametrize(
    ("client", "command"),
    [
        ("claude-code", f"claude mcp add --scope user gw -- {shlex.join(COMMAND)}"),
        ("gemini", "gemini mcp add --scope user gw '/opt/my tools/mcp-gateway' -- stdio -c /etc/servers.yaml"),
        ("cursor", None),
        ("claude-desktop", None),
    ],
)
def test_the_command_that_adds_it(client: str, command: str | None) -> None:
    chosen = CLIENTS[client]
    assert chosen.adding("gw", chosen.stdio(COMMAND), "linux") == command


def test_the_commands_that_add_a_url_or_json() -> None:
    claude, code = CLIENTS["claude-code"], CLIENTS["vscode"]
    entry = claude.remote("http://x/mcp", {"Authorization": "Bearer K"})
    assert claude.adding("gw", entry, "linux") == (
        "claude mcp add --scope user --transport http gw http://x/mcp --header 'Authorization: Bearer K'"
    )
    words = shlex.split(code.adding("gw", code.stdio(COMMAND), "linux") or "")
    assert words[:2] == ["code", "--add-mcp"]
    assert json.loads(words[2]) == {"name": "gw", "type": "stdio", "command": COMMAND[0], "args": COMMAND[1:]}


@pytest.mark.parametrize(
    ("client", "platform", "path"),
    [
        ("claude-desktop", "darwin", "/h/Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", "C:\\A\\Claude\\claude_desktop_config.json"),
        ("claude-desktop", "linux", "/h/.config/Claude/claude_desktop_config.json"),
        ("claude-code", "darwin", "/h/.claude.json"),
        ("vscode", "darwin", "/h/Library/Application Support/Code/User/mcp.json"),
        ("cursor", "win32", "C:\\U\\.cursor\\mcp.json"),
        ("gemini", "freebsd14", "/h/.gemini/settings.json"),
    ],
)
def test_where_it_belongs(client: str, platform: str, path: str) -> None:
    environ = {"HOME": "/h", "APPDATA": "C:\\A", "USERPROFILE": "C:\\U"}
    assert CLIENTS[client].file(platform, environ) == path


def test_our_own_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = folder / "bin" / "mcp-gateway"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    python = str(folder / "python")
    assert own_command(str(script), python) == [str(script)]
    assert own_command("bin/mcp-gateway", python) == [str(script)]
    assert own_command("/x/gateway/__main__.py", str(script.with_name("python"))) == [str(script)]
    assert own_command("/x/gateway/__main__.py", python) == [python, "-P", "-m", "gateway"]
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    assert own_command("mcp-gateway", python) == [str(script)]
    assert own_command("pytest", python) == [python, "-P", "-m", "gateway"]


def test_environments_in_a_cache_are_recognised(folder: Path) -> None:
    assert is_ephemeral(str(folder / ".cache/uv/archive-v0/abc/bin/mcp-gateway"))
    assert not is_ephemeral(str(folder / ".local/share/uv/tools/mcp-gateway/bin/mcp-gateway"))
    assert not is_ephemeral(sys.executable)
