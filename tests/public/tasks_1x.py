# type: ignore - the first line of the SDK is installed elsewhere
"""The SDK's own tasks of 2025-11-25, at both ends: `python tasks_1x.py serve [PORT]` and `python tasks_1x.py use URL`.

The server makes tasks that ask who fetches their result. The client does with them all that there is, and prints as
JSON what it saw.
"""

import asyncio
import json
import sys
from typing import Any

import mcp.types as types


def server() -> Any:
    from mcp.server.experimental.task_context import ServerTaskContext
    from mcp.server.lowlevel import Server

    server = Server("sdk")
    server.experimental.enable_tasks()
    execution = types.ToolExecution(taskSupport="required")

    @server.list_tools()
    async def list_tools() -> list[types.Tool]:
        return [types.Tool(name="ask", inputSchema={"type": "object"}, execution=execution)]

    @server.call_tool()
    async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
        context = server.request_context
        context.experimental.validate_task_mode("required")

        async def work(task: ServerTaskContext) -> types.CallToolResult:
            schema = {"type": "object", "properties": {"word": {"type": "string"}}}
            answer = await task.elicit("which word?", schema)
            return types.CallToolResult(content=[types.TextContent(type="text", text=answer.content["word"])])

        return await context.experimental.run_task(work)

    return server


async def serve(port: int | None) -> None:
    made = server()
    if port is None:
        from mcp.server.stdio import stdio_server

        async with stdio_server() as (read, write):
            await made.run(read, write, made.create_initialization_options())
        return
    import uvicorn
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.applications import Starlette
    from starlette.routing import Mount

    manager = StreamableHTTPSessionManager(made)
    app = Starlette(routes=[Mount("/mcp", manager.handle_request)], lifespan=lambda app: manager.run())
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="error")).serve()


async def use(url: str) -> dict[str, Any]:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    asked: list[Any] = []

    async def elicit(context: Any, params: Any) -> types.ElicitResult:
        asked.append(params.model_dump(by_alias=True, mode="json", exclude_none=True))
        return types.ElicitResult(action="accept", content={"word": "crwth"})

    seen: dict[str, Any] = {}
    async with (
        streamablehttp_client(url) as (read, write, _),
        ClientSession(read, write, elicitation_callback=elicit) as client,
    ):
        opened = await client.initialize()
        seen["offered"] = opened.capabilities.model_dump(exclude_none=True).get("tasks")
        for tool in [tool.name for tool in (await client.list_tools()).tools]:
            made = await client.experimental.call_tool_as_task(tool, {"topic": "harps"})
            handle = made.task.taskId
            async for status in client.experimental.poll_task(handle):
                if status.status == "input_required":
                    break
            result = await client.experimental.get_task_result(handle, types.CallToolResult)
            listed = [task.taskId for task in (await client.experimental.list_tasks()).tasks]
            over = await client.experimental.get_task(handle)
            another = (await client.experimental.call_tool_as_task(tool, {"topic": "harps"})).task.taskId
            cancelled = await client.experimental.cancel_task(another)
            seen[tool] = {
                "text": result.content[0].text,
                "listed": handle in listed,
                "over": over.status,
                "cancelled": cancelled.status,
                "asked": [each["_meta"]["io.modelcontextprotocol/related-task"]["taskId"] == handle for each in asked],
            }
            asked.clear()
    return seen


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2]) if sys.argv[2:] else None))
    else:
        print(json.dumps(asyncio.run(use(sys.argv[2]))))
