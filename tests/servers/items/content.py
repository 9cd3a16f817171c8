"""The conformance suite's tools that answer without asking: content kinds, logging, progress, streams, schemas."""

from dataclasses import replace
from typing import Any, Final

import anyio
from mcp.server.subscriptions import PromptsListChanged, ToolsListChanged

from tests.servers.items.call import Call, Result, Tool, text, tool

PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="  # one grey pixel
)
WAV: Final = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="  # 8 kHz, no samples


async def test_simple_text(call: Call) -> Result:
    """Answers with one text."""
    return text("This is a simple text response for testing.")


async def test_image_content(call: Call) -> Result:
    """Answers with an image."""
    return {"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]}


async def test_audio_content(call: Call) -> Result:
    """Answers with a sound."""
    return {"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]}


async def test_embedded_resource(call: Call) -> Result:
    """Answers with a resource's content."""
    resource = {"uri": "test://embedded-resource", "mimeType": "text/plain", "text": "An embedded resource."}
    return {"content": [{"type": "resource", "resource": resource}]}


async def test_multiple_content_types(call: Call) -> Result:
    """Answers with a text, an image and a resource."""
    resource = {"uri": "test://mixed-content-resource", "mimeType": "application/json", "text": '{"test": "data"}'}
    return {
        "content": [
            {"type": "text", "text": "Multiple content types test:"},
            {"type": "image", "data": PNG, "mimeType": "image/png"},
            {"type": "resource", "resource": resource},
        ]
    }


async def test_error_handling(call: Call) -> Result:
    """Fails."""
    return text("This tool intentionally returns an error for testing", isError=True)


async def test_missing_capability(call: Call) -> Result:
    """Refuses clients that cannot sample."""
    call.require("sampling")
    return text("The client can sample.")


async def test_tool_with_logging(call: Call) -> Result:
    """Logs three times at level info."""
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log("info", message)
        await anyio.sleep(0.05)
    return text("Tool with logging executed successfully")


async def test_logging_tool(call: Call) -> Result:
    """Logs once at every third level."""
    await call.log("debug", "a detail")
    await call.log("warning", "a doubt")
    await call.log("alert", "a fright")
    return text("Logged.")


async def test_tool_with_progress(call: Call) -> Result:
    """Reports 0, 50 and 100 of 100."""
    for done in (0, 50, 100):
        await call.progress(done, 100, f"Completed step {done} of 100")
        await anyio.sleep(0.05)
    return text("Done.")


async def test_reconnection(call: Call) -> Result:
    """Closes the stream it is called on; the answer is for whoever comes back for it."""
    await call.log("info", "Before disconnect")
    if call.ctx.close_sse_stream is not None:
        await call.ctx.close_sse_stream()
    await anyio.sleep(0.2)
    await call.log("info", "After reconnect")
    return text("Reconnection test completed")


async def test_trigger_tool_change(call: Call) -> Result:
    """Says that the tools have changed."""
    await call.world.announce(ToolsListChanged())
    return text("Said so.")


async def test_trigger_prompt_change(call: Call) -> Result:
    """Says that the prompts have changed."""
    await call.world.announce(PromptsListChanged())
    return text("Said so.")


async def test_x_mcp_header(call: Call) -> Result:
    """Has a parameter that is mirrored into a header."""
    return text(f"region={call.arguments.get('region')}")


async def json_schema_2020_12_tool(call: Call) -> Result:
    """Has a schema with the keywords of JSON Schema 2020-12."""
    return text("Accepted.")


async def greet(call: Call) -> Result:
    """Greets by name."""
    return text(f"Hello, {call.arguments['name']}!")


async def slow_compute(call: Call) -> Result:
    """Answers at once; what takes longer needs the tasks extension, which this server does not have."""
    if call.arguments["seconds"] > 0:
        return text("No tasks here: ask for 0 seconds.", isError=True)
    return text("computed")


# The keywords, names and values are those the suite's scenario json-schema-2020-12 looks for.
SCHEMA_2020_12: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
}

TOOLS: Final[tuple[Tool, ...]] = (
    tool(test_simple_text),
    tool(test_image_content),
    tool(test_audio_content),
    tool(test_embedded_resource),
    tool(test_multiple_content_types),
    tool(test_error_handling),
    tool(test_missing_capability),
    tool(test_tool_with_logging),
    tool(test_logging_tool),
    tool(test_tool_with_progress),
    tool(test_reconnection),
    tool(test_trigger_tool_change),
    tool(test_trigger_prompt_change),
    tool(test_x_mcp_header, region={"type": "string", "x-mcp-header": "Region"}),
    tool(greet, name="string"),
    tool(slow_compute, seconds="number", label="string"),
    replace(tool(json_schema_2020_12_tool), schema=SCHEMA_2020_12),
)
