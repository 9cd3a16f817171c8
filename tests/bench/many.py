"""Upstreams with many tools, as cheap as they can be.

python -m tests.bench.many http PORT TOOLS            one process that is a server at every path
python -m tests.bench.many stdio TOOLS SECONDS        one server, whose list changes so often
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson
import uvloop

from tests.bench.fixture_http import Connection
from tests.servers.wire import HANDSHAKE, Message

Answer = Callable[[Message], Message | None]


def tool(name: str) -> dict[str, Any]:
    text = {"type": "string", "description": "What it is about, in so many words."}
    schema = {"type": "object", "properties": {"subject": text, "limit": {"type": "integer"}}}
    return {"name": name, "description": "Does what its name says. " * 4, "inputSchema": schema}


def answering(tools: int, capability: dict[str, Any], changes: Callable[[], int]) -> Answer:
    """
    Args:
        changes: how often the list has changed by now.
    """
    usual = [tool(f"tool_{number}") for number in range(tools - 1)]

    def answer(message: Message) -> Message | None:
        if "id" not in message:
            return None
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        match message["method"]:
            case "initialize":
                info = {"name": "many", "version": "1"}
                capabilities = {"tools": capability}
                return reply | {
                    "result": {"protocolVersion": HANDSHAKE[-1], "capabilities": capabilities, "serverInfo": info}
                }
            case "tools/list":
                return reply | {"result": {"tools": [*usual, tool(f"changed_{changes()}")]}}
            case _:
                return reply | {"error": {"code": -32601, "message": "Method not found"}}

    return answer


async def http(port: int, tools: int) -> None:
    answer = answering(tools, {}, lambda: 0)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answer), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def stdio(tools: int, period: float) -> None:
    listed, lock, changes = threading.Event(), threading.Lock(), 0

    def write(message: Message) -> None:
        with lock:
            sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
            sys.stdout.buffer.flush()

    def change() -> None:
        nonlocal changes
        listed.wait()
        while True:
            time.sleep(period)
            changes += 1
            write({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})

    threading.Thread(target=change, daemon=True).start()
    answer = answering(tools, {"listChanged": True}, lambda: changes)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        reply = answer(message)
        if reply is not None:
            write(reply)
        if message.get("method") == "tools/list":
            listed.set()


if __name__ == "__main__":
    if sys.argv[1] == "http":
        uvloop.run(http(int(sys.argv[2]), int(sys.argv[3])))
    else:
        stdio(int(sys.argv[2]), float(sys.argv[3]))
