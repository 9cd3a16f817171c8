"""A log whose reader has gone, and secrets that are cut or come in lines."""

import io
import os
import subprocess
import sys

import pytest
import structlog

from gateway.harmless import LONGEST_SECRET, Clipped, harmless
from gateway.telemetry.logs import Redactor, configure

SECRET = "CANARY-" + "S" * 33
PEM = "-----BEGIN KEY-----\nCANARYLINEONE1234567890\r\nCANARYLINETWO1234567890\n-----END KEY-----\n"

PROGRAM = """
import structlog
from gateway.telemetry.logs import Redactor, configure
configure("info", "json", Redactor([]))
for _ in range(3):
    structlog.get_logger().info("nobody hears this")
print("to the end")
"""


@pytest.mark.parametrize("end", ["pipe", "terminal"])
def test_a_log_that_nobody_reads_ends_nothing(end: str) -> None:
    reader, writer = os.pipe() if end == "pipe" else os.openpty()
    os.close(reader)
    try:
        ended = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=writer, check=False)
    finally:
        os.close(writer)
    assert (ended.stdout, ended.returncode) == (b"to the end\n", 0)


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("shown", range(0, 60, 3))
def test_a_secret_is_masked_before_the_text_is_cut(form: str, shown: int) -> None:
    out = io.StringIO()
    configure("info", form, Redactor([SECRET]), out)  # pyright: ignore[reportArgumentType]
    text = "x" * (200 - shown) + SECRET + "y" * 300
    structlog.get_logger().info("noise", noise=Clipped(text, 200), diff=[Clipped(harmless(text), 200)])
    assert "CANARY" not in out.getvalue()
    assert "S" * 3 not in out.getvalue()
    assert len(out.getvalue()) < 700


@pytest.mark.parametrize("pem", [PEM, PEM.replace("\n", "\\n")], ids=["lines", "escaped"])
@pytest.mark.parametrize("line", [PEM, *PEM.splitlines(), PEM.replace("\n", "\\n"), "".join(PEM.split())])
def test_a_secret_of_several_lines_is_masked_line_by_line(pem: str, line: str) -> None:
    out = io.StringIO()
    configure("info", "json", Redactor([pem]), out)
    structlog.get_logger().info("stderr", line=line)
    assert "CANARY" not in out.getvalue()


def test_what_frames_a_secret_of_several_lines_is_no_secret() -> None:
    assert Redactor([PEM])("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


def test_of_a_text_that_is_clipped_little_more_is_kept_than_is_shown() -> None:
    clipped = Clipped("x" * 10 * LONGEST_SECRET, 100)
    assert (clipped, len(clipped.whole)) == ("x" * 100, 100 + LONGEST_SECRET)
