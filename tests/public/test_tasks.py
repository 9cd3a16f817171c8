"""Tasks of 2025-11-25 between the SDK's own client and servers, and server-everything's: as if nothing were between."""

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interaction._gateway import PATIENT, http_gateway
from tests.interaction._http import HttpChannel
from tests.interaction._wire import Wire
from tests.public.packages import Packages
from tests.support import free_port, listens, run_process

PROGRAM: Final = str(Path(__file__).with_name("tasks_1x.py"))
SECONDS: Final = 120.0


@pytest.fixture(scope="module")
def seen(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Any]]:
    python, port = str(packages.older_programs / "python"), free_port()
    everything = packages.modules / "server-everything/dist/index.js"
    servers = {
        "line": {"command": python, "args": [PROGRAM, "serve"]},
        "net": {"url": f"http://127.0.0.1:{port}/mcp"},
        "ts": {"command": "node", "args": [str(everything), "stdio"], "tools": {"allow": ["simulate-research-query"]}},
    }
    with (
        run_process([python, PROGRAM, "serve", str(port)], ready=lambda: listens(port)),
        http_gateway(tmp_path_factory.mktemp("tasks"), servers, **PATIENT) as gateway,
    ):
        use = [python, PROGRAM, "use", f"{gateway.base}/mcp"]
        done = subprocess.run(use, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        modern = Wire(HttpChannel(f"{gateway.base}/mcp"), modern=True)
        yield json.loads(done.stdout) | {
            "modern": modern.call("ts__simulate-research-query", topic="harps").result["content"][0]["text"]
        }


@pytest.mark.parametrize("server", ["line", "net"])
def test_the_sdks_client_has_the_tasks_of_its_servers(seen: dict[str, Any], server: str) -> None:
    assert seen["offered"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    assert seen[f"{server}__ask"] == {
        "text": "crwth",
        "listed": True,
        "over": "completed",
        "cancelled": "cancelled",
        "asked": [True],
    }


def test_it_has_those_of_the_other_sdks_servers(seen: dict[str, Any]) -> None:
    assert "Research Report: harps" in seen["ts__simulate-research-query"]["text"]


def test_who_knows_no_such_tasks_calls_a_tool_that_requires_them(seen: dict[str, Any]) -> None:
    assert "Research Report: harps" in seen["modern"]
