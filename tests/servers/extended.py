"""A hand-written server with extensions: tasks, a user interface (MCP Apps), and one nobody has heard of.

    python -m tests.servers.extended [--name NAME] [--era both|handshake|modern]

Its task handles count from 1, so that two such servers have the same ones.
"""

import argparse
from typing import Any, Final

from tests.servers.wire import ERAS, Method, Refusal, Service, lines, serve_stdio

TASKS: Final = "io.modelcontextprotocol/tasks"
UI: Final = "io.modelcontextprotocol/ui"
UNHEARD_OF: Final = "com.example/unheard-of"
PAGE: Final = "ui://page"

_ANY: Final = {"type": "object"}
_TOOLS: Final = [
    {"name": "work", "inputSchema": _ANY},
    {"name": "show", "inputSchema": _ANY, "_meta": {"ui": {"resourceUri": PAGE}}},
]


class Extended:
    """What the methods share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks: dict[str, dict[str, Any]] = {}

    def call(self, params: dict[str, Any]) -> dict[str, Any]:
        """`work` becomes a task, for clients that know tasks."""
        meta = params["_meta"]
        declared = meta.get("io.modelcontextprotocol/clientCapabilities", {}).get("extensions", {})
        if params["name"] != "work" or TASKS not in declared:
            done = {"content": [{"type": "text", "text": f"{self.name} is done"}]}
            return done | {"structuredContent": {"got": params}}
        handle = str(len(self.tasks) + 1)
        task = self.tasks[handle] = {"taskId": handle, "status": "working", "ttlMs": None, "owner": self.name}
        return task | {"resultType": "task"}

    def get(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._task(params)

    def update(self, params: dict[str, Any]) -> dict[str, Any]:
        self._task(params)["answers"] = params["inputResponses"]
        return {}

    def cancel(self, params: dict[str, Any]) -> dict[str, Any]:
        self._task(params)["status"] = "cancelled"
        return {}

    def result(self, params: dict[str, Any]) -> dict[str, Any]:
        self._task(params)
        return {"content": [{"type": "text", "text": f"of {params['taskId']}"}]}

    def _task(self, params: dict[str, Any]) -> dict[str, Any]:
        task = self.tasks.get(params["taskId"])
        if task is None:
            raise Refusal(-32602, "Unknown task")
        return task

    def service(self, era: str) -> Service:
        page = {"uri": PAGE, "mimeType": "text/html;profile=mcp-app"}
        methods: dict[str, Method] = {
            "tools/list": lambda _: {"tools": _TOOLS},
            "tools/call": self.call,
            "resources/list": lambda _: {"resources": [page | {"name": "page"}]},
            "resources/read": lambda _: {"contents": [page | {"text": f"<p>{self.name}</p>"}]},
            "tasks/get": self.get,
            "tasks/update": self.update,
            "tasks/cancel": self.cancel,
            "tasks/result": self.result,
            "tasks/list": lambda _: {"tasks": [*self.tasks.values()]},
            "tools/secret": lambda _: {"secret": True},
            "unheard/of": lambda params: {"by": self.name, "given": params.get("given")},
        }
        return Service(self.name, methods, era, {TASKS: {}, UI: {}, UNHEARD_OF: {}})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="extended")
    parser.add_argument("--era", choices=ERAS, default="both")
    args = parser.parse_args()
    service = Extended(args.name).service(args.era)

    serve_stdio(lines(service.answer))


if __name__ == "__main__":
    main()
