"""When a server refuses our secrets they are read again, at most once in a while, and only where that can help."""

import json
from pathlib import Path

import anyio
import httpx2
import pytest

from gateway.config import load
from gateway.config.reload import Current
from gateway.config.reload.refreshing import PAUSE, SecretRefresher
from tests.interaction._http import post, request
from tests.support import command, free_port, listens, run_process, wait_until

pytestmark = pytest.mark.anyio

CANARIES = ("canary-one-4711", "canary-two-4712")


class Reading:
    """Counts how often the configuration was read again."""

    def __init__(self) -> None:
        Path("secret").write_text("x" * 8)
        Path("servers.yaml").write_text('servers: {a: {command: "${file:secret}"}, b: {command: b}}')
        self.count = 0
        self.current = Current(load(Path("servers.yaml"), environ={}))

    async def reload(self) -> None:
        self.count += 1


async def test_only_for_a_server_with_such_secrets_and_once_in_a_pause() -> None:
    reading = Reading()
    refresher = SecretRefresher(reading.current, reading.reload, pause=3600)
    async with anyio.create_task_group() as tg:
        tg.start_soon(refresher.run)
        refresher.on_unauthorized("b")
        await anyio.wait_all_tasks_blocked()
        assert reading.count == 0
        for _ in range(10):
            refresher.on_unauthorized("a")
            await anyio.wait_all_tasks_blocked()
        assert reading.count == 1
        tg.cancel_scope.cancel()


async def test_what_is_refused_meanwhile_is_read_after_the_pause() -> None:
    assert PAUSE == 60
    reading = Reading()
    refresher = SecretRefresher(reading.current, reading.reload, pause=0.01)
    async with anyio.create_task_group() as tg:
        tg.start_soon(refresher.run)
        for wanted in (1, 2, 3):
            refresher.on_unauthorized("a")
            await wait_until(lambda wanted=wanted: reading.count == wanted, 30)
        tg.cancel_scope.cancel()


def test_a_gateway_takes_up_what_a_command_says_since_the_server_refused(folder: Path) -> None:
    """And nothing of the secrets stands anywhere but in requests to that server."""
    Path("give").write_text("#!/bin/sh\necho x >> runs\ncat secret\n")
    Path("give").chmod(0o755)
    Path("secret").write_text(CANARIES[0])
    Path("token").write_text(CANARIES[0])
    upstream, port = free_port(), free_port()
    Path("servers.yaml").write_text(
        f"""\
gateway: {{port: {port}, startup_wait: 30s, state_dir: state, log_level: debug, log_file: log}}
servers:
  locked: {{url: "http://127.0.0.1:{upstream}/mcp", headers: {{Authorization: "Bearer ${{command:./give}}"}}}}
"""
    )
    base = f"http://127.0.0.1:{port}"
    locked = command(
        "tests.servers.locked", "--port", str(upstream), "--token", f"{folder}/token", "--seen", f"{folder}/seen"
    )
    gateway = command("gateway", "serve", f"{folder}/servers.yaml")
    call = request("tools/call", {"name": "locked__hello", "arguments": {}})
    with (
        run_process(locked, ready=lambda: listens(upstream)),
        run_process(gateway, ready=lambda: listens(port)),
    ):
        assert post(f"{base}/mcp", call)[1]["result"]["content"][0]["text"] == "hello"
        assert Path("runs").read_text() == "x\n"
        Path("secret").write_text(CANARIES[1])
        Path("token").write_text(CANARIES[1])  # from here on, what it was given is refused
        assert "error" in post(f"{base}/mcp", call)[1]
        anyio.run(wait_until, lambda: post(f"{base}/mcp", call)[1].get("result"), 60)
        assert Path("runs").read_text() == "x\nx\n"
        Path("token").write_text("another")
        shown = [json.dumps(post(f"{base}/mcp", call)[1]) for _ in range(3)]
        shown += [httpx2.get(f"{base}/{path}").text for path in ("upstreams", "upstreams/locked", "status", "info")]
        assert Path("runs").read_text() == "x\nx\n", "within a minute, nobody reads again"
    shown += [Path("log").read_text(), *(each.read_text("latin-1") for each in Path("state").iterdir())]
    assert {f"Bearer {canary}" for canary in CANARIES} <= set(Path("seen").read_text().splitlines())
    assert "secrets are read again" in "".join(shown)
    for canary in CANARIES:
        assert canary not in "".join(shown)
