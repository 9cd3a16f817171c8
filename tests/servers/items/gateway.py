"""The tools this project's own tests need: echo, slow calls, a catalogue that changes, notifications on demand."""

import json
from typing import Final

import anyio
from mcp.server.subscriptions import ResourceUpdated, ToolsListChanged

from tests.servers.items.call import Call, Result, Tool, text, tool


async def echo(call: Call) -> Result:
    """Returns its arguments."""
    return text(json.dumps(call.arguments, ensure_ascii=False), structuredContent=call.arguments)


async def slow(call: Call) -> Result:
    """Takes `seconds`, and reports progress after each of `steps` (10)."""
    seconds, steps = call.arguments["seconds"], call.arguments.get("steps", 10)
    with call.world.at_work():
        for step in range(1, steps + 1):
            await anyio.sleep(seconds / steps)
            await call.progress(step, steps, f"step {step} of {steps}")
    return text(f"slept {seconds} s")


async def report(call: Call) -> Result:
    """Reports progress in `steps`, and logs each, with `word` in it."""
    steps = call.arguments["steps"]
    for step in range(1, steps + 1):
        await anyio.sleep(0.02)
        await call.log("info", f"{call.arguments['word']} {step}")
        await call.progress(step, steps, f"{call.arguments['word']} {step}")
    return text("reported")


async def cancelled_calls(call: Call) -> Result:
    """How many calls of `slow` and `ask` run now, and how many were cancelled."""
    counts = {"running": call.world.running, "cancelled": call.world.cancelled}
    return text(json.dumps(counts), structuredContent=counts)


async def add_tool(call: Call) -> Result:
    """Adds a tool that echoes, and says that the tools have changed: to everybody, or with `whisper` (in the handshake
    era) to the caller alone."""
    name = call.arguments["name"]
    call.world.tools[name] = Tool(name, call.arguments.get("description", "Added."), echo, {"type": "object"})
    if call.arguments.get("whisper"):
        await call.world.peer(call.ctx).session.send_tool_list_changed()
    else:
        await call.world.announce(ToolsListChanged())
    return text(f"added {name}")


async def remove_tool(call: Call) -> Result:
    """Removes a tool, and says that the tools have changed."""
    name = call.arguments["name"]
    del call.world.tools[name]
    await call.world.announce(ToolsListChanged())
    return text(f"removed {name}")


async def touch_resource(call: Call) -> Result:
    """Changes a resource, and tells its subscribers."""
    uri = call.arguments["uri"]
    call.world.touches[uri] = call.world.touches.get(uri, 0) + 1
    await call.world.announce(ResourceUpdated(uri))
    return text(f"touched {uri}")


async def log(call: Call) -> Result:
    """Logs a message at a level."""
    await call.log(call.arguments["level"], call.arguments["message"])
    return text("logged")


TOOLS: Final[tuple[Tool, ...]] = (
    tool(echo),
    tool(slow, seconds="number", steps="integer"),
    tool(report, word="string", steps="integer"),
    tool(cancelled_calls),
    tool(add_tool, name="string", description="string"),
    tool(remove_tool, name="string"),
    tool(touch_resource, uri="string"),
    tool(log, level="string", message="string"),
)
