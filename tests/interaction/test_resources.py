"""Resources: lists, templates, reading by either, and what is not there."""

import json
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.interaction._connect import Cell, each_front
from tests.interaction._http import HttpChannel, open_session
from tests.interaction._requirements import requirement
from tests.interaction._wire import Wire
from tests.servers.items.content import PNG
from tests.servers.items.reading import RESOURCES, TEMPLATES


async def error_of(cell: Cell, uri: str) -> types.ErrorData:
    with pytest.raises(MCPError) as caught:
        await cell.client.read_resource(uri)
    return caught.value.error


@requirement("resources:list", "resources:contested", "view:own")
@pytest.mark.anyio
async def test_every_resource_and_template_is_listed(cell: Cell) -> None:
    resources = {resource.uri: resource for resource in (await cell.client.list_resources()).resources}
    templates = {one.uri_template: one for one in (await cell.client.list_resource_templates()).resource_templates}
    for item in RESOURCES:
        assert resources[cell.uri(item["uri"])].name == item["name"]
    for item in TEMPLATES:
        assert templates[cell.uri(item["uriTemplate"])].mime_type == item["mimeType"]


@requirement("resources:read")
@pytest.mark.anyio
async def test_text_and_blobs_are_read(cell: Cell) -> None:
    (text,) = (await cell.client.read_resource(cell.uri("test://static-text"))).contents
    assert isinstance(text, types.TextResourceContents)
    assert text.text == "This is the content of the static text resource."
    (blob,) = (await cell.client.read_resource(cell.uri("test://static-binary"))).contents
    assert isinstance(blob, types.BlobResourceContents)
    assert (blob.blob, blob.mime_type) == (PNG, "image/png")


@requirement("resources:template")
@pytest.mark.anyio
async def test_what_only_a_template_describes_is_read(cell: Cell) -> None:
    (content,) = (await cell.client.read_resource(cell.uri("test://template/a%20b/data"))).contents
    assert isinstance(content, types.TextResourceContents)
    assert json.loads(content.text) == {"id": "a%20b", "templateTest": True}


@requirement("resources:unknown")
@pytest.mark.anyio
async def test_an_unknown_resource_has_the_code_of_the_agents_era(cell: Cell) -> None:
    error = await error_of(cell, cell.uri("test://nonesuch"))
    if cell.own and not cell.agent.modern and cell.upstream.endswith("modern"):
        assert error.code == -32602, "the upstream's own words; here they could mean anything else"
    else:
        assert error.code == (-32602 if cell.agent.modern else -32002)
    assert "Resource not found" in error.message
    assert error.data["uri"].endswith("test://nonesuch")


@requirement("resources:contested")
@each_front
@pytest.mark.anyio
async def test_a_uri_of_several_upstreams_is_the_first_ones(cell: Cell) -> None:
    listed = {resource.uri for resource in (await cell.client.list_resources()).resources}
    assert cell.uri("test://static-text") in listed
    assert "test://static-text" in listed
    for uri in ("test://static-text", "test://template/7/data"):
        assert (await cell.client.read_resource(uri)).contents


@requirement("resources:verbatim")
@pytest.mark.parametrize("modern", [False, True])
def test_a_uri_with_one_owner_is_left_as_it_is(http_base: str, modern: bool) -> None:
    url = f"{http_base}/mcp"
    agent = Wire(HttpChannel(url, {} if modern else open_session(url)), modern)
    assert "raw://odd" in [item["uri"] for item in agent.ask("resources/list").result["resources"]]
    for uri in ("raw://odd", "raw://another"):
        contents: list[Any] = agent.ask("resources/read", {"uri": uri}).result["contents"]
        assert contents[0]["uri"] == uri
