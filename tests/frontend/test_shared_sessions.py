"""Handshake sessions and parked calls on two nodes that share a store: whatever arrives finds the node it concerns."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from tests.interaction._http import fields, open_session, post, posted, sent
from tests.interaction._wire import INITIALIZED, Message, request
from tests.nodes import Alternating, RunningNode, nodes
from tests.servers.peers import OPENING
from tests.store.servers import ValkeyServer, valkey
from tests.support import http_server, wait_until

pytestmark = pytest.mark.anyio

LIST = request("tools/list")
STREAM = {"Accept": "text/event-stream"}
UP = "up"
WATCHED = "test://watched-resource"
FORM = {"action": "accept", "content": {"username": "ann", "email": "ann@example.com"}}
ASKABLE: Message = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}


@pytest.fixture(scope="module")
def store() -> Generator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def pair(store: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[list[RunningNode]]:
    with (
        http_server("tests.servers.everything", "--era", "handshake") as url,
        nodes(tmp_path_factory.mktemp("pair"), {UP: {"url": url}}, store=store.url) as pair,
    ):
        yield pair


@pytest.fixture
def mortal(store: ValkeyServer, tmp_path: Path) -> Generator[list[RunningNode]]:
    """Two nodes of which one may be killed."""
    with (
        http_server("tests.servers.everything", "--era", "handshake") as url,
        nodes(tmp_path, {UP: {"url": url}}, store=store.url) as pair,
    ):
        yield pair


def call(tool: str, **arguments: Any) -> Message:
    return request("tools/call", {"name": f"{UP}__{tool}", "arguments": arguments, "_meta": {"progressToken": "p"}})


def askable_session(url: str) -> dict[str, str]:
    with posted(url, request("initialize", {**OPENING, "capabilities": {"elicitation": {}}})) as response:
        session = {"Mcp-Session-Id": response.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}
    assert post(url, INITIALIZED, session) == (202, None)
    return session


def said(response: HTTPResponse) -> Iterator[tuple[str, Message]]:
    """`(event id, message)`, as they come."""
    id = ""
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            id = value
        elif name == "data" and value:
            yield id, json.loads(value)


@contextmanager
def stream_of(node: RunningNode, session: dict[str, str], last: str = "") -> Generator[Iterator[Message]]:
    with sent("GET", node.url, None, STREAM | session | ({"Last-Event-ID": last} if last else {})) as response:
        assert response.status == 200, response.read()
        yield (message for _, message in said(response))


def answers(node: RunningNode, message: Message, session: dict[str, str]) -> Any:
    status, answer = post(node.url, message, session)
    assert (status, "result" in answer) == (200, True), answer
    return answer["result"]


def test_a_question_is_answered_at_the_other_node(pair: list[RunningNode]) -> None:
    here, there = pair
    session = askable_session(here.url)
    assert answers(there, LIST, session)["tools"]
    with posted(here.url, call("test_elicitation", message="who?"), session) as response:
        messages = said(response)
        question = next(message for _, message in messages if message.get("method") == "elicitation/create")
        assert question["id"] < 2**53
        assert post(there.url, {"jsonrpc": "2.0", "id": question["id"], "result": FORM}, session) == (202, None)
        assert "ann" in str(next(message for _, message in messages if "result" in message))


async def test_a_client_that_is_asked_alternates_between_nodes(pair: list[RunningNode]) -> None:
    async def fill_in(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"username": "ann", "email": "ann@example.com"})

    http = httpx2.AsyncClient(transport=Alternating(pair), timeout=30)
    transport = streamable_http_client(pair[0].url, http_client=http)
    async with http, Client(transport, mode="legacy", cache=None, elicitation_callback=fill_in) as client:
        for _ in range(4):
            assert "ann" in str((await client.call_tool(f"{UP}__test_elicitation", {"message": "who?"})).content)
            await client.list_tools()


async def test_a_call_is_cancelled_at_the_other_node(pair: list[RunningNode]) -> None:
    here, there = pair
    session = open_session(here.url)
    assert answers(there, LIST, session)["tools"]

    def running() -> int:
        return answers(there, call("cancelled_calls"), session)["structuredContent"]["running"]

    slow = call("slow", seconds=60, steps=600)
    with posted(here.url, slow, session) as response:
        next(said(response))
        assert running() == 1
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": slow["id"]}}
        assert post(there.url, cancel, session) == (202, None)
        await wait_until(lambda: running() == 0)


def test_what_belongs_to_no_request_reaches_the_stream_wherever_it_is(pair: list[RunningNode]) -> None:
    here, there = pair
    session = open_session(here.url)
    with stream_of(there, session) as heard:
        answers(here, request("resources/subscribe", {"uri": WATCHED}), session)
        answers(here, call("touch_resource", uri=WATCHED), session)
        assert next(one for one in heard if one["method"].endswith("/updated"))["params"] == {"uri": WATCHED}


def test_a_subscription_is_that_of_all_nodes(pair: list[RunningNode]) -> None:
    here, there = pair
    session = open_session(here.url)
    assert answers(there, LIST, session)["tools"]
    answers(here, request("resources/subscribe", {"uri": WATCHED}), session)
    with stream_of(there, session) as heard:
        answers(there, call("touch_resource", uri=WATCHED), session)
        assert next(one for one in heard if one["method"].endswith("/updated"))["params"] == {"uri": WATCHED}


def test_the_rest_of_a_stream_comes_through_the_other_node(pair: list[RunningNode]) -> None:
    here, there = pair
    session = open_session(here.url)
    slow = call("slow", seconds=1.5, steps=6)
    with posted(here.url, slow, session) as response:
        messages = said(response)
        last = ""
        for _ in range(2):
            last, _ = next(messages)
    with stream_of(there, session, last) as heard:
        rest = list(heard)
    assert [one["params"]["progress"] for one in rest[:-1]] == [3, 4, 5, 6]
    assert (rest[-1]["id"], "result" in rest[-1]) == (slow["id"], True)
    with stream_of(there, session, last) as again:
        assert list(again) == rest
    other = open_session(here.url)
    with sent("GET", there.url, None, STREAM | other | {"Last-Event-ID": last}) as response:
        assert response.status == 400


def test_who_comes_back_for_a_call_of_a_dead_node_is_told_so(mortal: list[RunningNode]) -> None:
    here, there = mortal
    session = open_session(here.url)
    slow = call("slow", seconds=60, steps=600)
    with posted(here.url, slow, session) as response:
        last, _ = next(said(response))
        here.kill()
    with stream_of(there, session, last) as heard:
        (answer,) = heard
    assert (answer["id"], answer["error"]["code"]) == (slow["id"], -32007)
    assert answers(there, LIST, session)["tools"]


def test_whose_node_dies_while_it_passes_a_stream_on_comes_back_and_is_told(mortal: list[RunningNode]) -> None:
    here, there = mortal
    session = open_session(here.url)
    slow = call("slow", seconds=60, steps=600)
    with posted(here.url, slow, session) as response:
        last, _ = next(said(response))
    with stream_of(there, session, last) as heard:
        next(heard)
        here.kill()
        list(heard)
    with stream_of(there, session, last) as heard:
        assert next(heard)["error"]["code"] == -32007


async def test_an_ended_session_ends_everywhere(pair: list[RunningNode]) -> None:
    here, there = pair
    session, unseen = open_session(here.url), open_session(here.url)
    assert answers(there, LIST, session)["tools"]
    for each in (session, unseen):
        with sent("DELETE", here.url, None, each) as response:
            assert response.status == 200
    assert post(there.url, LIST, unseen)[0] == 404
    await wait_until(lambda: post(there.url, LIST, session)[0] == 404)


def test_a_restart_of_all_nodes_costs_nobody_a_session(mortal: list[RunningNode]) -> None:
    session, ended = open_session(mortal[0].url), open_session(mortal[0].url)
    answers(mortal[0], request("resources/subscribe", {"uri": WATCHED}), session)
    with sent("DELETE", mortal[1].url, None, ended) as response:
        assert response.status == 200
    for node in mortal:
        node.kill()
        node.start()
    assert post(mortal[0].url, LIST, ended)[0] == 404
    with stream_of(mortal[1], session) as heard:
        answers(mortal[0], call("touch_resource", uri=WATCHED), session)
        assert next(one for one in heard if one["method"].endswith("/updated"))["params"] == {"uri": WATCHED}


def test_while_the_store_is_away_open_sessions_go_on_and_no_other_is_given_up(tmp_path: Path) -> None:
    with (
        valkey(tmp_path) as server,
        http_server("tests.servers.everything", "--era", "handshake") as url,
        nodes(tmp_path, {UP: {"url": url}}, store=server.url) as (here, there),
    ):
        session = open_session(here.url)
        server.kill()
        assert answers(here, LIST, session)["tools"]
        status, refused = post(there.url, LIST, session)
        assert (status, refused["error"]["code"]) == (503, -32000)
        with sent("DELETE", here.url, None, session) as response:
            assert response.status == 503
        assert answers(here, LIST, session)["tools"]
        server.start()
        deadline = time.monotonic() + 10
        while post(there.url, LIST, session)[0] != 200:
            assert time.monotonic() < deadline


# --- Parked calls -----------------------------------------------------------------------------------------------------


def ask(**more: Any) -> Message:
    """A modern call that asks for a form."""
    arguments = {"word": "w", "kinds": ["form"], **more.pop("arguments", {})}
    params: Message = {"name": f"{UP}__ask", "arguments": arguments, "_meta": ASKABLE, **more}
    return request("tools/call", params, modern=True)


def parked(node: RunningNode, **arguments: Any) -> Message:
    """What brings the answer to a call that was asked something."""
    status, answer = post(node.url, ask(arguments=arguments))
    assert (status, answer["result"]["resultType"]) == (200, "input_required"), answer
    accepted = {"action": "accept", "content": {"answer": "a"}}
    responses = dict.fromkeys(answer["result"]["inputRequests"], accepted)
    return {"requestState": answer["result"]["requestState"], "inputResponses": responses, "arguments": arguments}


def test_a_parked_call_is_resumed_through_the_other_node(pair: list[RunningNode]) -> None:
    here, there = pair
    again = parked(here)
    assert post(there.url, ask(**{**again, "arguments": {"word": "other"}}))[1]["error"]["code"] == -32602
    status, done = post(there.url, ask(**again))
    assert (status, done["result"]["structuredContent"]["form-1"]["content"]) == (200, {"answer": "a"})
    assert post(there.url, ask(**again))[1]["error"]["data"] == {"reason": "invalid_request_state"}


async def test_who_leaves_the_other_node_cancels_the_call(pair: list[RunningNode]) -> None:
    here, there = pair

    def counts() -> dict[str, int]:
        params: Message = {"name": f"{UP}__cancelled_calls", "arguments": {}}
        return post(here.url, request("tools/call", params, modern=True))[1]["result"]["structuredContent"]

    before = counts()
    message = ask(**parked(here, then=60))
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(there.url, json=message, headers=fields(message), timeout=0.5)
    await wait_until(lambda: counts() == {"running": before["running"], "cancelled": before["cancelled"] + 1})


def test_a_call_that_was_parked_at_a_dead_node_is_refused(mortal: list[RunningNode]) -> None:
    here, there = mortal
    again = parked(here)
    here.kill()
    status, answer = post(there.url, ask(**again))
    assert (status, answer["error"]["data"]) == (400, {"reason": "invalid_request_state"})
    assert "gone" in answer["error"]["message"]
