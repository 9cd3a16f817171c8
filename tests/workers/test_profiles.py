"""Profiles behind two workers: what a session has found at one is in its list at the other, and a change is both's."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.access.door import Door, ask, open_session, rpc, tools
from tests.dialects.apis import APIS
from tests.interaction._gateway import child
from tests.interaction._http import post
from tests.interaction._wire import request
from tests.profiles.conftest import key
from tests.workers.supervised import Supervised, supervised, wait_for

SERVERS: Final = {"all": child("tests.servers.everything"), "raw": child("tests.servers.raw")}
PROFILES: Final[dict[str, Any]] = {
    "few": {"servers": ["raw"], "tools": {"allow": ["raw__echo"], "rename": {"raw__echo": "repeat"}}},
    "found": {"discovery": "search", "schema": "gemini"},
}
OURS: Final = {"find_tools", "call_tool"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys.json").write_text(json.dumps([key("free"), key("bound", profiles=["few"])]))
    auth = {"enabled": True, "api_keys_file": str(folder / "keys.json")}
    return {"auth": auth, "profiles": PROFILES}


@pytest.fixture(scope="module")
def gateway(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Generator[Supervised]:
    with supervised(tmp_path_factory.mktemp("workers"), SERVERS, **settings) as gateway:
        yield gateway


def door(gateway: Supervised) -> Door:
    return Door(gateway.base, gateway.folder)


def listed(gateway: Supervised, path: str, who: str = "free", **session: str) -> set[str]:
    return tools(ask(door(gateway), f"key-{who}", rpc("tools/list"), path, **session))


def of_both(gateway: Supervised, method: str, do: Any) -> None:
    """Do something until both workers have done it, each time over a connection of its own."""
    before = len(gateway.served(method))

    def both() -> bool:
        do()
        return len(set(gateway.served(method)[before:])) == 2

    wait_for(both)


def test_both_workers_show_the_same_and_bound_keys_see_nothing_else(gateway: Supervised) -> None:
    def check() -> None:
        assert listed(gateway, "/mcp/few") == {"repeat"}
        assert listed(gateway, "/mcp", "bound") == {"repeat"}
        assert listed(gateway, "/mcp/found") == OURS
        assert ask(door(gateway), "key-bound", rpc("tools/list"), "/mcp/found").status_code == 404

    of_both(gateway, "tools/list", check)
    answer = post(f"{gateway.base}/mcp/found", request("tools/list", modern=True), {"X-Api-Key": "key-free"})[1]
    for tool in answer["result"]["tools"]:
        assert not list(APIS["gemini"](tool["inputSchema"]))


def test_what_a_session_found_at_one_is_listed_by_both(gateway: Supervised) -> None:
    session = open_session(door(gateway), "key-free", "/mcp/found")
    wish = rpc("tools/call", {"name": "find_tools", "arguments": {"query": "echo", "limit": 2}})
    found = ask(door(gateway), "key-free", wish, "/mcp/found", **session).json()["result"]
    names = {tool["name"] for tool in json.loads(found["content"][0]["text"])["tools"]}
    assert names == {"all__echo", "raw__echo"}
    of_both(gateway, "tools/list", lambda: listed(gateway, "/mcp/found", **session))
    for _ in range(10):
        assert listed(gateway, "/mcp/found", **session) == OURS | names
    given = json.dumps({"a": 1})
    call = rpc("tools/call", {"name": "call_tool", "arguments": {"name": "raw__echo", "arguments": given}})

    def called() -> None:
        answer = ask(door(gateway), "key-free", call, "/mcp/found", **session).json()
        assert answer["result"]["structuredContent"] == {"a": 1}

    of_both(gateway, "tools/call", called)


def test_a_change_of_the_file_is_one_for_both(settings: dict[str, Any], tmp_path: Path) -> None:
    with supervised(tmp_path, SERVERS, **settings) as gateway:
        assert listed(gateway, "/mcp/few") == {"repeat"}
        path = tmp_path / "servers.json"
        found = json.loads(path.read_text())
        found["profiles"]["few"] = {"servers": ["raw"], "tools": ["raw__raw"]}
        path.write_text(json.dumps(found))
        wait_for(lambda: all(listed(gateway, "/mcp/few") == {"raw__raw"} for _ in range(10)))
        of_both(gateway, "tools/list", lambda: listed(gateway, "/mcp/few"))
        assert listed(gateway, "/mcp/few") == {"raw__raw"}
