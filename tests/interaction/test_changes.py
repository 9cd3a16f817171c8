"""What changes upstream reaches the agents that want to know: lists, and resources they subscribed to."""

from contextlib import AsyncExitStack
from secrets import token_hex

import pytest

from tests.interaction._connect import FRONTS, OWN, UPSTREAMS, Cell, agent_at
from tests.interaction._requirements import requirement
from tests.servers.items.reading import WATCHED
from tests.support import wait_until

pytestmark = pytest.mark.anyio


def unique(name: str) -> str:
    """A tool's name that no other test's agent at the same upstream gives."""
    return f"{name}_{token_hex(4)}"


def told(cell: Cell) -> int:
    """How often the agent was told that tools have changed."""
    return len(cell.agent.heard_of("tools/list_changed"))


def updates(cell: Cell) -> list[str]:
    """The resources the agent was told have changed."""
    return [params["uri"] for params in cell.agent.heard_of("resources/updated")]


async def add_tool(cell: Cell, name: str) -> None:
    """Have the upstream add a tool, and wait until the agent could see it."""
    await cell.call("add_tool", name=name)
    await wait_until(lambda: lists(cell, name))


async def remove_tool(cell: Cell, name: str) -> None:
    async def is_gone() -> bool:
        return not await lists(cell, name)

    await cell.call("remove_tool", name=name)
    await wait_until(is_gone)


async def lists(cell: Cell, name: str) -> bool:
    return cell.public(name) in [tool.name for tool in (await cell.client.list_tools()).tools]


@requirement("changes:lists")
async def test_a_new_tool_is_announced_listed_called_and_goes_again(cell: Cell) -> None:
    name = unique("new")
    async with cell.agent.listening():
        await add_tool(cell, name)
        assert (await cell.call(name, a=1)).structured_content == {"a": 1}
        await remove_tool(cell, name)
        await wait_until(lambda: told(cell) >= 2)


@requirement("changes:lists", "changes:only-asked")
async def test_only_a_change_is_announced_in_the_merged_catalogue(cell: Cell) -> None:
    """What an upstream announces counts where it is seen alone; elsewhere, what became of it."""
    async with cell.agent.listening():
        await cell.call("test_trigger_prompt_change")
        name = unique("after_prompts")
        await add_tool(cell, name)
        await remove_tool(cell, name)
        await wait_until(lambda: told(cell) >= 2)
        if cell.own:
            await wait_until(lambda: cell.agent.heard_of("prompts/list_changed"))
        else:
            assert cell.agent.heard_of("prompts/list_changed") == []


@requirement("changes:updates")
async def test_a_subscriber_hears_of_updates_by_the_name_it_knows(cell: Cell) -> None:
    uri = cell.uri(WATCHED)
    async with cell.agent.listening(uri):
        for _ in range(2):
            await cell.call("touch_resource", uri="test://static-text")
            await cell.call("touch_resource", uri=WATCHED)
        await wait_until(lambda: len(updates(cell)) == 2)
        assert updates(cell) == [uri, uri]


@requirement("changes:updates")
async def test_who_has_unsubscribed_hears_no_more(http_base: str) -> None:
    """While another goes on hearing, of the same resource at the same upstream."""
    for upstream in UPSTREAMS:
        leaver, stayer = (Cell(agent_at(http_base, "http-handshake"), "http-handshake", upstream) for _ in range(2))
        uri = leaver.uri(WATCHED)
        async with leaver.agent.connected(), stayer.agent.connected():
            async with stayer.agent.listening(uri), leaver.agent.listening(uri):
                await leaver.call("touch_resource", uri=WATCHED)
                await wait_until(
                    lambda cells=(leaver, stayer), seen=[uri]: all(updates(cell) == seen for cell in cells)
                )
                await leaver.client.unsubscribe_resource(uri)  # pyright: ignore[reportDeprecated] - the era's own way
                await leaver.call("touch_resource", uri=WATCHED)
                await wait_until(lambda cell=stayer, seen=[uri, uri]: updates(cell) == seen)
            async with leaver.agent.listening(uri):
                await leaver.call("touch_resource", uri=WATCHED)
                await wait_until(lambda cell=leaver: len(updates(cell)) >= 2)
            assert updates(leaver) == [uri, uri]
            assert updates(stayer) == [uri, uri]


@requirement("changes:lists", "changes:updates")
async def test_every_agent_hears_of_a_change(http_base: str) -> None:
    """Agents of every kind at once, while others come and go; each hears under its own names."""
    upstream = "stdio-modern"
    fronts = [front for front in FRONTS + OWN if not front.startswith("stdio")]
    async with AsyncExitStack() as stack:
        cells = [Cell(agent_at(http_base, front, upstream), front, upstream) for front in fronts]
        guest = Cell(agent_at(http_base, "http-modern"), "http-modern", upstream)
        for cell in cells:
            await stack.enter_async_context(cell.agent.connected())
            await stack.enter_async_context(cell.agent.listening(cell.uri(WATCHED)))
        async with guest.agent.connected(), guest.agent.listening(guest.uri(WATCHED)):
            await guest.call("touch_resource", uri=WATCHED)
            await wait_until(lambda: updates(guest))
        await cells[0].call("touch_resource", uri=WATCHED)
        name = unique("for_everyone")
        await add_tool(cells[0], name)
        await remove_tool(cells[0], name)
        await wait_until(lambda: all(told(cell) >= 2 for cell in cells))
        for cell in cells:
            assert updates(cell) == [cell.uri(WATCHED)] * 2
