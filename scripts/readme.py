#!/usr/bin/env python3
"""Runs the README's own commands, exactly as written, so that they stay true.

In a fresh clone of this repository's HEAD, in a temporary folder, with an empty home and none of this shell's
variables. Fenced blocks take part when their info string says so, in the order they stand in:

    ```sh ci          runs, in bash, and must succeed within TIMEOUT
    ```sh ci serve    is started and left running; what follows waits until something listens on PORT
    ```text ci        is what the block before it must print: these lines in this order, `…` standing for anything

A block that does not call uv runs as on a machine without uv. At the end what was left running gets Ctrl-C and must
stop. Standard library only: it runs before anything is installed.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORT = 8080
TIMEOUT = 180.0
"""Seconds for one block, or until it listens; the first one installs everything."""
STOP_TIMEOUT = 20.0
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`]*)$")
KEPT = re.compile(
    r"PATH|LANG|LC_ALL|TMPDIR|USER|LOGNAME|SSL_CERT_\w+|\w+_CA_BUNDLE|\w+_CA_CERTS|(?i:\w+_proxy)"
    r"|PIP_\w+|UV_(?!PYTHON|PROJECT)\w+|(?i:npm_config_\w+)"
)
"""Variables without which some machine could not reach its package registry; all others are left behind."""


@dataclass(frozen=True)
class Block:
    line: int
    """Of the opening fence, from 1."""
    words: list[str]
    """Of the info string."""
    text: str

    @property
    def serves(self) -> bool:
        return "serve" in self.words

    @property
    def is_output(self) -> bool:
        return self.words[0] not in ("sh", "bash")

    @property
    def calls_uv(self) -> bool:
        return re.search(r"\buvx?\b", self.text) is not None


class Broken(Exception):
    """What a block promises does not hold."""

    def __init__(self, block: Block, reason: str, log: Path | None = None) -> None:
        lines = log.read_text("utf-8", "replace").splitlines()[-40:] if log else []
        super().__init__("\n  | ".join([f"line {block.line}: {reason}", *lines]))


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks marked `ci`, without their indentation."""
    found: list[Block] = []
    opening: re.Match[str] | None = None
    start, lines = 0, list[str]()
    for number, line in enumerate(markdown.splitlines(), 1):
        fence = FENCE.match(line)
        if opening is None:
            if fence:
                opening, start, lines = fence, number, []
        elif fence and not fence["info"].strip() and len(fence["fence"]) >= len(opening["fence"]):
            words = opening["info"].split()
            if "ci" in words[1:]:
                found.append(Block(start, words, "\n".join(lines) + "\n"))
            opening = None
        else:
            lines.append(line.removeprefix(opening["indent"]))
    return found


def missing_line(expected: str, output: str) -> str | None:
    """The first line of `expected` that `output` does not have in its place."""
    rest = iter(output.splitlines())
    for line in filter(None, map(str.strip, expected.splitlines())):
        pattern = re.compile(".*".join(map(re.escape, re.split(r"…|\.\.\.", line))))
        if not any(pattern.search(candidate) for candidate in rest):
            return line
    return None


def is_listening() -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", PORT), timeout=1):
        return True
    return False


class Runner:
    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self._home = folder / "home"
        self._home.mkdir()
        self._without_uv = folder / "without-uv"
        self._without_uv.mkdir()
        for name in ("uv", "uvx"):
            stub = self._without_uv / name
            stub.write_text(f'#!/bin/sh\necho "{name}: command not found" >&2\nexit 127\n')
            stub.chmod(0o755)

    def environment(self, block: Block) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
        env |= {"HOME": str(self._home), "TERM": "dumb"}
        path = [str(self._home / ".local" / "bin"), env["PATH"]]
        env["PATH"] = os.pathsep.join(path if block.calls_uv else [str(self._without_uv), *path])
        return env

    def start(self, block: Block, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                ["bash", "-eo", "pipefail", "-c", block.text],
                cwd=self.clone,
                env=self.environment(block),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches all of it, and nothing else
            )


@contextmanager
def served(runner: Runner, block: Block, log: Path) -> Generator[None]:
    if is_listening():
        raise Broken(block, f"something else already listens on port {PORT}")
    process = runner.start(block, log)
    try:
        deadline = time.monotonic() + TIMEOUT
        while not is_listening():
            if process.poll() is not None:
                raise Broken(block, f"exited with {process.returncode} instead of serving", log)
            if time.monotonic() > deadline:
                raise Broken(block, f"does not listen on port {PORT} after {TIMEOUT:g} s", log)
            time.sleep(0.1)
        yield
        os.killpg(process.pid, signal.SIGINT)
        if (code := ended(process, STOP_TIMEOUT)) not in (0, 130, -signal.SIGINT):
            how = "still runs" if code is None else f"exited with {code}"
            raise Broken(block, f"{how} after Ctrl-C", log)
    finally:
        kill(process)


def finish(runner: Runner, block: Block, log: Path) -> None:
    process = runner.start(block, log)
    try:
        if code := ended(process, TIMEOUT):
            raise Broken(block, f"exited with {code}", log)
        if code is None:
            raise Broken(block, f"still runs after {TIMEOUT:g} s", log)
    finally:
        kill(process)


def ended(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    """Its exit code; None when it still runs."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(timeout)
    return None


def kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(markdown: str, repository: Path) -> int:
    """Runs every block; returns how many there were. Raises Broken at the first that fails."""
    found = blocks(markdown)
    with tempfile.TemporaryDirectory(prefix="readme-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        runner, log = Runner(Path(folder)), Path(folder) / "log"
        log.touch()
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(repository), str(runner.clone)], check=True)
        for number, block in enumerate(found):
            print(f"line {block.line}: {block.text.splitlines()[0]}", flush=True)
            if block.is_output:
                if line := missing_line(block.text, log.read_text("utf-8", "replace")):
                    raise Broken(block, f"the block before it did not print {line!r} there", log)
            elif block.serves:
                stack.enter_context(served(runner, block, Path(folder) / f"log-{number}"))
            else:
                finish(runner, block, log)
    return len(found)


def main() -> int:
    try:
        count = run((ROOT / "README.md").read_text("utf-8"), ROOT)
    except Broken as error:
        print(f"README.md, {error}", file=sys.stderr)
        return 1
    print(f"README.md: {count} blocks hold")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
