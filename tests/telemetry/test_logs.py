"""A log whose reader has gone."""

import os
import subprocess
import sys

import pytest

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
