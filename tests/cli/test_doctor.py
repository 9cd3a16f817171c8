"""`doctor`: every finding with its remedy, and nothing found where nothing is wrong."""

import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gateway.cli.doctor import examine
from gateway.cli.doctor.contact import ServerContact
from gateway.cli.doctor.findings import Finding
from gateway.cli.doctor.lenient import read_leniently, references
from gateway.cli.doctor.listener import PortOwner, listener_on
from gateway.cli.doctor.probe import ServerProbe
from gateway.cli.doctor.remedies import explain
from gateway.config.models import GatewaySettings, ServerConfig
from gateway.config.reading.source import parse
from tests.cli.conftest import Program, Write, stdio
from tests.support import free_port, http_server


def test_nothing_is_wrong(program: Program, write: Write) -> None:
    write(f"""\
gateway: {{port: {free_port()}}}
servers:
  time: {stdio("gateway.demo.time")}
  old: {stdio("tests.servers.raw", "--era", "handshake")}
""")
    done = program("doctor", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True)
    assert {finding["kind"] for finding in report["findings"]} == {"ok"}
    time, old = report["servers"]
    assert (time["name"], time["state"], time["era"], time["protocol"]) == ("time", "ready", "modern", "2026-07-28")
    assert (old["era"], old["protocol"], old["implementation"]) == ("handshake", "2025-11-25", "raw 1")
    assert time["tools"] == 2
    assert 0 < time["latency_ms"] < time["started_ms"]

    write(f"gateway: {{port: {free_port()}}}\nservers:\n  raw: {stdio('tests.servers.raw')}\n")
    done = program("doctor")
    assert done.stdout.endswith("Nothing is wrong.\n")
    assert "2026-07-28 (modern)" in done.stdout


def test_who_shadows_whom_is_a_note(program: Program, write: Write) -> None:
    offers = [{"uri": "f:1", "name": "one"}, {"uri": "f:2", "name": "two"}, {"uri": "g:1", "name": "own"}]
    first = write(json.dumps([{"uriTemplate": "f:{number}", "name": "any"}]), "first.json")
    second = write(json.dumps(offers), "second.json")
    write(f"""\
gateway: {{port: {free_port()}}}
servers:
  first: {stdio("tests.servers.turncoat", str(first))}
  second: {stdio("tests.servers.turncoat", str(second))}
""")
    done = program("doctor", "--json")
    assert done.returncode == 0, "that is no problem"
    (note,) = [each for each in json.loads(done.stdout)["findings"] if each["kind"] != "ok"]
    assert (note["kind"], note["server"]) == ("note", "second")
    assert "2 URIs could be 'first''s too" in note["text"]
    assert "(f:1, f:2)" in note["text"]
    assert "'second+' in front" in note["text"]


def test_each_finding_has_its_remedy_and_the_rest_is_tried(program: Program, write: Write) -> None:
    with http_server("tests.servers.bad", "--post", "405") as legacy, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write(f"""\
gateway: {{port: {taken.getsockname()[1]}}}
servers:
  time: {stdio("gateway.demo.time")}
  hub: {{url: "https://example.com", headers: {{Authorization: "Bearer ${{HUB_TOKEN}}"}}}}
  files: {{command: npx, env: {{PATH: /nowhere}}}}
  elsewhere: {{command: "{sys.executable}", cwd: /no/such/folder}}
  crashing: {{command: "{sys.executable}", args: [-c, "import surely_no_such_module"]}}
  closed: {{url: "http://127.0.0.1:{free_port()}/mcp"}}
  legacy: {{url: "{legacy}"}}
""")
        done = program("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert {server["name"]: server["state"] for server in report["servers"]} == {
        "time": "ready",
        "crashing": "failed",
        "closed": "failed",
        "legacy": "ready",
    }
    problems = [finding for finding in report["findings"] if finding["kind"] == "problem"]
    assert all(problem["remedy"] for problem in problems)
    about = {problem.get("server", problem["about"]): problem for problem in problems}
    assert "HUB_TOKEN is not set; it is used in servers.yaml:4" in about["configuration"]["text"]
    assert "HUB_TOKEN=…" in about["configuration"]["remedy"]
    assert "Node.js" in about["files"]["remedy"]
    assert "/no/such/folder does not exist" in about["elsewhere"]["text"]
    assert "No module named 'surely_no_such_module'" in about["crashing"]["stderr"][-1]
    assert "import surely_no_such_module" in about["crashing"]["remedy"]
    assert "nothing listens on 127.0.0.1" in about["closed"]["remedy"]
    assert f"process {os.getpid()}" in about["gateway"]["text"]
    assert {
        "kind": "note",
        "server": "hub",
        "about": "servers",
        "text": "was not tried: it lacks a variable",
    } in report["findings"]


def test_a_configuration_beyond_use_is_a_finding(program: Program, write: Write) -> None:
    write("servers: {a: {comand: x}}")
    done = program("doctor")
    assert done.returncode == 1
    assert "servers.yaml:1: server 'a': comand: unknown key" in done.stdout
    assert "port 8080" in done.stdout


# --- Its parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "text", "remedy"),
    [
        ({"command": "npx"}, "no program 'npx' on PATH", "Node.js"),
        ({"command": "uvx"}, "no program 'uvx' on PATH", "install uv"),
        ({"command": "docker"}, "no program 'docker'", "Docker"),
        ({"command": "python"}, "no program 'python'", "${GATEWAY_PYTHON}"),
        ({"command": "my-own"}, "no program 'my-own'", "give its full path"),
        ({"command": "/no/such/thing"}, "no program /no/such/thing", "correct `command`"),
        ({"command": "./plain"}, "./plain is not executable", "chmod +x ./plain"),
    ],
)
def test_programs_that_cannot_be_started(folder: Path, entry: dict[str, Any], text: str, remedy: str) -> None:
    (folder / "plain").write_text("")
    server = ServerConfig.model_validate({**entry, "env": {"PATH": "/nowhere"}})
    (finding,) = examine.program("s", server)
    assert (finding.kind, finding.server) == ("problem", "s")
    assert text in finding.text
    assert remedy in finding.remedy


def test_a_port_that_is_taken_names_who_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = examine.port(GatewaySettings(port=port))
        assert finding.kind == "problem"
        assert f"port {port} on 127.0.0.1 is taken by process {os.getpid()}" in finding.text
        assert "--port" in finding.remedy
    assert examine.port(GatewaySettings(port=port)).kind == "ok"
    assert examine.port(GatewaySettings(port=0)).kind == "ok"
    assert listener_on(port) is None


@pytest.mark.parametrize(
    ("words", "is_gateway"),
    [
        (("/usr/bin/python3", "/home/a/.local/bin/mcp-gateway", "serve"), True),
        (("mcp-gateway",), True),
        ((r"C:\tools\mcp-gateway.exe", "serve"), True),
        (("python", "-P", "-m", "gateway", "serve"), True),
        (("/home/a/mcp-gateway/.venv/bin/python", "/home/a/mcp-gateway/server.py"), False),
        (("python", "-m", "gateway_of_others"), False),
        (("tail", "-f", "mcp-gateway.log"), False),
        (("grep", "-r", "mcp-gateway"), False),
    ],
)
def test_a_gateway_is_known_by_its_program(words: tuple[str, ...], is_gateway: bool) -> None:
    assert PortOwner(1, words).is_gateway is is_gateway


def test_an_address_of_another_machine() -> None:
    settings = GatewaySettings().model_copy(update={"host": "192.0.2.1"})
    assert "no address of this machine" in examine.port(settings).text


def test_the_state_directory(folder: Path) -> None:
    (finding,) = examine.state(folder / "a" / "b")
    assert finding.kind == "ok"
    assert not (folder / "a").exists()
    (folder / "file").write_text("")
    (finding,) = examine.state(folder / "file" / "b")
    assert (finding.kind, "is a file" in finding.text) == ("problem", True)
    (folder / "catalogue.json").write_text("{}")
    fine, note = examine.state(folder)
    assert (fine.kind, note.kind) == ("ok", "note")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("answered with something that is not MCP: HTTP status 401", "credentials"),
        ("answered with something that is not MCP: HTTP status 404", "/mcp"),
        ("answered with something that is not MCP: HTTP status 429", "later"),
        ("answered with something that is not MCP: HTTP status 502", "in trouble"),
    ],
)
async def test_remedies_by_http_status(reason: str, remedy: str) -> None:
    assert remedy in (await _explained({"url": "http://127.0.0.1:9/mcp"}, reason)).remedy


@pytest.mark.anyio
async def test_remedies_by_what_the_network_says() -> None:
    with http_server("tests.servers.bad") as url:
        assert "check the path" in (await _explained({"url": url}, "no")).remedy
        assert (
            "http:// rather than https://" in (await _explained({"url": url.replace("http:", "https:")}, "no")).remedy
        )
    assert "nothing listens" in (await _explained({"url": f"http://127.0.0.1:{free_port()}/mcp"}, "no")).remedy
    assert "host name 'nowhere.invalid'" in (await _explained({"url": "http://nowhere.invalid/mcp"}, "no")).remedy


@pytest.mark.anyio
async def test_a_program_is_to_be_started_by_hand() -> None:
    entry = {"command": "run me", "args": ["a b"], "cwd": "/some where", "env": {"KEY": "secret"}}
    finding = await _explained(entry, "did not answer initialize within 30 s")
    assert "cd '/some where' && 'run me' 'a b'" in finding.remedy
    assert "with KEY set" in finding.remedy
    assert "connect_timeout" in finding.remedy
    assert "secret" not in finding.remedy


async def _explained(entry: dict[str, Any], reason: str) -> Finding:
    return await explain(
        "s", ServerConfig.model_validate(entry), ServerProbe(ServerContact(False, reason, 0.0), "failed"), [], 0.5
    )


def test_servers_that_lack_a_variable_are_set_aside(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("""\
        servers:
          whole: {command: "${PRESENT}"}
          url: {url: "${ABSENT}"}
          both: {command: x, env: {A: "${ABSENT}-${env:OTHER}", B: "${ALSO:-${PRESENT}}"}}
          off: {command: "${NEVER}", disabled: true}
          dotenv: {command: "${FROM_FILE}"}
        """)
    write("FROM_FILE=x\n", ".env")
    monkeypatch.setenv("PRESENT", "x")
    reading = read_leniently(path)
    assert reading.config is not None
    assert list(reading.config.servers) == ["whole", "off", "dotenv"]
    assert reading.set_aside == {"url", "both"}
    assert [finding.text.split()[3] for finding in reading.findings] == ["ABSENT", "OTHER"]
    assert f"used in {path}:3, {path}:4" in reading.findings[0].text


def test_other_errors_remain_errors(write: Write) -> None:
    reading = read_leniently(write("servers: {a: {command: '${ABSENT}'}, b: {url: 'ftp://x'}}"))
    assert reading.config is None
    assert "server 'b': url" in reading.refused
    assert any("ABSENT" in finding.text for finding in reading.findings)


def test_references_are_what_a_file_cannot_do_without() -> None:
    text = "servers: {a: {command: '${A}', args: ['${B:-x}', '${C:-${D}}', '$${E}', '${env:F}', '${GATEWAY_PYTHON}']}}"
    assert references(parse(text, "x.yaml")) == ["A", "D", "F"]


def test_what_a_refusal_and_a_talkative_program_said_is_shown(program: Program, write: Write) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(403)
            self.end_headers()
            self.wfile.write(b"Your plan has no \x1b[31mMCP")

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        Thread(target=refusing.serve_forever, daemon=True).start()
        chatty = f'{{command: "{sys.executable}", args: [-c, "print(\'Usage: x\')"]}}'
        write(f"""\
gateway: {{port: {free_port()}}}
servers:
  plan: {{url: "http://127.0.0.1:{refusing.server_address[1]}/mcp"}}
  chatty: {chatty}
""")
        report = json.loads(program("doctor", "--json").stdout)
        refusing.shutdown()
    said = {finding["server"]: finding.get("stderr", []) for finding in report["findings"] if "server" in finding}
    assert any("Your plan has no" in line and "\x1b" not in line for line in said["plan"])
    assert any("Usage: x" in line for line in said["chatty"])
