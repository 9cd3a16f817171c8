"""`init`, `add` and `remove`: a servers.yaml that is written, extended and cut by commands, and runs at every step."""

import json
import signal
import sys
from pathlib import Path

import pytest

from gateway.cli.importer.insertion import CannotInsert
from gateway.cli.importer.removal import remove
from gateway.config.reading import envfile
from gateway.config.reading.loader import load
from tests.cli.conftest import Invoke, Program, Write
from tests.support import ROOT, alive, run_process, wait_until


def test_what_init_writes_runs_and_is_not_overwritten(program: Program, folder: Path) -> None:
    assert program("init").returncode == 0
    text = (folder / "servers.yaml").read_text()
    assert text.count("#") > 5
    assert "$schema" not in text
    assert {tool["name"] for tool in json.loads(program("tools", "--json", "time").stdout)} >= {"time__now"}
    refused = program("init")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert program("init", "--force").returncode == 0


def test_init_where_clients_look(invoke: Invoke, folder: Path) -> None:
    assert invoke("init", "--user").exit_code == 0
    assert (folder / "home/.config/mcp-gateway/servers.yaml").is_file()
    assert invoke("init", "other.yaml").exit_code == 0
    assert load(folder / "other.yaml", environ={}).enabled


def test_add_appends_a_program_that_runs(program: Program, folder: Path) -> None:
    program("init")
    before = (folder / "servers.yaml").read_text()
    done = program("add", "clock", "--lazy", "--", sys.executable, "-P", "-m", "gateway.demo.time")
    assert done.returncode == 0, done.stderr
    after = (folder / "servers.yaml").read_text()
    assert all(line in after.splitlines() for line in before.splitlines())
    assert {tool["name"] for tool in json.loads(program("tools", "--json", "clock").stdout)} >= {"clock__now"}


def test_add_a_url_keeps_the_secret_out_of_the_file(invoke: Invoke, folder: Path) -> None:
    done = invoke(
        "add", "hub", "https://example.com/mcp", "-H", "Authorization: Bearer s3cret-of-mine", "--into", "s.yaml"
    )
    assert done.exit_code == 0, done.output
    assert "s3cret" not in (folder / "s.yaml").read_text() + done.output
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    server = load(folder / "s.yaml", environ={}).servers["hub"]
    assert (server.type, server.headers) == ("http", {"Authorization": "Bearer s3cret-of-mine"})
    invoke("add", "old", "https://example.com/sse", "--transport", "sse", "-c", "s.yaml")
    assert load(folder / "s.yaml", environ={}).servers["old"].type == "sse"


def test_add_an_api_by_its_document(invoke: Invoke, folder: Path) -> None:
    where = (folder / "apis", folder / "far")
    for each in where:
        each.mkdir()
        (each / "a.yaml").write_text("openapi: 3.1.0")
    (folder / "conf").mkdir()
    file = "conf/s.yaml"
    done = invoke("add", "near", "--openapi", "apis/a.yaml", "--url", "https://a.example/v1", "--into", "s.yaml")
    assert done.exit_code == 0, done.output
    assert "document" not in (folder / "s.yaml").read_text()
    assert "./apis/a.yaml" in (folder / "s.yaml").read_text()
    server = load(folder / "s.yaml", environ={}).servers["near"]
    assert server.url == "https://a.example/v1"
    assert server.openapi is not None
    assert server.openapi.path == folder / "apis/a.yaml"
    token = "Authorization: Bearer s3cret-of-mine"
    assert invoke("add", "far", "--openapi", "far/a.yaml", "-H", token, "--into", file).exit_code == 0
    assert invoke("add", "web", "--openapi", "https://a.example/openapi.json", "--lazy", "--into", file).exit_code == 0
    servers = load(folder / file, environ={}).servers
    far, web = servers["far"].openapi, servers["web"].openapi
    assert far is not None
    assert far.path == folder / "far/a.yaml"
    assert far.use_servers
    assert web is not None
    assert web.document == "https://a.example/openapi.json"
    assert "s3cret" not in (folder / file).read_text()
    assert servers["web"].lazy


def test_another_secret_of_the_same_name_gets_another(invoke: Invoke, folder: Path) -> None:
    for name, value in (("a", "one"), ("b", "two"), ("c", "one"), ("gateway", "three")):
        key = "GATEWAY_TOKEN" if name == "gateway" else "API_KEY"
        assert invoke("add", name, "-e", f"{key}={value}", "--into", "s.yaml", "--", "cat").exit_code == 0
    servers = load(folder / "s.yaml", environ={}).servers
    assert [servers[name].env["API_KEY"] for name in "abc"] == ["one", "two", "one"]
    assert servers["gateway"].env == {"GATEWAY_TOKEN": "three"}
    assert not [name for name in envfile.optional(folder / ".env")[0] if name.startswith("GATEWAY_")]


@pytest.mark.parametrize(
    "value", ["plain", "with space", "it's", 'a "b" c', "back\\", "x #y", " a ", "$HOME $X", "a\\'b\nc"]
)
def test_whatever_a_secret_consists_of(value: str, invoke: Invoke, folder: Path) -> None:
    (folder / ".env").write_text("BEFORE='there'")
    for name in ("a", "b"):
        invoke("add", name, "-e", f"{name.upper()}_TOKEN={value}", "--into", "s.yaml", "--", "cat")
    config = load(folder / "s.yaml", environ={})
    assert [config.servers[name].env for name in "ab"] == [{"A_TOKEN": value}, {"B_TOKEN": value}]
    assert envfile.optional(folder / ".env")[0]["BEFORE"] == "there"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "--", "y"), "has a server 'a' already"),
        (("a/b", "--", "y"), "must not be empty nor contain a slash"),
        (("n", "ftp://x", "-t", "http"), "must be a URL"),
        (("n", "https://x", "y"), "takes no arguments"),
        (("n", "-e", "NOVALUE", "--", "y"), "is not NAME=VALUE"),
        (("n", "--", "mcp-gateway"), "this is the gateway itself"),
        (("n",), "NAME --openapi DOCUMENT"),
        (("n", "https://x", "--url", "https://y"), "it goes with --openapi"),
        (("n", "https://x", "--openapi", "https://y"), "and no command, --env or --transport"),
        (("n", "--openapi", "gone.yaml"), "there is no file gone.yaml"),
        (("n", "--openapi", "https://"), "`document` must be a URL such as"),
    ],
)
def test_what_cannot_be_added(words: tuple[str, ...], said: str, invoke: Invoke, write: Write) -> None:
    path = write("servers:\n  a: {command: x}\n")
    done = invoke("add", *words)
    assert done.exit_code == 2
    assert said in done.output
    assert path.read_text() == "servers:\n  a: {command: x}\n"


def test_remove_leaves_all_else(invoke: Invoke, write: Write) -> None:
    path = write("""\
        # mine
        servers:
          a:
            command: x # of a
            # also of a

          # about b
          b: {command: y}

          c:
            args: [1,
              2]
            command: z
        gateway: {port: 1}
        """)
    assert invoke("remove", "c").exit_code == 0
    assert invoke("remove", "a").exit_code == 0
    assert path.read_text() == "# mine\nservers:\n\n  # about b\n  b: {command: y}\n\ngateway: {port: 1}\n"
    assert invoke("remove", "b").exit_code == 0
    assert path.read_text() == "# mine\nservers:\n\n  # about b\n\ngateway: {port: 1}\n"
    again = invoke("remove", "b")
    assert again.exit_code == 2
    assert "no server 'b'" in again.output


@pytest.mark.parametrize(
    "text",
    [
        "servers: {a: {command: x}, b: {command: y}}",
        '{"servers": {"a": {"command": "x"}}}',
        "servers:\n  a: &x\n    command: x\n  b: *x\n",
    ],
)
def test_what_cannot_be_cut_is_left(text: str) -> None:
    name = "f.json" if text.startswith("{") else "f.yaml"
    with pytest.raises(CannotInsert):
        remove(text, name, "a")


def test_a_file_with_windows_line_ends_keeps_them() -> None:
    text = "servers:\r\n  a:\r\n    command: x\r\n  b:\r\n    command: y\r\n"
    assert remove(text, "f.yaml", "a") == "servers:\r\n  b:\r\n    command: y\r\n"
    assert remove(text, "f.yaml", "b") == "servers:\r\n  a:\r\n    command: x\r\n"


def test_what_import_writes_runs(program: Program, write: Write, folder: Path) -> None:
    entry = {
        "command": sys.executable,
        "args": ["-P", "-m", "gateway.demo.time"],
        "env": {"MY_TOKEN": "s3cret-of-mine", "PYTHONPATH": str(ROOT)},
    }
    write(json.dumps({"mcpServers": {"clock": entry}}), "client.json")
    done = program("import", "client.json", "--into", "servers.yaml")
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in (folder / "servers.yaml").read_text() + done.stdout
    assert program("check", "servers.yaml").returncode == 0
    assert {tool["name"] for tool in json.loads(program("tools", "--json").stdout)} >= {"clock__now"}


def test_options_before_a_verb_hold_for_it(invoke: Invoke, write: Write) -> None:
    write("servers: {a: {command: x}}", "other.yaml")
    for words in ("-c other.yaml check", "check other.yaml", "check -c other.yaml"):
        assert "other.yaml is valid" in invoke(*words.split()).output
    keys = write("gateway: {auth: {api_keys_file: k.json}}\nservers: {}", "keys.yaml")
    write("[]", "k.json")
    assert invoke("-c", str(keys), "keys", "list").exit_code == 0


def test_help_and_version(invoke: Invoke) -> None:
    for words in (["-V"], ["--version"], ["version"]):
        assert invoke(*words).output.startswith("mcp-gateway, version ")
    assert invoke("help").output == invoke("--help").output
    assert invoke("help", "keys", "create").output == invoke("keys", "create", "--help").output
    assert invoke("help", "nothing").exit_code == 2


def test_serve_takes_a_file_and_a_short_port(program: Program, write: Write) -> None:
    write("servers: {a: {command: x, prot: 1}}", "other.yaml")
    done = program("serve", "other.yaml", "-p", "0")
    assert done.returncode == 2
    assert "other.yaml:1: server 'a': prot: unknown key" in done.stderr


DEAF = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "tools/call":
        pathlib.Path("called").write_text(str(os.getpid()))
        time.sleep(600)
    known = {
        "initialize": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "deaf", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "wait", "inputSchema": {"type": "object"}}]},
    }
    error = {"code": -32601, "message": "no"}
    if "id" in message:
        result = known.get(message["method"])
        answer = {"error": error} if result is None else {"result": result}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
"""


@pytest.mark.anyio
async def test_ctrl_c_ends_a_call_at_once_and_its_server_soon(write: Write, folder: Path) -> None:
    """The server ignores that it is asked to leave: nobody waits until it has."""
    write(DEAF, "deaf.py")
    write(f"servers: {{deaf: {{command: {sys.executable}, args: [deaf.py]}}}}")
    called = folder / "called"
    words = [sys.executable, "-m", "gateway", "call", "deaf__wait"]
    with run_process(words, cwd=folder, ready=lambda: called.exists() and bool(called.read_text())) as process:
        server = int(called.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert alive(server)
        await wait_until(lambda: not alive(server), timeout=30)
