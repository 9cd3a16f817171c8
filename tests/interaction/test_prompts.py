"""Prompts, and completion of arguments for prompts and resource templates."""

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.interaction._connect import Cell, each_front
from tests.interaction._requirements import requirement
from tests.servers.items.content import PNG
from tests.servers.items.reading import PROMPTS, TEMPLATES

pytestmark = pytest.mark.anyio


async def get(cell: Cell, name: str, **arguments: str) -> list[types.ContentBlock]:
    result = await cell.client.get_prompt(cell.public(name), arguments)
    assert all(message.role == "user" for message in result.messages)
    return [message.content for message in result.messages]  # pyright: ignore[reportReturnType]


@requirement("prompts:list", "view:own")
async def test_every_prompt_is_listed_with_its_arguments(cell: Cell) -> None:
    listed = {prompt.name: prompt for prompt in (await cell.client.list_prompts()).prompts}
    for item in PROMPTS:
        prompt = listed[cell.public(item["name"])]
        assert prompt.description == item["description"]
        assert [argument.name for argument in prompt.arguments or []] == [
            argument["name"] for argument in item.get("arguments", [])
        ]


@requirement("prompts:get")
async def test_a_prompt_is_got_with_its_arguments(cell: Cell) -> None:
    (text,) = await get(cell, "test_prompt_with_arguments", arg1="☃", arg2="")
    assert text == types.TextContent(text="Prompt with arguments: arg1='☃', arg2=''")
    image, _ = await get(cell, "test_prompt_with_image")
    assert image == types.ImageContent(data=PNG, mime_type="image/png")
    resource, _ = await get(cell, "test_prompt_with_embedded_resource", resourceUri="test://any")
    assert isinstance(resource, types.EmbeddedResource)
    assert resource.resource.uri == "test://any"


@requirement("prompts:unknown")
@each_front
async def test_an_unknown_prompt_is_an_error_that_says_what_to_do(cell: Cell) -> None:
    with pytest.raises(MCPError) as caught:
        await cell.client.get_prompt("nonesuch")
    assert caught.value.error.code == -32602
    assert "prompts/list" in caught.value.error.message


@requirement("prompts:get", "errors:upstream")
async def test_an_upstreams_refusal_of_a_prompt_is_passed_on(cell: Cell) -> None:
    with pytest.raises(MCPError) as caught:
        await cell.client.get_prompt(cell.public("test_prompt_with_arguments"), {"arg1": "a"})
    assert (caught.value.error.code, caught.value.error.message) == (-32602, "Missing argument: arg2")


@requirement("completion")
async def test_arguments_are_completed_for_prompts_and_templates(cell: Cell) -> None:
    for reference in (
        types.PromptReference(name=cell.public("test_prompt_with_arguments")),
        types.ResourceTemplateReference(uri=cell.uri(TEMPLATES[0]["uriTemplate"])),
    ):
        completion = (await cell.client.complete(reference, {"name": "any", "value": "par"})).completion
        assert (completion.values, completion.total) == (["paris", "park", "party"], 3)


@requirement("completion")
@each_front
async def test_completion_for_what_is_not_there_is_refused(cell: Cell) -> None:
    for reference in (
        types.PromptReference(name="nonesuch"),
        types.ResourceTemplateReference(uri="nonesuch://{x}"),
    ):
        with pytest.raises(MCPError) as caught:
            await cell.client.complete(reference, {"name": "any", "value": "par"})
        assert caught.value.error.code in (-32602, -32002)
