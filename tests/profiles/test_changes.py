"""Profiles change while they are in use; and what a session has found is known at another node."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.access.door import Door, ask, open_session, rpc, tools
from tests.faults.gated import house
from tests.interaction._gateway import child
from tests.interaction._http import messages, posted
from tests.interaction._wire import request
from tests.profiles.conftest import key
from tests.store.nodes import gateways
from tests.store.servers import ValkeyServer, valkey
from tests.support import wait_until

SERVERS = {"raw": child("tests.servers.raw"), "all": child("tests.servers.everything")}
FOUND: dict[str, Any] = {"found": {"discovery": "search"}}


@pytest.mark.anyio
async def test_a_change_of_the_file_counts_at_once_and_is_told(tmp_path: Path) -> None:
    profiles: dict[str, Any] = {"some": {"servers": ["raw"], "tools": ["raw__raw"]}}
    async with house(tmp_path, SERVERS, profiles=profiles) as it:
        agent = await it.agent(view="some")
        assert await agent.tools() == ["raw__raw"]
        listen = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, modern=True)
        with posted(f"{it.gateway.base}/mcp/some", listen) as stream:
            heard = messages(stream)
            assert next(heard)["method"] == "notifications/subscriptions/acknowledged"
            more = {"some": {"servers": ["raw"], "tools": {"allow": ["raw__raw", "raw__echo"]}}}
            await it.loaded_anew(lambda: it.write(SERVERS, profiles=more))
            assert next(heard)["method"] == "notifications/tools/list_changed"
        assert await agent.tools() == ["raw__echo", "raw__raw"]
        searched = {
            "some": {"servers": ["raw"], "discovery": "search"},
            "new": {"servers": ["all"], "tools": ["*echo"]},
        }
        await it.loaded_anew(lambda: it.write(SERVERS, profiles=searched, discovery="search-only"))
        assert await agent.tools() == ["call_tool", "find_tools"]
        assert await (await it.agent(view="new")).tools() == ["all__echo"]
        assert await (await it.agent()).tools() == ["call_tool", "find_tools"]
        it.write(SERVERS, profiles={"raw": {}})
        await wait_until(lambda: _refused(it))
        assert await (await it.agent(view="new")).tools() == ["all__echo"], "what is in force stays"
        await it.loaded_anew(lambda: it.write(SERVERS))
        assert (await it.client.post(f"{it.gateway.base}/mcp/new", json=rpc("tools/list"))).status_code == 404


async def _refused(it: Any) -> bool:
    said = json.dumps(await it.configuration())
    return "is the name of a server too" in said


@pytest.mark.anyio
async def test_a_tool_that_is_new_is_found_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    async with house(tmp_path, SERVERS, profiles=FOUND) as it:
        door = Door(it.gateway.base, tmp_path)

        def found(wish: str) -> bool:
            call = rpc("tools/call", {"name": "find_tools", "arguments": {"query": wish, "limit": 20}})
            return '\\"all__zebra\\"' in ask(door, None, call, "/mcp/found").text

        def change(tool: str) -> None:
            arguments = {"name": "zebra", "description": "Counts stripes."}
            ask(door, None, rpc("tools/call", {"name": f"all__{tool}", "arguments": arguments}))

        assert not found("count stripes")
        change("add_tool")
        await wait_until(lambda: found("count stripes"))
        change("remove_tool")
        await wait_until(lambda: not found("count stripes"))


@pytest.fixture(scope="module")
def server() -> Generator[ValkeyServer]:
    with valkey() as running:
        yield running


@pytest.mark.anyio
async def test_two_nodes_know_what_a_session_has_found_and_whose_a_profile_is(
    server: ValkeyServer, tmp_path: Path
) -> None:
    keys = [key("free"), key("bound", profiles=["found"])]
    profiles = {**FOUND, "other": {"servers": ["raw"]}}
    with gateways(tmp_path, SERVERS, server.url, keys, profiles=profiles) as (one, other):
        session = open_session(one, "key-bound")

        def listed(door: Door) -> set[str]:
            return tools(ask(door, "key-bound", rpc("tools/list"), **session))

        assert listed(one) == listed(other) == {"find_tools", "call_tool"}
        wish = rpc("tools/call", {"name": "find_tools", "arguments": {"query": "echo", "limit": 1}})
        found = json.loads(ask(one, "key-bound", wish, **session).json()["result"]["content"][0]["text"])["tools"]
        expected = {"find_tools", "call_tool", found[0]["name"]}
        assert listed(one) == expected
        await wait_until(lambda: listed(other) == expected)
        for door in (one, other):
            assert ask(door, "key-bound", rpc("tools/list"), "/mcp/other").status_code == 404
            call = rpc("tools/call", {"name": "call_tool", "arguments": {"name": "raw__echo", "arguments": {"a": 1}}})
            assert ask(door, "key-bound", call, **session).json()["result"]["structuredContent"] == {"a": 1}
