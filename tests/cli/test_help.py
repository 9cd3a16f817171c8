"""`--help` is instant, and colours are for those who want them."""

import subprocess
import sys

import pytest

from tests.cli.conftest import Invoke, Write
from tests.support import ROOT

VERBS = ("check", "tools", "call", "doctor", "client-config", "import", "pins")
HEAVY = ("mcp", "mcp_types", "pydantic", "yaml", "structlog", "anyio", "uvicorn", "fastapi", "orjson")


@pytest.mark.parametrize("words", [["--help"], *([verb, "-h"] for verb in VERBS)], ids=" ".join)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom gateway.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit as exit: assert not exit.code\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("Usage: mcp-gateway")
    assert done.stderr.split() == []


def test_no_color_is_respected(invoke: Invoke, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("servers: {a: {command: x}}")
    assert "\x1b[" in invoke("check", color=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    # CliRunner's `color` says what the terminal can do; the variable says what its user wants.
    assert "\x1b[" not in invoke("check", color=True).stdout
