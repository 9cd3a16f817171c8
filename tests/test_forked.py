"""A program that is forked from the template sees, and does, what it would if it was started from scratch."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.forked import popen
from tests.support import command, run_program

PROBE = """
import atexit, json, os, sys
atexit.register(print, "done", file=sys.stderr)
print(json.dumps({
    "argv": sys.argv,
    "name": __name__,
    "path": sys.path,
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
    "parent": os.getppid(),
    "open": sorted(os.listdir("/proc/self/fd"))[:-1],
    "modes": [each.line_buffering for each in (sys.stdin, sys.stdout, sys.stderr)],
    "encodings": [(each.encoding.lower(), each.errors) for each in (sys.stdin, sys.stdout, sys.stderr)],
    "read": sys.stdin.read(),
}))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has what makes the process our child")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "probe.py").write_text(PROBE)
    return tmp_path


def test_it_is_as_one_that_was_started(folder: Path) -> None:
    how: dict[str, Any] = {"cwd": folder, "env": {**os.environ, "OWN": "1", "PYTHONPATH": "/somewhere:/else"}}
    words = [*command("probe"), "--word", "ü"]
    started = subprocess.run(words, input="ü", capture_output=True, text=True, start_new_session=True, **how)
    forked = run_program(words, input="ü", **how)
    assert (forked.returncode, forked.stderr) == (started.returncode, started.stderr) == (0, "done\n")
    assert json.loads(forked.stdout) == json.loads(started.stdout)


def test_how_it_ends_is_known(folder: Path) -> None:
    (folder / "probe.py").write_text("import sys; sys.exit(7)")
    assert run_program(command("probe"), cwd=folder).returncode == 7
    (folder / "probe.py").write_text("import nothing_of_that_name")
    ended = run_program(command("probe"), cwd=folder)
    assert ended.returncode == 1
    assert "No module named 'nothing_of_that_name'" in ended.stderr
    (folder / "probe.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert run_program(command("probe"), cwd=folder).returncode == -signal.SIGKILL


def test_it_is_ours_to_end(folder: Path) -> None:
    (folder / "probe.py").write_text("import time; print('up', flush=True); time.sleep(600)")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with popen(command("probe"), cwd=folder, env=os.environ, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
