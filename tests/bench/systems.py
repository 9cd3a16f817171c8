"""What is measured, and how each is started: this gateway with everything on, the limits, and the peers."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from tests.bench.processes import OTHER_CPU, TESTED_CPU, running, tail
from tests.bench.wires import Address
from tests.interaction._gateway import PATIENT, Entry, config_file
from tests.public.packages import NODE_MAJOR, OutOfReach, kept, node_major, npm_install, programs
from tests.support import STARTUP_SECONDS, command, free_port, listens

HUB: Final = {"mcp-hub": "4.2.1"}
FASTMCP: Final = ("fastmcp==4.2.3", "uvloop", "httptools")

GATEWAY: Final = "gateway"
ASGI: Final = "asgi proxy"
PROTOCOL: Final = "protocol proxy"
HELD: Final = "held bytes"
NGINX: Final = "nginx"
HUB_NAME: Final = "mcp-hub"
FASTMCP_NAME: Final = "FastMCP proxy"

PEERS: Final = {HUB_NAME, FASTMCP_NAME}
"""Without these there is still something to compare with."""

KEY: Final = "bench-" + "k" * 42
BEARER: Final = ("Authorization: Bearer bench",)
EVERYTHING: Final[dict[str, Any]] = {
    **PATIENT,
    "log_level": "info",
    "log_format": "json",
    "policy": [{"who": ["*"], "deny": ["*__delete_*"]}, {"who": ["owner:bench"], "allow": ["*"]}],
}
"""Settings of this gateway. Breakers and metrics are always on, and the access log goes to a file."""

RPM: Final = 600_000_000


@dataclass(frozen=True)
class System:
    """A program that listens."""

    name: str
    argv: Sequence[str | Path]
    address: Address
    prefix: str = ""
    """Of the names that it gives to tools."""
    sse: bool = False
    """Whether it has only the oldest of the HTTP transports."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Program:
    """A build of this gateway: how to call it, and by which name it goes here."""

    name: str = GATEWAY
    argv: Sequence[str] = (sys.executable, "-m", "gateway")


@contextmanager
def started(
    system: System, folder: Path, cpus: Sequence[int] = (TESTED_CPU,), patience: float = STARTUP_SECONDS
) -> Generator[int]:
    """Run it on the CPU of what is tested, or on these; yields its process id as soon as it listens."""
    log = folder / f"{system.name}-{system.address.port}.log"
    argv = [str(each) for each in system.argv]
    with running(argv, log, cpu=cpus, env=system.env) as process:
        _wait_listening(process.poll, system.address.port, log, patience)
        try:
            yield process.pid
        except Exception as error:
            error.add_note(f"--- the last words of {system.name}\n{tail(log)}")
            raise


@contextmanager
def fixture(folder: Path, *, tools: int = 0, cpu: int = OTHER_CPU) -> Generator[tuple[str, int]]:
    """A server's base URL, and its process id. It is the same server at every path."""
    port = free_port()
    argv = command("tests.bench.fixture_http", str(port), "--tools", str(tools))
    with running(argv, log := folder / f"fixture-{port}.log", cpu=cpu) as process:
        _wait_listening(process.poll, port, log)
        yield f"http://127.0.0.1:{port}", process.pid


def _wait_listening(poll: Callable[[], int | None], port: int, log: Path, patience: float = STARTUP_SECONDS) -> None:
    deadline = time.monotonic() + patience
    while not listens(port):
        assert poll() is None, f"ended before it was ready:\n{tail(log)}"
        assert time.monotonic() < deadline, f"does not listen after {patience:g} s:\n{tail(log)}"
        time.sleep(0.01)


# --- This gateway -----------------------------------------------------------------------------------------------------


def gateway(program: Program, folder: Path, servers: Mapping[str, Entry], **settings: Any) -> System:
    """With everything on, at a free port."""
    port = free_port()
    config = configured(folder / f"{program.name}-{port}", servers, **settings)
    argv = [*program.argv, "serve", "--port", str(port), "-c", str(config)]
    return System(program.name, argv, Address(f"http://127.0.0.1:{port}/mcp", (f"X-Api-Key: {KEY}",)), "u0__")


def configured(folder: Path, servers: Mapping[str, Entry], **settings: Any) -> Path:
    """A configuration with everything on, in a new folder."""
    folder.mkdir()
    digest = sha256(KEY.encode()).hexdigest()
    keys = [{"id": "bench", "owner": "bench", "rate_limit_rpm": RPM, "key_hash": f"sha256:{digest}"}]
    (file := folder / "keys.json").write_text(json.dumps(keys))
    file.chmod(0o600)
    return config_file(
        folder, servers, **{**EVERYTHING, "auth": {"enabled": True, "api_keys_file": str(file)}, **settings}
    )


# --- The limits -------------------------------------------------------------------------------------------------------


def asgi_proxy(upstream: str) -> System:
    return _on_uvicorn(ASGI, "asgi_proxy", BENCH_UPSTREAM=upstream)


def held_list(result: bytes, folder: Path) -> System:
    """
    Args:
        result: of its tools/list.
    """
    (file := folder / f"list-{len(result)}.json").write_bytes(result)
    return _on_uvicorn(HELD, "held_list", BENCH_LIST=str(file))


def _on_uvicorn(name: str, module: str, **env: str) -> System:
    port = free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    argv = command("uvicorn", f"tests.bench.rivals.{module}:app", "--port", str(port), *options)
    return System(name, argv, _bearer(port), env=env)


def protocol_proxy(upstream: str) -> System:
    port = free_port()
    argv = command("tests.bench.rivals.protocol_proxy", str(port))
    return System(PROTOCOL, argv, _bearer(port), env={"BENCH_UPSTREAM": upstream})


def _bearer(port: int) -> Address:
    return Address(f"http://127.0.0.1:{port}/mcp", BEARER)


NGINX_CONF: Final = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream fixture {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      if ($http_authorization != "Bearer bench") {{ return 401; }}
      proxy_pass http://fixture; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""


def nginx(folder: Path, upstream: str) -> System:
    """
    Raises:
        OutOfReach: it is not installed.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise OutOfReach("it is not installed")
    port = free_port()
    host = upstream.removeprefix("http://").partition("/")[0]
    (config := folder / "nginx.conf").write_text(NGINX_CONF.format(folder=folder, upstream=host, port=port))
    return System(NGINX, [program, "-c", config, "-e", folder / "nginx.err"], _bearer(port))


# --- The peers --------------------------------------------------------------------------------------------------------


def hub(folder: Path, servers: Mapping[str, Entry]) -> System:
    """
    Raises:
        OutOfReach: Node.js or the package is not to be had.
    """
    if (major := node_major()) < NODE_MAJOR:
        raise OutOfReach(f"Node.js {major} is older than {NODE_MAJOR}")
    modules = kept("bench-node", HUB, lambda home: npm_install(home, HUB))
    port = free_port()
    (config := folder / f"hub-{port}.json").write_text(json.dumps({"mcpServers": dict(servers)}))
    argv = ["node", modules / "node_modules/mcp-hub/dist/cli.js", "--port", str(port), "--config", config]
    env = {name: str(folder) for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    return System(HUB_NAME, argv, Address(f"http://127.0.0.1:{port}/mcp"), "u0__", sse=True, env=env)


def fastmcp_proxy(upstream: str) -> System:
    """
    Raises:
        OutOfReach: the package is not to be had.
    """
    python = programs(FASTMCP) / "python"
    port = free_port()
    argv = [python, Path(__file__).parent / "rivals" / "fastmcp_proxy.py", str(port), upstream]
    env = {"FASTMCP_CHECK_FOR_UPDATES": "off"}
    return System(FASTMCP_NAME, argv, Address(f"http://127.0.0.1:{port}/mcp"), env=env)


def obtained(makers: Mapping[str, Callable[[], System]]) -> list[System]:
    """Those that can be had; says why of those that cannot."""
    found: list[System] = []
    for name, make in makers.items():
        try:
            found.append(make())
        except OutOfReach as reason:
            print(f"{name} is left out: {reason}", flush=True)
    return found
