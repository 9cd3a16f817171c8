"""Two gateways, a real store and upstreams that both have: lists, the catalogue and pins cross between them."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from valkey import Valkey

from tests.access.door import Door, rpc
from tests.interaction._http import post
from tests.interaction._wire import request
from tests.store.nodes import gateways
from tests.store.servers import ValkeyServer, valkey
from tests.support import command, free_port, http_server, listens, run_process, run_program, wait_until

pytestmark = pytest.mark.anyio

KEYS = [{"id": "free", "key": "key-free", "owner": "free", "rate_limit_rpm": -1}]
KEY = {"X-Api-Key": "key-free"}
EVERYTHING = "tests.servers.everything"


def tools(door: Door) -> set[str]:
    _, answer = post(f"{door.base}/mcp", rpc("tools/list"), KEY)
    return {tool["name"] for tool in answer["result"]["tools"]}


def call(door: Door, tool: str, **arguments: Any) -> dict[str, Any]:
    message = request("tools/call", {"name": tool, "arguments": arguments}, modern=True)
    return post(f"{door.base}/mcp", message, KEY)[1]


@pytest.fixture(scope="module")
def upstream() -> Generator[str]:
    with http_server(EVERYTHING, "--era", "handshake") as url:
        yield url


async def test_a_change_that_one_node_hears_of_reaches_the_agents_of_the_other(upstream: str, tmp_path: Path) -> None:
    with valkey() as server, gateways(tmp_path, {"up": {"url": upstream}}, server.url, KEYS) as nodes:
        for door in nodes:
            assert "up__add_tool" in tools(door)
        for number, door in enumerate(nodes):
            name = f"whispered_{number}"
            assert "result" in call(door, "up__add_tool", name=name, whisper=True)
            for each in nodes:
                await wait_until(lambda each=each, name=name: f"up__{name}" in tools(each))


async def test_a_new_node_answers_lists_with_what_others_have_seen(tmp_path: Path) -> None:
    port = free_port()
    servers = {"up": {"url": f"http://127.0.0.1:{port}/mcp"}}
    argv = command(EVERYTHING, "--transport", "http", "--port", str(port))
    first, second = folders(tmp_path)
    with valkey() as server:
        with (
            run_process(argv, ready=lambda: listens(port)),
            gateways(first, servers, server.url, KEYS, 1) as (door,),
        ):
            assert "up__echo" in tools(door)
            await wait_until(lambda: has(server, "catalogue"))
        with gateways(second, servers, server.url, KEYS, 1) as (door,):
            assert "up__echo" in tools(door)


async def test_a_new_node_holds_upstreams_to_what_others_have_pinned(upstream: str, tmp_path: Path) -> None:
    servers = {"up": {"url": upstream, "pin": "block"}}
    first, second = folders(tmp_path)
    with valkey() as server, gateways(first, servers, server.url, KEYS, 1) as (old,):
        assert "up__echo" in tools(old)
        await wait_until(lambda: has(server, "pins"))
        assert "result" in call(old, "up__add_tool", name="unapproved")
        with gateways(second, servers, server.url, KEYS, 1) as (new,):
            offered = tools(new)
    assert "up__echo" in offered
    assert "up__unapproved" not in offered


def folders(folder: Path) -> tuple[Path, Path]:
    first, second = folder / "first", folder / "second"
    first.mkdir()
    second.mkdir()
    return first, second


def has(server: ValkeyServer, table: str) -> bool:
    """Whether the store has anything in a table."""
    library: Any = Valkey  # whose types are partly unknown
    client = library.from_url(server.url)
    try:
        return client.hlen(f"mcp-gateway:{table}") > 0
    finally:
        client.close()


async def test_an_approval_by_the_command_line_counts_at_all_nodes(upstream: str, tmp_path: Path) -> None:
    servers = {"up": {"url": upstream, "pin": "block"}}
    with valkey() as server, gateways(tmp_path, servers, server.url, KEYS) as nodes:
        for door in nodes:
            assert "up__echo" in tools(door)
        assert "result" in call(nodes[0], "up__add_tool", name="to_approve")
        config = str(nodes[0].folder / "servers.json")

        def approved() -> bool:
            argv = command("gateway", "pins", "approve", "up", "-c", config)
            done = run_program(argv)
            return "approved" in done.stderr

        await wait_until(approved, timeout=30.0)  # once the gateway has written down what it has seen
        for door in nodes:
            await wait_until(lambda door=door: "up__to_approve" in tools(door), timeout=30.0)
