"""What the verbs make of `${file:…}`, `${keyring:…}` and `${command:…}`."""

import json
import os
from pathlib import Path

import pytest

from gateway.config import load
from tests.cli.conftest import Invoke, Program, Write, stdio

CANARY = "canary-4711-abcdef"


@pytest.fixture(autouse=True)
def give(folder: Path) -> Path:
    """A program that gives a secret, and notes that it was run."""
    path = folder / "give"
    path.write_text(f"#!/bin/sh\ntouch {folder}/was-run\necho {CANARY}\n")
    path.chmod(0o755)
    return folder / "was-run"


def test_check_runs_nothing_and_says_what_would_be_run(invoke: Invoke, write: Write, give: Path) -> None:
    write('servers: {hub: {url: "https://example.com", headers: {X: "${command:./give it}", Y: "${keyring:a/b}"}}}')
    result = invoke("check")
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    assert "server 'hub': headers.X: a gateway runs `./give it` for it; it was not run now" in said
    assert "server 'hub': headers.Y: a gateway asks the keyring for a/b; it was not asked now" in said
    warnings = json.loads(invoke("check", "--json").stdout)["warnings"]
    assert [(each["server"], each["field"]) for each in warnings] == [("hub", "headers.X"), ("hub", "headers.Y")]
    assert not give.exists()


def test_check_reads_files(invoke: Invoke, write: Write) -> None:
    write('servers: {hub: {url: "https://example.com", headers: {X: "${file:nowhere}"}}}')
    result = invoke("check")
    assert result.exit_code == 2
    assert "server 'hub': headers.X: there is no file nowhere; create it" in " ".join(result.output.split())


def test_client_config_runs_nothing_for_servers(invoke: Invoke, write: Write, give: Path) -> None:
    write('servers: {hub: {url: "https://example.com", headers: {X: "${command:./give it}"}}}')
    assert invoke("client-config", "cursor", "--http").exit_code == 0
    assert not give.exists()


def test_doctor_and_tools_run_it_and_show_it_nowhere(program: Program, write: Write, give: Path) -> None:
    """The server quotes what it was given where it can."""
    write(
        f"""\
        servers:
          fine: {stdio("gateway.demo.time")}
          quotes: {{command: /bin/sh, args: [-c, 'echo $0 >&2; exit 1', "${{command:./give}}"]}}
          lacks: {{command: "${{file:nowhere}}"}}
        """
    )
    done = program("doctor")
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "server 'lacks': command: there is no file nowhere" in said
    assert "create it, or correct the path" in said
    assert "lacks: was not tried" in said
    assert "TOOLS" in said, "the others were tried"
    assert "***" in said
    listed = program("tools")
    assert "fine__now" in listed.stdout
    assert "there is no file nowhere" in listed.stderr
    assert give.exists()
    assert CANARY not in done.stdout + done.stderr + listed.stdout + listed.stderr


FOREIGN = {
    "command": "${command:./give}",
    "args": ["${file:secret}", "$${command:./give}", "${NOPE:-${command:./give}}", "$${NOPE}{command:./give}"],
    "env": {"A": "${keyring:a/b}", "B": "${workspaceFolderBasename}"},
    "url": None,
}


@pytest.mark.parametrize("name", ["mcp.json", "${command:./give}/.vscode/mcp.json"])
def test_import_brings_text_and_nothing_that_runs(
    invoke: Invoke, write: Write, folder: Path, give: Path, name: str
) -> None:
    (folder / "secret").write_text(CANARY)
    write(json.dumps({"mcpServers": {"evil": FOREIGN, "fine": {"command": "true"}}}), name)
    write("servers: {}\n")
    result = invoke("import", name)
    assert result.exit_code == 0
    assert "${command:…} is left as text" in " ".join(result.output.split())
    path = folder / "servers.yaml"
    assert load(path).servers["evil"].disabled
    path.write_text(path.read_text().replace("disabled: true", "disabled: false"))
    evil = load(path, environ={**os.environ, "NOPE": ""}, strict=False).servers["evil"]
    assert evil.command == "${command:./give}"
    assert evil.args[:3] == ["${file:secret}", "$${command:./give}", "${command:./give}"]
    assert CANARY not in repr(evil) + repr(evil.env)
    assert not give.exists()
