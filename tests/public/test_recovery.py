"""A server of others that dies, or forgets everything, is back with the next call."""

import json
import os
import signal
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from mcp import Client

from tests.public.conftest import everything_listens
from tests.public.conversations import View
from tests.public.packages import Packages
from tests.support import command, free_port, listens, run_process, wait_until

pytestmark = pytest.mark.anyio


@contextmanager
def gateway_to(folder: Path, server: dict[str, object]) -> Generator[tuple[str, int]]:
    """A gateway to one server, `it`: where it is reached, and its process id."""
    configuration = folder / "servers.json"
    configuration.write_text(
        json.dumps({"gateway": {"state_dir": str(folder), "startup_wait": "60s"}, "mcpServers": {"it": server}})
    )
    port = free_port()
    serve = command("gateway", "serve", "-c", str(configuration), "--port", str(port))
    with run_process(serve, ready=lambda: listens(port)) as process:
        yield f"http://127.0.0.1:{port}/mcp", process.pid


async def test_a_program_that_was_killed_is_started_again(packages: Packages, tmp_path: Path) -> None:
    program = str(packages.modules / "server-everything/dist/index.js")
    with gateway_to(tmp_path, {"command": "node", "args": [program, "stdio"]}) as (url, gateway):
        async with Client(url) as client:
            before = await View(client, "it").tools()
            (child,) = _children(gateway, program)
            os.kill(child, signal.SIGKILL)
            await wait_until(lambda: child not in _children(gateway, program))
            await wait_until(lambda: answers(client), 15)
            assert await View(client, "it").tools() == before != {}


async def test_a_server_that_forgot_its_sessions_gets_a_new_one(packages: Packages, tmp_path: Path) -> None:
    """This one answers an unknown session with 400, where the specification has 404."""
    port = free_port()
    with ExitStack() as stack:
        with everything_listens(packages, "streamableHttp", port):
            url, _ = stack.enter_context(gateway_to(tmp_path, {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}))
            async with Client(url) as client:
                before = await View(client, "it").tools()
        with everything_listens(packages, "streamableHttp", port):
            async with Client(url) as client:
                await wait_until(lambda: answers(client), 15)
                assert await View(client, "it").tools() == before != {}


async def answers(client: Client) -> bool:
    """Whether a call gets there now. While nobody listens it is refused at once."""
    answer = await View(client, "it").call("echo", message="again")
    return answer.get("content") == [{"type": "text", "text": "Echo: again"}]


def _children(parent: int, word: str) -> set[int]:
    """The processes that `parent` started with `word` on their command line."""
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat, line = (process / "stat").read_text(), (process / "cmdline").read_text()
        except OSError:
            continue  # it has just ended
        if word in line and int(stat.rpartition(")")[2].split()[1]) == parent:
            found.add(int(process.name))
    return found
