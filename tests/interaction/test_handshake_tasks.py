"""Tasks of 2025-11-25: calls whose results are fetched later, at real servers of both transports, and nobody else's."""

import json
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interaction._gateway import PATIENT, Entry, child, config_file, http_gateway, stdio_command
from tests.interaction._http import HttpChannel, asked, fields, messages, post, posted, sent
from tests.interaction._requirements import requirement
from tests.interaction._wire import INITIALIZED, Answer, Message, Wire, piped, request, shake_hands
from tests.nodes import nodes
from tests.servers.handshake_tasked import RELATED
from tests.servers.peers import OPENING
from tests.servers.wire import MODERN, encode
from tests.store.servers import valkey
from tests.support import http_server, wait_until

TASKED: Final = "tests.servers.handshake_tasked"
KEYS: Final = {"alice": "key-of-alice-0123456789abcdef", "bob": "key-of-bob-0123456789abcdef"}
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
NAMING: Final = ("tasks/get", "tasks/result", "tasks/cancel")
_labels: Final = count(1)

pytestmark = pytest.mark.anyio
line_and_net = pytest.mark.parametrize("server", ["line", "net"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    folder = tmp_path_factory.mktemp("handshake-tasks")
    with ExitStack() as stack:
        url = stack.enter_context(http_server(TASKED, "--name", "net"))
        servers: dict[str, Entry] = {
            "line": child(TASKED, "--name", "line", max_concurrency=1),
            "net": {"type": "http", "url": url, "max_concurrency": 1},
            "without": child(TASKED, "--name", "without", "--without-tasks"),
        }
        yield stack.enter_context(gateway_with_keys(folder, servers))


@contextmanager
def gateway_with_keys(folder: Path, servers: dict[str, Entry], **settings: Any) -> Generator[str]:
    with http_gateway(folder, servers, **with_keys(folder), **PATIENT, **settings) as gateway:
        yield gateway.base


def with_keys(folder: Path) -> dict[str, Any]:
    keys = folder / "keys.json"
    entries = [{"key": key, "owner": owner, "scopes": ["read", "write"]} for owner, key in KEYS.items()]
    keys.write_text(json.dumps(entries))
    limits = {"default_rpm": 100_000, "burst_allowance": 1_000}
    return {"auth": {"enabled": True, "api_keys_file": str(keys)}, "rate_limit": limits}


@dataclass
class Session:
    """Somebody's, at one gateway after the other if need be."""

    base: str
    who: str
    version: str = "2025-11-25"
    capabilities: Message = field(default_factory=dict[str, Any])
    view: str = ""
    headers: dict[str, str] = field(init=False)
    offered: Message = field(init=False)
    """The capabilities of the gateway."""

    def __post_init__(self) -> None:
        key = {"X-Api-Key": KEYS[self.who]}
        opening = OPENING | {"protocolVersion": self.version, "capabilities": self.capabilities}
        with posted(self.url, request("initialize", opening), key) as response:
            (answer,) = messages(response)
            id = response.headers["Mcp-Session-Id"]
        self.offered = answer["result"]["capabilities"]
        self.headers = key | {"Mcp-Session-Id": id, "MCP-Protocol-Version": self.version}
        assert post(self.url, INITIALIZED, self.headers)[0] == 202

    @property
    def url(self) -> str:
        return f"{self.base}/mcp{self.view}"

    def ask(self, method: str, **params: Any) -> Answer:
        return Wire(HttpChannel(self.url, self.headers), modern=False).ask(method, params)

    def call(self, tool: str, task: Message | None = None, meta: Message | None = None, /, **arguments: Any) -> Answer:
        more = ({} if task is None else {"task": task}) | ({} if meta is None else {"_meta": meta})
        return self.ask("tools/call", name=tool, arguments=arguments, **more)

    def start(self, tool: str, meta: Message | None = None) -> tuple[str, str]:
        """A task's handle and its label."""
        label = f"label-{next(_labels)}"
        result = self.call(tool, {"ttl": 60_000}, meta, label=label).result
        assert (result["task"]["status"], result.keys() - {"_meta"}) == ("working", {"task"})
        return result["task"]["taskId"], label

    def listed(self) -> dict[str, str]:
        """Handle → status."""
        wire = Wire(HttpChannel(self.url, self.headers), modern=False)
        return {task["taskId"]: task["status"] for task in wire.listed("tasks/list", "tasks")}

    @contextmanager
    def standing(self) -> Generator[Iterator[Message]]:
        """What it hears that belongs to no request, but for lists that changed."""
        with sent("GET", self.url, headers=self.headers | {"Accept": "text/event-stream"}) as response:
            yield (one for one in messages(response) if not one["method"].endswith("list_changed"))


@requirement("tasks:call")
@line_and_net
def test_a_call_becomes_a_task_and_its_result_is_fetched_later(base: str, server: str) -> None:
    alice = Session(base, "alice")
    assert alice.offered["tasks"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    tools = {tool["name"]: tool for tool in alice.ask("tools/list").result["tools"]}
    assert tools[f"{server}__work"]["execution"] == {"taskSupport": "optional"}
    task, label = alice.start(f"{server}__work")
    assert not task.isdecimal()
    working = alice.ask("tasks/get", taskId=task).result
    assert (working["taskId"], working["status"], working["pollInterval"]) == (task, "working", 100)
    assert alice.listed()[task] == "working"
    alice.call(f"{server}__end", label=label)
    assert alice.ask("tasks/get", taskId=task).result["status"] == "completed"
    result = alice.ask("tasks/result", taskId=task).result
    assert result["content"] == [{"type": "text", "text": f"{server} did {label}"}]
    assert result["_meta"] == {RELATED: {"taskId": task}}
    assert alice.listed()[task] == "completed"
    assert "task" not in alice.call(f"{server}__work", label="x").result


@requirement("tasks:call")
@line_and_net
def test_a_result_that_waits_keeps_nobody_from_ending_the_task(base: str, server: str) -> None:
    """The server works on one request at a time."""
    alice = Session(base, "alice")
    task, label = alice.start(f"{server}__work")
    with posted(alice.url, request("tasks/result", {"taskId": task}), alice.headers) as waiting:
        assert alice.ask("tasks/get", taskId=task).result["status"] == "working"
        alice.call(f"{server}__end", label=label)
        assert list(messages(waiting))[-1]["result"]["content"][0]["text"] == f"{server} did {label}"


@requirement("tasks:call")
@line_and_net
def test_a_task_that_failed_has_the_error_that_the_call_would_have_had(base: str, server: str) -> None:
    alice = Session(base, "alice")
    task, label = alice.start(f"{server}__work")
    alice.call(f"{server}__end", label=label, error={"code": -32050, "message": "it broke"})
    assert alice.ask("tasks/get", taskId=task).result["status"] == "failed"
    assert alice.ask("tasks/result", taskId=task).error == {"code": -32050, "message": "it broke"}


@requirement("tasks:cancel")
@line_and_net
def test_a_task_is_cancelled_once(base: str, server: str) -> None:
    alice = Session(base, "alice")
    task, _ = alice.start(f"{server}__work")
    with posted(alice.url, request("tasks/result", {"taskId": task}), alice.headers) as waiting:
        cancelled = alice.ask("tasks/cancel", taskId=task).result
        assert (cancelled["taskId"], cancelled["status"]) == (task, "cancelled")
        assert list(messages(waiting))[-1]["error"]["message"] == "it was cancelled"
    again = alice.ask("tasks/cancel", taskId=task).error
    assert (again["code"], again["message"]) == (-32602, "Cannot cancel task: already in terminal status 'cancelled'")


@requirement("tasks:isolation")
@line_and_net
@pytest.mark.parametrize("method", NAMING)
def test_anothers_task_is_as_one_that_never_was(base: str, server: str, method: str) -> None:
    alice, bob = Session(base, "alice"), Session(base, "bob")
    hers, _ = alice.start(f"{server}__work")
    his, _ = bob.start(f"{server}__work")
    flipped = his[:-2] + ("A" if his[-2] != "A" else "B") + his[-1]
    for forged in (hers, flipped, *map(str, range(1, 10)), "", "task-"):
        assert bob.ask(method, taskId=forged).error == {"code": -32602, "message": f"Unknown task: {forged}"}
    assert alice.ask("tasks/get", taskId=hers).result["status"] == "working"
    assert hers not in bob.listed()
    assert his in bob.listed()
    assert bob.ask("tasks/list", cursor="x").error["code"] == -32602


@requirement("tasks:isolation")
def test_a_task_is_there_for_each_session_of_its_principal(base: str) -> None:
    task, _ = Session(base, "alice").start("net__work")
    for other in (Session(base, "alice"), Session(base, "alice", view="/net")):
        assert other.listed()[task] == "working"
        assert other.ask("tasks/get", taskId=task).result["taskId"] == task
    assert Session(base, "alice", view="/without").ask("tasks/get", taskId=task).error["code"] == -32601


@requirement("tasks:input")
@line_and_net
def test_what_a_task_asks_is_asked_where_its_result_is_fetched(base: str, server: str) -> None:
    alice = Session(base, "alice", capabilities={"elicitation": {}})
    task, label = alice.start(f"{server}__ask")
    with posted(alice.url, request("tasks/result", {"taskId": task}), alice.headers) as waiting:
        said = messages(waiting)
        question = next(said)
        assert (question["method"], question["params"]["message"]) == ("elicitation/create", label)
        assert question["params"]["_meta"] == {RELATED: {"taskId": task}}
        assert alice.ask("tasks/get", taskId=task).result["status"] == "input_required"
        answer = {"action": "accept", "content": {"word": "yes"}, "_meta": {RELATED: {"taskId": task}}}
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": answer}
        assert post(alice.url, reply, alice.headers)[0] == 202
        answered = next(said)["result"]["structuredContent"]["answer"]
    own = answered["_meta"][RELATED]["taskId"]
    assert own.isdecimal()
    assert (answered["content"], own != task) == ({"word": "yes"}, True)


@requirement("tasks:news")
@line_and_net
def test_news_of_a_task_are_for_the_sessions_of_its_principal_that_named_it(base: str, server: str) -> None:
    alice, bob, other = Session(base, "alice"), Session(base, "bob"), Session(base, "alice")
    hers, label = alice.start(f"{server}__work")
    his, label_of_his = bob.start(f"{server}__work")
    with alice.standing() as hears, bob.standing() as he_hears, other.standing() as other_hears:
        for who, about in ((bob, label), (alice, label_of_his), (bob, label), (alice, label_of_his)):
            who.call(f"{server}__tell", label=about)
        for heard, task in ((hears, hers), (he_hears, his)):
            for _ in range(2):
                said = next(heard)
                assert (said["method"], said["params"]["taskId"]) == ("notifications/tasks/status", task)
                assert (said["params"]["status"], said["params"]["pollInterval"]) == ("working", 100)
        other.ask("tasks/get", taskId=hers)
        bob.call(f"{server}__end", label=label)
        bob.call(f"{server}__tell", label=label)
        assert next(other_hears)["params"]["status"] == "completed"
        assert next(hears)["params"]["status"] == "completed"


@requirement("tasks:progress")
@line_and_net
def test_progress_of_a_task_goes_on_after_its_call_was_answered(base: str, server: str) -> None:
    alice, bob = Session(base, "alice"), Session(base, "bob")
    hers, label = alice.start(f"{server}__work", {"progressToken": "hers"})
    _, label_of_his = bob.start(f"{server}__work", {"progressToken": "hers"})
    with alice.standing() as hears, bob.standing() as he_hears:
        told = bob.call(f"{server}__tell", None, {"progressToken": "of this call"}, label=label, progress=1)
        assert told.own == []
        bob.call(f"{server}__tell", label=label_of_his, progress=2)
        said = next(hears)
        assert said["method"] == "notifications/progress"
        assert said["params"] == {"progressToken": "hers", "progress": 1, "_meta": {RELATED: {"taskId": hers}}}
        assert next(he_hears)["params"]["progress"] == 2


@requirement("tasks:offered")
def test_where_no_tasks_are_offered_a_call_is_none(base: str) -> None:
    alice = Session(base, "alice")
    tools = {tool["name"]: tool for tool in alice.ask("tools/list").result["tools"]}
    assert "execution" not in tools["without__work"]
    got = alice.call("without__show", {"ttl": 1}).result["structuredContent"]["got"]
    assert "task" not in got
    assert alice.call("net__plain", {"ttl": 1}).error["message"] == "plain is no task"
    assert alice.call("net__ask", label="x").error["message"] == "ask is a task"
    own = Session(base, "alice", view="/without")
    assert "tasks" not in own.offered
    assert own.ask("tasks/list").error["code"] == -32601


def of_bob(base: str, version: str, declared: Message) -> Wire:
    """Whose revision has no such tasks."""
    if version != MODERN:
        return Wire(HttpChannel(f"{base}/mcp", Session(base, "bob", version, declared).headers), modern=False)
    return Wire(HttpChannel(f"{base}/mcp", {"X-Api-Key": KEYS["bob"]}), modern=True)


def params_of(tool: str) -> Message:
    return {"name": tool, "arguments": {"label": f"label-{next(_labels)}"}}


@requirement("tasks:offered")
@line_and_net
@pytest.mark.parametrize("version", ["2025-06-18", MODERN])
def test_a_tool_that_must_be_a_task_is_one_also_for_who_has_none(base: str, server: str, version: str) -> None:
    """The gateway makes the task and waits; what the task asks is asked in the way of the agent's era."""
    declared: Message = {"elicitation": {}}
    bob, params = of_bob(base, version, declared), params_of(f"{server}__ask")
    if version == MODERN:
        params["_meta"] = {CAPABILITIES: declared}
        first = bob.ask("tools/call", params).result
        ((key, question),) = first["inputRequests"].items()
        assert question["params"]["message"] == params["arguments"]["label"]
        assert RELATED not in question["params"].get("_meta", {})
        answers = {key: {"action": "accept", "content": {"word": "yes"}}}
        more: Message = {"requestState": first["requestState"], "inputResponses": answers}
        result = bob.ask("tools/call", params | more).result
    else:
        assert isinstance(bob.channel, HttpChannel)
        with posted(bob.channel.url, request("tools/call", params), bob.channel.headers) as response:
            said = messages(response)
            question = next(said)
            answer = {"action": "accept", "content": {"word": "yes"}}
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": answer}
            assert post(bob.channel.url, reply, bob.channel.headers)[0] == 202
            result = next(said)["result"]
    assert result["structuredContent"]["answer"]["content"] == {"word": "yes"}
    assert "task" not in result
    assert RELATED not in result.get("_meta", {})


@requirement("tasks:cancel")
@line_and_net
@pytest.mark.parametrize("version", ["2025-06-18", MODERN])
async def test_a_task_that_nobody_waits_for_any_more_is_cancelled(base: str, server: str, version: str) -> None:
    """By somebody who cannot be asked anything, and so shares the server's one process."""
    bob, params = of_bob(base, version, {}), params_of(f"{server}__must")
    message = request("tools/call", params, modern=version == MODERN)
    assert isinstance(bob.channel, HttpChannel)
    headers = bob.channel.headers

    def status() -> str:
        shown = bob.ask("tools/call", params | {"name": f"{server}__status"}).result
        return shown["content"][0]["text"]

    with asked("POST", bob.channel.url, encode(message), fields(message) | headers):
        await wait_until(lambda: status() == "working", 30)
        if version != MODERN:
            told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": message["id"]}}
            assert post(bob.channel.url, told, headers)[0] == 202
    await wait_until(lambda: status() == "cancelled", 30)


@requirement("tasks:offered")
def test_who_speaks_another_revision_has_no_tasks(base: str) -> None:
    task, _ = Session(base, "alice").start("net__work")
    older = Session(base, "alice", version="2025-06-18")
    modern = Wire(HttpChannel(f"{base}/mcp", {"X-Api-Key": KEYS["alice"]}), modern=True)
    assert "tasks" not in older.offered
    assert "tasks" not in modern.ask("server/discover").result["capabilities"]
    show: Message = {"name": "net__work", "arguments": {}, "task": {"ttl": 1}}
    assert older.ask("tools/call", **show).result["content"][0]["text"] == "net did work"
    assert modern.ask("tools/call", show).result["content"][0]["text"] == "net did work"
    for method in (*NAMING, "tasks/list"):
        assert older.ask(method, taskId=task).error["code"] == -32601
        assert modern.ask(method, {"taskId": task}).error["code"] == -32601


@requirement("tasks:lasting")
def test_a_restart_keeps_tasks_and_their_list(tmp_path: Path) -> None:
    with http_server(TASKED, "--name", "net") as url:
        server: Entry = {"type": "http", "url": url}
        with gateway_with_keys(tmp_path, {"net": server}) as base:
            alice = Session(base, "alice")
            task, label = alice.start("net__work")
        with gateway_with_keys(tmp_path, {"net": server}) as base:
            for session in (Session(base, "alice"), alice):
                session.base = base
                assert session.listed() == {task: "working"}
            assert Session(base, "bob").listed() == {}
            alice.call("net__end", label=label)
            assert alice.ask("tasks/result", taskId=task).result["_meta"] == {RELATED: {"taskId": task}}


@requirement("tasks:lasting")
def test_every_node_has_the_tasks(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    with http_server(TASKED, "--name", "net") as url, valkey() as store, ExitStack() as stack:
        server: Entry = {"type": "http", "url": url}
        shared: dict[str, Any] = {"store": store.url, **with_keys(keys)}
        one, two = stack.enter_context(nodes(tmp_path, {"net": server}, **shared))
        alice, there = Session(one.base, "alice"), Session(two.base, "alice")
        task, label = alice.start("net__work")
        assert there.listed() == {task: "working"}
        alice.base = two.base
        assert alice.ask("tasks/get", taskId=task).result["taskId"] == task
        assert Session(two.base, "bob").listed() == {}
        alice.call("net__end", label=label)
        assert alice.ask("tasks/result", taskId=task).result["content"][0]["text"] == f"net did {label}"
        there.ask("tasks/cancel", taskId=task)


@requirement("tasks:call")
def test_a_desktop_client_has_tasks_too(tmp_path: Path) -> None:
    config = config_file(tmp_path, {"line": child(TASKED, "--name", "line")}, **PATIENT)
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        wire = Wire(pipe, modern=False)
        made = wire.ask("tools/call", {"name": "line__work", "arguments": {"label": "a"}, "task": {}}).result
        task = made["task"]["taskId"]
        wire.ask("tools/list")
        told = wire.call("line__tell", label="a")
        assert [(one["method"], one["params"]["taskId"]) for one in told.own] == [("notifications/tasks/status", task)]
        wire.call("line__end", label="a")
        assert [one["taskId"] for one in wire.ask("tasks/list").result["tasks"]] == [task]
        result = wire.ask("tasks/result", {"taskId": task}).result
        assert (result["content"][0]["text"], result["_meta"]) == ("line did a", {RELATED: {"taskId": task}})


@requirement("tasks:call")
def test_a_tool_that_was_searched_for_is_called_as_a_task(tmp_path: Path) -> None:
    servers: dict[str, Entry] = {"line": child(TASKED, "--name", "line")}
    profiles = {"found": {"discovery": "search-only"}}
    with gateway_with_keys(tmp_path, servers, profiles=profiles) as base:
        alice = Session(base, "alice", view="/found")
        arguments: Message = {"name": "line__work", "arguments": {"label": "a"}}
        made = alice.call("call_tool", {"ttl": 1000}, **arguments).result
        assert alice.ask("tasks/get", taskId=made["task"]["taskId"]).result["status"] == "working"
        assert alice.listed() == {made["task"]["taskId"]: "working"}


@requirement("tasks:isolation")
def test_a_task_of_a_tool_that_is_denied_by_now_is_none(tmp_path: Path) -> None:
    policy = [{"who": ["owner:alice"], "deny": ["net__work"]}]
    profiles = {"part": {"servers": ["net"], "tools": ["net__end", "net__tell"]}}
    with http_server(TASKED, "--name", "net") as url:
        server: Entry = {"type": "http", "url": url}
        with gateway_with_keys(tmp_path, {"net": server}, profiles=profiles) as base:
            alice = Session(base, "alice")
            task, label = alice.start("net__work")
            in_part = Session(base, "alice", view="/part")
            assert in_part.ask("tasks/get", taskId=task).error["message"] == f"Unknown task: {task}"
            assert in_part.listed() == {}
            alice.call("net__end", label=label)
        with gateway_with_keys(tmp_path, {"net": server}, policy=policy) as base:
            alice.base = base
            for session in (alice, Session(base, "alice"), Session(base, "alice", view="/net")):
                for method in NAMING:
                    told = {"code": -32602, "message": f"Unknown task: {task}"}
                    assert session.ask(method, taskId=task).error == told
                assert session.listed() == {}
            alice.call("net__tell", label=label)
        with gateway_with_keys(tmp_path, {"net": server}) as base:
            assert Session(base, "alice").listed() == {task: "completed"}


@requirement("tasks:isolation")
def test_a_handle_that_is_too_long_to_be_kept_is_an_error(base: str) -> None:
    alice = Session(base, "alice")
    refused = alice.call("line__work", {"ttl": 1}, label="long handle", digits=2000).error
    assert (refused["code"], "2000 characters" in refused["message"]) == (-32013, True)
    alice.start("line__work")


@requirement("tasks:lasting")
def test_a_node_whose_program_does_not_know_a_task_leaves_it_to_the_one_that_does(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    servers: dict[str, Entry] = {"line": child(TASKED, "--name", "line")}
    with valkey() as store, ExitStack() as stack:
        shared: dict[str, Any] = {"store": store.url, **with_keys(keys)}
        one, two = stack.enter_context(nodes(tmp_path, servers, **shared))
        here, there = Session(one.base, "alice"), Session(two.base, "alice")
        task, _ = here.start("line__work")
        assert there.listed() == {}
        assert here.listed() == {task: "working"}


@requirement("tasks:lasting")
def test_a_session_whose_program_does_not_know_a_task_leaves_it_to_the_one_that_does(tmp_path: Path) -> None:
    servers: dict[str, Entry] = {"line": child(TASKED, "--name", "line", isolation="session")}
    with gateway_with_keys(tmp_path, servers) as base:
        one, two = Session(base, "alice"), Session(base, "alice")
        task, _ = one.start("line__work")
        assert two.listed() == {}
        assert one.listed() == {task: "working"}
