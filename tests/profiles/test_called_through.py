"""A call by way of `call_tool` is the same call by its own name: cancelled, asked for, recorded and refused alike."""

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from tests.access.door import Door
from tests.interaction._connect import Agent
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import HttpChannel, asked, fields, open_session, post
from tests.interaction._pairs import Mind
from tests.interaction._wire import Answer, Message, Wire, request
from tests.profiles.conftest import key
from tests.servers.skilled import REFUNDS
from tests.servers.wire import encode
from tests.support import http_server, wait_until

pytestmark = pytest.mark.anyio

EVERYTHING: Final = "tests.servers.everything"
BLOCKED: Final = -32008
ERAS = pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])
UPSTREAMS = pytest.mark.parametrize("upstream", ["old", "new", "pipe"])
WAYS = pytest.mark.parametrize("way", ["call_tool", "its own name"])
TOOL: Final[Message] = {"name": "echo", "description": "Says it again.", "inputSchema": {"type": "object"}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with (
        http_server(EVERYTHING, "--era", "handshake", "--name", "old") as old,
        http_server(EVERYTHING, "--era", "modern", "--name", "new") as new,
    ):
        servers = {"old": {"url": old}, "new": {"url": new}, "pipe": child(EVERYTHING, "--era", "handshake")}
        profiles = {"found": {"discovery": "search-only"}}
        folder = tmp_path_factory.mktemp("through")
        with http_gateway(folder, servers, profiles=profiles, **PATIENT) as gateway:
            yield gateway.base


def called(tool: str, way: str, arguments: Message) -> Message:
    """The parameters of such a call."""
    if way == "call_tool":
        return {"name": "call_tool", "arguments": {"name": tool, "arguments": arguments}}
    return {"name": tool, "arguments": arguments}


def wire(base: str, *, modern: bool, view: str = "/found", **headers: str) -> Wire:
    url = f"{base}/mcp{view}"
    return Wire(HttpChannel(url, headers | ({} if modern else open_session(url))), modern)


# --- Cancellation -----------------------------------------------------------------------------------------------------


@ERAS
@UPSTREAMS
async def test_a_cancelled_call_stops_at_its_upstream(base: str, upstream: str, modern: bool) -> None:
    """In the way of each era: the connection is closed, or the session says so."""
    agent = wire(base, modern=modern)
    headers = agent.channel.headers if isinstance(agent.channel, HttpChannel) else {}

    def counts() -> Message:
        return agent.call("call_tool", name=f"{upstream}__cancelled_calls").result["structuredContent"]

    before = counts()["cancelled"]
    doomed = request("tools/call", called(f"{upstream}__slow", "call_tool", {"seconds": 60}), modern=modern)
    url = f"{base}/mcp/found"
    with asked("POST", url, encode(doomed), fields(doomed) | headers):
        await wait_until(lambda: counts()["running"] == 1)
        if not modern:
            told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": doomed["id"]}}
            assert post(url, told, headers)[0] == 202
    await wait_until(lambda: counts() == {"running": 0, "cancelled": before + 1})


# --- Questions --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def asking(base: str, era: str) -> AsyncGenerator[tuple[Agent, Mind]]:
    mind = Mind("accept")
    mind.word = "crwth"
    agent = Agent(f"{base}/mcp/found", era, **mind.options())
    async with agent.connected():
        yield agent, mind


@pytest.mark.parametrize("era", ["handshake", "modern"])
@UPSTREAMS
@WAYS
async def test_what_the_tool_asks_is_asked(base: str, upstream: str, era: str, way: str) -> None:
    """Four combinations of eras: asked live, parked, in rounds, and passed through."""
    kinds = ["sampling", "form", "url", "roots"]
    with anyio.fail_after(30):
        async with asking(base, era) as (agent, mind):
            params = called(f"{upstream}__ask", way, {"word": "harp", "kinds": kinds})
            result = await agent.client.call_tool(params["name"], params["arguments"])
    answers = result.structured_content
    assert answers is not None
    assert [each.partition("-")[0] for each in answers] == kinds
    assert answers["form-2"]["content"] == {"answer": "crwth"}
    assert len(mind.asked) == len(kinds)


@ERAS
@UPSTREAMS
def test_who_cannot_be_asked_is_not(base: str, upstream: str, modern: bool) -> None:
    def answer(way: str) -> Any:
        params = called(f"{upstream}__ask", way, {"word": "harp", "kinds": ["form"]})
        return {**wire(base, modern=modern).ask("tools/call", params).message, "id": 0}

    assert answer("call_tool") == answer("its own name")


# --- Pins -------------------------------------------------------------------------------------------------------------


@ERAS
async def test_a_definition_that_changed_is_refused_as_it_is_directly(tmp_path: Path, modern: bool) -> None:
    offer = tmp_path / "offer"
    offer.write_text(json.dumps([TOOL]))
    servers = {"up": child("tests.servers.turncoat", str(offer), pin="block")}
    with http_gateway(tmp_path, servers, discovery="search", **PATIENT) as gateway:
        agent = wire(gateway.base, modern=modern, view="")
        assert agent.ask("tools/call", called("up__echo", "call_tool", {})).result
        await wait_until((tmp_path / "state" / "pins.json").exists, 30)
    offer.write_text(json.dumps([TOOL | {"description": "Evil."}, TOOL | {"name": "added"}]))
    with http_gateway(tmp_path, servers, discovery="search", **PATIENT) as gateway:
        agent = wire(gateway.base, modern=modern, view="")

        def refused(tool: str, way: str) -> Message:
            return agent.ask("tools/call", called(tool, way, {})).message.get("error", {})

        await wait_until(lambda: refused("up__echo", "call_tool").get("code") == BLOCKED, 30)
        for tool in ("up__echo", "up__added"):
            assert refused(tool, "call_tool") == refused(tool, "its own name")
            assert refused(tool, "call_tool")["code"] == BLOCKED
        found = agent.call("find_tools", query="says it again").result["content"][0]["text"]
        assert "Evil" not in found
        assert "up__added" not in found


# --- The audit log, and two principals --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    folder = tmp_path_factory.mktemp("audited")
    (folder / "keys.json").write_text(json.dumps([key("free"), key("narrow")]))
    settings: dict[str, Any] = {
        "auth": {"enabled": True, "api_keys_file": str(folder / "keys.json")},
        "policy": [{"who": ["owner:narrow"], "deny": ["raw__echo"]}],
        "audit": {"file": str(folder / "audit"), "key": "k" * 40},
        "profiles": {"found": {"discovery": "search"}},
        **PATIENT,
    }
    with http_gateway(folder, {"raw": child("tests.servers.raw")}, **settings) as gateway:
        yield Door(gateway.base, folder)


def lines(door: Door) -> list[Message]:
    log = door.folder / "audit"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def told(line: Message) -> Message:
    """What it says of what was done, and not of when and by which request."""
    kept = (
        "event",
        "method",
        "server",
        "upstream",
        "tool",
        "item",
        "outcome",
        "principal",
        "owner",
        "arguments",
        "code",
    )
    return {name: line[name] for name in kept if name in line}


@ERAS
async def test_the_audit_log_says_which_tool_was_called(audited: Door, modern: bool) -> None:
    def call(who: str, params: Message) -> Answer:
        url = f"{audited.base}/mcp/found"
        return Wire(HttpChannel(url, {"X-Api-Key": f"key-{who}"}), modern).ask("tools/call", params)

    seen = len(lines(audited))
    for way in ("call_tool", "its own name"):
        assert call("free", called("raw__echo", way, {"canary": 1})).result["structuredContent"] == {"canary": 1}
        assert call("narrow", called("raw__echo", way, {})).error["code"] == -32602
    call("free", {"name": "find_tools", "arguments": {"query": "echo"}})

    def fresh() -> list[Message]:
        return [line for line in lines(audited)[seen:] if line.get("method") == "tools/call"]

    await wait_until(lambda: len(fresh()) == 5, 30)
    through, refused, direct, refused_directly, search = fresh()
    assert told(through) == told(direct)
    assert "raw__echo" in json.dumps(through)
    assert told(refused) == told(refused_directly)
    assert "find_tools" in json.dumps(search)


# --- Skills in profiles -----------------------------------------------------------------------------------------------


@ERAS
def test_a_profile_has_the_skills_of_which_it_has_every_file(tmp_path: Path, modern: bool) -> None:
    servers = {name: child("tests.servers.skilled", "--name", name) for name in ("one", "two")}
    profiles: dict[str, Any] = {
        "ours": {"servers": ["one"]},
        "some": {"servers": ["one"], "resources": ["skill://one-only/*"]},
        "none": {"servers": ["one"], "resources": []},
    }
    with http_gateway(tmp_path, servers, profiles=profiles, **PATIENT) as gateway:

        def agent(view: str) -> Wire:
            return wire(gateway.base, modern=modern, view=view)

        def skills(view: str) -> set[str]:
            return {skill["uri"] for skill in agent(view).listed("skills/list", "skills")}

        all_of_one = {f"{REFUNDS}/SKILL.md", "skill://one-only/SKILL.md", "skill://daily/SKILL.md"}
        assert skills("/ours") == all_of_one
        assert skills("") > all_of_one
        assert skills("/some") == {"skill://one-only/SKILL.md"}
        get: Message = {"uri": "skill://one-only/SKILL.md"}
        assert agent("/some").ask("skills/get", get).result["skill"]["uri"] == get["uri"]
        refused = [
            agent(view).ask("skills/get", {"uri": uri}).error
            for view in ("/some", "/ours")
            for uri in ("skill://two-only/SKILL.md",)
        ]
        refused.append(agent("/some").ask("skills/get", {"uri": f"{REFUNDS}/SKILL.md"}).error)
        assert {error["code"] for error in refused} == {-32602}
        missing = agent("/some").ask("skills/get", {"uri": "skill://nobodys/SKILL.md"}).error
        assert missing["code"] == refused[0]["code"]
        assert agent("/none").ask("skills/list").error["code"] == -32601
