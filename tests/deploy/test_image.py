"""The image: its Dockerfile is sound, its steps do what they should, and what they make runs as it will run."""

import json
import os
import re
import shlex
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deploy.dockerfile import read
from tests.deploy.programs import DEPLOY, find, output
from tests.support import ROOT, command, free_port, run_process, wait_until

DOCKERFILE: Final = DEPLOY / "docker/Dockerfile"
KEYS: Final = "/etc/mcp-gateway/keys"
STATE: Final = "/var/lib/mcp-gateway"


def test_hadolint_finds_nothing() -> None:
    output([find("hadolint"), DOCKERFILE])


def test_bases_are_pinned() -> None:
    stages = read(DOCKERFILE)
    names = {stage.name for stage in stages}
    outside = [stage.image for stage in stages if stage.image not in names]
    assert outside
    for image in outside:
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.[\w.-]+@sha256:[0-9a-f]{64}", image), image


def test_nothing_secret_is_sent_to_the_builder() -> None:
    lines = [
        line for line in (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] != "#"
    ]
    assert lines[0] == "*"
    sent = [line[1:] for line in lines if line.startswith("!")]
    assert sent
    for each in sent:
        assert output(["git", "ls-files", each]), f"{each} is nothing of the repository's"
        assert not Path(each).name.startswith(".")


# --- Replayed --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Image:
    """The image, mounted in a namespace of its own, its root read-only."""

    holder: int
    said: dict[str, Any]

    def command(self, *words: str, **environment: str) -> list[str]:
        """How to run something in it as the image's user, with no rights beyond that and none to be had."""
        user, _, group = self.said["user"].partition(":")
        variables = {"HOME": STATE} | self.said["environment"] | environment
        return [
            *("nsenter", f"--target={self.holder}", "--mount", "--", "chroot", self.said["root"]),
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"),
            *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
            *("env", "-i", "-C", self.said["folder"], *(f"{name}={value}" for name, value in variables.items())),
            *words,
        ]

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*words, **environment), capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def entrypoint(self) -> list[str]:
        return json.loads(self.said["entrypoint"])

    @property
    def healthcheck(self) -> list[str]:
        """The words of `HEALTHCHECK CMD`."""
        return json.loads(self.said["healthcheck"].removeprefix("CMD").strip())


@pytest.fixture(scope="module")
def image() -> Generator[Image]:
    if os.geteuid() != 0:
        pytest.skip("layers are mounted by root")
    if subprocess.run([find("unshare"), "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as told:
        words = [find("unshare"), "--mount", *command("tests.deploy.replay", str(DOCKERFILE), scratch, KEYS, STATE)]
        holder = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True
        )
        assert holder.stdout is not None
        try:
            line = holder.stdout.readline()  # empty when it has failed; pytest's own limit ends one that hangs
            told.seek(0)
            assert line, told.read()
            yield Image(holder.pid, json.loads(line))
        finally:
            holder.communicate("")


@pytest.fixture(scope="module")
def key(image: Image) -> str:
    """The API key that the first start makes, as compose.yaml's service `keys` does it."""
    done = image.run(*image.entrypoint, "keys", "init")
    assert done.returncode == 0, done.stderr
    assert "The first API key" in done.stderr
    return done.stdout.strip()


def read_url(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def ask(port: int, key: str | None) -> tuple[int, dict[str, Any]]:
    """A call of the demo's clock: status, and what was answered."""
    asked = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "time__now", "arguments": {"timezone": "Asia/Tokyo"}},
    }
    headers = {"Content-Type": "application/json"} | ({"X-Api-Key": key} if key else {})
    request = urllib.request.Request(f"http://127.0.0.1:{port}/mcp", json.dumps(asked).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_nobody_in_it_is_root_and_its_root_cannot_be_written_to(image: Image) -> None:
    assert image.run("id", "-u").stdout.strip() == "10001"
    for path in ("/x", "/opt/mcp-gateway/x", "/etc/mcp-gateway/x", "/usr/local/bin/x"):
        assert image.run("touch", path).returncode != 0, path
    assert image.run("touch", f"{STATE}/x").returncode == 0
    assert image.run("mcp-gateway", "--version").returncode == 0
    said = image.run("python", "-c", "import valkey, opentelemetry.sdk, gateway; print(gateway.__file__)")
    assert said.stdout.startswith("/opt/mcp-gateway/"), said.stderr
    assert image.run("sh", "-c", "ls -d /src /opt/mcp-gateway/bin/uv").returncode != 0, (
        "the builder's things are not in it"
    )


def test_without_keys_it_does_not_start_and_says_what_to_do(image: Image) -> None:
    done = image.run(*image.entrypoint, "serve", GATEWAY_API_KEYS_FILE=f"{STATE}/none.json", GATEWAY_PORT="0")
    assert done.returncode in (2, 3)
    assert "none.json" in done.stderr


@pytest.mark.anyio
async def test_first_start(image: Image, key: str) -> None:
    """The keys it made let people in, the one that everybody knows does not; it is healthy, and stops when asked to."""
    port, metrics = free_port(), free_port()
    variables = {"GATEWAY_PORT": str(port), "GATEWAY_METRICS__HOST": "0.0.0.0", "GATEWAY_METRICS__PORT": str(metrics)}
    healthcheck = image.command(*image.healthcheck, **variables)

    def is_healthy() -> bool:
        return subprocess.run(healthcheck, capture_output=True, check=False, timeout=60).returncode == 0

    assert not is_healthy(), "nobody is there yet"
    serve = [*image.entrypoint, *json.loads(image.said["cmd"])]
    with run_process(image.command(*serve, **variables), ready=is_healthy, within=90) as process:
        await wait_until(lambda: "Asia/Tokyo" in json.dumps(ask(port, key)[1].get("result")), 30)
        assert b'mcp_gateway_upstream_state{state="ready",upstream="time"} 1.0' in read_url(
            f"http://127.0.0.1:{metrics}/metrics"
        )
        assert ask(port, None)[0] == 401
        assert ask(port, "dev-key-alice-001")[0] == 401
        process.terminate()
        assert process.wait(30) == 0
    again = image.run(*image.entrypoint, "keys", "init")
    assert (again.returncode, again.stdout) == (0, "")


def test_key_that_everybody_knows_is_refused(image: Image) -> None:
    file = json.dumps([{"key": "dev-key-alice-001", "owner": "alice"}])
    written = image.run("sh", "-c", f"echo {shlex.quote(file)} > {STATE}/dev.json")
    assert written.returncode == 0, written.stderr
    done = image.run(*image.entrypoint, "serve", GATEWAY_API_KEYS_FILE=f"{STATE}/dev.json", GATEWAY_PORT="0")
    assert done.returncode in (2, 3)
    assert "a key that everybody knows" in done.stderr
