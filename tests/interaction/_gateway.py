"""Real gateways as processes, each with a configuration and a state folder of its own."""

import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support import ROOT, command, free_port, listens, run_process

Entry = dict[str, Any]
"""One server's entry in `servers`."""

PATIENT: Final[dict[str, Any]] = {"startup_wait": 30}
"""Settings with which the first listing waits for every upstream, however busy the machine."""


def child(module: str, *args: str, **more: Any) -> Entry:
    """An upstream that the gateway starts itself: one of `tests.servers` over stdio."""
    return {"command": sys.executable, "args": ["-m", module, *args], "cwd": str(ROOT), **more}


def config_file(folder: Path, servers: Mapping[str, Entry], **settings: Any) -> Path:
    """Write a configuration, and return its path. `profiles` among the settings are what stands beside `servers`."""
    path = folder / "servers.json"
    settings = {"state_dir": str(folder / "state"), **settings}
    profiles = {"profiles": settings.pop("profiles")} if "profiles" in settings else {}
    path.write_text(json.dumps({"gateway": settings, "servers": dict(servers), **profiles}))
    return path


def stdio_command(config: Path) -> list[str]:
    """How a desktop client starts the gateway."""
    return command("gateway", "stdio", "-c", str(config))


@dataclass(frozen=True)
class Gateway:
    """A gateway that serves HTTP at `base`."""

    base: str
    process: subprocess.Popen[bytes]


@contextmanager
def http_gateway(
    folder: Path, servers: Mapping[str, Entry], variables: Mapping[str, str] | None = None, /, **settings: Any
) -> Generator[Gateway]:
    """Run `mcp-gateway serve`, until it listens: on a free port, unless the settings name one.

    Args:
        variables: added to the environment.
    """
    port = settings.get("port") or free_port()
    args = command("gateway", "serve", "--port", str(port), "-c", str(config_file(folder, servers, **settings)))
    with run_process(args, ready=lambda: listens(port), env=variables) as process:
        scheme = "https" if settings.get("tls") else "http"
        yield Gateway(f"{scheme}://127.0.0.1:{port}", process)
