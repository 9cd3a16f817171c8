"""The command line with a home of its own: in this process where that is quick, as a program to run the gateway."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli
from tests.support import ROOT, command, run_program

Invoke = Callable[..., Result]
Program = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[..., Path]

SECONDS = 60.0
"""Longest any verb may take."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is also home, with nothing in it and no settings from outside."""
    for name in [name for name in os.environ if name.startswith(("GATEWAY_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    """`write(text, name="servers.yaml")`: a file in the folder."""

    def write_file(text: str, name: str = "servers.yaml") -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
        return path

    return write_file


@pytest.fixture
def invoke() -> Invoke:
    """`invoke(*args, color=False)`: a verb in this process."""

    def run(*args: str, color: bool = False) -> Result:
        return CliRunner().invoke(cli, list(args), prog_name="mcp-gateway", color=color)

    return run


@pytest.fixture
def program() -> Program:
    """`program(*args, stdin="")`: the command line as its users run it, with pipes."""

    def run(*args: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return run_program(command("gateway", *args), input=stdin, cwd=Path.cwd(), timeout=SECONDS)

    return run


def stdio(module: str, *args: str) -> str:
    """The value of a stdio entry that starts a module of this repository, in YAML's flow style."""
    words = ", ".join(f'"{word}"' for word in ("-m", module, *args))
    return f'{{command: "{sys.executable}", args: [{words}], cwd: "{ROOT}"}}'
