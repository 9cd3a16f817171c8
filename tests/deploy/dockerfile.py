"""Reads a Dockerfile: its stages, and of each the instructions in order."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_INSTRUCTION: Final = re.compile(r"(?P<name>[A-Z]+)\s+(?P<rest>.*)", re.DOTALL)
_FLAG: Final = re.compile(r"--(?P<name>[a-z-]+)=(?P<value>\S+)\s+")


@dataclass(frozen=True, slots=True)
class Instruction:
    """`RUN --mount=type=cache,target=/x uv sync` → name `RUN`, flags `{mount: …}`, rest `uv sync`."""

    name: str
    flags: dict[str, str]
    rest: str

    @property
    def words(self) -> list[str]:
        """Of the JSON form or of the shell's."""
        return json.loads(self.rest) if self.rest.startswith("[") else shlex.split(self.rest)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is between one FROM and the next."""

    image: str
    """What it is made from: an image, or the name of an earlier stage."""
    name: str
    instructions: list[Instruction] = field(default_factory=list[Instruction])

    def of(self, name: str) -> list[Instruction]:
        return [each for each in self.instructions if each.name == name]


def read(path: Path) -> list[Stage]:
    """The stages of a Dockerfile.

    Raises:
        ValueError: a line is not understood.
    """
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for text in re.split(r"(?<!\\)\n", "\n".join(lines)):
        instruction = _parse(text.replace("\\\n", ""))
        if instruction.name == "FROM":
            image, _, name = instruction.rest.partition(" AS ")
            stages.append(Stage(image, name or str(len(stages))))
        else:
            stages[-1].instructions.append(instruction)
    return stages


def _parse(text: str) -> Instruction:
    found = _INSTRUCTION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not an instruction: {text}")
    rest, flags = found["rest"], dict[str, str]()
    while flag := _FLAG.match(rest):
        flags[flag["name"]] = flag["value"]
        rest = rest[flag.end() :]
    return Instruction(found["name"], flags, rest.strip())
