"""The conformance suite's server of 2025-11-25, made as most servers are: on the SDK's high-level API, of both eras.

    python -m tests.servers.highlevel --transport http --port N

It asks in the way of the handshake era alone. Whoever reaches it in the modern one hears that there is no way to ask.
"""

import argparse
from typing import Any, Final

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import Message, UserMessage
from mcp.server.mcpserver.tools import Tool
from mcp_types import (
    AudioContent,
    Completion,
    ContentBlock,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

from tests.servers.items.content import PNG, SCHEMA_2020_12, WAV
from tests.servers.transports import EventLog

POLL_MILLISECONDS: Final = 100


def json_schema_2020_12_tool() -> str:
    """Has a schema with the keywords of JSON Schema 2020-12."""
    return "Accepted."


_SCHEMED: Final = Tool.from_function(json_schema_2020_12_tool).model_copy(update={"parameters": SCHEMA_2020_12})
server = MCPServer("highlevel", tools=[_SCHEMED])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "sse", "http"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    match args.transport:
        case "stdio":
            server.run("stdio")
        case "sse":
            server.run("sse", port=args.port)
        case _:
            server.run("streamable-http", port=args.port, event_store=EventLog(), retry_interval=POLL_MILLISECONDS)


# --- Tools that answer ---------------------------------------------------------------------------------------------


def _image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def _embedded(uri: str) -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type="text/plain", text="Embedded.")
    )


@server.tool()
def test_simple_text() -> str:
    """Answers with one text."""
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> list[ContentBlock]:
    """Answers with an image."""
    return [_image()]


@server.tool()
def test_audio_content() -> list[ContentBlock]:
    """Answers with a sound."""
    return [AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


@server.tool()
def test_embedded_resource() -> list[ContentBlock]:
    """Answers with a resource's content."""
    return [_embedded("test://embedded-resource")]


@server.tool()
def test_multiple_content_types() -> list[ContentBlock]:
    """Answers with a text, an image and a resource."""
    return [TextContent(type="text", text="Several kinds:"), _image(), _embedded("test://mixed-content-resource")]


@server.tool()
def test_error_handling() -> str:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@server.tool()
async def test_tool_with_logging(ctx: Context[Any, Any]) -> str:
    """Logs three times."""
    for text in ("started", "processing", "completed"):
        await ctx.info(f"Tool execution {text}")  # pyright: ignore[reportDeprecated] - the era's own way
        await anyio.sleep(0.05)
    return "Logged."


@server.tool()
async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
    """Reports 0, 50 and 100 of 100."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await anyio.sleep(0.05)
    return "Done."


@server.tool()
async def test_reconnection(ctx: Context[Any, Any]) -> str:
    """Closes the stream it is called on; the answer is for whoever comes back for it."""
    await ctx.close_sse_stream()
    await anyio.sleep(0.2)
    return "Reconnected."


# --- Tools that ask ------------------------------------------------------------------------------------------------


class Reply(BaseModel):
    response: str = Field(description="What the user says")


class Defaults(BaseModel):
    name: str = Field(default="John Doe")
    age: int = Field(default=30)
    score: float = Field(default=95.5)
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(default=True)


def _titled(*values: str) -> list[Any]:
    return [{"const": value, "title": value.title()} for value in values]


_ITEMS: Final = ("value1", "value2", "value3")
_NAMED: Final[dict[str, Any]] = {"enum": list(_ITEMS), "enumNames": ["One", "Two", "Three"]}


class Choices(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": list(_ITEMS)})
    titledSingle: str = Field(json_schema_extra={"oneOf": _titled(*_ITEMS)})
    legacyEnum: str = Field(json_schema_extra=_NAMED)
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": list(_ITEMS)}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": _titled(*_ITEMS)}})


async def _elicit(ctx: Context[Any, Any], message: str, schema: type[BaseModel]) -> str:
    answer = await ctx.elicit(message, schema)
    return f"{answer.action}: {answer.data.model_dump_json() if answer.action == 'accept' else '{}'}"


@server.tool()
async def test_elicitation(message: str, ctx: Context[Any, Any]) -> str:
    """Asks the user."""
    return await _elicit(ctx, message, Reply)


@server.tool()
async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> str:
    """Asks with a default for each primitive type."""
    return await _elicit(ctx, "Who are you?", Defaults)


@server.tool()
async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> str:
    """Asks with each kind of enumeration."""
    return await _elicit(ctx, "Choose.", Choices)


@server.tool()
async def test_sampling(prompt: str, ctx: Context[Any, Any]) -> str:
    """Asks the client's model."""
    question = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message(messages=[question], max_tokens=100)  # pyright: ignore[reportDeprecated]
    content = answer.content
    return f"LLM response: {content.text if isinstance(content, TextContent) else content}"


# --- Resources, prompts, the rest ----------------------------------------------------------------------------------


@server.resource("test://static-text")
def static_text() -> str:
    """A text."""
    return "A static text."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """Bytes."""
    return b"\x89PNG"


@server.resource("test://template/{id}/data")
def template(id: str) -> str:
    """One of many."""
    return f'{{"id": "{id}"}}'


@server.resource("test://watched-resource")
def watched() -> str:
    """One to subscribe to."""
    return "Watched."


@server.prompt()
def test_simple_prompt() -> list[Message]:
    """A prompt."""
    return [UserMessage("This is a simple prompt for testing.")]


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[Message]:
    """A prompt with arguments."""
    return [UserMessage(f"arg1={arg1!r} arg2={arg2!r}")]


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:
    """A prompt with a resource in it."""
    return [UserMessage(_embedded(resourceUri)), UserMessage("Process it.")]


@server.prompt()
def test_prompt_with_image() -> list[Message]:
    """A prompt with an image in it."""
    return [UserMessage(_image()), UserMessage("Look at it.")]


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    """Suggests nothing."""
    return Completion(values=[], total=0, has_more=False)


async def _accept(ctx: Any, params: Any) -> EmptyResult:
    return EmptyResult()


# The high-level API has nothing for these.
_lowlevel = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
_lowlevel.add_request_handler("logging/setLevel", SetLevelRequestParams, _accept)
_lowlevel.add_request_handler("resources/subscribe", SubscribeRequestParams, _accept)
_lowlevel.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, _accept)


if __name__ == "__main__":
    main()
