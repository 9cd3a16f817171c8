"""`tools`: what agents see, and what they do not see because it does not work. Real servers, the real program."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from gateway.cli.tools import summary, tokens
from gateway.config import load
from tests.cli.conftest import SECONDS, Program, Write, stdio
from tests.servers.raw import TOOLS
from tests.servers.wire import encode


def test_the_table_the_costs_and_the_failures(program: Program, write: Write) -> None:
    write(
        f"""\
servers:
  time: {stdio("gateway.demo.time")}
  broken: {{command: "{sys.executable}", args: [-c, "import os; exit('alas ' + os.environ['PASS'])"],
            env: {{PASS: hunter22}}}}
  ghost: {{command: surely-no-such-program}}
  shy: {stdio("tests.servers.bad", "--era", "handshake", "--on", "server/discover=exit")}
"""
    )
    done = program("tools")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["TOOL", "SERVER", "DESCRIPTION"]
    now = next(line for line in lines if line.startswith("time__now "))
    assert now.split(maxsplit=2)[1:] == ["time", "Tell the current date and time in a time zone."]
    assert any(" tools from 2 servers, about " in line and "an estimate" in line for line in lines)
    assert any(line.startswith("shy__ok ") for line in lines), "it leaves when probed, and deserves a second chance"
    assert "2 of 4 servers did not work:" in done.stderr
    assert "'surely-no-such-program' is not an executable on PATH" in done.stderr
    assert "alas ***" in done.stderr
    assert "hunter22" not in done.stderr


def test_json_is_the_raw_list_and_server_restricts_it(program: Program, write: Write) -> None:
    two = f"servers:\n  two: {stdio('tests.servers.raw')}\n"
    path = write(two + f"  one: {stdio('tests.servers.raw')}\n")
    everything = program("tools", "--json")
    assert everything.returncode == 0
    notes = everything.stderr.splitlines()
    assert len(notes) == 2
    assert all("suspicious text in " in note for note in notes), "the odd text has control characters, and no more"
    tools = json.loads(everything.stdout)
    expected = [
        {**tool, "name": f"{server}__{tool['name']}"} for server in ("one", "two") for tool in json.loads(encode(TOOLS))
    ]
    assert tools == sorted(expected, key=lambda tool: tool["name"])

    # Another server under that name is saved beside the first: nobody that was not asked is forgotten.
    snapshot = load(path).gateway.state_dir / "catalogue.json"
    before = json.loads(snapshot.read_text())["upstreams"]
    write(two + f"  one: {stdio('tests.servers.raw', '--era', 'handshake')}\n")
    some = program("tools", "--server", "one", "--json")
    assert json.loads(some.stdout) == [tool for tool in tools if tool["name"].startswith("one__")]
    after = json.loads(snapshot.read_text())["upstreams"]
    assert after["two"] == before["two"]
    assert after["one"] == before["one"]
    assert len(after) == 3


def test_a_server_nobody_configured_is_bad_usage(program: Program, write: Write) -> None:
    write("servers: {time: {command: x}, old: {command: y, disabled: true}}")
    done = program("tools", "--server", "tiem")
    assert done.returncode == 2
    assert "did you mean 'time'?" in done.stderr
    done = program("tools", "--server", "old")
    assert done.returncode == 2
    assert "'old' is disabled" in done.stderr


def test_on_a_terminal_no_line_is_wider_than_it(write: Write, folder: Path) -> None:
    write(f"servers:\n  time: {stdio('gateway.demo.time')}\n")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "gateway", "tools"]
    environ = {**os.environ, "COLUMNS": "50", "NO_COLOR": "1"}
    process = subprocess.Popen(words, stdout=theirs, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environ)
    os.close(theirs)
    written = b""
    try:
        while chunk := _read(ours):
            written += chunk
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        os.close(ours)
    table = written.decode().split("\r\n\r\n")[0].split("\r\n")
    assert len(table) == 3
    assert max(map(len, table)) == 50
    assert table[1].endswith("…")
    assert "\x1b" not in written.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux's way to say that the other side has closed the terminal
        return b""


def test_a_tool_is_summed_up_in_one_line() -> None:
    assert summary({"description": "\n  First.\nSecond.", "title": "T"}) == "First."
    assert summary({"description": " ", "title": "T"}) == "T"
    assert summary({"description": 3}) == ""


def test_tokens_are_a_quarter_of_the_bytes_that_models_see() -> None:
    tool = {"name": "n", "description": "d" * 400, "inputSchema": {"type": "object"}}
    assert tokens(tool) == round(len(json.dumps(tool, separators=(",", ":"))) / 4)
    assert tokens({**tool, "outputSchema": {"x": "y" * 4000}, "_meta": {}}) == tokens(tool)
