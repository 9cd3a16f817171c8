"""How one answer is put on the wire, as bytes: without a socket, and with a clock that the test sets."""

import json
from typing import Any

import pytest

from gateway import jsonrpc
from gateway.frontend.call_response import MAX_BACKLOG, CallResponse, EventStream
from gateway.frontend.silence import Silence
from tests.frontend.ends import Client, chunks

ANSWER = jsonrpc.result(1, {"done": True})
KEEPALIVE = 60.0
HEADERS = {"mcp-session-id": "s"}


def silence(client: Client) -> Silence:
    loop: Any = client.loop
    return Silence(KEEPALIVE, loop)


def exchange(client: Client, headers: dict[str, str] | None = None, *, streams: bool = True) -> CallResponse:
    watch = silence(client)
    made = CallResponse(client.ask(), watch, headers or {**HEADERS}, streams=streams)
    watch.watch(made)
    return made


def messages(client: Client) -> list[dict[str, Any]]:
    """What an event stream carried."""
    lines = client.answered[1].decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def is_over(client: Client) -> bool:
    return client.transport.written.endswith(b"0\r\n\r\n")


def test_an_answer_alone_is_json() -> None:
    client, headers = Client(), {**HEADERS}
    it = exchange(client, headers)
    headers["retry-after"] = "7"
    it.finish(ANSWER, 400)
    found, body = client.answered
    assert client.status == 400
    assert found["content-type"] == "application/json"
    assert found["content-length"] == str(len(body))
    assert (found["mcp-session-id"], found["retry-after"]) == ("s", "7")
    assert json.loads(body) == ANSWER


def test_what_precedes_the_answer_makes_it_a_stream() -> None:
    client = Client()
    it = exchange(client)
    it.notify("notifications/progress", {"progress": 1})
    assert [message["method"] for message in messages(client)] == ["notifications/progress"], "at once"
    it.notify("notifications/message", {"data": "line\nbreak\r\n☃"})
    it.finish(ANSWER, 400)
    found = client.answered[0]
    assert client.status == 200, "it had begun before anybody knew"
    assert (found["content-type"], found["mcp-session-id"]) == ("text/event-stream", "s")
    assert found["x-accel-buffering"] == "no"
    assert [message.get("method") for message in messages(client)] == [
        "notifications/progress",
        "notifications/message",
        None,
    ]
    assert messages(client)[1]["params"]["data"] == "line\nbreak\r\n☃"
    assert messages(client)[-1] == ANSWER
    assert is_over(client)


def test_silence_makes_it_a_stream_with_comments() -> None:
    client = Client()
    it = exchange(client)
    client.loop.pass_time(KEEPALIVE - 1)
    assert client.transport.written == b""
    client.loop.pass_time(2 * KEEPALIVE + 1)
    assert client.answered[1] == b": keepalive\n\n" * 2
    it.notify("notifications/progress", {})
    client.loop.pass_time(KEEPALIVE - 1)
    assert client.answered[1].count(b": keepalive") == 2, "there was no silence"
    it.finish(ANSWER)
    assert messages(client)[-1] == ANSWER
    assert is_over(client)
    client.loop.pass_time(10 * KEEPALIVE)
    assert is_over(client), "and nothing after it"


def test_each_is_silent_for_itself() -> None:
    client, later = Client(), Client()
    watch = silence(client)
    first, second = (CallResponse(one.ask(), watch, {}, streams=True) for one in (client, later))
    watch.watch(first)
    client.loop.pass_time(1)
    watch.watch(second)
    client.loop.pass_time(KEEPALIVE - 1)
    assert (client.status, later.status) == (200, 0)
    client.loop.pass_time(1)
    assert later.status == 200


def test_an_answer_in_time_is_json_whatever_the_timer_does_later() -> None:
    client = Client()
    exchange(client).finish(ANSWER)
    client.loop.pass_time(10 * KEEPALIVE)
    assert client.answered[0]["content-type"] == "application/json"
    assert client.transport.written.count(b"HTTP/1.1 ") == 1


def test_who_accepts_no_stream_gets_none() -> None:
    client = Client()
    it = exchange(client, streams=False)
    client.loop.pass_time(2 * KEEPALIVE)
    it.notify("notifications/progress", {})
    it.finish(ANSWER)
    assert json.loads(client.answered[1]) == ANSWER


def test_a_cancelled_request_is_owed_nothing() -> None:
    plain, streamed = Client(), Client()
    exchange(plain).finish(None)
    assert plain.answered[1] == b""
    it = exchange(streamed)
    it.notify("notifications/progress", {})
    it.finish(None)
    assert [message.get("method") for message in messages(streamed)] == ["notifications/progress"]
    assert is_over(streamed)


def test_a_client_that_does_not_read_loses_notifications_but_never_the_answer() -> None:
    client = Client()
    it = exchange(client)
    it.notify("notifications/progress", {"progress": -1})
    client.connection.pause_writing()
    for number in range(MAX_BACKLOG + 100):
        it.notify("notifications/progress", {"progress": number})
    it.finish(ANSWER)
    assert len(messages(client)) == 1
    client.connection.resume_writing()
    assert [message["params"]["progress"] for message in messages(client)[:-1]] == list(range(-1, MAX_BACKLOG))
    assert messages(client)[-1] == ANSWER
    assert is_over(client)


def test_a_client_that_left_is_told_nothing_more_and_nothing_is_kept_for_it() -> None:
    client, over = Client(), list[bool]()
    watch = silence(client)
    stream = EventStream(client.ask(), watch, on_over=lambda: over.append(True))
    stream.open(())
    client.connection.pause_writing()
    stream.push(b"data: 1\n\n")
    written = client.transport.written
    client.connection.connection_lost(None)
    assert over == [True]
    stream.push(b"data: 2\n\n", must=True)
    stream.end()
    client.loop.pass_time(10 * KEEPALIVE)
    assert client.transport.written == written
    assert over == [True]
    assert client.loop.timers == 0


def test_what_is_queued_together_is_sent_together_and_in_order() -> None:
    client = Client()
    stream = EventStream(client.ask(), silence(client))
    for number in range(3):
        stream.push(b"data: %d\n\n" % number)
    stream.end()
    assert client.transport.written == b"", "not before its headers"
    stream.open([("x", "y")])
    assert client.answered[0]["x"] == "y"
    body = client.transport.written.partition(b"\r\n\r\n")[2]
    assert list(chunks(body)) == [b"data: 0\n\ndata: 1\n\ndata: 2\n\n", b""]


@pytest.mark.parametrize("size", [10, 100_000])
def test_the_next_request_of_the_connection_is_served_after_a_stream(size: int) -> None:
    client = Client()
    it = exchange(client)
    it.notify("notifications/message", {"data": "x" * size})
    first = client.running
    client.send(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.running is first
    it.finish(ANSWER)
    assert client.running is not first
