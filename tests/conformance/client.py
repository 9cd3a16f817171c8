"""A client for the suite's client scenarios: the SDK's own, straight at the suite's server or at a gateway before it.

    python -m tests.conformance.client direct|handshake|modern URL

The suite starts it, and says in the environment which revision it speaks. A gateway has the suite's server as its one
upstream; `handshake` and `modern` are then the era of the agent. Whatever the server offers is used, each thing once.
"""

import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client

from gateway.jsonrpc import as_object
from tests.conformance import host, login
from tests.interaction._gateway import PATIENT, config_file
from tests.support import STARTUP_SECONDS, command, free_port, listens, wait_until

UPSTREAM: Final = "suite"
MODES: Final = {"handshake": "legacy", "2025-11-25": "legacy", "modern": "auto", "2026-07-28": "auto"}
"""How the SDK calls the eras; by their names and their revisions."""
SAMPLES: Final[Mapping[str, Any]] = {"string": "text", "number": 1.5, "integer": 1, "boolean": True, "array": []}
READY_SECONDS: Final = 15.0
"""How long a gateway may take to see a login."""
ECHO: Final = "json_schema_echo"
"""A tool that wants to be shown the first tool's schema, as the client got it."""


def client(url: str | Any, era: str) -> Client:
    return Client(
        url,
        mode=MODES[era],
        cache=None,
        read_timeout_seconds=20,
        elicitation_callback=_elicit,
        sampling_callback=_sample,
        list_roots_callback=_roots,
    )


@dataclass(frozen=True)
class Through:
    """A gateway before the suite's server."""

    base: str
    config: Path

    @property
    def url(self) -> str:
        """Where an agent finds that server."""
        return f"{self.base}/mcp/{UPSTREAM}"


@asynccontextmanager
async def gateway(url: str) -> AsyncGenerator[Through]:
    """Run a gateway before the server at `url`."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        entry = {"type": "http", "url": url, "auth": login.auth(Path(folder))}
        config = config_file(Path(folder), {UPSTREAM: entry}, public_url=login.PUBLIC, **PATIENT)
        args = command("gateway", "serve", "--port", str(port), "-c", str(config))
        # It stays in our process group, which ends as a whole with the run of the suite.
        async with await anyio.open_process(args, stdout=None, stderr=None) as process:
            try:
                await wait_until(lambda: listens(port), STARTUP_SECONDS)
                yield Through(f"http://127.0.0.1:{port}", config)
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
    if not isinstance(params, types.ElicitRequestFormParams):
        return types.ElicitResult(action="decline")  # a page to log in on: the command does that
    return types.ElicitResult(action="accept", content=_object(params.requested_schema))


async def _sample(context: ClientRequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text="text"), model="none")


async def _roots(context: ClientRequestContext) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[])


async def straight(url: str, era: str) -> None:
    if scenario() in host.SCENARIOS:
        await load_skills(url, era)
        return
    if not wants_login():
        async with client(url, era) as agent:
            await use(agent)
        return
    async with (
        httpx2.AsyncClient(auth=login.provider(url), timeout=30) as http,
        client(streamable_http_client(url, http_client=http), era) as agent,
    ):
        await use(agent)


async def through(url: str, era: str) -> None:
    """Whoever runs the gateway logs in when it says so, and the agent tries again."""
    async with gateway(url) as there:
        logins = login.MAX_LOGINS if wants_login() else 0
        while True:
            state, words = await login.settled(there.base, UPSTREAM) if wants_login() else ("ready", "")
            if state in ("ready", "degraded"):
                if scenario() in host.SCENARIOS:
                    await load_skills(there.url, era)
                    return
                try:
                    async with client(there.url, era) as agent:
                        await use(agent)
                    return
                except* MCPError as errors:
                    words = " ".join(said(error) for error in leaves(errors))
            if not logins or not await login.log_in(there.config, words):
                raise SystemExit(f"it did not work: {words}")
            logins -= 1
            with suppress(AssertionError):  # some servers refuse what they gave
                await wait_until(lambda: is_ready(there), READY_SECONDS)


async def is_ready(there: Through) -> bool:
    return (await login.settled(there.base, UPSTREAM))[0] == "ready"


def leaves(group: BaseExceptionGroup[MCPError]) -> Iterator[MCPError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def said(error: MCPError) -> str:
    """Its message, and the command that it names beside a link."""
    command = as_object(error.error.data).get("command")
    return f"{error} `{command}`" if command else str(error)


async def load_skills(url: str, era: str) -> None:
    modern = MODES[era] == "auto"
    await anyio.to_thread.run_sync(lambda: host.use(url, modern=modern, scenario=scenario()))


def wants_login() -> bool:
    return scenario().startswith("auth/")


def scenario() -> str:
    return os.environ.get("MCP_CONFORMANCE_SCENARIO", "")


async def main(way: str, url: str) -> None:
    if way == "direct":
        await straight(url, os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"])
    else:
        await through(url, way)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
