"""The four cells (agent's era, upstream's era): two agents at once, and each gets its own and nothing else."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters

from tests.interaction._connect import NEAR, VERSIONS, Agent, Cell, agent_at
from tests.interaction._gateway import PATIENT, Entry, config_file, stdio_command
from tests.interaction._pairs import PLACES, Mind, Pair, Party, minded, pair_of
from tests.interaction._requirements import requirement
from tests.servers.items.reading import WATCHED
from tests.support import ROOT, wait_until

pytestmark = pytest.mark.anyio

Agents = list[tuple[Agent, Mind]]
OTHER = "test://static-text"
"""A second resource that can be touched."""
ONE_PIPE_FOR_ALL = ("stdio-modern", "sse-modern")
"""Upstreams that do not say which of the calls they work on a log message belongs to."""


@pytest.fixture(scope="module")
async def http_agents(http_base: str) -> AsyncGenerator[dict[str, Agents]]:
    """By front: two agents at the gateway that everybody shares."""
    async with AsyncExitStack() as stack:
        agents: dict[str, Agents] = {}
        for front in ("http-handshake", "http-modern", "sse-handshake"):

            def make(options: dict[str, Any], front: str = front) -> Agent:
                return agent_at(http_base, front, **options)

            agents[front] = await stack.enter_async_context(minded(make))
        yield agents


@pytest.fixture(scope="module")
async def pipe_agents(
    remote: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[dict[str, Agents]]:
    """By front: two agents that started a gateway of their own each, in front of the same upstreams."""
    servers = {name: remote[name] for name in NEAR}
    async with AsyncExitStack() as stack:
        agents: dict[str, Agents] = {}
        for era in VERSIONS:

            def make(options: dict[str, Any], era: str = era) -> Agent:
                folder = tmp_path_factory.mktemp(f"pair-{era}")
                command, *args = stdio_command(config_file(folder, servers, **PATIENT))
                return Agent(StdioServerParameters(command=command, args=args, cwd=ROOT), era, **options)

            agents[f"stdio-{era}"] = await stack.enter_async_context(minded(make))
        yield agents


@pytest.fixture(params=PLACES, ids="/".join)
def pair(request: pytest.FixtureRequest) -> Pair:
    """Two agents at one of the places."""
    front, upstream = request.param
    agents = request.getfixturevalue("pipe_agents" if front.startswith("stdio") else "http_agents")
    return pair_of(agents[front], front, upstream)


# --- What the upstream asks ------------------------------------------------------------------------------------------


@requirement("cells:sampling")
async def test_sampling(pair: Pair) -> None:
    answers = await pair.ask("sampling")
    for party, answer in zip(pair, answers, strict=True):
        (asked,) = party.mind.asked
        assert asked["messages"] == [{"role": "user", "content": {"type": "text", "text": f"{party.word}-1"}}]
        assert answer["sampling-1"]["content"] == {"type": "text", "text": party.word}
    pair.assert_apart()


@requirement("cells:sampling")
async def test_sampling_with_tools(pair: Pair) -> None:
    answers = await pair.ask("tools")
    for party, answer in zip(pair, answers, strict=True):
        (asked,) = party.mind.asked
        assert [tool["name"] for tool in asked["tools"]] == ["look_up"]
        assert answer["tools-1"]["stopReason"] == "toolUse"
        (used,) = answer["tools-1"]["content"]
        assert used["input"] == {"word": party.word}
    pair.assert_apart()


@requirement("cells:elicitation")
async def test_elicitation_by_a_form(pair: Pair) -> None:
    answers = await pair.ask("form")
    for party, answer in zip(pair, answers, strict=True):
        (asked,) = party.mind.asked
        assert asked["message"] == f"{party.word}-1"
        assert asked["requestedSchema"]["required"] == ["answer"]
        assert answer["form-1"] == {"action": "accept", "content": {"answer": party.word}}
    pair.assert_apart()


@requirement("cells:elicitation")
async def test_elicitation_by_a_page(pair: Pair) -> None:
    answers = await pair.ask("url")
    for party, answer in zip(pair, answers, strict=True):
        (asked,) = party.mind.asked
        assert (asked["mode"], asked["url"]) == ("url", f"https://example.com/{party.word}-1")
        assert answer["url-1"] == {"action": party.mind.action}
    pair.assert_apart()


@requirement("cells:roots")
async def test_roots(pair: Pair) -> None:
    answers = await pair.ask("roots")
    for party, answer in zip(pair, answers, strict=True):
        assert len(party.mind.asked) == 1
        assert answer["roots-1"]["roots"] == [{"uri": f"file:///{party.word}"}]
    pair.assert_apart()


@requirement("cells:several")
@pytest.mark.parametrize("together", [False, True], ids=["in turn", "together"])
async def test_several_questions_in_one_call(pair: Pair, together: bool) -> None:
    kinds = ("form", "sampling", "roots", "form")
    answers = await pair.ask(*kinds, together=together)
    for party, answer in zip(pair, answers, strict=True):
        assert answer["form-1"]["content"] == answer["form-4"]["content"] == {"answer": party.word}
        assert answer["sampling-2"]["content"]["text"] == party.word
        assert answer["roots-3"]["roots"] == [{"uri": f"file:///{party.word}"}]
        asked = [question.get("message") for question in party.mind.asked if "requestedSchema" in question]
        assert sorted(asked) == [f"{party.word}-1", f"{party.word}-4"]
        assert len(party.mind.asked) == 4
    pair.assert_apart()


# --- What it says while it works -------------------------------------------------------------------------------------


@requirement("cells:progress")
async def test_progress(pair: Pair) -> None:
    async def call(party: Party) -> None:
        await party.call("report", word=party.word, steps=3)

    await pair.both(call)
    for party in pair:
        assert party.progress == [f"{party.word} {step}" for step in (1, 2, 3)]
    pair.assert_apart()


@requirement("cells:log")
async def test_log(pair: Pair) -> None:
    async def call(party: Party) -> None:
        meta = {"io.modelcontextprotocol/logLevel": "info"} if party.cell.agent.modern else None
        if meta is None:
            await party.cell.client.set_logging_level("info")  # pyright: ignore[reportDeprecated] - the era's own way
        await party.call("report", meta, word=party.word, steps=3)
        await wait_until(lambda: len(logged(party)) >= 3)

    if pair.first.cell.upstream in ONE_PIPE_FOR_ALL:
        for party in pair:
            await call(party)
    else:
        await pair.both(call)
    for party in pair:
        assert logged(party) == [f"{party.word} {step}" for step in (1, 2, 3)]
    pair.assert_apart()


def logged(party: Party) -> list[Any]:
    return [params["data"] for params in party.cell.agent.heard_of("message")]


@requirement("cells:cancel")
async def test_cancel(pair: Pair) -> None:
    stayer, leaver = pair
    before = (await leaver.cell.counts())["cancelled"]
    async with anyio.create_task_group() as tg:
        going = anyio.CancelScope()

        async def slow(party: Party, scope: anyio.CancelScope) -> None:
            with scope:
                await party.call("slow", seconds=60, steps=1200)

        tg.start_soon(slow, stayer, anyio.CancelScope())
        tg.start_soon(slow, leaver, going)
        await wait_until(lambda: stayer.progress and leaver.progress)
        going.cancel()

        async def is_cancelled() -> bool:
            return (await leaver.cell.counts())["cancelled"] == before + 1

        await wait_until(is_cancelled)
        steps = len(stayer.progress)
        await wait_until(lambda: len(stayer.progress) > steps + 1)
        tg.cancel_scope.cancel()


# --- What changes ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def mover(http_base: str, pair: Pair) -> AsyncGenerator[Callable[..., Any]]:
    """Calls tools of the same upstream, as somebody else."""
    front = "http-handshake"
    cell = Cell(agent_at(http_base, front), front, pair.first.cell.upstream)
    async with cell.agent.connected():
        yield cell.call


@requirement("cells:list-changed")
async def test_list_changed(pair: Pair, mover: Callable[..., Any]) -> None:
    name = f"tool_{pair.first.word[2:10]}"
    first, second = (party.cell for party in pair)

    async def knows(cell: Cell, times: int, *, there: bool) -> bool:
        """Whether the list is as it should be, and the agent was told so often, or of others' changes too."""
        names = [tool.name for tool in (await cell.client.list_tools()).tools]
        return (cell.public(name) in names) is there and len(cell.agent.heard_of("tools/list_changed")) >= times

    async with first.agent.listening(), second.agent.listening():
        await mover("add_tool", name=name)
        try:
            for cell in (first, second):
                await wait_until(lambda cell=cell: knows(cell, 1, there=True))
        finally:
            await mover("remove_tool", name=name)
        for cell in (first, second):
            await wait_until(lambda cell=cell: knows(cell, 2, there=False))


@requirement("cells:updates")
async def test_resource_updates(pair: Pair, mover: Callable[..., Any]) -> None:
    first, second = (party.cell for party in pair)
    mine, yours = first.uri(WATCHED), second.uri(OTHER)
    async with first.agent.listening(mine), second.agent.listening(yours):
        for uri in (WATCHED, OTHER, WATCHED):
            await mover("touch_resource", uri=uri)
        await wait_until(lambda: len(updates(first)) >= 2 and updates(second))
        assert updates(first) == [mine, mine]
        assert updates(second) == [yours]


def updates(cell: Cell) -> list[str]:
    return [params["uri"] for params in cell.agent.heard_of("resources/updated")]
