"""What an upstream prints reaches the log in bounded amounts, and nothing is dropped without saying so."""

import io

import pytest
import structlog

from gateway.telemetry.logs import Redactor, configure
from gateway.upstream.transport.stderr import BURST, LINES_PER_SECOND, MAX_LINE, StderrLog


class Log:
    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.suppressed = 0
        self.stderr = StderrLog(self._emit, lambda: self.now)

    def _emit(self, line: str, suppressed: int) -> None:
        self.lines.append(line)
        self.suppressed += suppressed


def test_lines() -> None:
    log = Log()
    log.stderr.feed(b"one\r\ntw")
    log.stderr.feed(b"o\n\n   \nthree")
    assert log.lines == ["one", "two"]
    log.stderr.finish()
    assert log.lines == ["one", "two", "three"]
    assert log.suppressed == 0


def test_a_flood_is_counted_and_costs_little() -> None:
    log = Log()
    log.stderr.feed(b"x\n" * 10_000)
    for _ in range(100):
        log.stderr.feed(b"y\n" * 1000)
    assert log.lines == ["x"] * BURST
    log.now += 1
    log.stderr.feed(b"z\n")
    assert log.lines[BURST:] == ["z"]
    assert log.suppressed == 10_000 - BURST + 100_000


def test_the_rate_after_a_burst() -> None:
    log = Log()
    for _ in range(100):
        log.stderr.feed(b"x\n" * 100)
        log.now += 0.1
    assert BURST + 9 * LINES_PER_SECOND <= len(log.lines) <= BURST + 10 * LINES_PER_SECOND


def test_what_was_suppressed_last_is_said_at_the_end() -> None:
    log = Log()
    log.stderr.feed(b"x\n" * (BURST + 5))
    log.stderr.finish()
    assert log.lines[-1] == "(end of stderr)"
    assert log.suppressed == 5


@pytest.mark.parametrize("line", [b"x" * 10 * MAX_LINE, b"\xff" * 10 * MAX_LINE])
def test_a_line_is_bounded(line: bytes) -> None:
    log = Log()
    log.stderr.feed(line + b"\n")
    assert [len(line) for line in log.lines] == [MAX_LINE]


def test_no_control_characters_reach_the_terminal() -> None:
    log = Log()
    log.stderr.feed(b"\x1b]0;owned\x07 a\tb \xc3\xa9\n")
    assert log.lines == ["\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER} a\tb é"]


@pytest.mark.parametrize("before", [MAX_LINE - 16, MAX_LINE - 1, 0])
def test_a_secret_is_masked_before_its_line_is_cut(before: int) -> None:
    out = io.StringIO()
    configure("info", "json", Redactor(["CANARY-" + "S" * 33]), out)
    stderr = StderrLog(lambda line, suppressed: structlog.get_logger().info("stderr", line=line), lambda: 0.0)
    stderr.feed(b"y" * before + b"CANARY-" + b"S" * 33 + b"z" * MAX_LINE + b"\n")
    assert "CANARY" not in out.getvalue()
    assert "SS" not in out.getvalue()
    assert len(out.getvalue()) < MAX_LINE + 200
