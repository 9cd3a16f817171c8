"""Who listens on a port of this machine. /proc says so on Linux and `lsof` elsewhere; often enough, nobody does."""

import itertools
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LISTENING: Final = "0A"
"""The state in /proc/net/tcp (Linux, include/net/tcp_states.h)."""
_SHOWN: Final = 60
_PROGRAM: Final = re.compile(r"(^|[/\\])mcp-gateway(\.exe)?$")
_MODULE: Final = ("-m", "gateway")


@dataclass(frozen=True, slots=True)
class PortOwner:
    """A process that listens."""

    pid: int
    words: tuple[str, ...]
    """Its command line, as far as we may see it."""

    @property
    def is_gateway(self) -> bool:
        """By the program it runs, itself or in an interpreter; a folder that is called so is none."""
        program = any(_PROGRAM.search(word) for word in self.words[:2])
        return program or _MODULE in itertools.pairwise(self.words)

    def __str__(self) -> str:
        command = " ".join(self.words)
        shown = command if len(command) <= _SHOWN else command[: _SHOWN - 1] + "…"
        return f"process {self.pid}: {shown}"


def listener_on(port: int) -> PortOwner | None:
    """The process, if we may see it."""
    return _from_proc(port) if Path("/proc/net/tcp").exists() else _from_lsof(port)


def _from_proc(port: int) -> PortOwner | None:
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(Path("/proc/net") / table, port)}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(link.readlink()) in sockets:
                words = (link.parents[1] / "cmdline").read_bytes().split(b"\0")
                return PortOwner(int(link.parts[2]), tuple(word.decode(errors="replace") for word in words if word))
    return None


def _inodes(table: Path, port: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]


def _from_lsof(port: int) -> PortOwner | None:
    lsof = shutil.which("lsof")
    if lsof is None:
        return None
    found = subprocess.run(  # noqa: S603 - a program of the system and a number
        [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"], capture_output=True, text=True, timeout=5, check=False
    )
    match = re.search(r"^p(\d+)\nc(.*)$", found.stdout, re.MULTILINE)
    return PortOwner(int(match[1]), (match[2],)) if match else None
