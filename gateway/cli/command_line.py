"""How to start this very gateway from somewhere else: an absolute command, never a name that an index could answer."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

_EPHEMERAL: Final = ("archive-v0", "builds-v0", "environments-v2")
"""Folders in the cache of uv, whose environments may be gone tomorrow."""


def own_command(argv0: str = sys.argv[0], executable: str = sys.executable) -> list[str]:
    """The words that start it: the script that runs now, else the one beside our Python, else our Python itself."""
    for candidate in (argv0, str(Path(executable).with_name("mcp-gateway"))):
        script = _script(candidate)
        if script is not None:
            return [script]
    return [os.path.abspath(executable), "-P", "-m", "gateway"]  # -P: not what lies in the folder it is started in


def _script(name: str) -> str | None:
    if Path(name).stem != "mcp-gateway":
        return None
    found = shutil.which(name) if os.path.dirname(name) == "" else shutil.which(os.path.abspath(name))
    return os.path.abspath(found) if found is not None else None


def is_ephemeral(command: str) -> bool:
    """Whether the command lives where a tool clears up after itself (`uvx --from …`)."""
    return any(part in _EPHEMERAL for part in Path(os.path.realpath(command)).parts)
