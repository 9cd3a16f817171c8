"""The programs of others that read what stands in `deploy/`. Where one cannot be had, its tests skip and say so."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.support import ROOT

DEPLOY: Final = ROOT / "deploy"

FROM: Final = {
    "docker-compose": "the dependency group `deploy`",
    "hadolint": "the dependency group `deploy`",
    "kubernetes-validate": "the dependency group `deploy`",
    "promtool": "Debian's package prometheus",
    "prometheus": "Debian's package prometheus",
    "nginx": "Debian's package nginx",
    "kubectl": "Kubernetes' client",
    "systemd-analyze": "Debian's package systemd",
    "unshare": "util-linux",
}
"""Program → where it comes from."""
_PLACES: Final = (Path(sys.executable).parent, Path("/usr/sbin"), Path("/usr/local/sbin"))
"""Where programs are that may not be on PATH."""


def find(name: str) -> str:
    """The path of a program; skips the test where there is none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, _PLACES)])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not here; it comes with {FROM[name]}")
    return found


def output(words: Sequence[str | Path]) -> str:
    """What a program says on stdout.

    Raises:
        AssertionError: it fails; with all that it said.
    """
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout
