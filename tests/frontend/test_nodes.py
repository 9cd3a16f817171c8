"""Handshake sessions on more than one node, and over restarts, without a store: keys are all that nodes share."""

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from tests.interaction._gateway import Entry, child
from tests.interaction._http import events, open_session, post, posted, sent
from tests.interaction._wire import Message, request
from tests.nodes import Alternating, FirstThen, RunningNode, nodes
from tests.servers.peers import OPENING
from tests.support import http_server, wait_until

pytestmark = pytest.mark.anyio

LIST = request("tools/list")
STREAM = {"Accept": "text/event-stream"}
UP = "up"
WATCHED = "test://watched-resource"


@pytest.fixture(scope="module", params=["handshake", "modern"])
def upstream(request: pytest.FixtureRequest) -> Generator[Entry]:
    with http_server("tests.servers.everything", "--era", request.param) as url:
        yield {"url": url}


@pytest.fixture(scope="module")
def pair(upstream: Entry, tmp_path_factory: pytest.TempPathFactory) -> Generator[list[RunningNode]]:
    with nodes(tmp_path_factory.mktemp("pair"), {UP: upstream}) as pair:
        yield pair


@pytest.fixture
def single(tmp_path: Path) -> Generator[RunningNode]:
    """A node with no keys configured: those in its state folder serve. A call that takes long becomes a stream soon."""
    with (
        http_server("tests.servers.everything") as url,
        nodes(tmp_path, {UP: {"url": url}}, 1, state_keys=[], keepalive="200ms") as (one,),
    ):
        yield one


@asynccontextmanager
async def connected(transport: httpx2.AsyncBaseTransport, url: str, **options: Any) -> AsyncGenerator[Client]:
    http = httpx2.AsyncClient(transport=transport, timeout=30)
    async with (
        http,
        Client(streamable_http_client(url, http_client=http), mode="legacy", cache=None, **options) as client,
    ):
        yield client


def call(tool: str, **arguments: Any) -> Message:
    return request("tools/call", {"name": f"{UP}__{tool}", "arguments": arguments})


# --- Two nodes with the same keys -------------------------------------------------------------------------------------


async def test_a_session_alternates_between_nodes_call_by_call(pair: list[RunningNode]) -> None:
    alternating = Alternating(pair)
    steps: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    async with connected(alternating, pair[0].url) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        for _ in range(6):
            assert [tool.name for tool in (await client.list_tools()).tools] == tools
            result = await client.call_tool(f"{UP}__test_simple_text", {})
            assert not result.is_error
        await client.call_tool(f"{UP}__slow", {"seconds": 0.1, "steps": 2}, progress_callback=hear)
        await wait_until(lambda: steps == [1, 2])
    posts = [node for method, node in alternating.sent if method == "POST"]
    assert abs(posts.count(pair[0]) - len(posts) / 2) <= 2, "both had their share"


async def test_what_the_client_declared_is_known_to_the_other_node(pair: list[RunningNode]) -> None:
    """It is asked what it can be asked by whichever node its call went to, as long as the answer goes there too."""

    async def fill_in(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"username": "ann", "email": "ann@example.com"})

    async with connected(FirstThen(pair), pair[0].url, elicitation_callback=fill_in) as client:
        result = await client.call_tool(f"{UP}__test_elicitation", {"message": "who?"})
        assert "ann" in str(result.content)


def test_a_session_of_another_view_or_nobody_is_404_everywhere(pair: list[RunningNode]) -> None:
    session = open_session(f"{pair[0].url}/{UP}")
    assert post(f"{pair[1].url}/{UP}", LIST, session)[0] == 200
    unknown = post(pair[1].url, LIST, session | {"Mcp-Session-Id": "nonesuch"})
    for node in pair:
        assert post(node.url, LIST, session) == unknown
    assert unknown[0] == 404


def test_nobody_else_takes_up_a_session(tmp_path: Path, upstream: Entry) -> None:
    keys = tmp_path / "keys.json"
    people = [{"key": f"key-of-{name}-0123456789abcdef", "owner": name} for name in ("ann", "bob")]
    keys.write_text(json.dumps(people))
    ann, bob = ({"X-Api-Key": one["key"]} for one in people)
    opening = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    with nodes(tmp_path, {UP: upstream}, auth={"enabled": True, "api_keys_file": str(keys)}) as (here, there):
        with posted(here.url, opening, ann) as response:
            session = {"Mcp-Session-Id": response.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}
        unknown = post(there.url, LIST, {**session, **bob, "Mcp-Session-Id": "nonesuch"})
        for node in (here, there):
            assert post(node.url, LIST, session | bob) == unknown
            for method in ("GET", "DELETE"):
                with sent(method, node.url, None, STREAM | session | bob) as response:
                    assert response.status == 404
        assert post(there.url, LIST, session | ann)[0] == 200


def test_the_stream_of_a_live_node_is_not_called_lost_by_another(pair: list[RunningNode]) -> None:
    session = open_session(pair[0].url)
    slow = call("slow", seconds=1, steps=4)
    with posted(pair[0].url, slow, session) as response:
        id = next(response).decode().removeprefix("id: ").strip()
        with sent("GET", pair[1].url, None, STREAM | session | {"Last-Event-ID": id}) as elsewhere:
            assert elsewhere.status == 400
        with sent("GET", pair[0].url, None, STREAM | session | {"Last-Event-ID": id}) as here:
            last = [json.loads(data) for _, data in events(here) if data][-1]
    assert last["id"] == slow["id"]
    assert "result" in last


# --- Restarts of one --------------------------------------------------------------------------------------------------


async def test_a_restart_costs_nobody_a_session(single: RunningNode) -> None:
    async with connected(Alternating([single]), single.url) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        for end in (single.stop, single.kill):
            end()
            single.start()
            assert [tool.name for tool in (await client.list_tools()).tools] == tools
            assert not (await client.call_tool(f"{UP}__test_simple_text", {})).is_error


def test_an_ended_session_stays_ended_over_a_restart(single: RunningNode) -> None:
    ended, other = open_session(single.url), open_session(single.url)
    with sent("DELETE", single.url, None, ended) as response:
        assert response.status == 200
    single.kill()
    single.start()
    assert post(single.url, LIST, ended)[0] == 404
    with sent("DELETE", single.url, None, ended) as response:
        assert response.status == 404
    assert post(single.url, LIST, other)[0] == 200
    with sent("DELETE", single.url, None, other) as response:
        assert response.status == 200
    assert post(single.url, LIST, other)[0] == 404


def test_subscriptions_and_the_log_level_outlive_a_restart(single: RunningNode) -> None:
    session = open_session(single.url)
    assert "result" in post(single.url, request("resources/subscribe", {"uri": WATCHED}), session)[1]
    assert "result" in post(single.url, request("logging/setLevel", {"level": "error"}), session)[1]
    single.kill()
    single.start()
    with sent("GET", single.url, None, STREAM | session) as response:
        heard = (json.loads(data) for _, data in events(response) if data)
        first = [next(heard) for _ in range(4)]
        methods = {one["method"].removeprefix("notifications/") for one in first}
        assert methods == {"tools/list_changed", "prompts/list_changed", "resources/list_changed", "resources/updated"}
        assert "result" in post(single.url, call("touch_resource", uri=WATCHED), session)[1]
        assert next(heard)["params"] == {"uri": WATCHED}


def test_who_comes_back_for_a_call_that_was_lost_is_told_so(single: RunningNode) -> None:
    session = open_session(single.url)
    for id in (7, "a-b~c.d", "ü" * 10):
        slow = call("slow", seconds=20, steps=2) | {"id": id}
        with posted(single.url, slow, session) as response:
            event = next(response).decode().removeprefix("id: ").strip()
            single.kill()
        single.start()
        with sent("GET", single.url, None, STREAM | session | {"Last-Event-ID": event}) as response:
            (answer,) = [json.loads(data) for _, data in events(response) if data]
        assert (answer["id"], answer["error"]["code"]) == (id, -32007)
        assert post(single.url, LIST, session)[0] == 200


async def test_a_client_whose_call_was_lost_learns_it_and_goes_on(single: RunningNode) -> None:
    async with connected(Alternating([single]), single.url) as client:

        async def crash(progress: float, total: float | None, message: str | None) -> None:
            single.kill()
            single.start()

        with pytest.raises(Exception, match="Whether it was done is unknown"):
            await client.call_tool(f"{UP}__slow", {"seconds": 20, "steps": 20}, progress_callback=crash)
        assert not (await client.call_tool(f"{UP}__test_simple_text", {})).is_error


def test_ids_of_other_keys_are_unknown(tmp_path: Path, upstream: Entry) -> None:
    with (
        nodes(tmp_path, {UP: upstream}, 1) as (one,),
        nodes(tmp_path / "other", {UP: upstream}, 1, state_keys=["x" * 32]) as (other,),
    ):
        assert post(other.url, LIST, open_session(one.url))[0] == 404


# --- What a server keeps for one session -----------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Generator[RunningNode]:
    """A node with a program of which each session that can be asked something has a process of its own."""
    with nodes(tmp_path, {UP: child("tests.servers.everything", "--era", "handshake")}, 1) as (one,):
        yield one


def test_a_session_is_told_once_that_its_own_process_is_gone(own: RunningNode) -> None:
    opening = request("initialize", {**OPENING, "capabilities": {"elicitation": {}}})
    sessions: list[dict[str, str]] = []
    for _ in range(2):
        with posted(own.url, opening) as response:
            id = response.headers["Mcp-Session-Id"]
            sessions.append({"Mcp-Session-Id": id, "MCP-Protocol-Version": "2025-11-25"})
    with_process, without = sessions
    assert "result" in post(own.url, call("echo", text="x"), with_process)[1]
    for end in (own.stop, own.kill):
        end()
        own.start()
        if end is own.stop:
            assert "result" in post(own.url, call("echo", text="x"), without)[1]
        refused = post(own.url, call("echo", text="x"), with_process)[1]["error"]
        assert refused["code"] == -32010
        assert "gone" in refused["message"]
        assert "result" in post(own.url, call("echo", text="x"), with_process)[1]
