"""`call`: one tool, tried out. Real servers, the real program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.cli.call import near_names
from tests.cli.conftest import SECONDS, Program, Write, stdio
from tests.servers.raw import RESULT
from tests.servers.wire import encode
from tests.support import ROOT

EVERYTHING = f"servers:\n  ev: {stdio('tests.servers.everything')}\n"


@pytest.fixture
def everything(write: Write) -> Path:
    return write(EVERYTHING)


@pytest.mark.usefixtures("everything")
def test_text_goes_to_stdout_and_what_happens_meanwhile_to_stderr(program: Program) -> None:
    done = program("call", "ev__slow", "seconds=0.2", "steps=2")
    assert (done.returncode, done.stdout) == (0, "slept 0.2 s\n")
    assert done.stderr.splitlines() == ["progress 1/2 step 1 of 2", "progress 2/2 step 2 of 2"]

    done = program("call", "ev__test_logging_tool")
    assert done.stdout == "Logged.\n"
    assert done.stderr.splitlines() == ["warning everything: a doubt", "alert everything: a fright"]


def test_arguments_come_from_stdin_and_json_is_the_whole_result(program: Program, write: Write) -> None:
    write(f"servers:\n  raw: {stdio('tests.servers.raw')}\n")
    given = {"text": "grüße", "list": [1, None]}
    done = program("call", "raw__echo", "-", "--json", stdin=json.dumps(given))
    assert json.loads(done.stdout)["structuredContent"] == given
    done = program("call", "raw__raw", "--json")
    result = json.loads(done.stdout)
    expected = json.loads(encode(RESULT))
    assert {key: result[key] for key in expected if key != "_meta"} == {
        key: value for key, value in expected.items() if key != "_meta"
    }
    assert "0.1234567890123456789" in done.stdout
    done = program("call", "raw__refuse", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].keys() >= {"code", "message"}


@pytest.mark.usefixtures("everything")
def test_a_tool_that_reports_an_error_fails_on_stderr(program: Program) -> None:
    done = program("call", "ev__test_error_handling")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "This tool intentionally returns an error for testing\n"


def test_an_unknown_tool_is_bad_usage_and_near_names_are_suggested(program: Program, write: Write) -> None:
    write(f"servers:\n  time: {stdio('gateway.demo.time')}\n")
    done = program("call", "now")
    assert done.returncode == 2
    assert "there is no tool 'now'; did you mean time__now?" in done.stderr

    done = program("call", "time__now", "nonsense")
    assert done.returncode == 2
    assert "'nonsense' is neither key=value nor a JSON object" in done.stderr

    done = program("call", "time__convert", "time=12:30")
    assert done.returncode == 1
    assert "time__convert needs source_timezone (string), target_timezone (string)" in done.stderr


def test_an_unknown_tool_may_be_that_of_a_server_that_does_not_work(program: Program, write: Write) -> None:
    write("servers: {gone: {command: surely-no-such-program}}")
    done = program("call", "gone__tool")
    assert done.returncode == 1
    assert "server 'gone' did not work: 'surely-no-such-program' is not an executable on PATH" in done.stderr


def test_only_the_owner_is_started_once_the_snapshot_knows_it(program: Program, write: Write, folder: Path) -> None:
    started = folder / "started"
    server = "import runpy; runpy.run_module('tests.servers.raw', None, '__main__')"
    script = f"open({str(started)!r}, 'a').write('.'); {server}"
    other = json.dumps({"command": sys.executable, "args": ["-c", script], "cwd": str(ROOT)})
    write(f"servers:\n  raw: {stdio('tests.servers.raw')}\n  other: {other}\n")
    assert program("call", "raw__echo").returncode == 0
    starts = started.read_text()
    assert program("call", "raw__echo").returncode == 0
    assert started.read_text() == starts
    assert program("call", "other__echo").returncode == 0
    assert started.read_text() != starts


@pytest.mark.usefixtures("everything")
def test_an_interrupted_call_ends_with_130(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "call", "ev__slow", "seconds=60", "steps=600"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"progress 1/600")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert b"Traceback" not in said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


_IN_THE_MIDDLE_OF_A_WRITE = """
import io, os, signal, sys
from gateway.cli.common import run_once

class Interrupted(io.RawIOBase):
    def writable(self): return True
    def write(self, data):
        os.kill(os.getpid(), signal.SIGINT)
        return len(data)

async def main():
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(Interrupted()))
    try:
        sys.stderr.write("progress")
        sys.stderr.flush()
    except BaseException as error:
        print("went on:", error)

run_once(main)
"""


def test_an_interruption_in_the_middle_of_a_write_ends_with_130_as_well() -> None:
    done = subprocess.run([sys.executable, "-c", _IN_THE_MIDDLE_OF_A_WRITE], capture_output=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (130, b"")


def test_near_names() -> None:
    names = ("time__now", "time__convert", "notes__add", "git__add")
    owners = {name: Owner(name.partition("__")[0], name.partition("__")[2], {}) for name in names}
    catalogue = Catalogue(tool_owners=owners)
    assert near_names("time__nwo", catalogue)[0] == "time__now"
    assert near_names("add", catalogue) == ["notes__add", "git__add"]
    assert near_names("ADD", catalogue) == ["notes__add", "git__add"]
    assert near_names("zzz", catalogue) == []
