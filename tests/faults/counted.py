"""A stdio server that keeps count where no death of its own can lose it: each call of a tool is a line in a file.

    python -m tests.faults.counted FILE

`work` acts, and is never answered. `pid` answers with its process id, anything else with the tool's name.
"""

import os
import sys
from pathlib import Path
from typing import Any

from tests.servers.wire import Message, Service, encode, params_of, serve_stdio

TOOLS = [
    {"name": "work", "inputSchema": {"type": "object"}},
    {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {"name": "pid", "inputSchema": {"type": "object"}},
]


def call(params: dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "text", "text": params["name"]}]
    return {"content": content} | ({"structuredContent": {"pid": os.getpid()}} if params["name"] == "pid" else {})


def main() -> None:
    file = Path(sys.argv[1])
    service = Service("counted", {"tools/list": lambda params: {"tools": TOOLS}, "tools/call": call})

    def answer(message: Message) -> list[bytes]:
        name = params_of(message).get("name") if message["method"] == "tools/call" else None
        if name is not None:
            with file.open("a") as lines:
                lines.write(f"{name}\n")
        reply = service.answer(message)
        return [] if reply is None or name == "work" else [encode(reply)]

    serve_stdio(answer)


if __name__ == "__main__":
    main()
