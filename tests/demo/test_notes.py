"""The notes server over real stdio, in both eras."""

import json
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest
from mcp import Client, MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp_types import (
    PromptReference,
    TextContent,
    TextResourceContents,
)

from gateway.demo.notebook import Notebook
from gateway.demo.notes import NotesServer
from tests.demo.conftest import Connect, start

pytestmark = pytest.mark.anyio


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


async def read(client: Client, uri: str) -> str:
    contents = (await client.read_resource(uri)).contents[0]
    assert isinstance(contents, TextResourceContents)
    return contents.text


async def prompt(client: Client, **arguments: str) -> str:
    [message] = (await client.get_prompt("summarise_notes", arguments)).messages
    assert isinstance(message.content, TextContent)
    return message.content.text


def titles(listing: dict[str, Any]) -> list[str]:
    return [note["title"] for note in listing["notes"]]


async def test_a_note_from_its_beginning_to_its_end(connect: Connect) -> None:
    async with connect("notes") as client:
        added = await call(client, "add", title=" Milk \n  run ", text="two litres", tags=["Home", "home ", " "])
        assert (added["id"], added["title"], added["tags"]) == (1, "Milk run", ["home"])
        await call(client, "add", title="Über", text="Straße", tags=["work"])

        assert titles(await call(client, "list")) == ["Über", "Milk run"]
        assert titles(await call(client, "list", tag="HOME")) == ["Milk run"]
        assert titles(await call(client, "search", query="LITRES milk")) == ["Milk run"]
        assert titles(await call(client, "search", query="strasse")) == ["Über"]
        assert titles(await call(client, "search", query="litres über")) == []
        assert (await call(client, "read", id=1))["text"] == "two litres"

        assert titles({"notes": [await call(client, "delete", id=1)]}) == ["Milk run"]
        assert "There is no note 1." in await refusal(client, "read", id=1)
        assert "There is no note 1." in await refusal(client, "delete", id=1)
        assert (await call(client, "add", title="Third", text=""))["id"] == 3


async def test_notes_are_resources(connect: Connect) -> None:
    async with connect("notes") as client:
        assert [item.uri_template for item in (await client.list_resource_templates()).resource_templates] == [
            "note://{id}"
        ]
        await call(client, "add", title="Plan", text="ship it")
        [resource] = (await client.list_resources()).resources
        assert (resource.uri, resource.title, resource.mime_type) == ("note://1", "Plan", "text/markdown")
        text = await read(client, resource.uri)
        assert text == "# Plan\n\nship it\n"
        for uri in ("note://2", "note://01", "note://x", "note://", "note://1/2", f"note://{'9' * 400}"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.error.data == {"uri": uri}


async def test_a_modern_client_hears_of_changes(tmp_path: Path) -> None:
    with anyio.fail_after(30):
        async with start("auto", tmp_path, "notes") as client:
            resources = client.server_capabilities.resources
            assert resources
            assert resources.subscribe
            assert resources.list_changed
            async with client.listen(resources_list_changed=True, resource_subscriptions=["note://1"]) as events:
                await call(client, "add", title="A", text="a")
                assert [await anext(events), await anext(events)] == [
                    ResourcesListChanged(),
                    ResourceUpdated(uri="note://1"),
                ]
                await call(client, "add", title="B", text="b")
                await call(client, "delete", id=1)
                assert [await anext(events), await anext(events)] == [
                    ResourcesListChanged(),
                    ResourceUpdated(uri="note://1"),
                ]


async def test_processes_share_a_file_and_keep_every_note(connect_modern: Connect, tmp_path: Path) -> None:
    file = tmp_path / "shared" / "notes.json"

    async def add_ten(name: str) -> None:
        async with connect_modern("notes", NOTES_FILE=str(file)) as client:
            for number in range(10):
                await call(client, "add", title=f"{name} {number}", text="x")

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(add_ten, name)

    notes = json.loads(file.read_text("utf-8"))["notes"]
    assert {note["title"] for note in notes} == {f"{name} {number}" for name in "abc" for number in range(10)}
    assert sorted(note["id"] for note in notes) == list(range(1, 31))


# --- What has nothing to do with transport or era, in process -------------------------------------------------------


def server(file: Path) -> Client:
    return Client(NotesServer(Notebook(file)))


async def test_every_tool_says_what_it_does_and_keeps_to_its_schema(tmp_path: Path) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "add": {"title": "a", "text": "b"},
        "list": {},
        "read": {"id": 1},
        "search": {"query": "a"},
        "delete": {"id": 1},
    }
    read_only, destructive = {"list", "read", "search"}, {"delete"}
    async with server(tmp_path / "notes.json") as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == list(arguments)
        for tool in tools:
            assert tool.title
            assert tool.description
            assert tool.annotations
            assert bool(tool.annotations.read_only_hint) == (tool.name in read_only)
            assert bool(tool.annotations.destructive_hint) == (tool.name in destructive)
            assert tool.output_schema
            jsonschema.validate(await call(client, tool.name, **arguments[tool.name]), tool.output_schema)


async def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    async with server(tmp_path / "notes.json") as client:
        assert "The title is blank" in await refusal(client, "add", title=" ", text="x")
        assert "at most 200 characters" in await refusal(client, "add", title="x" * 201, text="x")
        assert "at most 20000 characters" in await refusal(client, "add", title="x", text="x" * 20_001)
        assert "at most 20 items" in await refusal(client, "add", title="x", text="x", tags=["x"] * 21)
        assert "at most 50 characters" in await refusal(client, "add", title="x", text="x", tags=["x" * 51])
        assert "at most 200 characters" in await refusal(client, "search", query="x" * 201)
        assert titles(await call(client, "list")) == []


async def test_the_prompt_carries_the_notes_and_completes_tags(tmp_path: Path) -> None:
    async with server(tmp_path / "notes.json") as client:
        with pytest.raises(MCPError, match="There are no notes"):
            await client.get_prompt("summarise_notes")
        await call(client, "add", title="A", text="a", tags=["home"])
        await call(client, "add", title="B", text="b", tags=["work"])
        text = await prompt(client, tag="Home")
        assert "# A" in text
        assert "# B" not in text
        with pytest.raises(MCPError, match="There are no notes tagged 'play'"):
            await client.get_prompt("summarise_notes", {"tag": "play"})
        ref = PromptReference(name="summarise_notes")
        tags = await client.complete(ref=ref, argument={"name": "tag", "value": "H"})
        assert tags.completion.values == ["home"]


async def test_a_long_notebook_does_not_overflow_the_prompt(tmp_path: Path) -> None:
    async with server(tmp_path / "notes.json") as client:
        for number in range(4):
            await call(client, "add", title=str(number), text="x" * 20_000)
        text = await prompt(client)
        assert "The rest is left out" in text
        assert len(text) < 61_000


async def test_a_damaged_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    file.write_text('{"precious": true}')
    async with server(file) as client:
        assert "is not a notebook of this version" in await refusal(client, "add", title="A", text="a")
        with pytest.raises(MCPError, match="is not a notebook"):
            await client.list_resources()
    assert file.read_text() == '{"precious": true}'
