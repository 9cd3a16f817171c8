"""`check`: valid or not, and what is odd about it, with file and line."""

import json
from pathlib import Path

import pytest

from gateway.catalogue import snapshot
from gateway.config import load
from gateway.upstream.listing import Listing
from tests.cli.conftest import Invoke, Write


def test_a_valid_file_is_shown_with_its_servers(invoke: Invoke, write: Write) -> None:
    path = write("""\
        servers:
          files: {command: npx, args: [-y, server-files], lazy: true}
          hub: {url: "https://example.com/mcp"}
          old: {url: "https://example.com/sse", type: sse, disabled: true}
        """)
    result = invoke("check")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0][1:] == [str(path), "is", "valid"]
    assert ["files", "stdio", "when", "called", "npx", "-y", "server-files"] in lines
    assert ["hub", "http", "at", "once", "https://example.com/mcp"] in lines
    assert ["old", "sse", "disabled", "https://example.com/sse"] in lines


def test_every_error_names_file_line_server_and_field(invoke: Invoke, write: Write) -> None:
    write("""\
        gateway: {port: eighty}
        servers:
          a: {command: "${SURELY_NOT_SET}"}
          "it's":
            comand: x
        """)
    result = invoke("check")
    assert result.exit_code == 2
    assert result.stdout == ""
    said = " ".join(result.stderr.split())
    assert "servers.yaml:1: gateway.port: must be a whole number, not 'eighty'" in said
    assert "servers.yaml:3: server 'a': command: the environment variable SURELY_NOT_SET is not set" in said
    assert "servers.yaml:5: server \"it's\": comand: unknown key; did you mean 'command'?" in said
    report = json.loads(invoke("check", "--json").stdout)
    assert report["valid"] is False
    placed = [(error["file"], error["line"], error.get("server"), error["field"]) for error in report["errors"]]
    assert placed == [
        ("servers.yaml", 1, None, "gateway.port"),
        ("servers.yaml", 3, "a", "command"),
        ("servers.yaml", 5, "it's", "comand"),
    ]


def test_a_missing_file_is_bad_usage(invoke: Invoke) -> None:
    result = invoke("check", "-c", "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml: there is no such file" in result.stderr


def test_without_a_file_the_shipped_one_is_used_and_named(invoke: Invoke) -> None:
    report = json.loads(invoke("check", "--json").stdout)
    assert report["demo"] is True
    assert [server["name"] for server in report["servers"]] == ["time", "notes"]


def test_secrets_are_not_shown(invoke: Invoke, write: Write) -> None:
    write('servers: {a: {url: "https://user:hunter22@example.com/mcp?api_key=hunter33"}}')
    result = invoke("check")
    assert "example.com" in result.stdout
    assert "hunter" not in result.output


@pytest.mark.parametrize(
    ("name", "tools", "line", "remark"),
    [
        ("my server", "", 2, "agents see its tools as my_server-"),
        ("x" * 33, "", 2, "agents see its tools as " + "x" * 25 + "-"),
        ("s", "rename: {a: what is it}", 4, "tools.rename.a: agents will see s__what_is_it;"),
        ("s", "rename: {a: " + "y" * 70 + "}", 4, "agents accept at most 64 letters"),
        ("s", "rename: {a: same, b: same}", 4, "tools.rename.b: agents will see s__same_"),
        ("s", "allow: []", 4, "tools.allow: is empty"),
        ("s", "{deny: [a], rename: {a: b}}", 4, "tools.rename.a: has no effect"),
        ("s", "describe: {zap: Zaps.}", 4, "tools.describe.zap: the server had no tool of that name when last seen"),
        ("s", 'deny: ["za*"]', 4, "tools.deny: 'za*': the server had no tool like that when last seen; it had a, b"),
    ],
)
def test_what_is_odd_about_names_and_rules(
    invoke: Invoke, write: Write, name: str, tools: str, line: int, remark: str
) -> None:
    path = write(
        f"servers:\n  {name}:\n    command: x\n    tools: {tools if tools[:1] == '{' else '{' + tools + '}'}\n"
    )
    _seen(path, name, "a", "b")
    result = invoke("check", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)["warnings"]
    assert any(each["line"] == line and remark in f"{each.get('field')}: {each['message']}" for each in found), found


def test_what_is_in_order_gives_no_remark(invoke: Invoke, write: Write) -> None:
    path = write("""\
        servers:
          s:
            command: x
            tools: {allow: ["a*"], deny: [b], rename: {a: c}, describe: {a: The first.}}
        """)
    _seen(path, "s", "a", "b")
    assert json.loads(invoke("check", "--json").stdout)["warnings"] == []


def test_what_another_server_of_that_name_had_does_not_count(invoke: Invoke, write: Write) -> None:
    _seen(write("servers: {s: {command: before}}"), "s", "a")
    write("servers: {s: {command: now, tools: {deny: [z]}}}")
    assert json.loads(invoke("check", "--json").stdout)["warnings"] == []


def test_who_shadows_whom(invoke: Invoke, write: Write) -> None:
    path = write("servers:\n  a: {command: x}\n  b:\n    command: y\n")
    config, listing = load(path), Listing(resources=({"uri": "f:1", "name": "r"},))
    stored = {
        name: snapshot.Stored(snapshot.fingerprint(server.model_dump(mode="json")), listing)
        for name, server in config.servers.items()
    }
    assert snapshot.save(config.gateway.state_dir / "catalogue.json", stored) is None
    (warning,) = json.loads(invoke("check", "--json").stdout)["warnings"]
    assert warning["line"] == 3
    assert "1 URI could be 'a''s too" in warning["message"]
    assert "f:1" in warning["message"]
    assert "'b+'" in warning["message"]


def _seen(path: Path, server: str, *tools: str) -> None:
    """Leave a snapshot behind, as a run of the gateway does."""
    config = load(path)
    listing = Listing(tools=tuple({"name": tool, "inputSchema": {"type": "object"}} for tool in tools))
    fingerprint = snapshot.fingerprint(config.servers[server].model_dump(mode="json"))
    target = config.gateway.state_dir / "catalogue.json"
    assert snapshot.save(target, {server: snapshot.Stored(fingerprint, listing)}) is None
