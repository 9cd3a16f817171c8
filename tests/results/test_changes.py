"""Results that fit, over time: what expires, what a change of the file brings, and what other nodes know."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from tests.faults.gated import Agent, hearing, house
from tests.interaction._gateway import child
from tests.results.conftest import LARGE, LINES, RESULTS, Cut, agent, contents, cut, key, read_all
from tests.servers.large import text_of
from tests.store.nodes import gateways
from tests.store.servers import ValkeyServer, valkey
from tests.support import wait_until

pytestmark = pytest.mark.anyio

PLAIN: Final = child(LARGE)
BOUNDED: Final = child(LARGE, results=RESULTS)


async def lines(it: Agent, tool: str = "large__lines", **arguments: Any) -> dict[str, Any]:
    return (await it.ask("tools/call", {"name": tool, "arguments": arguments}))["result"]


async def read(it: Agent, uri: str) -> dict[str, Any]:
    return await it.ask("resources/read", {"uri": uri})


# --- Reload -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [None, "large"])
async def test_agents_are_told_when_it_is_turned_on_and_off(tmp_path: Path, view: str | None) -> None:
    async with house(tmp_path, {"large": PLAIN}) as it:
        someone = await it.agent(modern=False, view=view)
        tool = "lines" if view else "large__lines"
        before = await someone.tools()
        async with hearing(someone) as heard:

            def told() -> bool:
                return {f"notifications/{kind}/list_changed" for kind in ("tools", "resources")} <= {*heard}

            await it.loaded_anew(lambda: it.write({"large": BOUNDED}))
            await wait_until(told)
            assert len(await someone.tools()) == len(before) + 1
            made = Cut(await lines(someone, tool))
            assert LINES.startswith(made.head)
            assert (await read(someone, made.uri))["result"]["contents"][0]["text"] == LINES
            heard.clear()
            larger = child(LARGE, results={**RESULTS, "max_tokens": 1000})
            await it.loaded_anew(lambda: it.write({"large": larger}))
            assert len(Cut(await lines(someone, tool)).head) > 1.5 * len(made.head)
            assert not heard, "nobody sees other lists by that"
            await it.loaded_anew(lambda: it.write({"large": PLAIN}))
            await wait_until(told)
            assert await someone.tools() == before
            assert (await lines(someone, tool))["content"] == [{"type": "text", "text": LINES}]


async def test_an_agent_of_the_modern_era_sees_it_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, {"large": PLAIN}) as it:
        someone = await it.agent()
        before = await someone.tools()
        await it.loaded_anew(lambda: it.write({"large": BOUNDED}))
        assert {*await someone.tools()} - {*before} == {"read_result"}


async def test_who_may_no_longer_use_the_tool_may_not_read_its_results(tmp_path: Path) -> None:
    async with house(tmp_path, {"large": BOUNDED}) as it:
        someone = await it.agent()
        uri, other = Cut(await lines(someone)).uri, Cut(await lines(someone, "large__table")).uri
        policy = [{"who": ["*"], "deny": ["large__lines"]}]
        await it.loaded_anew(lambda: it.write({"large": BOUNDED}, policy=policy))
        missing = await read(someone, "result://" + "0" * 32)
        assert json.dumps((await read(someone, uri))["error"]).replace(uri, "X") == json.dumps(
            missing["error"]
        ).replace("result://" + "0" * 32, "X")
        assert "result" in await read(someone, other)
        await it.loaded_anew(lambda: it.write({"large": BOUNDED}))
        assert "result" in await read(someone, uri)


async def test_it_expires(tmp_path: Path) -> None:
    async with house(tmp_path, {"large": BOUNDED}, results={"lifetime": "300ms"}) as it:
        someone = await it.agent()
        result = await lines(someone)
        (link,) = (block for block in result["content"] if block["type"] == "resource_link")

        async def is_gone() -> bool:
            return "error" in await read(someone, link["uri"])

        await wait_until(is_gone)
        gone = (await someone.ask("tools/call", {"name": "read_result", "arguments": {"uri": link["uri"]}}))["result"]
        assert gone["isError"] is True


async def test_the_oldest_make_room_and_the_largest_is_not_kept(tmp_path: Path) -> None:
    room = {"max_bytes_per_principal": len(LINES.encode()) * 2 + 1000}
    async with house(tmp_path, {"large": BOUNDED}, results=room) as it:
        someone = await it.agent()
        first, second, third = [Cut(await lines(someone)).uri for _ in range(3)]
        assert ["result" in await read(someone, uri) for uri in (first, second, third)] == [False, True, True]
        result = await lines(someone, count=3000)
        head, note = (block["text"] for block in result["content"])
        assert text_of(3000).startswith(head)
        assert "could not be kept: it is larger" in note
        assert "uri" not in result["_meta"]["mcp-gateway/result"]
        assert "result" in await read(someone, third)


# --- Nodes ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Generator[ValkeyServer]:
    with valkey() as running:
        yield running


@pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])
async def test_any_node_reads_what_another_kept(server: ValkeyServer, tmp_path: Path, modern: bool) -> None:
    with gateways(tmp_path, {"large": BOUNDED}, server.url, [key("ann"), key("bob")]) as doors:
        one, other = (agent(door, "ann", modern=modern) for door in doors)
        for here, there in ((one, other), (other, one)):
            made = cut(here, "large__lines")
            assert made.head + read_all(there, made) == LINES
            assert contents(there, f"{made.uri}?start=7&length=9")["text"] == LINES[7:16]
            for door in doors:
                bob = agent(door, "bob", modern=modern)
                assert bob.ask("resources/read", {"uri": made.uri}).error["message"].startswith("Resource not found")


async def test_without_the_store_there_is_the_head_and_the_reason(tmp_path: Path) -> None:
    with valkey() as own, gateways(tmp_path, {"large": BOUNDED}, own.url, [key("ann")], number=1) as (door,):
        ann = agent(door, "ann", modern=True)
        made = cut(ann, "large__lines")
        own.kill()

        def is_not_kept() -> bool:
            return "could not be kept" in ann.call("large__lines").result["content"][1]["text"]

        await wait_until(is_not_kept)
        result = ann.call("large__lines").result
        assert [block["type"] for block in result["content"]] == ["text", "text"]
        assert result["content"][0]["text"] == made.head
        assert "the gateway's store does not answer" in result["content"][1]["text"]
        assert "gateway.store" in ann.ask("resources/read", {"uri": made.uri}).error["message"]
        assert "gateway.store" in ann.call("read_result", uri=made.uri).error["message"]
        own.start()
        await wait_until(lambda: not is_not_kept(), 10)
        again = cut(ann, "large__lines")
        assert again.head + read_all(ann, again) == LINES


async def test_a_large_one_holds_nobody_up(tmp_path: Path) -> None:
    """What is small is answered while megabytes are looked into and kept."""
    async with house(tmp_path, {"large": BOUNDED}) as it:
        someone, patient = await it.agent(), await it.agent()
        large = text_of(200_000)
        answered, done = 0, anyio.Event()

        async def ask() -> None:
            nonlocal answered
            while not done.is_set():
                await lines(patient, count=1)
                answered += 1

        async with anyio.create_task_group() as tg:
            tg.start_soon(ask)
            uri = Cut(await lines(someone, count=200_000)).uri
            assert (await read(someone, uri))["result"]["contents"][0]["text"] == large
            done.set()
        assert answered > 0
