"""What somebody may not use: every list, answer, error and notification is that of a gateway that does not have it."""

import json
from collections.abc import Generator
from contextlib import ExitStack
from http.client import HTTPResponse
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from gateway.jsonrpc import as_object
from tests.access.door import Door
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import messages, post, posted
from tests.interaction._wire import request
from tests.servers.items.reading import WATCHED
from tests.support import wait_until

TEXT = "test://static-text"
TEMPLATE = "test://template/{id}/data"
DENIED = [
    *("all__test_x_mcp_header", "all__hidden_*", "all__test_simple_prompt"),
    *(TEXT, "test://template/secret*", "test://binary/*"),
]

Params = dict[str, Any]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    """Alice may everything; Bob not what is `DENIED`; Carol nothing of `all`; Dora only what has an allowed name."""
    folder: Path = tmp_path_factory.mktemp("hidden")
    people: dict[str, Params] = {"alice": {}, "bob": {}, "carol": {"allowed_upstreams": ["raw"]}, "dora": {}}
    entries = [{"key": f"key-{name}", "owner": name, "rate_limit_rpm": -1} | more for name, more in people.items()]
    (folder / "keys.json").write_text(json.dumps(entries))
    policy = [{"who": ["bob"], "deny": DENIED}, {"who": ["dora"], "allow": [TEMPLATE, "test://template/open/*"]}]
    servers = {"all": child("tests.servers.everything"), "raw": child("tests.servers.raw")}
    auth = {"enabled": True, "api_keys_file": str(folder / "keys.json")}
    with http_gateway(folder, servers, auth=auth, policy=policy, **PATIENT) as gateway:
        yield Door(gateway.base, folder)


def ask(door: Door, who: str, method: str, params: Params | None = None, path: str = "/mcp", **more: Any) -> Any:
    """Status and answer of a request that belongs to no session, or to that of `headers`."""
    headers = {"X-Api-Key": f"key-{who}", **more.pop("headers", {})}
    return post(f"{door.base}{path}", request(method, params, id=1, **more), headers)


def texts(answer: Any) -> str:
    return json.dumps(answer)


# --- Lists and discovery ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])
@pytest.mark.parametrize(
    ("method", "kind", "hidden"),
    [
        ("tools/list", "tools", "test_x_mcp_header"),
        ("prompts/list", "prompts", "test_simple_prompt"),
        ("resources/list", "resources", TEXT),
    ],
)
def test_it_is_in_no_list(door: Door, method: str, kind: str, hidden: str, modern: bool) -> None:
    for path in ("/mcp", "/mcp/all"):
        everything = ask(door, "alice", method, None, path, modern=modern)
        assert hidden in texts(everything)
        bobs = ask(door, "bob", method, None, path, modern=modern)
        assert hidden not in texts(bobs)
        assert len(bobs[1]["result"][kind]) == len(everything[1]["result"][kind]) - 1


@pytest.mark.parametrize("method", ["server/discover", "initialize"])
def test_an_upstream_of_others_is_not_discovered(door: Door, method: str) -> None:
    params = {"protocolVersion": "2025-11-25"} if method == "initialize" else None
    modern = method != "initialize"
    alices = ask(door, "alice", method, params, modern=modern)[1]["result"]
    carols = ask(door, "carol", method, params, modern=modern)[1]["result"]
    assert "A server for tests." in alices["instructions"]
    assert "instructions" not in carols
    assert "completions" in alices["capabilities"]
    assert "completions" not in carols["capabilities"]


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize(
    ("method", "params"),
    [("server/discover", None), ("tools/list", None), ("resources/read", {"uri": "raw://odd"})],
)
def test_nobody_else_may_keep_what_one_was_told(door: Door, method: str, params: Params | None, who: str) -> None:
    """Whatever the upstream says (`public`), and whether or not a rule tells this principal from the others."""
    result = ask(door, who, method, params, "/mcp/raw", modern=True)[1]["result"]
    assert result["cacheScope"] == "private"


# --- Errors -------------------------------------------------------------------------------------------------------


def completing(kind: str, key: str, value: str) -> Params:
    return {"ref": {"type": f"ref/{kind}", key: value}, "argument": {"name": "a", "value": ""}}


@pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])
@pytest.mark.parametrize(
    ("path", "method", "there", "nowhere"),
    [
        ("/mcp", "tools/call", {"name": "all__test_x_mcp_header"}, {"name": "all__none"}),
        ("/mcp/all", "tools/call", {"name": "test_x_mcp_header"}, {"name": "none"}),
        ("/mcp", "tools/call", {"name": "all__test_x_mcp_header", "arguments": {"region": "x"}}, {"name": "none"}),
        ("/mcp", "prompts/get", {"name": "all__test_simple_prompt"}, {"name": "all__none"}),
        ("/mcp/all", "prompts/get", {"name": "test_simple_prompt"}, {"name": "none"}),
        ("/mcp", "resources/read", {"uri": TEXT}, {"uri": "test://none"}),
        ("/mcp", "resources/read", {"uri": "test://template/secret/data"}, {"uri": "test://none"}),
        ("/mcp/all", "resources/read", {"uri": TEXT}, {"uri": "test://binary/none"}),
        ("/mcp/all", "resources/read", {"uri": "test://template/secret/data"}, {"uri": "test://binary/none"}),
        (
            "/mcp",
            "completion/complete",
            completing("prompt", "name", "all__test_simple_prompt"),
            completing("prompt", "name", "all__none"),
        ),
        ("/mcp", "completion/complete", completing("resource", "uri", TEXT), completing("resource", "uri", "test://x")),
    ],
)
def test_its_errors_are_those_of_what_is_nowhere(
    door: Door, path: str, method: str, there: Params, nowhere: Params, modern: bool
) -> None:
    assert "Unknown" not in texts(ask(door, "alice", method, there, path, modern=modern))
    answers = [ask(door, "bob", method, params, path, modern=modern) for params in (there, nowhere)]
    (status, hidden), (same, unknown) = answers
    assert status == same
    assert texts(hidden).replace(_name(there), "X") == texts(unknown).replace(_name(nowhere), "X")
    assert "error" in hidden


def _name(params: Params) -> str:
    ref = params.get("ref", params)
    return ref.get("name") or ref["uri"]


def test_what_others_may_read_through_a_template(door: Door) -> None:
    assert "templateTest" in texts(ask(door, "bob", "resources/read", {"uri": "test://template/7/data"}))
    assert "templateTest" in texts(ask(door, "alice", "resources/read", {"uri": "test://template/secret/data"}))


@pytest.mark.parametrize("path", ["/mcp", "/mcp/all"])
def test_a_template_gives_no_more_than_the_uris_that_are_allowed(door: Door, path: str) -> None:
    assert "templateTest" in texts(ask(door, "dora", "resources/read", {"uri": "test://template/open/data"}, path))
    assert "templateTest" not in texts(ask(door, "dora", "resources/read", {"uri": "test://template/7/data"}, path))


@pytest.mark.parametrize(
    "uri",
    [
        "test://template/open/../secret/data",
        "test://template/open%2F..%2Fsecret/data",
        "test://template/%73ecret/data",
        "TEST://template/secret/data",
        "test://TEMPLATE/secret/data",
        "test://template//secret/data",
        "test://template/./secret/data",
        "test:///template/secret/data",
    ],
)
@pytest.mark.parametrize("path", ["/mcp", "/mcp/all"])
def test_another_spelling_gives_no_more(door: Door, path: str, uri: str) -> None:
    for who in ("bob", "dora"):
        answer = ask(door, who, "resources/read", {"uri": uri}, path)
        assert f"Resource not found: {uri}" in answer[1]["error"]["message"]


@pytest.mark.parametrize("uri", [TEXT, "test://template/secret/data"])
def test_it_cannot_be_subscribed_to(door: Door, uri: str) -> None:
    session = open_session_of(door, "bob")
    hidden = ask(door, "bob", "resources/subscribe", {"uri": uri}, headers=session)
    unknown = ask(door, "bob", "resources/subscribe", {"uri": "test://none"}, headers=session)
    assert texts(hidden).replace(uri, "X") == texts(unknown).replace("test://none", "X")
    assert ask(door, "bob", "resources/subscribe", {"uri": WATCHED}, headers=session)[1]["result"] == {}


def open_session_of(door: Door, who: str) -> dict[str, str]:
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    with posted(f"{door.base}/mcp", request("initialize", opening), {"X-Api-Key": f"key-{who}"}) as response:
        return {"Mcp-Session-Id": response.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}


# --- Notifications ------------------------------------------------------------------------------------------------


def listening(door: Door, who: str, path: str) -> Any:
    wish = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": [TEXT, WATCHED]}}
    return posted(f"{door.base}{path}", request("subscriptions/listen", wish, modern=True), {"X-Api-Key": f"key-{who}"})


def changes(response: HTTPResponse) -> list[str]:
    """What a stream says until the resource that everybody watches has changed."""
    said = takewhile(lambda message: as_object(message.get("params")).get("uri") != WATCHED, messages(response))
    return [message["method"].removeprefix("notifications/") for message in said]


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/mcp", "/mcp/all"])
async def test_its_changes_are_not_heard_of(door: Door, path: str) -> None:
    def call(tool: str, **arguments: Any) -> None:
        assert "result" in ask(door, "alice", "tools/call", {"name": f"all__{tool}", "arguments": arguments})[1]

    async def change(verb: str, name: str) -> None:
        call(f"{verb}_tool", name=name)
        await wait_until(lambda: (name in texts(ask(door, "alice", "tools/list"))) == (verb == "add"))

    with ExitStack() as stack:
        alices, bobs = (stack.enter_context(listening(door, who, path)) for who in ("alice", "bob"))
        await change("add", "hidden_one")
        call("touch_resource", uri=TEXT)
        await change("remove", "hidden_one")
        await change("add", "seen_one")
        await change("remove", "seen_one")
        call("touch_resource", uri=WATCHED)
        heard = changes(alices)
        assert heard.count("tools/list_changed") >= 4  # one more tells nobody anything
        assert heard.count("resources/updated") == 1
        assert changes(bobs) == ["subscriptions/acknowledged", "tools/list_changed", "tools/list_changed"]
