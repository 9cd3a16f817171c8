"""A log that nobody reads for a while, or ever, holds nobody up."""

import os
import select

import pytest

from gateway.telemetry import log_stream
from gateway.telemetry.log_stream import LogStream


def read_all(descriptor: int) -> bytes:
    found = b""
    while select.select([descriptor], [], [], 0)[0]:
        found += os.read(descriptor, 65536)
    return found


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_who_stops_reading_holds_nobody_up_and_misses_little(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "MAX_KEPT", 200_000)
    reader, writer = os.pipe() if kind == "pipe" else os.openpty()
    lost: list[int] = []
    with os.fdopen(writer, "w") as out, os.fdopen(reader, "rb", buffering=0):
        stream = LogStream(out, lost.append)
        line = "x" * 99 + "\n"
        for _ in range(10_000):
            stream.write(line)
        assert lost == [], "nobody could be told"
        said = read_all(reader)
        while not lost:
            stream.write(line)
            said += read_all(reader)
        lines = said.replace(b"\r\n", b"\n").decode().splitlines(keepends=True)
        assert set(lines) == {line}, "whole lines only"
        assert len(lines) * 100 > 200_000
        assert lost[0] > 1000
        assert stream.dropped == sum(lost)


def test_a_reader_that_has_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        stream = LogStream(out, lambda lines: None)
        for _ in range(3):
            stream.write("nobody hears this\n")
