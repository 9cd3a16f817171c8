"""The TypeScript SDK's clients, on which most agents are built, find everything behind the gateway."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.public.conftest import Place, stdio_front
from tests.public.packages import Packages

AGENT: Final = Path(__file__).with_name("agent.mjs")

SECONDS: Final = 120.0
"""Longest an agent may take, the start of a gateway for it included."""


@pytest.mark.parametrize(
    ("sdk", "mode", "transport"),
    [
        ("v1", "legacy", "http"),
        ("v1", "legacy", "sse"),
        ("v1", "legacy", "stdio"),
        ("v2", "legacy", "http"),
        ("v2", "auto", "http"),
        ("v2", "legacy", "sse"),
        ("v2", "auto", "stdio"),
    ],
)
def test_an_agent_uses_everything_once(
    packages: Packages, place: Place, gateway: str, sdk: str, mode: str, transport: str
) -> None:
    server = "everything-http" if transport == "stdio" else "everything"
    uri = f"demo://resource/session/{uuid4().hex}"
    asked: dict[str, Any] = {"sdk": sdk, "mode": mode, "transport": transport, "server": server}
    asked |= {"name": uri.rpartition("/")[2], "url": gateway + ("/sse" if transport == "sse" else "/mcp")}
    if transport == "stdio":
        asked["command"] = _command(place)

    seen = _run_agent(packages, asked)

    assert seen["server"]["name"] == "mcp-gateway"
    assert seen.get("version") in {("v1", "legacy"): [None], ("v2", "legacy"): ["2025-11-25", "2024-11-05"]}.get(
        (sdk, mode), ["2026-07-28"]
    )
    assert {f"{server}__echo", "time__convert_time", "git__git_log", "files__read_file"} <= set(seen["tools"])
    assert seen["echo"]["content"] == [{"type": "text", "text": "Echo: Grüße"}]
    assert seen["structured"]["structuredContent"]["conditions"] == "Light rain / drizzle"
    assert seen["refused"] == -32602
    assert "Everything Server" in seen["document"]["contents"][0]["text"]
    assert seen["prompt"]["messages"][0]["content"]["text"] == "What's weather in Chicago, Illinois?"
    assert seen["completion"]["completion"]["values"] == ["Sales", "Support"]
    # The SDK handles a notification a moment later than a result that came in the same packet: too late for that one.
    assert seen["progress"] == [[step, 4] for step in range(1, 5)][: max(len(seen["progress"]), 1)]
    assert not seen["slow"].get("isError")
    assert uri not in seen["resources"]
    assert uri in seen["after"]
    assert [error for error in seen["errors"] if "progress notification for an unknown token" not in error] == []


def _command(place: Place) -> dict[str, Any]:
    """The stdio front as the SDK is told of it, which starts the program with just these variables."""
    started = stdio_front({**os.environ, **place.environment("typescript")})
    return {"command": started.command, "args": started.args, "env": started.env, "cwd": str(started.cwd)}


def _run_agent(packages: Packages, asked: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        ["node", "--input-type=module", "-", json.dumps(asked)],
        input=AGENT.read_bytes(),
        cwd=packages.node,
        capture_output=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)
