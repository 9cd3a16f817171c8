"""A package that was put off offers all that it ever did, and runs when somebody asks for something of its own."""

import subprocess
import sys

import pytest

from tests.support import ROOT

PUT_OFF = """
import sys
from gateway.unopened import put_off
put_off("prometheus_client")
"""


@pytest.mark.parametrize(
    ("use", "runs"),
    [
        ("from prometheus_client.registry import CollectorRegistry", False),
        ("from prometheus_client.core import Metric", False),
        ("from prometheus_client import registry; registry.CollectorRegistry()", False),
        (
            "from prometheus_client import CollectorRegistry, generate_latest; generate_latest(CollectorRegistry())",
            True,
        ),
        ("import prometheus_client; prometheus_client.Counter", True),
    ],
)
def test_it_runs_when_something_of_its_own_is_asked_for(use: str, runs: bool) -> None:
    script = f"{PUT_OFF}\n{use}\nassert ('http.server' in sys.modules) is {runs}"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
