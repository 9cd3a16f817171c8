"""The programs of others that these tests run: which versions, where they are kept, and how they get there.

They are fetched once into a cache folder of ours, with the registries' ordinary clients and by name alone. A machine
that cannot fetch them can still run every other test.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Final

PYTHON_PACKAGES: Final = (
    # servers
    "excel-mcp-server==2.2.2",
    "mcp-server-fetch==2026.10.24",
    "mcp-server-git==2026.10.19",
    "mcp-server-time==2026.10.19",
    # clients
    "fastmcp==4.2.3",
    "openai-agents==0.24.0",
    "pydantic-ai-slim[mcp]==2.68.0",
)
"""What runs on the second line of the Python SDK."""

OLDER_PYTHON_PACKAGES: Final = (
    "mcp==1.30.0",
    # servers
    "cli-mcp-server==0.2.5",
    "mcp-server-calculator==0.2.0",
    "mcp-server-sqlite==2025.4.25",
    "mcp-shell-server==1.1.14",
    "mcp-text-editor==1.0.2",
    # clients
    "langchain-mcp-adapters==0.3.2",
    "mcp-proxy==0.13.0",
    "mcp-use==1.7.1",
    "mcpadapt==0.1.19",
)
"""What still needs the first line of the Python SDK, which cannot be installed beside the second."""

NODE_PACKAGES: Final = {
    # servers
    "@drawio/mcp": "1.6.1",
    "@modelcontextprotocol/server-basic-vanillajs": "2.0.3",
    "@modelcontextprotocol/server-budget-allocator": "2.0.3",
    "@modelcontextprotocol/server-everything": "2026.8.31",
    "@modelcontextprotocol/server-filesystem": "2026.8.31",
    "@modelcontextprotocol/server-memory": "2026.8.31",
    "@modelcontextprotocol/server-scenario-modeler": "2.0.3",
    "@modelcontextprotocol/server-sequential-thinking": "2026.8.31",
    "@modelcontextprotocol/server-system-monitor": "2.0.3",
    "@upstash/context7-mcp": "4.1.1",
    "mcp-hello-world": "1.1.2",
    # both: they put a server of one transport behind another, with or without a key
    "mcp-proxy": "6.7.19",
    "supergateway": "4.0.0",
    # clients; the TypeScript SDK twice: its first line and the packages that followed
    "@modelcontextprotocol/client": "2.4.0",
    "@modelcontextprotocol/inspector": "1.0.3",
    "@modelcontextprotocol/sdk": "1.32.2",
    "mcp-remote": "0.15.1",
    # drives a browser; brings none
    "playwright-core": "1.65.1",
}

NODE_MAJOR: Final = 20
"""The oldest Node.js that all of them run on."""
FETCH_SECONDS: Final = 300.0
"""Longest one registry may take to deliver."""
NOT_THERE: Final = ("E404", "ETARGET", "No solution found")
"""How the clients say that a registry was reached but has no such version: then the pins are wrong."""


SDK: Final = f"mcp=={version('mcp')}"
"""The SDK, whose examples are in no wheel."""


class OutOfReach(Exception):
    """Something these tests need is not to be had on this machine; the message says what."""


@dataclass(frozen=True, slots=True)
class Packages:
    """Where the programs are."""

    programs: Path
    """The folder of the executables in Python, its interpreter among them."""
    older_programs: Path
    """The same for those on the first line of the SDK."""
    node: Path
    """The folder whose `node_modules` has the Node.js packages."""

    @property
    def modules(self) -> Path:
        return self.node / "node_modules" / "@modelcontextprotocol"


def fetch() -> Packages:
    """Find the packages in the cache, or fetch them.

    Raises:
        OutOfReach: they are neither there nor to be had.
    """
    if (major := node_major()) < NODE_MAJOR:
        raise OutOfReach(f"Node.js {major} is older than {NODE_MAJOR}")
    with ThreadPoolExecutor() as pool:
        newer, older = (pool.submit(programs, packages) for packages in (PYTHON_PACKAGES, OLDER_PYTHON_PACKAGES))
        node = pool.submit(kept, "node", NODE_PACKAGES, lambda folder: npm_install(folder, NODE_PACKAGES))
        return Packages(newer.result(), older.result(), node.result())


def sdk_source() -> Path:
    """The folder of the SDK's source distribution, which has its examples.

    Raises:
        OutOfReach: it is neither there nor to be had.
    """

    def install(folder: Path) -> None:
        folder.mkdir()
        download = ("tool", "run", "--quiet", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:")
        _run(os.environ.get("UV", "uv"), *download, SDK, "--dest", folder, fetching=[SDK])
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")

    (source,) = kept("sdk", SDK, install).glob("mcp-*/")
    return source


def node_major() -> int:
    """The version of the Node.js on PATH.

    Raises:
        OutOfReach: there is none.
    """
    return int(_run("node", "--version").lstrip("v").partition(".")[0])


def uv_pip_install(*arguments: str | Path, packages: Sequence[str]) -> None:
    _run(os.environ.get("UV", "uv"), "pip", "install", "--quiet", *arguments, *packages, fetching=packages)


def npm_install(folder: Path, packages: Mapping[str, str], npm: Sequence[str | Path] = ("npm",)) -> None:
    """Install packages, by name and version, into a new folder.

    Raises:
        OutOfReach: they are not to be had.
    """
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}))
    # No package here needs a script run to be installed, so that none is.
    quick = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")
    quiet = ("--loglevel=error", "--no-audit", "--no-fund")
    _run(*npm, "install", "--ignore-scripts", *quiet, *quick, cwd=folder, fetching=packages)


def kept(kind: str, pins: object, install: Callable[[Path], None]) -> Path:
    """The folder for exactly these pins, installed now if it is not there whole."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcp-gateway-tests"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{kind}-{blake2b(json.dumps(pins).encode(), digest_size=6).hexdigest()}"
    complete = folder / ".complete"
    with _locked(folder.with_suffix(".lock")):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            install(folder)
            complete.touch()
    return folder


def programs(packages: Sequence[str]) -> Path:
    """The `bin` of an environment with these packages."""

    def install(folder: Path) -> None:
        _run(os.environ.get("UV", "uv"), "venv", "--quiet", "--python", sys.executable, folder)
        uv_pip_install("--python", folder / "bin" / "python", packages=packages)

    return kept("python", [*packages, sys.base_prefix, sys.version], install) / "bin"


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """One test run at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(*command: str | Path, cwd: Path | None = None, fetching: Iterable[str] = ()) -> str:
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except FileNotFoundError:
        raise OutOfReach(f"there is no {name} on PATH") from None
    except subprocess.TimeoutExpired:
        raise OutOfReach(f"{name} took longer than {FETCH_SECONDS:g} s to fetch {', '.join(fetching)}") from None
    assert not any(word in done.stderr for word in NOT_THERE), done.stderr
    if done.returncode:
        said = " ".join(line.removeprefix("npm error ").strip() for line in done.stderr.splitlines())
        raise OutOfReach(f"{name} could not fetch {', '.join(fetching)}: {said[:300]}")
    return done.stdout
