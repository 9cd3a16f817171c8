"""What `doctor` can find out without talking to anybody: programs, folders, the port, the state directory."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.catalogue import snapshot
from gateway.cli.doctor.findings import Finding
from gateway.cli.doctor.listener import listener_on
from gateway.upstream.transport.process import Program

if TYPE_CHECKING:
    from gateway.config.models import GatewaySettings, ServerConfig

_NODE: Final = "install Node.js, which brings it: https://nodejs.org"
_UV: Final = "install uv, which brings it: https://docs.astral.sh/uv/"
INSTALL: Final = {
    "node": _NODE,
    "npm": _NODE,
    "npx": _NODE,
    "uv": _UV,
    "uvx": _UV,
    "bun": "install Bun, which brings it: https://bun.sh",
    "bunx": "install Bun, which brings it: https://bun.sh",
    "deno": "install Deno: https://deno.com",
    "docker": "install Docker: https://docs.docker.com/get-docker/",
    "podman": "install Podman: https://podman.io",
    "pipx": "install pipx: https://pipx.pypa.io",
    "python": "write ${GATEWAY_PYTHON}, the Python that runs the gateway, or the full path of another",
    "python3": "write ${GATEWAY_PYTHON}, the Python that runs the gateway, or the full path of another",
}
"""Program → how to get it."""


def program(name: str, server: "ServerConfig") -> Iterator[Finding]:
    """What keeps a stdio server from being started."""
    command = server.command or ""
    path = Program(command, env=server.env).environment().get("PATH")
    if shutil.which(command, path=path) is None:
        yield _absent(name, command, Path(command).stem.lower())
    if server.cwd is not None and not server.cwd.is_dir():
        remedy = "create it, or correct `cwd` in its entry"
        yield Finding("problem", f"its working directory {server.cwd} does not exist", remedy, name)


def _absent(name: str, command: str, stem: str) -> Finding:
    if os.path.dirname(command):
        if os.path.isfile(command):
            return Finding("problem", f"{command} is not executable", f"chmod +x {command}", name)
        return Finding("problem", f"there is no program {command}", "correct `command` in its entry", name)
    remedy = INSTALL.get(stem, "install it, or give its full path in `command`")
    if stem in INSTALL and not stem.startswith("python"):
        remedy += "\nif it is installed, give its full path: programs started from a desktop have a shorter PATH"
    return Finding("problem", f"there is no program {command!r} on PATH", remedy, name)


# --- The gateway's own needs --------------------------------------------------------------------------------------


def port(settings: "GatewaySettings") -> Finding:
    """Whether `serve` could listen, and who is in its way."""
    host, number = settings.host, settings.port
    if number == 0:
        return Finding("ok", "any free port will do (port 0)")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, number), family=family).close()
    except OSError as error:
        return _unavailable(host, number, error)
    return Finding("ok", f"port {number} on {host} is free")


def _unavailable(host: str, number: int, error: OSError) -> Finding:
    another = "choose another with gateway.port in the configuration, or serve --port"
    if error.errno == errno.EADDRINUSE:
        who = listener_on(number)
        if who is not None and who.is_gateway:
            return Finding("ok", f"port {number} is served by mcp-gateway already ({who})")
        by = f" by {who}" if who is not None else ""
        return Finding("problem", f"port {number} on {host} is taken{by}", f"stop what uses it, or {another}")
    if error.errno == errno.EACCES:
        return Finding("problem", f"port {number} is reserved for the system", another)
    if error.errno == errno.EADDRNOTAVAIL:
        return Finding("problem", f"{host} is no address of this machine", "correct gateway.host")
    return Finding("problem", f"cannot listen on {host} port {number}: {error.strerror}", "correct gateway.host")


def state(directory: Path) -> Iterator[Finding]:
    """Whether what must outlive a restart can be kept."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    remedy = "make it writable, or choose another with gateway.state_dir"
    if not existing.is_dir():
        yield Finding("problem", f"the state directory {directory} cannot be: {existing} is a file", remedy)
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield Finding("problem", f"the state directory {directory} is not writable", remedy)
    else:
        yield Finding("ok", f"the state directory {directory} is writable")
        if warning := snapshot.load(directory / "catalogue.json")[1]:
            yield Finding("note", warning.removesuffix("."), "delete it; the gateway writes a new one")
