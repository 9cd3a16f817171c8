"""A hand-written server with tasks of 2025-11-25, whose tasks do what the test says when it says it.

    python -m tests.servers.handshake_tasked [--transport stdio|http] [--port N] [--name NAME] [--without-tasks]

Handles count from 1, so that two such servers have the same ones, and they are easily guessed: to keep them apart is
left to whoever stands before it. Tools: `work` becomes a task if it is asked to, with a handle of so many `digits`;
`must` and `ask` are always, and `ask` asks who fetches its result; `plain` is none. With `{label}` of a task, `end`
ends it (`error` says how, else it is completed), `status` answers how it is, and `tell` says of it what is in
`progress`, or else its status. `show` returns what it got.
"""

import argparse
import asyncio
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.servers.wire import HANDSHAKE, Message, Refusal, Service, decode, encode
from tests.servers.wire_http import Exchange, HttpServer

RELATED: Final = "io.modelcontextprotocol/related-task"
_SUPPORT: Final = {"work": "optional", "ask": "required", "must": "required"}
_TOOLS: Final = ("work", "ask", "must", "plain", "end", "tell", "status", "show")
_TIMES: Final = {"createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttl": 600_000}

Say = Callable[[Message], None]
"""Sends a message on the stream of the request it belongs to."""


@dataclass
class Task:
    handle: str
    label: str
    token: Any
    """For its progress."""
    asks: bool
    status: str = "working"
    outcome: Message = field(default_factory=dict[str, Any])
    """`result` or `error`."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def shown(self) -> Message:
        return {"taskId": self.handle, "status": self.status, **_TIMES, "pollInterval": 100}

    def end(self, status: str, **outcome: Any) -> None:
        self.status, self.outcome = status, outcome
        self.over.set()


def _text(text: str, **more: Any) -> Message:
    return {"content": [{"type": "text", "text": text}], **more}


class Tasked:
    def __init__(self, name: str, has_tasks: bool) -> None:
        self.name = name
        self._has_tasks = has_tasks
        self._tasks: dict[str, Task] = {}
        self.asked: dict[str, asyncio.Future[Message]] = {}

    def service(self) -> Service:
        return Service(self.name, {"tools/list": self._list}, "handshake")

    def _list(self, params: Message) -> Message:
        tools: list[Message] = [{"name": name, "inputSchema": {"type": "object"}} for name in _TOOLS]
        for tool in tools:
            if tool["name"] in _SUPPORT:
                tool["execution"] = {"taskSupport": _SUPPORT[tool["name"]]}
        return {"tools": tools}

    def opened(self, reply: Message) -> Message:
        """What it says of itself, with its tasks."""
        if self._has_tasks:
            tasks: Message = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
            reply["result"]["capabilities"]["tasks"] = tasks
        return reply

    async def answer(self, message: Message, say: Say) -> Message:
        """The reply to a request."""
        reply: Message = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            return reply | {"result": await self._result(message["method"], message.get("params", {}), say)}
        except Refusal as refusal:
            return reply | {"error": refusal.error}

    async def _result(self, method: str, params: Message, say: Say) -> Message:
        match method:
            case "tools/call":
                return self._call(params, say)
            case "tasks/list":
                return {"tasks": [task.shown() for task in self._tasks.values()]}
            case "tasks/get":
                return self._task(params).shown()
            case "tasks/result":
                return await self._outcome(self._task(params), say)
            case "tasks/cancel":
                task = self._task(params)
                if task.over.is_set():
                    raise Refusal(-32602, f"Cannot cancel task: already in terminal status {task.status!r}")
                task.end("cancelled", error=Refusal(-32000, "it was cancelled").error)
                return task.shown()
            case _:
                raise Refusal(-32601, f"Method not found: {method}")

    def _task(self, params: Message) -> Task:
        task = self._tasks.get(params["taskId"])
        if task is None:
            raise Refusal(-32602, "Failed to retrieve task: Task not found")
        return task

    def _call(self, params: Message, say: Say) -> Message:
        name: str = params["name"]
        arguments: Message = params.get("arguments") or {}
        is_task = self._has_tasks and "task" in params
        is_always = _SUPPORT.get(name) == "required"
        if is_task != is_always and name != "work":
            raise Refusal(-32601, f"{name} is {'a' if is_always else 'no'} task")
        match name:
            case "work" | "ask" | "must" if is_task:
                token = params.get("_meta", {}).get("progressToken")
                handle = str(len(self._tasks) + 1).zfill(int(arguments.get("digits", 1)))
                task = Task(handle, arguments["label"], token, asks=name == "ask")
                self._tasks[task.handle] = task
                return {"task": task.shown()}
            case "end":
                task = self._labelled(arguments)
                if "error" in arguments:
                    task.end("failed", error=arguments["error"])
                else:
                    task.end("completed", result=_text(f"{self.name} did {task.label}"))
            case "tell":
                self._tell(self._labelled(arguments), arguments, say)
            case "status":
                found = [task.status for task in self._tasks.values() if task.label == arguments["label"]]
                return _text(found[0] if found else "none")
            case "show":
                return _text("", structuredContent={"got": params})
            case _:
                pass
        return _text(f"{self.name} did {name}")

    def _labelled(self, arguments: Message) -> Task:
        return next(task for task in self._tasks.values() if task.label == arguments["label"])

    def _tell(self, task: Task, arguments: Message, say: Say) -> None:
        method, params = "notifications/tasks/status", task.shown()
        if "progress" in arguments:
            method = "notifications/progress"
            about = {RELATED: {"taskId": task.handle}}
            params = {"progressToken": task.token, "progress": arguments["progress"], "_meta": about}
        say({"jsonrpc": "2.0", "method": method, "params": params})

    async def _outcome(self, task: Task, say: Say) -> Message:
        about = {RELATED: {"taskId": task.handle}}
        if task.asks and not task.over.is_set():
            task.status = "input_required"
            id = uuid.uuid4().hex
            self.asked[id] = asyncio.get_running_loop().create_future()
            schema = {"type": "object", "properties": {"word": {"type": "string"}}}
            question = {"mode": "form", "message": task.label, "requestedSchema": schema, "_meta": about}
            say({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": question})
            task.end("completed", result=_text("asked", structuredContent={"answer": await self.asked[id]}))
        await task.over.wait()
        if "error" in task.outcome:
            error = task.outcome["error"]
            raise Refusal(error["code"], error["message"])
        return {**task.outcome["result"], "_meta": about}


class TaskedHttp(HttpServer):
    """The answer to a request and what belongs to it as one stream of events."""

    def __init__(self, tasked: Tasked) -> None:
        super().__init__(tasked.service())
        self._tasked = tasked

    async def _post(self, exchange: Exchange, message: Message) -> None:
        if "method" not in message and message.get("id") in self._tasked.asked:
            self._tasked.asked[message["id"]].set_result(message.get("result", {}))
        if message.get("method", "").startswith(("tools/call", "tasks/")) and "id" in message:
            await exchange.send_stream(self._events(message))
        else:
            await super()._post(exchange, message)

    async def reply(self, exchange: Exchange, message: Message) -> None:
        if message["method"] != "initialize":
            await super().reply(exchange, message)
            return
        session = uuid.uuid4().hex
        self.sessions.add(session)
        reply = self._tasked.opened(self.service.answer(message) or {})
        await exchange.send(200, encode(reply), {"Mcp-Session-Id": session})

    async def _events(self, message: Message) -> AsyncIterator[bytes]:
        said: asyncio.Queue[Message] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(self._tasked.answer(message, said.put_nowait))
            answering.add_done_callback(lambda done: said.put_nowait(done.result()))
            while True:
                each = await said.get()
                yield b"data: %b\n\n" % encode(each)
                if "method" not in each:
                    return


async def _serve_stdio(tasked: Tasked) -> None:
    loop, lines, service = asyncio.get_running_loop(), asyncio.Queue[bytes](), tasked.service()

    def read() -> None:
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, b"")

    def say(message: Message) -> None:
        sys.stdout.buffer.write(encode(message) + b"\n")
        sys.stdout.buffer.flush()

    async def answer(message: Message) -> None:
        say(await tasked.answer(message, say))

    threading.Thread(target=read, daemon=True).start()
    async with asyncio.TaskGroup() as tasks:
        while line := await lines.get():
            message = decode(line)
            if "method" not in message:
                tasked.asked[message["id"]].set_result(message.get("result", {}))
            elif message["method"].startswith(("tools/call", "tasks/")):
                tasks.create_task(answer(message))
            elif reply := service.answer(message):
                say(tasked.opened(reply) if message["method"] == "initialize" else reply)
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            each.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="tasked")
    parser.add_argument("--without-tasks", action="store_true")
    args = parser.parse_args()
    assert HANDSHAKE[-1] == "2025-11-25"
    tasked = Tasked(args.name, not args.without_tasks)
    if args.transport == "http":
        asyncio.run(TaskedHttp(tasked).serve(args.port))
    else:
        asyncio.run(_serve_stdio(tasked))


if __name__ == "__main__":
    main()
