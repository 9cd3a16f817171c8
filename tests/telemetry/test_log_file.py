"""A log's file that cannot be written for a while, is cut short, or is shared."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.telemetry import log_file
from gateway.telemetry.append_file import AppendFile
from gateway.telemetry.log_file import LogFile
from tests.interaction._gateway import config_file
from tests.support import ROOT, command, run_program, wait_until


@pytest.mark.anyio
async def test_what_cannot_be_written_is_kept_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "MAX_KEPT", 100)
    lost: list[int] = []
    trouble: list[str] = []
    folder = tmp_path / "folder"
    log = LogFile(folder / "log", lost.append, trouble.append, retry_seconds=0.01)
    log.write("first\n")
    await wait_until(lambda: trouble)
    for _ in range(30):
        log.write("0123456789\n")
    folder.mkdir()
    await wait_until(lambda: lost)
    written = (folder / "log").read_text().splitlines()
    assert written[0] == "first"
    assert len(written) - 1 + lost[0] == 30
    assert len(trouble) == 1
    assert "No such file" in trouble[0]


def test_a_batch_stands_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A disk that is full, by way of a limit on the size of files."""
    program = f"""
import resource, signal
from pathlib import Path
from gateway.telemetry.append_file import AppendFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
file = AppendFile(Path({str(tmp_path / "log")!r}))
file.append(b"a" * 59 + b"\\n")
try:
    file.append(b"b" * 59 + b"\\n")
except OSError as error:
    print(error.strerror)
file.append(b"c" * 19 + b"\\n")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout == "File too large\n"
    assert (tmp_path / "log").read_bytes() == b"a" * 59 + b"\n" + b"c" * 19 + b"\n"


def test_a_line_that_a_crash_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"cut')
    AppendFile(path).append(b"whole\n")
    assert path.read_bytes() == b'{"cut\nwhole\n'


def test_several_writers_mix_no_lines(tmp_path: Path) -> None:
    def write(letter: str) -> None:
        file = AppendFile(tmp_path / "log")
        for _ in range(200):
            file.append((letter * 99 + "\n").encode() * 10)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 8000
    assert {(len(line), len(set(line))) for line in lines} == {(99, 1)}


@pytest.mark.parametrize("setting", ["log_file", "access_log"])
def test_a_file_that_cannot_be_used_is_said_at_the_start(tmp_path: Path, setting: str) -> None:
    path = str(tmp_path / "nowhere" / "log")
    config = config_file(tmp_path, {}, **{setting: path if setting == "log_file" else {"file": path}})
    ended = run_program(command("gateway", "serve", "-c", str(config)))
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"mcp-gateway: gateway.{setting}")
    assert "No such file or directory" in ended.stderr


def test_the_log_goes_to_its_file_to_the_last_line(tmp_path: Path) -> None:
    config = config_file(tmp_path, {}, log_file=str(tmp_path / "log"))
    ended = run_program(command("gateway", "stdio", "-c", str(config)))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["event"] == "stopping"
