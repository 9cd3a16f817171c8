"""Whatever is done to an audit log shows, and is said where it was done; what rotation does is nothing."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.telemetry.append_file import LOOK_SECONDS, AppendFile
from gateway.telemetry.audit.chain import Chain, keys_of
from gateway.telemetry.audit.heads import HeadFile
from gateway.telemetry.audit.verify import Report, verify
from gateway.telemetry.audit.writer import AuditWriter, now
from tests.support import ROOT, command, run_program

KEY: Final = "k" * 32
KEYS: Final = keys_of(KEY)
LINES: Final = 10


def writer(
    folder: Path, key: str = KEY, earlier: Sequence[str] = (), look_seconds: float = LOOK_SECONDS
) -> AuditWriter:
    keys = keys_of(key)
    head = HeadFile(folder / "heads", keys.head, [keys_of(each).head for each in earlier])
    file = AppendFile(folder / "log", look_seconds=look_seconds)
    return AuditWriter(file, head, keys, lambda item: {"at": now(), "event": "call", "what": item}, "test")


def write(folder: Path, lines: int = LINES, **how: Any) -> None:
    """A writer from its start to its end."""
    one = writer(folder, **how)
    for number in range(lines - 2):
        one.put([number], 1)
    one.close()


def check(
    folder: Path, files: Sequence[Path] = (), *, heads: bool = True, partial: bool = False, keys: Sequence[str] = (KEY,)
) -> Report:
    where = folder / "heads" if heads else None
    return verify(list(files) or [folder / "log"], [keys_of(key) for key in keys], where, has_oldest=not partial)


def lines(folder: Path) -> list[bytes]:
    return (folder / "log").read_bytes().splitlines(keepends=True)


def test_what_was_written_is_whole(tmp_path: Path) -> None:
    for _ in range(3):
        write(tmp_path)
    report = check(tmp_path)
    assert (report.count, report.notices, report.records, len(report.chains)) == (0, [], 3 * LINES, 3)
    assert [path.name for path in (tmp_path / "heads").iterdir()] == ["0.head"], "one place for all, one by one"


Tamper = Callable[[list[bytes]], list[bytes]]

TAMPERING: Final[dict[str, tuple[Tamper, str, str]]] = {
    "changed": (
        lambda log: [*log[:4], log[4].replace(b'"what":3', b'"what":4'), *log[5:]],
        ":5",
        "this line was changed: its seal does not fit",
    ),
    "first changed": (
        lambda log: [log[0].replace(b'"test"', b'"best"'), *log[1:]],
        ":1",
        "this line was changed, or sealed with a key that was not given",
    ),
    "missing": (lambda log: log[:4] + log[6:], ":5", "lines 4 to 5 of its chain are missing before this line"),
    "one missing": (lambda log: log[:4] + log[5:], ":5", "line 4 of its chain is missing before this line"),
    "first missing": (lambda log: log[1:], ":1", "line 0 of its chain is missing before this line, line 1"),
    "twice": (lambda log: [*log[:5], log[4], *log[5:]], ":6", "line 4 of its chain stands here again"),
    "cut at the end": (lambda log: log[:-1], ":9", "line 9 of its chain is missing at the end of the chain"),
    "much cut": (lambda log: log[:3], ":3", "lines 3 to 9 of its chain are missing at the end of the chain"),
    "cut in the middle of a line": (
        lambda log: [*log[:-1], log[-1][:20]],
        ":10",
        "this line is not as the gateway wrote it: it ends in the middle",
    ),
    "foreign": (lambda log: [*log[:2], b'{"event":"call"}\n', *log[2:]], ":3", "it has no seal"),
    "all": (lambda log: [], "", "is missing: it had 10 lines or more"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_what_was_done_to_it_is_said_with_its_place(tmp_path: Path, name: str) -> None:
    tamper, place, message = TAMPERING[name]
    write(tmp_path)
    (tmp_path / "log").write_bytes(b"".join(tamper(lines(tmp_path))))
    report = check(tmp_path)
    assert any(
        each.place.endswith(f"log{place}" if place else ".head") and message in each.message for each in report.findings
    ), report.findings
    assert report.count <= 2, "and nothing else"


def test_a_line_of_somebody_who_has_no_key_is_found(tmp_path: Path) -> None:
    write(tmp_path)
    log = lines(tmp_path)
    fields = json.loads(log[4])
    forged = Chain(keys_of("x" * 32).chain)
    made = forged.seal({"at": fields["at"], "event": "call"}).replace(forged.id.encode(), fields["chain"].encode())
    made = made.replace(b'"n":0', b'"n":4').replace(b'"prev":""', f'"prev":"{fields["prev"]}"'.encode())
    (tmp_path / "log").write_bytes(b"".join([*log[:4], made, *log[5:]]))
    assert {each.place[-2:] for each in check(tmp_path).findings} == {":5", ":6"}


def test_a_chain_that_vanished_is_missed_by_the_one_after_it(tmp_path: Path) -> None:
    for _ in range(3):
        write(tmp_path)
    (tmp_path / "log").write_bytes(b"".join(lines(tmp_path)[:LINES] + lines(tmp_path)[2 * LINES :]))
    (finding,) = check(tmp_path).findings
    assert "the whole chain" in finding.message
    assert finding.place.endswith(f"log:{LINES + 1}")


@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_without_its_head_a_chain_that_did_not_end_is_not_trusted(tmp_path: Path, how: str) -> None:
    write(tmp_path)
    (tmp_path / "log").write_bytes(b"".join(lines(tmp_path)[:-1]))
    head = tmp_path / "heads" / "0.head"
    if how == "deleted":
        head.unlink()
    else:
        head.write_bytes(head.read_bytes().replace(b'"n":9', b'"n":8'))
    messages = [each.message for each in check(tmp_path).findings]
    assert any("nothing says where this chain ends" in message for message in messages)
    assert (how == "changed") == any("was changed" in message for message in messages)
    report = check(tmp_path, heads=False)
    assert (report.count, len(report.notices)) == (0, 1)


def test_rotated_files_are_one_log(tmp_path: Path) -> None:
    write(tmp_path)
    one = writer(tmp_path, look_seconds=-1.0)  # it is looked for with each line
    for number in range(3):
        os.rename(tmp_path / "log", tmp_path / f"log.{number}")
        one.put([number], 1)
        while f'"what":{number}' not in ((tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""):
            pass
    one.close()
    (tmp_path / "log.0.gz").write_bytes(gzip.compress((tmp_path / "log.0").read_bytes()))
    files = [tmp_path / name for name in ("log", "log.1", "log.0.gz", "log.2")]
    report = check(tmp_path, files)
    assert (report.count, report.records, len(report.files)) == (0, LINES + 5, 4)
    assert check(tmp_path, files[:2] + files[3:]).count > 0, "the oldest is missing"
    report = check(tmp_path, files[:2] + files[3:], partial=True)
    assert report.count == 0
    assert [note.split(" at ")[0].split(" begins ")[1] for note in report.notices] == ["with line 1,"]
    assert check(tmp_path, [files[0], files[2], files[3]], partial=True).count > 0, "not the oldest"


def test_writers_at_the_same_time_have_chains_of_their_own(tmp_path: Path) -> None:
    several = [writer(tmp_path) for _ in range(3)]
    for number in range(100):
        for one in several:
            one.put([number], 1)
    for one in several:
        one.close()
    write(tmp_path)
    report = check(tmp_path)
    assert (report.count, len(report.chains), report.records) == (0, 4, 3 * 102 + LINES)
    assert len(list((tmp_path / "heads").iterdir())) == 3


def test_a_new_key_goes_on_where_the_old_one_ended(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, key="n" * 32, earlier=[KEY])
    assert check(tmp_path, keys=["n" * 32, KEY]).count == 0
    assert check(tmp_path, keys=["n" * 32]).count > 0
    (tmp_path / "log").write_bytes(b"".join(lines(tmp_path)[: LINES - 1] + lines(tmp_path)[LINES:]))
    assert check(tmp_path, keys=["n" * 32, KEY]).count == 1, "the new chain knows where the old one ended"


KILLED: Final = """
import os, signal, sys
from pathlib import Path
from tests.telemetry.audit.test_verify import writer
one = writer(Path(sys.argv[1]))
for number in range(100000):
    one.put([number], 1)
    if number == 5000:
        print("begun", flush=True)
"""


def test_what_was_written_before_a_kill_is_whole(tmp_path: Path) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(signal.SIGKILL)
    write(tmp_path)
    report = check(tmp_path)
    assert (report.findings, len(report.chains)) == ([], 4)


@pytest.mark.parametrize(("tampered", "code"), [(False, 0), (True, 1)])
def test_the_verb_says_so(tmp_path: Path, tampered: bool, code: int) -> None:
    write(tmp_path)
    if tampered:
        (tmp_path / "log").write_bytes(b"".join(lines(tmp_path)[:4] + lines(tmp_path)[5:]))
    (tmp_path / "key").write_text(KEY)
    args = ["audit", "verify", str(tmp_path / "log"), "--key-file", str(tmp_path / "key")]
    where = ["--heads", str(tmp_path / "heads")]
    ended = run_program(command("gateway", *args, *where))
    assert ended.returncode == code
    if tampered:
        assert ended.stdout.startswith(f"{tmp_path / 'log'}:5: line 4 of its chain is missing before this line")
        assert "1 finding" in ended.stderr
    else:
        assert "nothing was changed, nothing is missing" in ended.stdout
    ended = run_program(command("gateway", *args, *where, "--json"))
    assert json.loads(ended.stdout)["whole"] is not tampered
    ended = run_program(command("gateway", *args))
    assert ended.returncode == 2
