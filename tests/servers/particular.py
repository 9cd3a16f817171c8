"""A hand-written server whose tools depend on what its client declares, in both eras.

    python -m tests.servers.particular ERA FILE

FILE is JSON: capability (`elicitation`, …; `any` for every client) → the tools that it brings. A client of
the handshake era has what it declared in `initialize`, one of the modern era what each request declares.
Whoever calls a tool that it is not offered is told that there is none; a call says which process answered.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from tests.servers.wire import Message, Method, Refusal, Service, is_enveloped, lines, params_of, serve_stdio

_META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"


def main() -> None:
    era, path = sys.argv[1], Path(sys.argv[2])
    declared: dict[str, Any] = {}

    def offered(params: dict[str, Any]) -> list[dict[str, Any]]:
        mine = params["_meta"][_META_CAPABILITIES] if is_enveloped(params) else declared
        tools: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())
        return [tool for capability, some in tools.items() if capability in {"any", *mine} for tool in some]

    def call(params: dict[str, Any]) -> dict[str, Any]:
        if params["name"] not in [tool["name"] for tool in offered(params)]:
            raise Refusal(-32602, f"no tool {params['name']}")
        return {"content": [{"type": "text", "text": f"{params['name']} by {os.getpid()}"}]}

    methods: dict[str, Method] = {"tools/list": lambda params: {"tools": offered(params)}, "tools/call": call}
    service = Service("particular", methods, era)

    def answer(message: Message) -> Message | None:
        if message.get("method") == "initialize":
            declared.clear()
            declared.update(params_of(message)["capabilities"])
        return service.answer(message)

    serve_stdio(lines(answer))


if __name__ == "__main__":
    main()
