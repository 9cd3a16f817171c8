"""What a gateway meets where it is started: closed descriptors, files that hang, a folder it may not write to."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.access.key_hashes import sha256
from tests.access.door import Door, ask, rpc
from tests.interaction._gateway import child
from tests.support import ROOT, free_port, listens, run_process

pytestmark = pytest.mark.anyio

ECHO = child("tests.servers.raw")


def config_of(folder: Path, **settings: Any) -> tuple[Path, int]:
    port = free_port()
    path = folder / "servers.json"
    settings = {"state_dir": str(folder / "state"), "startup_wait": "30s", **settings, "port": port}
    path.write_text(json.dumps({"gateway": settings, "servers": {"raw": ECHO}}))
    return path, port


@contextmanager
def served(path: Path, port: int, closed: str = "") -> Generator[subprocess.Popen[bytes]]:
    """`closed`: what the shell closes, such as `2>&-`."""
    words = [sys.executable, "-m", "gateway", "serve", "-c", str(path)]
    script = f'exec "$@" {closed}'
    with run_process(["/bin/sh", "-c", script, "sh", *words], ready=lambda: listens(port), cwd=ROOT) as process:
        yield process


def end(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(30)


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
async def test_closed_descriptors_are_nobody_elses(tmp_path: Path, closed: str) -> None:
    path, port = config_of(tmp_path)
    with served(path, port, closed) as process:
        door = Door(f"http://127.0.0.1:{port}", tmp_path)
        tools = ask(door, None, rpc("tools/list")).json()["result"]["tools"]
        assert tools[0]["name"].startswith("raw__")
        for number in range(3):
            target = os.readlink(f"/proc/{process.pid}/fd/{number}")
            assert target == "/dev/null" or target.startswith(("/tmp", str(tmp_path.parent))), target
        assert end(process) == 0


@pytest.mark.skipif(os.name == "nt", reason="no pipes with names")
@pytest.mark.parametrize("victim", ["keys.json", "servers.json", "state/agents.json", "state/pins.json"])
async def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(tmp_path: Path, victim: str) -> None:
    keys = [{"id": "a", "owner": "a", "key_hash": f"sha256:{sha256('secret').hex()}"}]
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    auth = {"enabled": True, "api_keys_file": str(tmp_path / "keys.json")}
    path, port = config_of(tmp_path, auth=auth)
    (tmp_path / "state").mkdir(mode=0o700)
    with served(path, port) as process:
        (tmp_path / victim).unlink(missing_ok=True)
        os.mkfifo(tmp_path / victim)
        door = Door(f"http://127.0.0.1:{port}", tmp_path)
        answer = ask(door, "secret", rpc("tools/list"))
        assert answer.status_code == 200
        assert end(process) == 0


async def test_without_authentication_a_folder_that_cannot_be_written_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path, port = config_of(tmp_path, state_dir=str(tmp_path / "file" / "state"))
    with served(path, port) as process:
        assert ask(Door(f"http://127.0.0.1:{port}", tmp_path), None, rpc("tools/list")).status_code == 200
        assert end(process) == 0
