"""A gateway as the SDK's documentation would have it written, over stdio: its client behind its server.

python -m tests.bench.rivals.sdk_gateway URL
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server


async def main(url: str) -> None:
    client = Client(url)

    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncGenerator[dict[str, Any]]:
        async with client:
            yield {}

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return await client.list_tools()

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await client.call_tool(params.name, params.arguments)

    server = Server("sdk", lifespan=lifespan, on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
