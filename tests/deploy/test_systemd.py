"""The unit of systemd: it is valid, locked in, and ends in the time it takes."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.cli.common import Exit
from gateway.config.models import GatewaySettings
from gateway.config.models.quantities import seconds, size
from gateway.config.reading.loader import load
from tests.deploy.programs import DEPLOY, find, output

UNIT: Final = DEPLOY / "systemd/mcp-gateway.service"
CHILDREN_SECONDS: Final = 6
"""How long servers have to end, after the last call."""
EXPOSURE: Final = 2.0
"""What `systemd-analyze security` may say at most, of 10."""


@pytest.fixture
def unit() -> dict[str, list[str]]:
    """Its directives; each may stand there more than once."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def environment(unit: dict[str, Any]) -> dict[str, str]:
    return dict(each.split("=", 1) for each in unit["Environment"])


def test_systemd_understands_it(tmp_path: Path) -> None:
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace("/opt/mcp-gateway/bin/mcp-gateway", "/bin/true"))  # what is not installed
    done = subprocess.run([find("systemd-analyze"), "verify", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")  # what it does not know it only warns of


def test_it_is_locked_in() -> None:
    said = output([find("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", UNIT])
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found
    assert float(found[1]) <= EXPOSURE


def test_settings_are_valid(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "servers.yaml").write_text("servers: {any: {command: any}}\n")
    config = load(tmp_path / "servers.yaml", environ=environment, dotenv=None)
    assert not config.warnings
    assert config.gateway.environment != "development"
    assert config.gateway.auth.enabled


def test_it_ends_in_the_time_it_takes(unit: dict[str, list[str]], environment: dict[str, str]) -> None:
    defaults = GatewaySettings()
    delay = seconds(environment.get("GATEWAY_DRAIN_DELAY", defaults.drain_delay))
    assert seconds(unit["TimeoutStopSec"][0]) >= delay + defaults.drain_timeout + CHILDREN_SECONDS
    assert unit["RestartPreventExitStatus"] == [str(int(Exit.USAGE))]


def test_memory_is_refused_before_it_is_killed(unit: dict[str, list[str]], environment: dict[str, str]) -> None:
    assert size(environment["GATEWAY_MAX_MEMORY"]) <= 0.8 * size(f"{unit['MemoryMax'][0]}iB")
