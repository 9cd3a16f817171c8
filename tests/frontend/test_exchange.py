"""How one answer is put on the wire, seen from the server's side of ASGI: a recorded `send`, and no sockets."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from gateway import jsonrpc
from gateway.frontend.exchange import MAX_BACKLOG, EventStream, Exchange
from tests.support import wait_until

pytestmark = pytest.mark.anyio

ANSWER = jsonrpc.result(1, {"done": True})


class Recorder:
    """What was sent; waits for `gate` before it takes anything."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.gate = anyio.Event()
        self.gate.set()

    async def __call__(self, event: dict[str, Any]) -> None:
        await self.gate.wait()
        self.events.append(event)

    @property
    def status(self) -> int:
        return self.events[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.events[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(event["body"] for event in self.events[1:])

    @property
    def over(self) -> bool:
        return not self.events[-1].get("more_body", False)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What an event stream carried."""
        lines = self.body.decode().splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@asynccontextmanager
async def exchange(
    recorder: Recorder, keepalive: float = 60, *, streams: bool = True
) -> AsyncGenerator[tuple[Exchange, dict[str, str]]]:
    headers = {"mcp-session-id": "s"}
    async with anyio.create_task_group() as tasks:
        yield Exchange(recorder, tasks, keepalive, headers, streams=streams), headers


async def test_an_answer_alone_is_json() -> None:
    recorder = Recorder()
    async with exchange(recorder) as (it, headers):
        headers["retry-after"] = "7"
        await it.finish(ANSWER, 400)
    assert recorder.status == 400
    assert recorder.headers["content-type"] == "application/json"
    assert recorder.headers["content-length"] == str(len(recorder.body))
    assert (recorder.headers["mcp-session-id"], recorder.headers["retry-after"]) == ("s", "7")
    assert json.loads(recorder.body) == ANSWER
    assert len(recorder.events) == 2


async def test_what_precedes_the_answer_makes_it_a_stream() -> None:
    recorder = Recorder()
    async with exchange(recorder) as (it, _):
        it.notify("notifications/progress", {"progress": 1})
        await wait_until(lambda: recorder.messages)
        it.notify("notifications/message", {"data": "line\nbreak\r\n☃"})
        await it.finish(ANSWER, 400)
    assert recorder.status == 200, "it had begun before anybody knew"
    assert recorder.headers["content-type"] == "text/event-stream"
    assert recorder.headers["mcp-session-id"] == "s"
    assert [message.get("method") for message in recorder.messages] == [
        "notifications/progress",
        "notifications/message",
        None,
    ]
    assert recorder.messages[1]["params"]["data"] == "line\nbreak\r\n☃"
    assert recorder.messages[-1] == ANSWER
    assert recorder.over


async def test_silence_makes_it_a_stream_with_comments() -> None:
    recorder = Recorder()
    async with exchange(recorder, keepalive=0.01) as (it, _):
        timer = it.open_if_silent()
        await wait_until(lambda: recorder.body.count(b": keepalive\n\n") >= 2)
        timer.cancel()
        await it.finish(ANSWER)
    assert recorder.messages == [ANSWER]
    assert recorder.over


async def test_an_answer_in_time_is_json_whatever_the_timer_does_later() -> None:
    recorder = Recorder()
    async with exchange(recorder, keepalive=60) as (it, _):
        timer = it.open_if_silent()
        await it.finish(ANSWER)
        timer.cancel()
    assert recorder.headers["content-type"] == "application/json"


async def test_who_accepts_no_stream_gets_none() -> None:
    recorder = Recorder()
    async with exchange(recorder, keepalive=0, streams=False) as (it, _):
        it.open_if_silent()
        it.notify("notifications/progress", {})
        await anyio.wait_all_tasks_blocked()  # the silence is noticed
        await it.finish(ANSWER)
    assert json.loads(recorder.body) == ANSWER


async def test_a_cancelled_request_is_owed_nothing() -> None:
    plain, streamed = Recorder(), Recorder()
    async with exchange(plain) as (it, _):
        await it.finish(None)
    assert plain.body == b""
    async with exchange(streamed) as (it, _):
        it.notify("notifications/progress", {})
        await it.finish(None)
    assert [message.get("method") for message in streamed.messages] == ["notifications/progress"]
    assert streamed.over


async def test_a_client_that_does_not_read_loses_notifications_but_never_the_answer() -> None:
    recorder = Recorder()
    recorder.gate = anyio.Event()
    async with exchange(recorder) as (it, _):
        for number in range(MAX_BACKLOG + 100):
            it.notify("notifications/progress", {"progress": number})
        recorder.gate.set()
        await it.finish(ANSWER)
    assert [message["params"]["progress"] for message in recorder.messages[:-1]] == list(range(MAX_BACKLOG))
    assert recorder.messages[-1] == ANSWER


async def test_what_is_queued_together_is_sent_together_and_in_order() -> None:
    recorder = Recorder()
    stream = EventStream(recorder, 60)
    for number in range(3):
        stream.push(b"data: %d\n\n" % number)
    stream.end()
    await stream.run([(b"x", b"y")])
    assert recorder.headers["x"] == "y"
    assert recorder.headers["x-accel-buffering"] == "no"
    assert [event.get("body") for event in recorder.events[1:]] == [b"data: 0\n\ndata: 1\n\ndata: 2\n\n", b""]
