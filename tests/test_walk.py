"""The walk of one call that the documentation describes is the one that a call takes."""

import json
import re
import sys
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any, Final

import anyio
import httpx2
import pytest

import gateway
from gateway.app import Gateway
from gateway.config.reading.loader import load
from gateway.http_service import HttpService
from tests.bridge.house import SECONDS
from tests.interaction._gateway import PATIENT, config_file
from tests.support import ROOT, free_port, http_server

pytestmark = pytest.mark.anyio

ROW: Final = re.compile(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
HOME: Final = Path(gateway.__file__).parent
MAX_FILES: Final = 15
KEY: Final = "walk-" + "k" * 43


def documented() -> list[tuple[str, str]]:
    """(file, function), in order."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    return ROW.findall(text.partition("## One `tools/call`")[2].partition("\n## ")[0])


class Trace:
    """The functions of the gateway in the order in which they were first called."""

    def __init__(self) -> None:
        self.first: dict[tuple[str, str], None] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(HOME)):
            self.first[Path(code.co_filename).relative_to(HOME).as_posix(), code.co_qualname] = None


async def test_a_call_takes_the_documented_way(tmp_path: Path) -> None:
    port, trace = free_port(), Trace()
    with http_server("tests.servers.everything", "--era", "modern") as upstream:
        auth = {"enabled": True, "api_keys_file": str(keys_file(tmp_path))}
        file = config_file(tmp_path, {"up": {"url": upstream}}, **PATIENT, port=port, auth=auth)
        ready = anyio.Event()
        async with anyio.create_task_group() as tg, httpx2.AsyncClient() as client:
            answer: Any = None

            def listening(url: str) -> None:
                ready.set()

            tg.start_soon(HttpService(Gateway(load(file, dotenv=None))).serve, listening)
            with anyio.fail_after(SECONDS):
                await ready.wait()
                for _ in range(2):  # the second meets what the first had to make
                    trace.first.clear()
                    answer = await _call(client, f"http://127.0.0.1:{port}/mcp", trace)
            assert answer["result"]["resultType"] == "complete"
            tg.cancel_scope.cancel()
    walk = documented()
    assert 0 < len({file for file, _ in walk}) <= MAX_FILES
    visited = [each for each in trace.first if each in walk]
    assert visited == walk


def keys_file(folder: Path) -> Path:
    key = {"id": "walker", "owner": "walker", "key_hash": f"sha256:{sha256(KEY.encode()).hexdigest()}"}
    (file := folder / "keys.json").write_text(json.dumps([key]))
    return file


async def _call(client: httpx2.AsyncClient, url: str, trace: Trace) -> Any:
    meta: dict[str, Any] = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params: dict[str, Any] = {"name": "up__test_simple_text", "arguments": {}, "_meta": meta}
    headers = {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "up__test_simple_text",
        "accept": "application/json, text/event-stream",
        "x-api-key": KEY,
    }
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    sys.setprofile(trace)
    try:
        return (await client.post(url, json=body, headers=headers)).json()
    finally:
        sys.setprofile(None)
