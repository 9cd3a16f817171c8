"""Search in place of a long list, from outside: what is listed, what is found, and what calling by way of us is."""

import json
from typing import Any

import pytest

from tests.access.door import Door, ask, http, open_session, rpc, tools
from tests.interaction._http import messages, post, posted, sent
from tests.interaction._wire import request

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])
OURS = {"find_tools", "call_tool"}


def call(door: Door, key: str, path: str, tool: str, /, *, modern: bool = False, **arguments: Any) -> Any:
    message = request("tools/call", {"name": tool, "arguments": arguments}, modern=modern)
    return post(door.base + path, message, {"X-Api-Key": f"key-{key}"})[1]


def find(door: Door, key: str, path: str, query: str, *, modern: bool = False, **more: Any) -> list[dict[str, Any]]:
    result = call(door, key, path, "find_tools", modern=modern, query=query, **more)["result"]
    text = result["content"][0]["text"]
    return json.loads(text)["tools"] if text.startswith("{") else []


def names(found: list[dict[str, Any]]) -> list[str]:
    return [tool["name"] for tool in found]


@ERAS
def test_only_what_is_pinned_and_our_two_are_listed(door: Door, modern: bool) -> None:
    message = request("tools/list", modern=modern)
    listed = post(f"{door.base}/mcp/found", message, {"X-Api-Key": "key-free"})[1]["result"]["tools"]
    assert names(listed) == ["call_tool", "find_tools", "raw__raw"]
    (caller,) = (tool for tool in listed if tool["name"] == "call_tool")
    assert caller["annotations"]["destructiveHint"] is True
    assert caller["annotations"]["openWorldHint"] is True
    assert caller["annotations"]["readOnlyHint"] is False


def test_agents_are_told_that_there_are_more(door: Door) -> None:
    opening: dict[str, Any] = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}}
    result = ask(door, "key-free", rpc("initialize", opening), "/mcp/found").json()["result"]
    assert "find_tools" in result["instructions"]
    assert result["capabilities"]["tools"] == {"listChanged": True}


@ERAS
def test_tools_are_found_with_their_schemas(door: Door, modern: bool) -> None:
    found = find(door, "free", "/mcp/found", "return what was sent, as an echo", modern=modern)
    assert found[0]["name"] in ("raw__echo", "all__echo")
    assert all("inputSchema" in tool for tool in found)
    assert len(found) <= 5
    assert len(find(door, "free", "/mcp/found", "echo", modern=modern, limit=1)) == 1
    assert find(door, "free", "/mcp/found", "zzzz", modern=modern) == []


@ERAS
@pytest.mark.parametrize("arguments", [{}, {"query": 5}, {"query": "a", "limit": 0}, {"query": "a", "limit": True}])
def test_a_wish_that_is_none_is_an_error(door: Door, arguments: dict[str, Any], modern: bool) -> None:
    assert call(door, "free", "/mcp/found", "find_tools", modern=modern, **arguments)["error"]["code"] == -32602


@ERAS
def test_a_call_by_way_of_us_is_the_call(door: Door, modern: bool) -> None:
    given = {"a": [1, {"b": "ü"}], "c": None}
    ours = call(door, "free", "/mcp/found", "call_tool", modern=modern, name="raw__echo", arguments=given)["result"]
    direct = call(door, "free", "/mcp/found", "raw__echo", modern=modern, **given)["result"]
    assert ours == direct
    assert ours["structuredContent"] == given
    failed = call(door, "free", "/mcp/found", "call_tool", modern=modern, name="raw__fail")["result"]
    assert failed["isError"] is True


@ERAS
def test_what_is_hidden_or_not_there_is_unknown(door: Door, modern: bool) -> None:
    def answer(name: str) -> Any:
        error = call(door, "narrow", "/mcp/found", "call_tool", modern=modern, name=name)["error"]
        return error["code"], error["message"].replace(name, "NAME"), error.get("data")

    missing = answer("nonesuch")
    for name in ("raw__echo", "raw__refuse", "spare__echo", "find_tools", "call_tool", ""):
        if name:
            assert answer(name) == missing, name
    wrong: list[dict[str, Any]] = [{}, {"name": 1}, {"name": "raw__raw", "arguments": [1]}]
    for arguments in wrong:
        assert call(door, "free", "/mcp/found", "call_tool", modern=modern, **arguments)["error"]["code"] == -32602


@ERAS
def test_nothing_tells_that_there_is_a_hidden_tool(door: Door, modern: bool) -> None:
    """What `narrow` finds is what would be found if `raw__echo` did not exist: what, how many, and in which order."""
    wishes = ["echo", "raw", "echo its arguments", "fail refuse process raw echo", "raw__echo"]
    for wish in wishes:
        free = names(find(door, "free", "/mcp/found", wish, modern=modern, limit=20))
        narrow = names(find(door, "narrow", "/mcp/found", wish, modern=modern, limit=20))
        assert "raw__echo" not in narrow
        assert set(narrow) == set(free) - {"raw__echo"}
    assert "spare__echo" not in names(find(door, "free", "/mcp/found", "echo", modern=modern, limit=20))


def test_what_a_session_found_joins_its_list(door: Door) -> None:
    session = open_session(door, "key-free", "/mcp/found")

    def listed() -> set[str]:
        return tools(ask(door, "key-free", rpc("tools/list"), "/mcp/found", **session))

    assert listed() == {*OURS, "raw__raw"}
    wish = rpc("tools/call", {"name": "find_tools", "arguments": {"query": "echo", "limit": 2}})
    headers = {"X-Api-Key": "key-free", "Accept": "text/event-stream", **session}
    with sent("GET", f"{door.base}/mcp/found", headers=headers) as stream:
        assert stream.status == 200
        ask(door, "key-free", wish, "/mcp/found", **session)
        assert next(messages(stream))["method"] == "notifications/tools/list_changed"
    found = listed()
    assert found > {*OURS, "raw__raw"}
    assert len(found) == 5
    other = open_session(door, "key-free", "/mcp/found")
    assert tools(ask(door, "key-free", rpc("tools/list"), "/mcp/found", **other)) == {*OURS, "raw__raw"}
    assert tools(ask(door, "key-free", rpc("tools/list"), "/mcp/found")) == {*OURS, "raw__raw"}, "without a session"


def test_search_only_leaves_the_list_alone(door: Door) -> None:
    session = open_session(door, "key-free", "/mcp/quiet")
    wish = rpc("tools/call", {"name": "find_tools", "arguments": {"query": "echo"}})
    assert "raw__echo" in ask(door, "key-free", wish, "/mcp/quiet", **session).text
    assert tools(ask(door, "key-free", rpc("tools/list"), "/mcp/quiet", **session)) == OURS
    answer = ask(door, "key-free", rpc("tools/call", {"name": "raw__echo", "arguments": {"a": 1}}), "/mcp/quiet")
    assert answer.json()["result"]["structuredContent"] == {"a": 1}


def test_a_modern_list_is_the_same_whatever_was_found(door: Door) -> None:
    before = post(f"{door.base}/mcp/found", request("tools/list", modern=True, id=1), {"X-Api-Key": "key-free"})[1]
    assert find(door, "free", "/mcp/found", "echo", modern=True)
    after = post(f"{door.base}/mcp/found", request("tools/list", modern=True, id=1), {"X-Api-Key": "key-free"})[1]
    assert before == after


@ERAS
def test_progress_of_a_call_by_way_of_us_arrives(door: Door, modern: bool) -> None:
    given = {"name": "all__slow", "arguments": {"seconds": 0.2, "steps": 2}}
    params = {"name": "call_tool", "arguments": given, "_meta": {"progressToken": "p"}}
    message = request("tools/call", params, modern=modern)
    with posted(f"{door.base}/mcp/found", message, {"X-Api-Key": "key-free"}) as response:
        *before, answer = messages(response)
    assert [one["params"]["progressToken"] for one in before if one["method"] == "notifications/progress"] == ["p"] * 2
    assert answer["result"]["content"][0]["text"] == "slept 0.2 s"


def test_it_counts_as_a_call_of_the_server_that_has_the_tool(door: Door) -> None:
    def counted() -> float:
        page = http("GET", f"{door.base}/metrics", headers={"X-Api-Key": "key-free"}).text
        lines = [line for line in page.splitlines() if line.startswith("mcp_gateway_requests_total")]
        return sum(float(line.split()[-1]) for line in lines if "tools/call" in line and '"raw"' in line)

    before = counted()
    call(door, "free", "/mcp/found", "call_tool", name="raw__echo")
    assert counted() == before + 1


# --- Asking first -----------------------------------------------------------------------------------------------------


def answered(door: Door, answer: dict[str, Any] | None, *, name: str = "raw__echo") -> Any:
    """The result of `call_tool` of a modern agent that is asked; it answers so, or cannot be asked."""
    capabilities: dict[str, Any] = {"elicitation": {}} if answer is not None else {}
    meta = {"_meta": {"io.modelcontextprotocol/clientCapabilities": capabilities}}
    params = {"name": "call_tool", "arguments": {"name": name, "arguments": {"a": 1}}, **meta}
    first = post(f"{door.base}/mcp/asked", request("tools/call", params, modern=True), {"X-Api-Key": "key-free"})[1]
    result = first["result"]
    if answer is None or result["resultType"] != "input_required":
        return result
    ((question, asked),) = result["inputRequests"].items()
    assert asked["method"] == "elicitation/create"
    assert name in asked["params"]["message"]
    more = {"requestState": result["requestState"], "inputResponses": {question: answer}}
    again = request("tools/call", {**params, **more}, modern=True)
    return post(f"{door.base}/mcp/asked", again, {"X-Api-Key": "key-free"})[1]["result"]


def test_with_confirm_the_user_is_asked_first(door: Door) -> None:
    accepted = answered(door, {"action": "accept", "content": {}})
    assert accepted["structuredContent"] == {"a": 1}
    for action in ("decline", "cancel"):
        refused = answered(door, {"action": action})
        assert refused["isError"] is True
        assert "did not agree" in refused["content"][0]["text"]
    cannot = answered(door, None)
    assert cannot["isError"] is True
    assert "by its own name" in cannot["content"][0]["text"]


def test_nobody_is_asked_about_a_tool_that_only_reads(door: Door) -> None:
    assert "isError" not in (result := answered(door, None, name="raw__raw")) or result["isError"] is False
    direct = call(door, "free", "/mcp/asked", "raw__echo", modern=True, a=1)["result"]
    assert direct["structuredContent"] == {"a": 1}, "a direct call is the host's own affair"


def test_a_session_is_asked_live(door: Door) -> None:
    opening: dict[str, Any] = {"protocolVersion": "2025-11-25", "clientInfo": {"name": "t", "version": "1"}}
    body = rpc("initialize", {**opening, "capabilities": {"elicitation": {}}})
    opened = ask(door, "key-free", body, "/mcp/asked")
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    headers = {"X-Api-Key": "key-free", **session}
    for action in ("accept", "decline"):
        wish = request("tools/call", {"name": "call_tool", "arguments": {"name": "raw__echo", "arguments": {"b": 2}}})
        with posted(f"{door.base}/mcp/asked", wish, headers) as response:
            heard = messages(response)
            question = next(heard)
            assert question["method"] == "elicitation/create"
            answer: dict[str, Any] = {
                "jsonrpc": "2.0",
                "id": question["id"],
                "result": {"action": action, "content": {}},
            }
            assert post(f"{door.base}/mcp/asked", answer, headers)[0] == 202
            result = next(heard)["result"]
        assert result.get("structuredContent") == ({"b": 2} if action == "accept" else None)
