"""Results that fit of calls that become tasks: in both ways there are, asked for and told."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import HttpChannel, messages, posted
from tests.interaction._wire import Message, Wire, request
from tests.interaction.test_handshake_tasks import Session, with_keys
from tests.interaction.test_tasks import Agent, acknowledged, news
from tests.results.conftest import LINES, Cut, contents, read_all
from tests.servers.peers import SECONDS
from tests.support import http_server, wait_until

RESULTS: dict[str, Any] = {"max_tokens": 500, "tools": {"plain": "whole"}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Servers of both kinds of tasks."""
    folder: Path = tmp_path_factory.mktemp("tasks")
    with ExitStack() as stack:
        url = stack.enter_context(http_server("tests.servers.tasked", "--name", "new"))
        servers = {
            "new": {"type": "http", "url": url, "results": RESULTS},
            "old": child("tests.servers.handshake_tasked", "--name", "old", results=RESULTS),
        }
        yield stack.enter_context(http_gateway(folder, servers, **with_keys(folder), **PATIENT)).base


def is_large(wire: Wire, result: Message, expected: str) -> None:
    made = Cut(result)
    assert expected.startswith(made.head)
    assert made.head + read_all(wire, made) == expected
    assert contents(wire, made.uri)["text"] == expected


@pytest.mark.anyio
async def test_a_task_ends_with_the_head_when_it_is_asked_for(base: str) -> None:
    alice = Agent(base, "alice")
    task = alice.start("new__slow_compute", seconds=0.05, label=LINES)
    got: list[Message] = []

    def is_over() -> bool:
        got.append(alice.ask("tasks/get", taskId=task).result)
        return got[-1]["status"] == "completed"

    await wait_until(is_over, SECONDS)
    assert (got[-1]["taskId"], got[-1]["resultType"]) == (task, "complete")
    is_large(Wire(HttpChannel(f"{base}/mcp", alice.headers), modern=True), got[-1]["result"], f"new computed {LINES}")
    assert alice.ask("tasks/get", taskId=task).result["taskId"] == task
    assert Agent(base, "bob").ask("tasks/get", taskId=task).error["code"] == -32602


def test_a_task_ends_with_the_head_when_it_is_told(base: str) -> None:
    alice = Agent(base, "alice")
    task = alice.start("new__slow_compute", seconds=0.5, label=LINES)
    with alice.listening(task) as stream:
        assert acknowledged(stream) == [task]
        said = news(stream)
        while said["status"] != "completed":
            said = news(stream)
    assert said["taskId"] == task
    is_large(Wire(HttpChannel(f"{base}/mcp", alice.headers), modern=True), said["result"], f"new computed {LINES}")


def test_a_task_that_ends_with_little_is_as_it_was(base: str) -> None:
    alice = Agent(base, "alice")
    task = alice.start("new__slow_compute", seconds=0.2, label="little")
    with alice.listening(task) as stream:
        acknowledged(stream)
        while (said := news(stream))["status"] != "completed":
            pass
    assert said["result"]["content"] == [{"type": "text", "text": "new computed little"}]


def test_a_task_of_2025_ends_with_the_head(base: str) -> None:
    alice = Session(base, "alice")
    made = alice.call("old__work", {"ttl": 60_000}, label=LINES).result
    handle = made["task"]["taskId"]
    alice.call("old__end", label=LINES)
    result = alice.ask("tasks/result", taskId=handle).result
    assert result["_meta"]["io.modelcontextprotocol/related-task"] == {"taskId": handle}
    is_large(Wire(HttpChannel(alice.url, alice.headers), modern=False), result, f"old did {LINES}")
    assert alice.ask("tasks/get", taskId=handle).result["taskId"] == handle
    assert alice.listed()[handle] == "completed"
    assert Session(base, "bob").ask("tasks/result", taskId=handle).error["code"] == -32602


def test_what_is_told_belongs_to_who_listens(base: str) -> None:
    """A listener with a handle of somebody else's is told nothing, and no result is kept for it."""
    alice, bob = Agent(base, "alice"), Agent(base, "bob")
    task = alice.start("new__slow_compute", seconds=0.05, label=LINES)
    params = {"notifications": {"taskIds": [task]}} | bob.envelope
    with posted(f"{base}/mcp", request("subscriptions/listen", params, modern=True, id="mine"), bob.headers) as stream:
        assert acknowledged(messages(stream)) == []
