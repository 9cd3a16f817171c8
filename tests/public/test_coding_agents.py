"""The coding agents themselves read what `client-config` prints, and say that they are connected.

Their packages are large, so that each is fetched by itself, only when it is asked for. They start no model and need no
account: `mcp list` is all they are asked. What is native in them is there for Linux alone.
"""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.public.conftest import KEY, More, Place
from tests.public.packages import OutOfReach, kept, node_major, npm_install
from tests.support import command

SECONDS: Final = 90.0
MACHINE: Final = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), "")


@dataclass(frozen=True, slots=True)
class CodingAgent:
    """How one is fetched, configured and asked."""

    package: str
    version: str
    program: str
    """In the package."""
    file: str
    """Its configuration, in the home folder."""
    connected: str
    """What it prints of a server that answers; of one that does not it prints something else."""


AGENTS: Final = {
    "claude-code": CodingAgent(
        f"@anthropic-ai/claude-code-linux-{MACHINE}", "2.1.197", "claude", ".claude.json", "✔ Connected"
    ),
    # This one only reads its configuration, and says so in a table.
    "codex": CodingAgent("@openai/codex", "0.171.0", "bin/codex.js", ".codex/config.toml", "enabled  Bearer token"),
    "gemini": CodingAgent("@google/gemini-cli", "0.61.0", "bundle/gemini.js", ".gemini/settings.json", "- Connected"),
    "opencode": CodingAgent(
        f"opencode-linux-{MACHINE}", "1.18.33", "bin/opencode", ".config/opencode/opencode.json", "✓ gateway"
    ),
}
"""By their names for `client-config`."""

ALONE: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
    "NO_COLOR": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
}
"""Variables that keep them from talking to anybody else, or from asking whether the folder can be trusted."""


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Path:
    """Of the agent whose name is the parameter."""
    return _fetched(AGENTS[request.param])


@pytest.mark.parametrize(("program", "name"), [(name, name) for name in AGENTS], indirect=["program"], ids=AGENTS)
def test_a_coding_agent_connects_as_it_is_told(program: Path, name: str, more: More, place: Place) -> None:
    agent = AGENTS[name]
    home = place.folder / f"home of {name}"
    (file := home / agent.file).parent.mkdir(parents=True)
    (own := home / "servers.yaml").write_text("gateway: {auth: {enabled: true}}\nservers: {}\n")
    printed = _printed("client-config", name, "--url", f"{more.url}/mcp", "-c", str(own))
    file.write_text(printed.replace("YOUR_KEY", KEY))
    starter = ["node"] if program.suffix == ".js" else []
    said = subprocess.run(
        [*starter, program, "mcp", "list"],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **ALONE},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert agent.connected in said.stdout + said.stderr
    assert f"{more.url}/mcp" in said.stdout + said.stderr


def _fetched(agent: CodingAgent) -> Path:
    if sys.platform != "linux" or not MACHINE:
        pytest.skip(f"{agent.package} is for other machines")
    pins = {agent.package: agent.version}
    try:
        if node_major() < 20:
            pytest.skip("needs Node.js 20")
        folder = kept("coding-agent", pins, lambda folder: npm_install(folder, pins))
    except OutOfReach as error:
        pytest.skip(f"needs a program of others: {error}")
    return folder / "node_modules" / agent.package / agent.program


def _printed(*arguments: str) -> str:
    done = subprocess.run(command("gateway", *arguments), capture_output=True, text=True, check=True, timeout=SECONDS)
    return done.stdout
