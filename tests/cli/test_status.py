"""`mcp-gateway status` and `top`, against a gateway that runs."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.interaction._gateway import PATIENT, Gateway, child, http_gateway
from tests.interaction._http import fields
from tests.interaction._wire import request
from tests.support import ROOT, command, free_port, run_program

WIDE = {**os.environ, "COLUMNS": "140", "LINES": "45", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    folder = tmp_path_factory.mktemp("top")
    servers = {"up": child("tests.servers.everything"), "gone": {"command": "no-such-program-anywhere"}}
    with http_gateway(folder, servers, **PATIENT) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def traffic(served: Gateway) -> None:
    message = request("tools/call", {"name": "up__test_simple_text", "arguments": {}}, modern=True)
    for _ in range(3):
        httpx2.post(f"{served.base}/mcp", json=message, headers=fields(message), timeout=30).raise_for_status()


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return run_program(command("gateway", *args), env=WIDE)


def test_status_shows_what_there_is(served: Gateway) -> None:
    ended = run("status", "--url", served.base)
    assert ended.returncode == 1, "a server is in trouble"
    for text in ("● ready", "backing off", "up__test_simple_text", "anonymous", served.base, "not an executable"):
        assert text in ended.stdout
    status: dict[str, Any] = json.loads(run("status", "--url", served.base, "--json").stdout)
    assert [each["name"] for each in status["upstreams"]] == ["up", "gone"]
    assert status["upstreams"][0]["requests"] >= 3


def test_the_address_is_that_of_the_configuration(served: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "servers.yaml"
    file.write_text(f"gateway: {{port: {served.base.rpartition(':')[2]}}}\nservers: {{}}\n")
    assert json.loads(run("status", "-c", str(file), "--json").stdout)["requests"] >= 3


@pytest.mark.parametrize("verb", ["status", "top"])
def test_nobody_there_is_said(verb: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = run(verb, "--url", url)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith(f"mcp-gateway: {url} does not answer")
    assert "Traceback" not in ended.stderr


def test_top_prints_lines_for_programs(served: Gateway) -> None:
    ended = run("top", "--url", served.base, "--json", "-n", "2", "-i", "0.2")
    assert ended.returncode == 0
    assert [json.loads(line)["scope"] for line in ended.stdout.splitlines()] == ["all", "all"]


def test_top_takes_the_screen_and_gives_it_back_when_q_is_pressed(served: Gateway) -> None:
    ours, theirs = pty.openpty()
    args = command("gateway", "top", "--url", served.base, "-i", "0.2")
    env = {**WIDE, "TERM": "xterm"}
    with subprocess.Popen(args, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=env) as process:
        os.close(theirs)
        shown = b""
        while b"up__test_simple_text" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"q")
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # how Linux says that nobody has the other end any more
                break
            if not piece:
                break
            shown += piece
        assert process.wait(30) == 0
    os.close(ours)
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1
    assert b"\x1b[?25h" in shown, "the cursor is back"


def test_help_loads_nothing_of_weight() -> None:
    program = """
import sys
from gateway.cli import main
try:
    main(["top", "--help"])
except SystemExit:
    print({"rich", "httpx2", "pydantic"} & set(sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ended.stdout.endswith("set()\n")
