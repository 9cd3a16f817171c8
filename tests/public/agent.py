# type: ignore - what it imports is installed elsewhere, the SDK in another version
"""An agent built on one of Python's client libraries: connects, lists, calls one tool, and prints what it saw.

Run by the interpreter that has the library, and for all transports at once, since loading one takes seconds. Its
argument is JSON: {library, transports: ["http" | "sse" | "stdio"…], url, key, command, args, env, tool, arguments}. The
last line it prints is JSON: by transport {tools: their names, text: the answer's} or {error}.
"""

import asyncio
import json
import sys
import traceback
from typing import Any

Asked = dict[str, Any]
Seen = tuple[list[str], str]
"""The tools' names, and the text of the answer."""


def headers(asked: Asked) -> dict[str, str]:
    return {"X-API-Key": asked["key"]}


def program(asked: Asked) -> dict[str, Any]:
    return {key: asked[key] for key in ("command", "args", "env")}


async def session(client: Any, asked: Asked) -> Seen:
    """With a session of the SDK, which most libraries are a cover of."""
    tools = await client.list_tools()
    answer = await client.call_tool(asked["tool"], asked["arguments"])
    return [tool.name for tool in getattr(tools, "tools", tools)], answer.content[0].text


async def mcp(asked: Asked) -> Seen:
    """The first line of the SDK, which knows the handshake era alone."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.sse import sse_client
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamablehttp_client

    match asked["transport"]:
        case "stdio":
            transport = stdio_client(StdioServerParameters(**program(asked)))
        case "sse":
            transport = sse_client(asked["url"], headers(asked))
        case _:
            transport = streamablehttp_client(asked["url"], headers(asked))
    async with transport as (read, write, *_), ClientSession(read, write) as client:
        await client.initialize()
        return await session(client, asked)


async def fastmcp(asked: Asked) -> Seen:
    from fastmcp import Client
    from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport

    match asked["transport"]:
        case "stdio":
            transport = StdioTransport(**program(asked))
        case "sse":
            transport = SSETransport(asked["url"], headers=headers(asked))
        case _:
            transport = StreamableHttpTransport(asked["url"], headers=headers(asked))
    async with Client(transport) as client:
        return await session(client, asked)


async def openai_agents(asked: Asked) -> Seen:
    from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp

    match asked["transport"]:
        case "stdio":
            server = MCPServerStdio(program(asked), client_session_timeout_seconds=60)
        case "sse":
            server = MCPServerSse({"url": asked["url"], "headers": headers(asked)})
        case _:
            server = MCPServerStreamableHttp({"url": asked["url"], "headers": headers(asked)})
    async with server:
        return await session(server, asked)


async def pydantic_ai(asked: Asked) -> Seen:
    from pydantic_ai.mcp import MCPToolset

    async with MCPToolset(asked["url"], headers=headers(asked)) as tools:
        answer = await tools.direct_call_tool(asked["tool"], asked["arguments"])
        return [tool.name for tool in await tools.list_tools()], str(answer)


async def langchain(asked: Asked) -> Seen:
    from langchain_mcp_adapters.client import MultiServerMCPClient

    match asked["transport"]:
        case "stdio":
            connection = {"transport": "stdio", **program(asked)}
        case "sse":
            connection = {"transport": "sse", "url": asked["url"], "headers": headers(asked)}
        case _:
            connection = {"transport": "streamable_http", "url": asked["url"], "headers": headers(asked)}
    tools = {tool.name: tool for tool in await MultiServerMCPClient({"gateway": connection}).get_tools()}
    (answer,) = await tools[asked["tool"]].ainvoke(asked["arguments"])
    return list(tools), answer["text"]


async def mcp_use(asked: Asked) -> Seen:
    from mcp_use import MCPClient

    server = program(asked) if asked["transport"] == "stdio" else {"url": asked["url"], "headers": headers(asked)}
    client = MCPClient.from_dict({"mcpServers": {"gateway": server}})
    seen = await session(await client.create_session("gateway"), asked)
    await client.close_all_sessions()
    return seen


async def mcpadapt(asked: Asked) -> Seen:
    from mcpadapt.core import mcptools

    transport = {"http": "streamable-http"}.get(asked["transport"], asked["transport"])
    server = {"transport": transport, "url": asked["url"], "headers": headers(asked)}
    async with mcptools(server) as (client, _):
        return await session(client, asked)


async def see(asked: Asked) -> dict[str, Any]:
    try:
        names, text = await globals()[asked["library"]](asked)
    except Exception:
        return {"error": traceback.format_exc()}
    return {"tools": names, "text": text}


async def main() -> None:
    asked = json.loads(sys.argv[1])
    seen = {
        transport: await see({**asked, "transport": transport, "url": asked["urls"].get(transport)})
        for transport in asked["transports"]
    }
    print(json.dumps(seen))


asyncio.run(main())
