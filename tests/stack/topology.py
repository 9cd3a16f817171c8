"""Starts the processes of the stack, each as the containers do it, on free ports of this machine."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.store.servers import valkey
from tests.support import ROOT, command, free_port, http_server, listens, run_process, run_program
from tests.telemetry.collector import Collector, collector

DEPLOY: Final = ROOT / "deploy"
SCRAPE_SECONDS: Final = 1
WELL: Final = ("time", "notes", "web", "turncoat")
"""Upstreams that are as they should be."""
READY_SECONDS: Final = 90.0
"""Longest it may take until something is ready, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where those of others are."""

    nginx: str
    prometheus: str


@dataclass(frozen=True, slots=True)
class Node:
    """One gateway."""

    url: str
    metrics: str
    process: "subprocess.Popen[bytes]"


@dataclass(frozen=True, slots=True)
class Stack:
    """All that runs."""

    folder: Path
    url: str
    """Where agents go: nginx."""
    nodes: tuple[Node, ...]
    prometheus: str
    valkey: str
    collector: Collector
    key: str
    """May do everything, without limit."""
    limited_key: str
    """May ask 6 times a minute."""
    started: float

    @property
    def servers_file(self) -> Path:
        """The configuration, which both gateways follow."""
        return self.folder / "servers.yaml"

    @property
    def offered_file(self) -> Path:
        """What the upstream `turncoat` offers (`tests.servers.turncoat`)."""
        return self.folder / "offered.json"


@contextmanager
def running(folder: Path, programs: Programs, *, port: int = 0) -> Generator[Stack]:
    """Start everything; until the block ends.

    Args:
        folder: an empty one.
        port: where nginx listens; 0 for a free one.
    """
    with ExitStack() as open_:
        received = open_.enter_context(collector())
        store = open_.enter_context(valkey())
        web = open_.enter_context(http_server("tests.servers.everything"))
        bad = open_.enter_context(http_server("tests.servers.bad", "--era", "handshake"))
        write_servers(folder, web, bad)
        keys = _run_keys(folder, "init", "keys"), _create_limited(folder)
        nodes = tuple(open_.enter_context(_gateway(folder, number, received, store.url)) for number in (1, 2))
        for node in nodes:
            _wait_ready(node)
        port = port or free_port()
        open_.enter_context(_nginx(folder, programs.nginx, port, nodes))
        prometheus = open_.enter_context(_prometheus(folder, programs.prometheus, nodes))
        url = f"http://127.0.0.1:{port}"
        yield Stack(folder, url, nodes, prometheus, store.url, received, *keys, time.time())


# --- Gateways ---------------------------------------------------------------------------------------------------------


def write_servers(folder: Path, web: str, bad: str) -> None:
    """The configuration: upstreams that are good, one that fails, one that is away, and one that changes its
    mind."""
    demo = {"command": "${GATEWAY_PYTHON}"}
    servers: dict[str, Any] = {
        "time": {**demo, "args": ["-P", "-m", "gateway.demo.time"]},
        "notes": {**demo, "args": ["-P", "-m", "gateway.demo.notes"]},
        "web": {"url": web, "type": "http", "max_concurrency": 1},
        "flaky": {"url": bad, "type": "http", "timeout": "500ms", "breaker": {"failures": 3, "cooldown": "2s"}},
        "away": {"url": "http://127.0.0.1:1/mcp"},
        "turncoat": {
            "command": sys.executable,
            "args": ["-m", "tests.servers.turncoat", str(folder / "offered.json")],
            "cwd": str(ROOT),
        },
    }
    (folder / "offered.json").write_text('[{"name": "look", "inputSchema": {"type": "object"}}]')
    (folder / "servers.yaml").write_text(yaml.safe_dump({"servers": servers}, sort_keys=False))


def _run_keys(folder: Path, *arguments: str) -> str:
    """What the verb says on stdout: a key."""
    done = run_program(command("gateway", "keys", *arguments), cwd=folder, env={"PYTHONPATH": str(ROOT)})
    done.check_returncode()
    return done.stdout.strip()


def _create_limited(folder: Path) -> str:
    return _run_keys(folder, "create", "--file", "keys/api_keys.json", "--owner", "limited", "--rpm", "6")


@contextmanager
def _gateway(folder: Path, number: int, received: Collector, store: str) -> Generator[Node]:
    port, metrics = free_port(), free_port()
    compose = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())["services"]["gateway"]["environment"]
    environment = {
        **compose,
        "GATEWAY_CONFIG": str(folder / "servers.yaml"),
        "GATEWAY_API_KEYS_FILE": str(folder / "keys/api_keys.json"),
        "GATEWAY_AUTH_ENABLED": "true",
        "GATEWAY_ENVIRONMENT": "production",
        "GATEWAY_PORT": str(port),
        "GATEWAY_METRICS__HOST": "127.0.0.1",
        "GATEWAY_METRICS__PORT": str(metrics),
        "GATEWAY_STATE_DIR": str(folder / f"state-{number}"),
        "GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
        "GATEWAY_RATE_LIMIT__DEFAULT_RPM": "-1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
        "PYTHONPATH": str(ROOT),
    }
    if "GATEWAY_STORE" in compose:
        environment["GATEWAY_STORE"] = store
    serve = command("gateway", "serve")
    with run_process(
        serve, ready=lambda: listens(port), env=environment, cwd=folder / "keys", within=READY_SECONDS
    ) as process:
        yield Node(f"http://127.0.0.1:{port}", f"127.0.0.1:{metrics}", process)


def _wait_ready(node: Node) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(node):
        assert time.monotonic() < deadline, f"not connected to {WELL} within {READY_SECONDS:g} s"
        time.sleep(0.05)


def _is_ready(node: Node) -> bool:
    """Whether all upstreams that are well have been connected to."""
    with urllib.request.urlopen(f"http://{node.metrics}/metrics", timeout=READY_SECONDS) as shown:
        lines = shown.read().decode().splitlines()
    ready = [line for line in lines if line.startswith("mcp_gateway_upstream_state{") and 'state="ready"' in line]
    return all(any(f'upstream="{name}"' in line for line in ready) for name in WELL)


# --- Programs of others -----------------------------------------------------------------------------------------------


@contextmanager
def _nginx(folder: Path, program: str, port: int, nodes: tuple[Node, ...]) -> Generator[None]:
    """With the configuration of the containers, but for addresses: theirs are asked for, these are known."""
    text = (DEPLOY / "docker/nginx.conf").read_text()
    members = "\n".join(f"server {node.url.removeprefix('http://')} max_fails=1 fail_timeout=2s;" for node in nodes)
    text = re.sub(r"server gateway:8080 resolve [^;]+;", members, text)
    text = re.sub(r"resolver [^;]+;", "", text)
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    text = text.replace("/tmp/", f"{folder}/nginx-").replace("/etc/nginx/mcp-gateway", str(DEPLOY / "nginx"))
    file = folder / "nginx.conf"
    file.write_text(text)
    owner = "user root;" if os.geteuid() == 0 else ""  # of folders that nobody else may look into
    words = [program, "-c", str(file), "-e", "stderr", "-g", f"daemon off; {owner}"]
    with run_process(words, ready=lambda: listens(port), within=READY_SECONDS):
        yield


@contextmanager
def _prometheus(folder: Path, program: str, nodes: tuple[Node, ...]) -> Generator[str]:
    """With the configuration of the containers, but for addresses, and a look every second."""
    port = free_port()
    told = yaml.safe_load((DEPLOY / "monitoring/prometheus.yml").read_text())
    told["global"] |= {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"}
    told["rule_files"] = [str(DEPLOY / "monitoring" / file) for file in told["rule_files"]]
    for job in told["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        mine = job["job_name"] == "mcp-gateway"
        job["static_configs"] = [{"targets": [node.metrics for node in nodes] if mine else [f"127.0.0.1:{port}"]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(told))
    words = [
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    with run_process(words, ready=lambda: listens(port), within=READY_SECONDS):
        yield f"http://127.0.0.1:{port}"
