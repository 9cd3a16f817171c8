"""A hand-written server of tasks (SEP-2663): what the conformance suite asks for, and notifications of their status.

    python -m tests.servers.tasked [--transport stdio|http] [--port N] [--name NAME] [--quiet]

Handles count from 1, so that two such servers have the same ones. Over HTTP, `subscriptions/listen` tells of tasks, and
of any whose handle is guessed: to keep them apart is left to whoever stands before it. With `--quiet` it tells of
changes alone, and not of what is when a stream begins.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.servers.wire import Message, Method, Refusal, Service, encode, error_body, lines, serve_stdio
from tests.servers.wire_http import Exchange, HttpServer

TASKS: Final = "io.modelcontextprotocol/tasks"
_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
_NAMES: Final = {
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
    **dict.fromkeys(("tools/call", "prompts/get"), "name"),
    "resources/read": "uri",
}
_TOOLS: Final = (
    *("greet", "slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input"),
    "test_tool_with_task",
)
_LOOK_SECONDS: Final = 0.02


def _question(what: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {what: {"type": "string"}}, "required": [what]}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": what, "requestedSchema": schema}}


def _text(text: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], **more}


@dataclass
class Task:
    handle: str
    ready: float
    """When it is done, by the clock, unless it waits for answers."""
    outcome: dict[str, Any]
    """`result` or `error`."""
    questions: dict[str, Any] = field(default_factory=dict[str, Any])
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    is_cancelled: bool = False
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    def shown(self, *, detailed: bool = True) -> dict[str, Any]:
        waiting = {key: each for key, each in self.questions.items() if key not in self.answers}
        more: dict[str, Any] = {}
        if self.is_cancelled:
            status = "cancelled"
        elif waiting:
            status, more = "input_required", {"inputRequests": waiting}
        elif time.monotonic() < self.ready:
            status = "working"
        else:
            status, more = ("failed" if "error" in self.outcome else "completed"), self.outcome
        times = {"createdAt": self.created, "lastUpdatedAt": self.created, "ttlMs": 60_000, "pollIntervalMs": 100}
        return {"taskId": self.handle, "status": status, **times, **(more if detailed else {})}


class Tasked:
    def __init__(self, name: str, quiet: bool) -> None:
        self.name = name
        self._quiet = quiet
        self.tasks: dict[str, Task] = {}

    def call(self, params: dict[str, Any]) -> dict[str, Any]:
        name: str = params["name"]
        arguments: dict[str, Any] = params.get("arguments") or {}
        match name:
            case "greet":
                return _text(f"Hello, {arguments.get('name')}!")
            case "slow_compute":
                seconds = arguments.get("seconds", 0)
                done = _text(f"{self.name} computed {arguments.get('label')}")
                return self._start(params, seconds, {"result": done}) if seconds and _knows(params) else done
            case "failing_job":
                _require(params)
                return self._start(params, 0.2, {"result": _text("it failed", isError=True)})
            case "protocol_error_job":
                _require(params)
                return self._start(params, 0.2, {"error": {"code": -32603, "message": "it broke"}})
            case "confirm_delete" | "multi_input":
                _require(params)
                asked = ("confirm",) if name == "confirm_delete" else ("first", "second")
                return self._start(params, 0, {"result": _text("done")}, {key: _question(key) for key in asked})
            case "test_tool_with_task":
                _require(params)
                answer = params.get("inputResponses", {}).get("user_name")
                if answer is None:
                    asked = {"user_name": _question("name")}
                    return {"resultType": "input_required", "inputRequests": asked, "requestState": "opaque"}
                return self._start(params, 0.2, {"result": _text(f"for {answer['content']['name']}")})
            case _:
                raise Refusal(-32602, f"Unknown tool: {name}")

    def _start(
        self, params: dict[str, Any], seconds: float, outcome: dict[str, Any], questions: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        task = Task(str(len(self.tasks) + 1), time.monotonic() + seconds, outcome, questions or {})
        self.tasks[task.handle] = task
        return {"resultType": "task", **task.shown(detailed=False)}

    def get(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._task(params).shown()

    def update(self, params: dict[str, Any]) -> dict[str, Any]:
        task = self._task(params)
        task.answers |= {key: each for key, each in params["inputResponses"].items() if key in task.questions}
        return {}

    def cancel(self, params: dict[str, Any]) -> dict[str, Any]:
        task = self._task(params)
        task.is_cancelled = task.shown()["status"] in ("working", "input_required")
        return {}

    def _task(self, params: dict[str, Any]) -> Task:
        _require(params)
        task = self.tasks.get(params["taskId"])
        if task is None:
            raise Refusal(-32602, "Failed to retrieve task: Task not found")
        return task

    async def news(self, message: Message, connected: Callable[[], bool]) -> AsyncIterator[bytes]:
        """A listen stream: what it is for, and then each task whenever its status changes."""
        wanted: dict[str, Any] = message["params"]["notifications"]
        handles = [handle for handle in wanted.get("taskIds", ()) if handle in self.tasks]
        known = {handle: self.tasks[handle].shown()["status"] if self._quiet else "" for handle in handles}
        yield _frame(message, "notifications/subscriptions/acknowledged", {"notifications": {"taskIds": list(known)}})
        while connected():
            for handle, before in known.items():
                task = self.tasks[handle].shown()
                if task["status"] != before:
                    known[handle] = task["status"]
                    yield _frame(message, "notifications/tasks", task)
            await asyncio.sleep(_LOOK_SECONDS)

    def service(self) -> Service:
        methods: dict[str, Method] = {
            "tools/list": lambda _: {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in _TOOLS]},
            "tools/call": self.call,
            "tasks/get": self.get,
            "tasks/update": self.update,
            "tasks/cancel": self.cancel,
        }
        return Service(self.name, methods, "modern", {TASKS: {}})


def _frame(message: Message, method: str, params: dict[str, Any]) -> bytes:
    tagged = {**params, "_meta": {_SUBSCRIPTION: message["id"]}}
    return b"data: %b\n\n" % encode({"jsonrpc": "2.0", "method": method, "params": tagged})


def _knows(params: dict[str, Any]) -> bool:
    return TASKS in params.get("_meta", {}).get(_CAPABILITIES, {}).get("extensions", {})


def _require(params: dict[str, Any]) -> None:
    if not _knows(params):
        missing: Message = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        raise Refusal(-32021, "Missing required client capability", missing)


def _intercept(tasked: Tasked) -> Callable[[Exchange, Message], Any]:
    async def intercept(exchange: Exchange, message: Message) -> bool:
        method, params = message["method"], message.get("params", {})
        expected = {"mcp-method": method}
        if method in _NAMES:
            expected["mcp-name"] = params.get(_NAMES[method])
        if any(exchange.headers.get(name) != value for name, value in expected.items()):
            await exchange.send(400, error_body(Refusal(-32020, "Header mismatch"), message["id"]))
            return True
        if method == "subscriptions/listen":
            if params.get("notifications", {}).get("taskIds"):
                try:
                    _require(params)
                except Refusal as refusal:
                    await exchange.send(400, error_body(refusal, message["id"]))
                    return True
            await exchange.send_stream(tasked.news(message, lambda: not exchange.writer.is_closing()))
            return True
        return False

    return intercept


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="tasked")
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()
    tasked = Tasked(args.name, args.quiet)
    service = tasked.service()
    if args.transport == "http":
        asyncio.run(HttpServer(service, intercept=_intercept(tasked)).serve(args.port))
    else:
        serve_stdio(lines(service.answer))


if __name__ == "__main__":
    main()
