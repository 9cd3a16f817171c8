"""A client for the suite's client scenarios: the SDK's own, straight at the suite's server or at a gateway before it.

    python -m tests.conformance.client direct|handshake|modern URL

The suite starts it, and says in the environment which revision it speaks. A gateway has the suite's server as its one
upstream; `handshake` and `modern` are then the era of the agent. Whatever the server offers is used, each thing once.
"""

import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import mcp_types as types
from mcp import Client
from mcp.client.session import ClientRequestContext

from tests.interaction._gateway import PATIENT, config_file
from tests.support import STARTUP_SECONDS, command, free_port, listens, wait_until

UPSTREAM: Final = "suite"
MODES: Final = {"handshake": "legacy", "2025-11-25": "legacy", "modern": "auto", "2026-07-28": "auto"}
"""How the SDK calls the eras; by their names and their revisions."""
SAMPLES: Final[Mapping[str, Any]] = {"string": "text", "number": 1.5, "integer": 1, "boolean": True, "array": []}
ECHO: Final = "json_schema_echo"
"""A tool that wants to be shown the first tool's schema, as the client got it."""


def client(url: str, era: str) -> Client:
    return Client(
        url,
        mode=MODES[era],
        cache=None,
        read_timeout_seconds=20,
        elicitation_callback=_elicit,
        sampling_callback=_sample,
        list_roots_callback=_roots,
    )


@asynccontextmanager
async def gateway(url: str) -> AsyncGenerator[str]:
    """Run a gateway before the server at `url`; yields where an agent finds that server."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = config_file(Path(folder), {UPSTREAM: {"type": "http", "url": url}}, **PATIENT)
        args = command("gateway", "serve", "--port", str(port), "-c", str(config))
        # It stays in our process group, which ends as a whole with the run of the suite.
        async with await anyio.open_process(args, stdout=None, stderr=None) as process:
            try:
                await wait_until(lambda: listens(port), STARTUP_SECONDS)
                yield f"http://127.0.0.1:{port}/mcp/{UPSTREAM}"
            finally:
                process.terminate()


async def use(client: Client) -> None:
    tools = (await client.list_tools()).tools
    for call in _wanted_calls() or [{"name": tool.name, "arguments": _arguments(tool, tools)} for tool in tools]:
        await client.call_tool(call["name"], call["arguments"])
    if client.server_capabilities.resources is not None:
        for resource in (await client.list_resources()).resources:
            await client.read_resource(resource.uri)
    if client.server_capabilities.prompts is not None:
        for prompt in (await client.list_prompts()).prompts:
            await client.get_prompt(prompt.name)


def _wanted_calls() -> list[dict[str, Any]]:
    """The calls that a scenario asks for in so many words."""
    return json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")).get("toolCalls", [])


def _arguments(tool: types.Tool, tools: list[types.Tool]) -> dict[str, Any]:
    return {"schema": tools[0].input_schema} if tool.name == ECHO else _object(tool.input_schema)


def _object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a schema requires, and what it has defaults for."""
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    required = schema.get("required", ())
    return {name: _value(of) for name, of in properties.items() if name in required or "default" in of}


def _value(schema: Mapping[str, Any]) -> Any:
    return schema.get("default", SAMPLES.get(schema.get("type", "")))


async def _elicit(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    content = _object(params.requested_schema) if isinstance(params, types.ElicitRequestFormParams) else None
    return types.ElicitResult(action="accept", content=content)


async def _sample(context: ClientRequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text="text"), model="none")


async def _roots(context: ClientRequestContext) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[])


async def main(way: str, url: str) -> None:
    if way == "direct":
        async with client(url, os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]) as straight:
            await use(straight)
    else:
        async with gateway(url) as through, client(through, way) as agent:
            await use(agent)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
