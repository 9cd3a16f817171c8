"""Profiles for a model's API: what they list, find and call, by the two eras, over HTTP and stdio."""

import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.access.door import Door, ask, http, open_session, rpc
from tests.dialects.apis import APIS
from tests.faults.gated import house
from tests.interaction._gateway import PATIENT, config_file, http_gateway, stdio_command
from tests.interaction._http import messages, post, posted
from tests.interaction._wire import Wire, piped, request, shake_hands
from tests.support import command, run_program, wait_until

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])

NODE: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}}}
ODD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "first": {"$ref": "#/$defs/node"},
        "filter": {"type": "object", "description": "What to keep."},
        "level": {"enum": [1, 2, 3]},
        "page-size": {"type": "integer", "exclusiveMinimum": 0},
        "when": {"type": "string", "format": "date"},
        "region": {"type": "string", "x-mcp-header": "Region"},
        "red\x1b[31m\n": {"type": "string"},
    },
    "required": ["filter"],
    "anyOf": [{"required": ["first"]}, {"required": ["level"]}],
    "$defs": {"node": NODE},
}
LOST: dict[str, Any] = {"type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}}
GIVEN = {
    "first": {"name": "a", "next": '{"name": "b"}'},
    "filter": '{"kind": ["x", 1.5]}',
    "level": "2",
    "page_size": 5,
    "region": "eu",
}
SENT = {
    "first": {"name": "a", "next": {"name": "b"}},
    "filter": {"kind": ["x", 1.5]},
    "level": 2,
    "page-size": 5,
    "region": "eu",
}
"""The same in the server's own words."""

SERVER = f"""
from tests.servers import raw
raw.TOOLS[:] = [
    {{"name": "echo", "description": "Finds what fits a filter.", "inputSchema": {ODD!r}}},
    {{"name": "lost", "inputSchema": {LOST!r}}},
    {{"name": "plain", "inputSchema": {{"type": "object", "properties": {{"a": {{"type": "string"}}}}}}}},
]
raw.main()
"""
PROFILES: dict[str, Any] = {
    **{name: {"schema": name} for name in APIS},
    "none": {},
    "found": {"schema": "gemini", "discovery": "search"},
    "asked": {"schema": "gemini", "discovery": "search", "confirm": True},
}


def servers(folder: Path) -> dict[str, Any]:
    (folder / "odd.py").write_text(SERVER)
    return {
        "odd": {"command": sys.executable, "args": [str(folder / "odd.py")], "env": {"PYTHONPATH": str(Path.cwd())}}
    }


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    folder = tmp_path_factory.mktemp("schema")
    with http_gateway(folder, servers(folder), profiles=PROFILES, **PATIENT) as gateway:
        yield Door(gateway.base, folder)


def listed(door: Door, profile: str, *, modern: bool = False) -> dict[str, Any]:
    answer = post(f"{door.base}/mcp/{profile}", request("tools/list", modern=modern))[1]
    return {tool["name"]: tool["inputSchema"] for tool in answer["result"]["tools"]}


def call(door: Door, profile: str, name: str, arguments: Any, *, modern: bool, **headers: str) -> Any:
    message = request("tools/call", {"name": name, "arguments": arguments}, modern=modern)
    return post(f"{door.base}/mcp/{profile}", message, headers)[1]


@ERAS
@pytest.mark.parametrize("profile", APIS)
def test_the_list_is_one_that_the_api_takes(door: Door, profile: str, modern: bool) -> None:
    schemas = listed(door, profile, modern=modern)
    assert schemas.keys() == {"odd__echo", "odd__plain"}
    for schema in schemas.values():
        assert not list(APIS[profile](schema))
    assert listed(door, "none", modern=modern)["odd__echo"] == ODD
    assert "odd__lost" in listed(door, "none", modern=modern)


@ERAS
def test_the_server_gets_what_its_own_schema_asks_for(door: Door, modern: bool) -> None:
    for given in (GIVEN, SENT):
        result = call(door, "gemini", "odd__echo", given, modern=modern)["result"]
        assert result["structuredContent"] == SENT
    strict = {**SENT, "filter": '{"kind": ["x", 1.5]}', "when": None, "first": None}
    result = call(door, "openai-strict", "odd__echo", strict, modern=modern)["result"]
    assert result["structuredContent"] == {key: SENT[key] for key in SENT if key != "first"}


@ERAS
def test_what_cannot_be_meant_is_told_to_the_model(door: Door, modern: bool) -> None:
    for profile, name, arguments in (
        ("gemini", "odd__echo", {"filter": "everything"}),
        ("found", "call_tool", {"name": "odd__echo", "arguments": '{"filter": "everything"}'}),
    ):
        answer = call(door, profile, name, arguments, modern=modern)
        assert "error" not in answer, answer
        result = answer["result"]
        assert result["isError"] is True
        assert "arguments.filter must be a JSON object, as text" in result["content"][0]["text"]


@ERAS
def test_what_is_found_is_shown_so_too_and_called(door: Door, modern: bool) -> None:
    own = listed(door, "found", modern=modern)
    assert own.keys() == {"find_tools", "call_tool"}
    wish = {"query": "find what fits a filter, lost", "limit": 20}
    found = json.loads(call(door, "found", "find_tools", wish, modern=modern)["result"]["content"][0]["text"])["tools"]
    schemas = {tool["name"]: tool["inputSchema"] for tool in found}
    assert "odd__lost" not in schemas
    assert schemas["odd__echo"] == listed(door, "gemini")["odd__echo"]
    for schema in (*own.values(), *schemas.values()):
        assert not list(APIS["gemini"](schema))
    for arguments in (json.dumps(GIVEN), GIVEN):
        given = {"name": "odd__echo", "arguments": arguments}
        assert call(door, "found", "call_tool", given, modern=modern)["result"]["structuredContent"] == SENT
    assert call(door, "found", "odd__echo", GIVEN, modern=modern)["result"]["structuredContent"] == SENT


def test_who_is_asked_first_sees_what_the_server_gets(door: Door) -> None:
    meta: dict[str, Any] = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}}
    given = {"name": "odd__echo", "arguments": json.dumps(GIVEN)}
    params = {"name": "call_tool", "arguments": given, **meta}
    first = post(f"{door.base}/mcp/asked", request("tools/call", params, modern=True))[1]["result"]
    ((question, asked),) = first["inputRequests"].items()
    assert '"filter":{"kind":["x",1.5]}' in asked["params"]["message"]
    answer: dict[str, Any] = {
        "inputResponses": {question: {"action": "accept", "content": {}}},
        "requestState": first["requestState"],
    }
    again = request("tools/call", {**params, **answer}, modern=True)
    assert post(f"{door.base}/mcp/asked", again)[1]["result"]["structuredContent"] == SENT


def test_what_a_session_found_joins_its_list_so(door: Door) -> None:
    session = open_session(door, "key-none", "/mcp/found")
    ask(
        door, None, rpc("tools/call", {"name": "find_tools", "arguments": {"query": "filter"}}), "/mcp/found", **session
    )
    result = ask(door, None, rpc("tools/list"), "/mcp/found", **session).json()["result"]
    assert "odd__echo" in {tool["name"] for tool in result["tools"]}
    for tool in result["tools"]:
        assert not list(APIS["gemini"](tool["inputSchema"]))


def test_nothing_is_to_be_mirrored_that_no_schema_says(door: Door) -> None:
    """The server's schema wants `region` in a header, of which an agent that is shown Gemini's knows nothing."""
    assert "x-mcp-header" not in json.dumps(listed(door, "gemini", modern=True))
    assert call(door, "gemini", "odd__echo", {**GIVEN}, modern=True)["result"]["structuredContent"] == SENT
    assert "x-mcp-header" in json.dumps(listed(door, "anthropic", modern=True))


@pytest.mark.anyio
async def test_a_profile_that_gets_another_schema_lists_another_one_and_says_so(tmp_path: Path) -> None:
    some = servers(tmp_path)
    async with house(tmp_path, some, profiles={"p": {}}) as it:
        door = Door(it.gateway.base, tmp_path)
        await wait_until(lambda: "odd__echo" in listed(door, "p"))
        listen = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, modern=True)
        with posted(f"{door.base}/mcp/p", listen) as stream:
            heard = messages(stream)
            assert next(heard)["method"] == "notifications/subscriptions/acknowledged"
            await it.loaded_anew(lambda: it.write(some, profiles={"p": {"schema": "gemini"}}))
            assert next(heard)["method"] == "notifications/tools/list_changed"
        assert not list(APIS["gemini"](listed(door, "p")["odd__echo"]))
        await it.loaded_anew(lambda: it.write(some, profiles={"p": {"schema": "anthropic"}}))
        assert list(APIS["gemini"](listed(door, "p")["odd__echo"]))
        await it.loaded_anew(lambda: it.write(some, profiles={"p": {}}))
        assert listed(door, "p")["odd__echo"] == ODD


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stdio")
    return config_file(folder, servers(folder), profiles=PROFILES, **PATIENT)


@ERAS
def test_over_stdio(config: Path, modern: bool) -> None:
    with piped([*stdio_command(config), "--profile", "gemini"]) as pipe:
        if not modern:
            shake_hands(pipe)
        wire = Wire(pipe, modern)
        schemas = {tool["name"]: tool["inputSchema"] for tool in wire.listed("tools/list", "tools")}
        assert schemas.keys() == {"odd__echo", "odd__plain"}
        assert not list(APIS["gemini"](schemas["odd__echo"]))
        assert wire.call("odd__echo", **GIVEN).result["structuredContent"] == SENT


def run(config: Path, *args: str) -> Any:
    return run_program([*command("gateway", *args), "-c", str(config)])


def test_explain_tells_what_is_changed_where(config: Path) -> None:
    rows = json.loads(run(config, "tools", "--profile", "gemini", "--explain", "--json").stdout)
    told = {row["tool"]: row for row in rows}
    assert told.keys() == {"odd__echo", "odd__lost"}
    assert told["odd__lost"]["leftOut"] == "refers to https://example.com/a.json, which is not in it"
    changes = {change["what"]: change["where"] for change in told["odd__echo"]["changes"]}
    assert changes["`format: date` dropped"] == ["when"]
    assert changes["an object, as JSON in a text"] == ["filter"]
    assert changes["called page_size"] == ["page-size"]
    assert told["odd__echo"]["arguments"] == "made into the server's own"
    text = run(config, "tools", "--explain").stdout
    for name in (*APIS, "found", "asked"):
        assert f"{name} (" in text
    assert ["red\\x1b[31m", "called red__31m_"] in [line.split(maxsplit=1) for line in text.splitlines()]
    assert "left out: refers to https://example.com/a.json" in text
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    assert ["when", "`format: date` dropped"] in lines


def test_what_a_profile_costs_is_what_it_shows(config: Path, door: Door) -> None:
    views = {view["view"]: view for view in json.loads(run(config, "tools", "--tokens", "--json").stdout)}
    assert (views["/mcp/gemini"]["tools"], views["/mcp/none"]["tools"]) == (2, 3)
    page = http("GET", f"{door.base}/metrics").text
    counted = dict(
        line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("mcp_gateway_catalogue_tokens{")
    )
    for view in ("gemini", "none"):
        weight = float(counted[f'mcp_gateway_catalogue_tokens{{view="/mcp/{view}"}}'])
        assert weight == pytest.approx(views[f"/mcp/{view}"]["tokens"], abs=2)


def test_explain_is_about_profiles_that_have_a_schema(config: Path) -> None:
    for args in (["--profile", "none", "--explain"], ["--explain", "--tokens"]):
        done = run(config, "tools", *args)
        assert done.returncode == 2
        assert "--explain is about profiles that have a `schema`" in done.stderr
