"""A real browser for tests: headless Chromium, if the machine has one."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.public.packages import OutOfReach, Packages

PROGRAM: Final = Path(__file__).with_name("browser.mjs")
NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SECONDS: Final = 180.0


@dataclass(frozen=True)
class Visited:
    """Where somebody came to."""

    text: str
    url: str
    path: list[str]
    """Origins and paths of all pages, in order."""
    errors: list[str]
    """Of their scripts and policies, each after the origin of its page."""


@dataclass(frozen=True)
class Chromium:
    program: str
    modules: Path

    def visit(self, link: str, answers: Mapping[str, str], pictures: Path | None = None, press: str = "") -> Visited:
        """Open a link, fill in what is asked for, click on until there is nothing to click.

        Args:
            answers: what to type, by the names of fields.
            pictures: a folder for one of each page.
            press: how the button begins that is to be preferred, where there is one.
        """
        asked: dict[str, Any] = {"link": link, "program": self.program, "answers": dict(answers), "press": press}
        asked["pictures"] = str(pictures) if pictures is not None else None
        command = ["node", "--input-type=module", "-", json.dumps(asked)]
        done = subprocess.run(
            command, input=PROGRAM.read_bytes(), cwd=self.modules, capture_output=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return Visited(**json.loads(done.stdout))


def chromium(packages: Packages) -> Chromium:
    """
    Raises:
        OutOfReach: there is none on PATH.
    """
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise OutOfReach("there is no Chromium on PATH (Debian: chromium-headless-shell)")
    return Chromium(program, packages.node)
