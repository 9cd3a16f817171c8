"""Tasks (SEP-2663) at real servers of them: news of their status on listen streams, and nobody else's business."""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.faults.proxy import proxy
from tests.interaction._gateway import PATIENT, config_file, http_gateway, stdio_command
from tests.interaction._http import HttpChannel, messages, posted
from tests.interaction._requirements import requirement
from tests.interaction._wire import Answer, Message, Pipe, Wire, piped, request
from tests.nodes import nodes
from tests.servers.peers import SECONDS
from tests.servers.tasked import TASKS
from tests.support import http_server

TASKED = "tests.servers.tasked"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
TAG = "io.modelcontextprotocol/subscriptionId"
KEYS = {"alice": "key-of-alice-0123456789abcdef", "bob": "key-of-bob-0123456789abcdef"}
LONG = {"seconds": 300, "label": "secret"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    folder = tmp_path_factory.mktemp("tasked")
    keys = folder / "keys.json"
    entries = [{"key": key, "owner": owner, "scopes": ["read", "write"]} for owner, key in KEYS.items()]
    keys.write_text(json.dumps(entries))
    auth = {"enabled": True, "api_keys_file": str(keys)}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(http_server(TASKED, "--name", name)) for name in ("one", "two")}
        servers = {name: {"type": "http", "url": url} for name, url in urls.items()}
        limits = {"default_rpm": 100_000, "burst_allowance": 1_000}
        yield stack.enter_context(http_gateway(folder, servers, auth=auth, rate_limit=limits, **PATIENT)).base


@dataclass(frozen=True)
class Agent:
    """A modern one with the key of somebody."""

    base: str
    who: str
    view: str = ""
    extensions: tuple[str, ...] = (TASKS,)

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Api-Key": KEYS[self.who]}

    @property
    def envelope(self) -> Message:
        return {"_meta": {CAPABILITIES: {"elicitation": {}, "extensions": {name: {} for name in self.extensions}}}}

    def ask(self, method: str, **params: Any) -> Answer:
        channel = HttpChannel(f"{self.base}/mcp{self.view}", self.headers)
        return Wire(channel, modern=True).ask(method, params | self.envelope)

    def start(self, tool: str, **arguments: Any) -> str:
        task = self.ask("tools/call", name=tool, arguments=arguments).result
        assert task["resultType"] == "task"
        return task["taskId"]

    @contextmanager
    def listening(self, *handles: Any) -> Generator[Iterator[Message]]:
        params = {"notifications": {"taskIds": list(handles)}} | self.envelope
        asked = request("subscriptions/listen", params, modern=True, id="mine")
        with posted(f"{self.base}/mcp{self.view}", asked, self.headers) as response:
            yield messages(response)


def acknowledged(stream: Iterator[Message]) -> list[str]:
    first = next(stream)
    assert first["method"] == "notifications/subscriptions/acknowledged"
    return first["params"]["notifications"].get("taskIds", [])


def news(stream: Iterator[Message]) -> Message:
    said = next(stream)
    assert (said["method"], said["params"]["_meta"][TAG]) == ("notifications/tasks", "mine")
    return said["params"]


@requirement("extensions:task-news")
def test_who_listens_hears_what_becomes_of_a_task(base: str) -> None:
    alice = Agent(base, "alice")
    task = alice.start("one__confirm_delete")
    with alice.listening(task) as stream:
        assert acknowledged(stream) == [task]
        asked = news(stream)
        assert (asked["taskId"], asked["status"], [*asked["inputRequests"]]) == (task, "input_required", ["confirm"])
        answers = {"confirm": {"action": "accept", "content": {"confirm": "yes"}}}
        assert alice.ask("tasks/update", taskId=task, inputResponses=answers).result["resultType"] == "complete"
        done = news(stream)
        assert (done["taskId"], done["status"]) == (task, "completed")
        got = alice.ask("tasks/get", taskId=task).result
        assert {key: done[key] for key in done if key != "_meta"} == {
            key: got[key] for key in got if key not in ("_meta", "resultType")
        }


@requirement("extensions:task-news")
def test_one_stream_hears_of_tasks_at_several_servers(base: str) -> None:
    alice = Agent(base, "alice")
    tasks = [alice.start("one__slow_compute", **LONG), alice.start("two__slow_compute", **LONG)]
    with alice.listening(*tasks, tasks[0]) as stream:
        assert acknowledged(stream) == tasks
        assert {news(stream)["taskId"], news(stream)["taskId"]} == {*tasks}
        for task in tasks:
            alice.ask("tasks/cancel", taskId=task)
            said = news(stream)
            assert (said["taskId"], said["status"]) == (task, "cancelled")
    with Agent(base, "alice", "/one").listening(*tasks) as stream:
        assert acknowledged(stream) == tasks[:1]


@requirement("extensions:task-news")
def test_nobody_hears_of_anothers_task(base: str) -> None:
    alice, bob = Agent(base, "alice"), Agent(base, "bob")
    hers, his = alice.start("one__slow_compute", **LONG), bob.start("one__slow_compute", **LONG)
    guesses = [str(number) for number in range(1, 20)]
    with bob.listening(hers, *guesses, his[:-1], "", his) as stream:
        assert acknowledged(stream) == [his]
        assert news(stream)["taskId"] == his
        alice.ask("tasks/cancel", taskId=hers)
        bob.ask("tasks/cancel", taskId=his)
        said = news(stream)
        assert (said["taskId"], said["status"]) == (his, "cancelled")
    with bob.listening(hers) as stream:
        assert acknowledged(stream) == []


@requirement("extensions:task-news")
@pytest.mark.anyio
async def test_what_became_of_a_task_while_its_server_was_away_is_told(tmp_path: Path) -> None:
    """By a server that tells of changes alone."""
    in_thread = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
    with http_server(TASKED, "--quiet") as url:
        async with proxy(url) as between:
            server = {"type": "http", "url": between.url, "breaker": {"cooldown": "1s"}}
            with http_gateway(tmp_path, {"one": server}, **PATIENT) as gateway:
                alice = Agent(gateway.base, "alice")
                task = await in_thread(lambda: alice.start("one__slow_compute", **LONG))
                with ExitStack() as stack:
                    stream = await in_thread(lambda: stack.enter_context(alice.listening(task)))
                    assert await in_thread(acknowledged, stream) == [task]
                    await between.become("refuse")
                    there = Wire(HttpChannel(url, {"Mcp-Name": "1"}), modern=True)
                    await in_thread(lambda: there.ask("tasks/cancel", {"taskId": "1"} | alice.envelope).result)
                    await between.become("none")
                    with anyio.fail_after(SECONDS):  # a stream says all the time that it is there
                        said = await in_thread(news, stream)
                    assert (said["taskId"], said["status"]) == (task, "cancelled")


@requirement("extensions:tasks")
@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
@pytest.mark.parametrize("view", ["", "/one"])
def test_anothers_task_is_as_one_that_never_was(base: str, method: str, view: str) -> None:
    alice, bob = Agent(base, "alice", view), Agent(base, "bob", view)
    hers = alice.start("slow_compute" if view else "one__slow_compute", **LONG)
    his = bob.start("slow_compute" if view else "one__slow_compute", **LONG)
    assert hers != his
    flipped = his[:-2] + ("A" if his[-2] != "A" else "B") + his[-1]
    for forged in (hers, flipped, *map(str, range(1, 10)), "task-", hers + hers):
        refused = bob.ask(method, taskId=forged, inputResponses={}).error
        assert refused == {"code": -32602, "message": f"Unknown task: {forged[:200]}"}
    assert alice.ask("tasks/get", taskId=hers).result["status"] == "working"


@requirement("extensions:task-news")
def test_a_client_that_knows_no_tasks_hears_of_none(base: str) -> None:
    task = Agent(base, "alice").start("one__slow_compute", **LONG)
    with Agent(base, "alice", extensions=()).listening(task) as stream:
        refused = next(stream)["error"]
    assert (refused["code"], refused["data"]["requiredCapabilities"]) == (-32021, {"extensions": {TASKS: {}}})


@requirement("extensions:task-news")
@pytest.mark.parametrize("handles", ["task-1", [1], {}, [["x"]], ["x" * 5_000], ["x"] * 1_000])
def test_what_is_no_list_of_tasks_is_refused(base: str, handles: Any) -> None:
    answer = Agent(base, "alice").ask("subscriptions/listen", notifications={"taskIds": handles})
    assert answer.error["code"] == -32602


@requirement("extensions:task-news")
def test_a_desktop_client_hears_of_its_tasks_too(tmp_path: Path) -> None:
    """On its one pipe, in the midst of everything else, until it says that it wants no more."""
    envelope: Message = {"_meta": {CAPABILITIES: {"elicitation": {}, "extensions": {TASKS: {}}}}}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(http_server(TASKED, "--name", name)) for name in ("one", "two")}
        config = config_file(tmp_path, {name: {"url": url} for name, url in urls.items()}, **PATIENT)
        pipe = stack.enter_context(piped(stdio_command(config)))

        def ask(method: str, **params: Any) -> tuple[Message, list[Message]]:
            *before, answer = pipe.exchange(request(method, params | envelope, modern=True))
            return answer["result"], before

        tasks = [ask("tools/call", name=f"{name}__slow_compute", arguments=LONG)[0]["taskId"] for name in urls]
        notifications: Message = {"notifications": {"taskIds": [*tasks, "task-nobodys"]}}
        pipe.send(request("subscriptions/listen", notifications | envelope, modern=True, id="mine"))
        first = until(pipe, lambda said: said.get("method") == "notifications/subscriptions/acknowledged")
        assert first["params"]["notifications"]["taskIds"] == tasks
        for task in tasks:
            pipe.send(request("tasks/cancel", {"taskId": task} | envelope, modern=True))
            said = until(pipe, lambda said, task=task: is_cancelled(said, task))
            assert said["params"]["_meta"][TAG] == "mine"
        pipe.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "mine"}})
        assert ask("tasks/get", taskId=tasks[0])[0]["status"] == "cancelled"


def until(pipe: Pipe, is_it: Callable[[Message], bool]) -> Message:
    return next(said for said in iter(pipe.receive, None) if is_it(said))


def is_cancelled(said: Message, task: str) -> bool:
    about = (said.get("params", {}).get("taskId"), said.get("params", {}).get("status"))
    return said.get("method") == "notifications/tasks" and about == (task, "cancelled")


@requirement("extensions:task-news")
def test_another_node_tells_of_a_task(tmp_path: Path) -> None:
    """Handles are good at every node; a node that was not asked for a task hears of it from the task's own server."""
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "keys.json").write_text(
        json.dumps([{"key": key, "owner": who, "scopes": ["read", "write"]} for who, key in KEYS.items()])
    )
    auth = {"enabled": True, "api_keys_file": str(keys / "keys.json")}
    with http_server(TASKED) as url, nodes(tmp_path, {"one": {"url": url}}, auth=auth) as (first, second):
        here, there = (Agent(node.base, "alice") for node in (first, second))
        task = here.start("one__slow_compute", **LONG)
        assert there.ask("tasks/get", taskId=task).result["taskId"] == task
        with there.listening(task) as stream, Agent(second.base, "bob").listening(task) as nobodys:
            assert acknowledged(stream) == [task]
            assert acknowledged(nobodys) == []
            assert news(stream)["status"] == "working"
            here.ask("tasks/cancel", taskId=task)
            said = news(stream)
            assert (said["taskId"], said["status"]) == (task, "cancelled")
        first.restart()
        assert here.ask("tasks/get", taskId=task).result["status"] == "cancelled"
