"""tools/list and tools/call: public names and own ones, every kind of content, and failures of the tool itself."""

import re
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.interaction._connect import Cell, each_front
from tests.interaction._requirements import requirement
from tests.servers.items import asking, content, gateway

pytestmark = pytest.mark.anyio

ROOTS = "test_input_required_result_list_roots"
TOOLS = {tool.name: tool for tool in (*content.TOOLS, *asking.TOOLS, *gateway.TOOLS)}


async def all_tools(cell: Cell) -> list[types.Tool]:
    tools: list[types.Tool] = []
    cursor = None
    while True:
        page = await cell.client.list_tools(cursor=cursor)
        tools += page.tools
        if (cursor := page.next_cursor) is None:
            return tools


@requirement("tools:list", "names:public", "view:own")
async def test_every_tool_is_listed_under_a_name_agents_accept(cell: Cell) -> None:
    names = [tool.name for tool in await all_tools(cell)]
    assert {cell.public(name) for name in TOOLS} <= set(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert len(names) == len(set(names))
    if cell.own:
        assert names == list(TOOLS), "in the upstream's order"
    else:
        assert names == sorted(names), "the same order every time"


@requirement("tools:list")
async def test_a_listed_tool_is_as_its_upstream_describes_it(cell: Cell) -> None:
    listed = {tool.name: tool for tool in await all_tools(cell)}
    for name, tool in TOOLS.items():
        public = listed[cell.public(name)]
        assert public.description == tool.description
        assert public.input_schema == tool.schema


@requirement("tools:call")
async def test_a_call_reaches_its_upstream_with_its_arguments(cell: Cell) -> None:
    arguments: dict[str, Any] = {"a": [1, 2.5, {"ü": "☃"}], "b": 2**70, "c": True}
    result = await cell.call("echo", **arguments)
    assert result.structured_content == arguments
    assert not result.is_error


@requirement("tools:call")
@each_front
async def test_a_call_without_arguments_is_a_call(cell: Cell) -> None:
    result = await cell.client.call_tool(cell.public("echo"))
    assert result.structured_content == {}


@requirement("tools:content")
async def test_every_kind_of_content_arrives(cell: Cell) -> None:
    image = types.ImageContent(data=content.PNG, mime_type="image/png")
    audio = types.AudioContent(data=content.WAV, mime_type="audio/wav")
    assert (await cell.call("test_image_content")).content == [image]
    assert (await cell.call("test_audio_content")).content == [audio]
    (embedded,) = (await cell.call("test_embedded_resource")).content
    assert isinstance(embedded, types.EmbeddedResource)
    assert embedded.resource.uri == "test://embedded-resource"
    mixed = (await cell.call("test_multiple_content_types")).content
    assert [block.type for block in mixed] == ["text", "image", "resource"]
    assert mixed[1] == image


@requirement("tools:is-error")
async def test_a_tool_that_fails_has_a_result_that_says_so(cell: Cell) -> None:
    result = await cell.call("test_error_handling")
    assert result.is_error
    assert isinstance(result.content[0], types.TextContent)
    assert result.content[0].text == "This tool intentionally returns an error for testing"


@requirement("tools:x-mcp-header")
async def test_an_argument_to_be_mirrored_is_mirrored_upstream(cell: Cell) -> None:
    await all_tools(cell)  # from which the agent knows what to mirror
    result = await cell.call("test_x_mcp_header", region="eu ☃")
    assert isinstance(result.content[0], types.TextContent)
    assert result.content[0].text == "region=eu ☃"


@requirement("tools:unknown")
@each_front
async def test_an_unknown_tool_is_an_error_that_says_what_to_do(cell: Cell) -> None:
    for name in ("nonesuch", "", "nobody__echo", cell.public(""), "☃" * 1000):
        with pytest.raises(MCPError) as caught:
            await cell.client.call_tool(name, {})
        assert caught.value.error.code == -32602
        assert "tools/list" in caught.value.error.message


@requirement("questions:refused")
async def test_a_tool_that_asks_what_cannot_be_answered_is_refused_clearly(cell: Cell) -> None:
    """The agent declared nothing: an error at once, that says what was wanted."""
    for tool, wanted in (("test_elicitation", "elicitation"), ("test_sampling", "sampling"), (ROOTS, "roots")):
        with pytest.raises(MCPError) as caught:
            await cell.call(tool, message="What is your name?", prompt="Hello")
        assert caught.value.error.code == -32021
        assert wanted in caught.value.error.message
