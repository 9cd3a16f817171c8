"""Profiles from outside: what each shows, who may open which, and what a bound key sees wherever it asks."""

from typing import Any

import pytest

from tests.access.door import Door, ask, http, open_session, rpc, tools
from tests.interaction._http import post
from tests.interaction._wire import request

SUPPORT = {"all__echo", "all__slow", "raw__fail", "raw__process", "raw__raw", "repeat"}

UNKNOWN = "Unknown tool: NAME. Call tools/list to see the tools there are now."


def listed(door: Door, key: str, path: str = "/mcp") -> set[str]:
    return tools(ask(door, f"key-{key}", rpc("tools/list"), path))


def call(door: Door, key: str, name: str, path: str, *, modern: bool = False, **arguments: Any) -> Any:
    message = request("tools/call", {"name": name, "arguments": arguments}, modern=modern)
    return post(door.base + path, message, {"X-Api-Key": f"key-{key}"})[1]


def listed_modern(door: Door, key: str, path: str) -> Any:
    return post(door.base + path, request("tools/list", modern=True), {"X-Api-Key": f"key-{key}"})[1]["result"]


def test_a_profile_lists_what_it_has_by_its_own_names_and_words(door: Door) -> None:
    assert listed(door, "free", "/mcp/support") == SUPPORT
    result = ask(door, "key-free", rpc("tools/list"), "/mcp/support").json()["result"]
    names = [tool["name"] for tool in result["tools"]]
    assert names == sorted(names)
    (repeat,) = (tool for tool in result["tools"] if tool["name"] == "repeat")
    assert repeat["description"] == "Says it again."
    assert {tool["name"] for tool in listed_modern(door, "free", "/mcp/support")["tools"]} == SUPPORT


def test_its_prompts_and_resources(door: Door) -> None:
    assert ask(door, "key-free", rpc("prompts/list"), "/mcp/support").json()["result"]["prompts"] == []
    resources = ask(door, "key-free", rpc("resources/list"), "/mcp/support").json()["result"]["resources"]
    assert [(each["uri"], each["description"]) for each in resources] == [("raw://odd", "An odd thing.")]
    templates = ask(door, "key-free", rpc("resources/templates/list"), "/mcp/support").json()["result"]
    assert templates["resourceTemplates"] == []
    assert "result" in ask(door, "key-free", rpc("resources/read", {"uri": "raw://odd"}), "/mcp/support").json()
    for uri in ("raw://other", "raw://odd/../other"):
        read = ask(door, "key-free", rpc("resources/read", {"uri": uri}), "/mcp/support").json()
        assert read["error"]["code"] == -32002, uri


def test_its_instructions_stand_instead_of_the_servers(door: Door) -> None:
    opening: dict[str, Any] = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}}
    result = ask(door, "key-free", rpc("initialize", opening), "/mcp/support").json()["result"]
    assert result["instructions"] == "Be brief."
    discovered = post(f"{door.base}/mcp/support", request("server/discover", modern=True), {"X-Api-Key": "key-free"})
    assert discovered[1]["result"]["instructions"] == "Be brief."


@pytest.mark.parametrize("modern", [False, True])
def test_a_tool_is_called_by_its_name_there_and_by_no_other(door: Door, modern: bool) -> None:
    assert call(door, "free", "repeat", "/mcp/support", modern=modern, a=1)["result"]["structuredContent"] == {"a": 1}
    for name in ("raw__echo", "raw__refuse", "all__add", "nonesuch", "spare__echo"):
        error = call(door, "free", name, "/mcp/support", modern=modern)["error"]
        assert (error["code"], error["message"].replace(name, "NAME")) == (-32602, UNKNOWN), name


def test_the_policy_holds_in_a_profile_too(door: Door) -> None:
    assert listed(door, "narrow", "/mcp/support") == SUPPORT - {"repeat"}
    assert call(door, "narrow", "repeat", "/mcp/support")["error"]["message"] == UNKNOWN.replace("NAME", "repeat")


def test_a_bound_key_sees_its_profile_and_nothing_else_wherever_it_asks(door: Door) -> None:
    assert listed(door, "bound", "/mcp/support") == listed(door, "bound", "/mcp") == SUPPORT
    assert listed(door, "bound", "/mcp/raw") == {"raw", "echo", "fail", "process"}, "what profile and policy both allow"
    assert listed(door, "bound", "/mcp/all") == {"echo", "slow"}
    for path in ("/mcp/spare", "/mcp/plain", "/mcp/found", "/mcp/nonesuch"):
        answer = ask(door, "key-bound", rpc("tools/list"), path)
        assert answer.status_code == 404
        assert path.rpartition("/")[2] in answer.json()["error"]["message"]
        assert call(door, "bound", "repeat", path)["error"]["code"] == -32601
    assert call(door, "bound", "raw__refuse", "/mcp")["error"]["message"] == UNKNOWN.replace("NAME", "raw__refuse")
    assert call(door, "bound", "refuse", "/mcp/raw")["error"]["message"] == UNKNOWN.replace("NAME", "refuse")
    session = open_session(door, "key-bound")
    answer = ask(door, "key-bound", rpc("tools/call", {"name": "repeat", "arguments": {"b": 2}}), **session)
    assert answer.json()["result"]["structuredContent"] == {"b": 2}


def test_a_key_of_two_profiles_sees_both_at_once_by_public_names(door: Door) -> None:
    merged = (SUPPORT - {"repeat"}) | {"raw__echo"} | {f"spare__{name}" for name in ("raw", "echo", "fail")}
    merged |= {"spare__refuse", "spare__process"}
    assert listed(door, "both") == merged
    assert listed(door, "both", "/mcp/support") == SUPPORT
    assert listed(door, "both", "/mcp/plain") == {name for name in merged if name.startswith("spare")}
    assert ask(door, "key-both", rpc("tools/list"), "/mcp/found").status_code == 404


def test_a_key_of_a_profile_that_there_is_not_sees_nothing(door: Door) -> None:
    for path in ("/mcp", "/mcp/raw", "/mcp/support", "/mcp/nonesuch"):
        assert ask(door, "key-gone", rpc("tools/list"), path).status_code == 404, path


def test_a_hidden_name_looks_like_one_that_is_not_there(door: Door) -> None:
    """Neither the words nor the status tell them apart."""

    def answers(view: str) -> Any:
        answer = ask(door, "key-bound", rpc("tools/list"), f"/mcp/{view}")
        return answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["message"].replace(view, "X")

    assert answers("spare") == answers("plain") == answers("nonesuch")


def test_an_agent_has_the_profiles_of_its_key_and_may_ask_for_fewer(door: Door) -> None:
    def register(key: str, *profiles: str) -> tuple[dict[str, str], Any]:
        body = {"agent_name": "a", "requested_profiles": list(profiles)}
        made = http("POST", f"{door.base}/agents/register", json=body, headers={"X-Api-Key": f"key-{key}"})
        assert made.status_code == 201, made.text
        return {"X-Agent-Token": made.json()["token"]}, made.json()["session"]["profiles"]

    def seen(token: dict[str, str], path: str = "/mcp") -> int | set[str]:
        status, answer = post(door.base + path, rpc("tools/list"), token)
        return {tool["name"] for tool in answer["result"]["tools"]} if status == 200 else status

    token, profiles = register("bound")
    assert profiles == ["support"]
    assert seen(token) == SUPPORT
    assert seen(token, "/mcp/spare") == seen(token, "/mcp/plain") == 404
    token, profiles = register("both", "plain", "found")
    assert profiles == ["plain"], "what its key has, and no more"
    assert seen(token) == seen(token, "/mcp/plain")
    assert seen(token, "/mcp/support") == 404
    token, profiles = register("free", "support")
    assert (profiles, seen(token), seen(token, "/mcp/spare")) == (["support"], SUPPORT, 404)
    token, profiles = register("bound", "plain")
    assert (profiles, seen(token), seen(token, "/mcp/support")) == ([], set(), 404)


def test_what_is_asked_of_a_profile_is_counted_as_its(door: Door) -> None:
    ask(door, "key-free", rpc("tools/list"), "/mcp/plain")
    page = http("GET", f"{door.base}/metrics", headers={"X-Api-Key": "key-free"}).text
    assert 'mcp_gateway_view_requests_total{outcome="ok",view="/mcp/plain"}' in page or (
        'mcp_gateway_view_requests_total{view="/mcp/plain",outcome="ok"}' in page
    )
    weights = {
        line.split('"')[1]: float(line.split()[-1])
        for line in page.splitlines()
        if line.startswith("mcp_gateway_catalogue_tokens{")
    }
    assert 0 < weights["/mcp/support"] < weights["/mcp"]
