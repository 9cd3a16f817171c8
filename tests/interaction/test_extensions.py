"""Extensions: task handles lead back to their owner, user interfaces are found, the unknown passes through."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import HttpChannel, open_session, post
from tests.interaction._requirements import requirement
from tests.interaction._wire import Answer, Message, Wire, request
from tests.servers.extended import PAGE, TASKS, UI, UNHEARD_OF

EXTENDED = "tests.servers.extended"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    servers = {
        "one": child(EXTENDED, "--name", "one"),
        "two": child(EXTENDED, "--name", "two", "--era", "modern"),
        "plain": child("tests.servers.raw"),
    }
    with http_gateway(tmp_path_factory.mktemp("extended"), servers, **PATIENT) as gateway:
        yield gateway.base


def ask(base: str, method: str, params: Message, *extensions: str, view: str = "") -> Answer:
    """A modern agent that declares these extensions."""
    declared: Message = {"_meta": {CAPABILITIES: {"extensions": {name: {} for name in extensions}}}}
    wire = Wire(HttpChannel(f"{base}/mcp{view}"), modern=True)
    return wire.ask(method, params | declared)


def start(base: str, name: str) -> dict[str, Any]:
    task = ask(base, "tools/call", {"name": f"{name}__work", "arguments": {}}, TASKS).result
    assert (task["resultType"], task["status"], task["owner"]) == ("task", "working", name)
    return task


@requirement("extensions:tasks")
def test_task_handles_lead_back_to_their_owner(base: str) -> None:
    mine, other = start(base, "one")["taskId"], start(base, "two")["taskId"]
    assert mine != other
    for handle, owner in ((mine, "one"), (other, "two")):
        assert ask(base, "tasks/update", {"taskId": handle, "inputResponses": {"by": owner}}, TASKS).result
        task = ask(base, "tasks/get", {"taskId": handle}, TASKS).result
        assert (task["taskId"], task["owner"], task["answers"]) == (handle, owner, {"by": owner})
    ask(base, "tasks/cancel", {"taskId": mine}, TASKS)
    assert ask(base, "tasks/get", {"taskId": mine}, TASKS).result["status"] == "cancelled"
    assert ask(base, "tasks/get", {"taskId": other}, TASKS).result["status"] == "working"
    assert ask(base, "tasks/get", {"taskId": other}, TASKS, view="/two").result["owner"] == "two"


@requirement("extensions:tasks")
def test_a_handle_stays_what_it_is_when_another_key_seals(tmp_path: Path) -> None:
    """Clients compare what they hear of with what they asked for."""
    old, new = "o" * 32, "n" * 32
    servers = {"one": child(EXTENDED, "--name", "one")}
    handles: list[str] = []
    for keys in ([old], [new, old]):
        with http_gateway(tmp_path, servers, state_keys=keys, **PATIENT) as gateway:
            handles.append(start(gateway.base, "one")["taskId"])  # which the server counts from 1
            for handle in handles:
                assert ask(gateway.base, "tasks/get", {"taskId": handle}, TASKS).result["taskId"] == handle
    assert handles[0] != handles[1]


@requirement("extensions:tasks")
@pytest.mark.parametrize("handle", ["1", "", "task-", "task-AAAA", "task-" + "A" * 5000, "task-§", None, 1])
def test_a_handle_that_was_not_given_is_unknown(base: str, handle: Any) -> None:
    assert ask(base, "tasks/get", {"taskId": handle}, TASKS).error["code"] == -32602


@requirement("extensions:tasks")
def test_a_handle_is_of_no_use_at_another_server(base: str) -> None:
    assert ask(base, "tasks/get", {"taskId": start(base, "one")["taskId"]}, TASKS, view="/two").error["code"] == -32602
    assert ask(base, "tasks/get", {"taskId": "x"}, TASKS, view="/plain").error["code"] == -32601


@requirement("extensions:tasks")
def test_who_does_not_know_tasks_gets_none(base: str) -> None:
    result = ask(base, "tools/call", {"name": "one__work", "arguments": {}}).result
    assert (result["resultType"], result["content"][0]["text"]) == ("complete", "one is done")


@requirement("extensions:tasks")
@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_whatever_concerns_a_task_needs_the_handle_that_was_given(base: str, method: str) -> None:
    handle = start(base, "one")["taskId"]
    for forged in ("1", "2", handle[:-1]):
        assert ask(base, method, {"taskId": forged}, TASKS).error["code"] == -32602
        assert ask(base, method, {"taskId": forged}, TASKS, UNHEARD_OF, view="/one").error["code"] == -32602
    assert ask(base, method, {}, TASKS, UNHEARD_OF, view="/one").error["code"] == -32602
    unknowing = ask(base, method, {"taskId": handle}, UNHEARD_OF).error
    assert (unknowing["code"], unknowing["data"]["requiredCapabilities"]) == (-32021, {"extensions": {TASKS: {}}})
    assert ask(base, method, {"taskId": handle}, UNHEARD_OF, view="/plain").error["code"] == -32601


@requirement("extensions:tasks")
@pytest.mark.parametrize("view", ["", "/one"])
@pytest.mark.parametrize("method", ["tasks/list", "tasks/result", "tasks/forget", "Tasks/get"])
def test_there_is_no_list_of_tasks_and_no_other_way_to_them(base: str, view: str, method: str) -> None:
    handle = start(base, "one")["taskId"]
    assert ask(base, method, {"taskId": handle}, TASKS, UNHEARD_OF, view=view).error["code"] == -32601


@requirement("extensions:tasks")
def test_a_header_that_names_another_task_is_refused(base: str) -> None:
    handle, other = start(base, "one")["taskId"], start(base, "one")["taskId"]
    declared: Message = {"_meta": {CAPABILITIES: {"extensions": {TASKS: {}}}}}
    asked = request("tasks/get", {"taskId": handle} | declared, modern=True)
    assert post(f"{base}/mcp", asked, {"Mcp-Name": handle})[1]["result"]["taskId"] == handle
    status, refused = post(f"{base}/mcp", asked, {"Mcp-Name": other})
    assert (status, refused["error"]["code"]) == (400, -32020)


@requirement("extensions:tasks")
def test_where_no_tasks_are_offered_none_is_asked_for(base: str) -> None:
    asked: Message = {"name": "one__show", "arguments": {}, "task": {"ttl": 1000}}
    assert "task" not in ask(base, "tools/call", asked).result["structuredContent"]["got"]
    assert ask(base, "tools/call", asked, TASKS).result["structuredContent"]["got"]["task"] == {"ttl": 1000}


@requirement("extensions:tasks")
def test_no_request_names_another_task(base: str) -> None:
    wire = Wire(HttpChannel(f"{base}/mcp"), modern=True)
    related: Message = {"io.modelcontextprotocol/related-task": {"taskId": "1"}, "com.example/kept": 1}
    got = wire.ask("tools/call", {"name": "one__show", "_meta": related}).result["structuredContent"]["got"]
    assert got["_meta"]["com.example/kept"] == 1
    assert "io.modelcontextprotocol/related-task" not in got["_meta"]


@requirement("extensions:apps")
@pytest.mark.parametrize("modern", [False, True])
def test_a_tools_link_leads_to_its_own_user_interface(base: str, modern: bool) -> None:
    wire = Wire(HttpChannel(f"{base}/mcp", {} if modern else open_session(f"{base}/mcp")), modern)
    links = {
        tool["name"]: tool["_meta"]["ui"]["resourceUri"]
        for tool in wire.ask("tools/list").result["tools"]
        if tool["name"].endswith("__show")
    }
    assert set(links) == {"one__show", "two__show"}
    for name, uri in links.items():
        assert uri.startswith("ui://")
        (page,) = wire.ask("resources/read", {"uri": uri}).result["contents"]
        assert page["text"] == f"<p>{name.removesuffix('__show')}</p>"
    own = Wire(HttpChannel(f"{base}/mcp/one"), modern=True)
    assert own.ask("resources/read", {"uri": PAGE}).result["contents"][0]["text"] == "<p>one</p>"


@requirement("extensions:declared")
def test_what_all_agree_on_is_declared(base: str) -> None:
    offered = ask(base, "server/discover", {}).result["capabilities"]["extensions"]
    assert offered == {TASKS: {}, UI: {}, UNHEARD_OF: {}}


@requirement("extensions:unknown")
def test_a_method_nobody_has_heard_of_goes_to_the_one_server_it_can_be_meant_for(base: str) -> None:
    for name in ("one", "two"):
        result = ask(base, "unheard/of", {"given": 7}, UNHEARD_OF, view=f"/{name}").result
        assert (result["by"], result["given"], result["resultType"]) == (name, 7, "complete")
    refused = ask(base, "unheard/of", {"given": 7}, UNHEARD_OF).error
    assert refused["code"] == -32601
    assert "one, two may each be meant" in refused["message"]


@requirement("extensions:unknown")
@pytest.mark.parametrize(
    ("method", "extensions", "view"),
    [
        ("unheard/of", (), "/one"),
        ("unheard/of", (UNHEARD_OF,), "/plain"),
        ("initialize", (UNHEARD_OF,), "/one"),
        ("ping", (UNHEARD_OF,), "/one"),
        ("sampling/createMessage", (UNHEARD_OF,), "/one"),
        ("tools/secret", (UNHEARD_OF,), "/one"),
        ("TOOLS/secret", (UNHEARD_OF,), "/one"),
        ("notifications/tools/list_changed", (UNHEARD_OF,), "/one"),
    ],
)
def test_what_is_no_extensions_method_goes_nowhere(
    base: str, method: str, extensions: tuple[str, ...], view: str
) -> None:
    assert ask(base, method, {}, *extensions, view=view).error["code"] == -32601
