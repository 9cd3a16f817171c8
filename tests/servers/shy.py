"""A hand-written server of the handshake era that offers something of each kind, and tells what it was asked.

    python -m tests.servers.shy NAME

One tool `asked` (every request and notification it received, as JSON), a prompt, a resource and a template, all with
NAME in their names. It has instructions and log levels, and completes `doc://NAME/{id}` to `open` and `secret`.
"""

import json
import sys
from typing import Any

from tests.servers.wire import HANDSHAKE, Message, encode, lines, params_of, serve_stdio


class Shy:
    def __init__(self, name: str) -> None:
        self._name = name
        self._asked: list[Message] = []

    def answer(self, message: Message) -> Message | None:
        if "method" not in message:
            return None
        self._asked.append({"method": message["method"], "params": params_of(message)})
        if "id" not in message:
            return None
        result = self._results().get(message["method"])
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        if result is None:
            return reply | {"error": {"code": -32601, "message": "Method not found"}}
        return reply | {"result": result}

    def _results(self) -> dict[str, dict[str, Any]]:
        name = self._name
        kinds: Message = {"tools": {}, "prompts": {}, "resources": {"subscribe": True}}
        text = {"type": "text", "text": encode(self._asked).decode()}
        return {
            "initialize": {
                "protocolVersion": HANDSHAKE[-1],
                "capabilities": kinds | {"logging": {}, "completions": {}},
                "serverInfo": {"name": name, "version": "1"},
                "instructions": f"What {name} is for.",
            },
            "ping": {},
            "tools/list": {"tools": [{"name": "asked", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [text]},
            "prompts/list": {"prompts": [{"name": "prompt"}]},
            "resources/list": {"resources": [{"uri": f"memo://{name}", "name": name}]},
            "resources/templates/list": {"resourceTemplates": [{"uriTemplate": f"doc://{name}/{{id}}", "name": name}]},
            "resources/subscribe": {},
            "resources/unsubscribe": {},
            "logging/setLevel": {},
            "completion/complete": {"completion": {"values": ["open", "secret"], "total": 2, "hasMore": False}},
        }


def asked(answer: Any) -> list[Message]:
    """What a call of `asked` says."""
    return json.loads(answer["result"]["content"][0]["text"])


if __name__ == "__main__":
    serve_stdio(lines(Shy(sys.argv[1]).answer))
