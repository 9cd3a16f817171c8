"""What a gateway has not loaded while nobody has asked for it: memory that each of them would take."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.interaction._gateway import PATIENT, child, config_file
from tests.support import free_port, http_server, listens, run_process

LISTING: Final = """
import atexit, os, pathlib, sys
atexit.register(lambda: pathlib.Path(os.environ["LOADED"]).write_text(" ".join(sys.modules)))
from gateway.cli import main
main()
"""
"""The gateway, which says what it has loaded when it ends."""
NOT_LOADED: Final = frozenset(
    {
        "fastapi",
        "starlette",
        "uvicorn",
        "rich",
        "pygments",
        "mcp.server.lowlevel",
        "mcp_types._v2025_11_25",
        "mcp_types._v2026_07_28",
        "opentelemetry.sdk",
        "gateway.openapi",
        "gateway.dialects",
        "jwt",
        "httpx2",
        "multiprocessing",
        "gateway.access.oauth",
        "gateway.access.agent_jwt",
        "gateway.logins.web_request",
        "gateway.upstream.api.web_request",
        "gateway.rest.connect",
    }
)
ASKED: Final = frozenset({"html", "prometheus_client.exposition"})
"""What the page at `/` and the metrics take, which only one of these gateways is asked for."""
SECONDS: Final = 60.0
REQUESTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
    ("tools/list", {}),
    ("tools/call", {"name": "up__echo", "arguments": {"message": "x"}}),
)


def request(number: int, method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def wait_for_end(process: subprocess.Popen[bytes]) -> None:
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


@pytest.mark.parametrize("era", ["modern", "handshake"])
def test_a_gateway_over_http(tmp_path: Path, era: str) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with http_server("tests.servers.everything", "--era", era) as upstream:
        file = config_file(tmp_path, {"up": {"url": upstream}}, **PATIENT)
        args = [sys.executable, "-c", LISTING, "serve", "--port", str(port), "-c", str(file)]
        loaded = tmp_path / "loaded"
        env = {"LOADED": str(loaded)}
        with run_process(args, ready=lambda: listens(port), env=env) as process, httpx2.Client() as client:
            headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
            for number, (method, params) in enumerate(REQUESTS):
                body = request(number, method, params)
                answer = client.post(f"{base}/mcp", content=body, headers=headers, timeout=SECONDS)
                assert answer.status_code == 200
                assert '"result"' in answer.text
                if "mcp-session-id" in answer.headers:
                    headers["mcp-session-id"] = answer.headers["mcp-session-id"]
            for path in ("/", "/health", "/readyz", "/metrics"):
                assert client.get(f"{base}{path}", timeout=SECONDS).status_code == 200
            process.send_signal(signal.SIGTERM)
            wait_for_end(process)
    assert not NOT_LOADED & set(loaded.read_text().split())


def test_a_gateway_over_stdio(tmp_path: Path) -> None:
    file = config_file(tmp_path, {"up": child("tests.servers.everything")}, **PATIENT)
    args = [sys.executable, "-c", LISTING, "stdio", "-c", str(file)]
    loaded = tmp_path / "loaded"
    with run_process(args, piped=True, env={"LOADED": str(loaded)}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, (method, params) in enumerate(REQUESTS):
            process.stdin.write(request(number, method, params) + b"\n")
            process.stdin.flush()
            while "result" not in (answer := json.loads(process.stdout.readline())):
                assert "error" not in answer
        wait_for_end(process)
    assert not (NOT_LOADED | ASKED) & set(loaded.read_text().split())
