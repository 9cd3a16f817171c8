"""A gateway as a process, its file to be changed while it runs, and calls that are answered when the test says."""

import json
import os
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2

from tests.interaction._gateway import PATIENT, Entry, Gateway, child, config_file, http_gateway
from tests.interaction._http import BOTH, fields
from tests.interaction._wire import INITIALIZED, Message, request
from tests.servers.peers import OPENING
from tests.support import ROOT, wait_until

SECONDS: Final = 30.0


def gate(*args: str, label: str = "", **more: Any) -> Entry:
    """An upstream: see `tests.servers.gate`."""
    return child("tests.servers.gate", *args, env={"LABEL": label, "PYTHONUNBUFFERED": "1"}, **more)


@dataclass
class Agent:
    """Somebody who speaks HTTP, in one era. Each request has a connection of its own, or the one that is kept alive."""

    client: httpx2.AsyncClient
    url: str
    modern: bool
    session: dict[str, str] = field(default_factory=dict[str, str])

    async def open(self) -> "Agent":
        if not self.modern:
            answer = await self._post(request("initialize", OPENING))
            self.session = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
            await self._post(INITIALIZED)
        return self

    async def ask(self, method: str, params: Message | None = None) -> Message:
        """The answer: a result, or an error."""
        answer = await self._post(request(method, params, modern=self.modern))
        return last_message(answer)

    async def call(self, tool: str, **arguments: Any) -> Message:
        """The structured result of a call that goes well."""
        answer = await self.ask("tools/call", {"name": tool, "arguments": arguments})
        assert "result" in answer, answer
        return answer["result"]["structuredContent"]

    async def tools(self) -> list[str]:
        return [tool["name"] for tool in (await self.ask("tools/list"))["result"]["tools"]]

    async def _post(self, message: Message) -> httpx2.Response:
        return await self.client.post(self.url, json=message, headers={**fields(message), **self.session})


@asynccontextmanager
async def hearing(agent: Agent) -> AsyncGenerator[list[str]]:
    """What an agent with a session is told unasked, method by method, while the block lasts."""
    heard: list[str] = []
    headers = {**agent.session, "Accept": "text/event-stream"}
    async with agent.client.stream("GET", agent.url, headers=headers) as stream, anyio.create_task_group() as tg:

        async def listen() -> None:
            async for line in stream.aiter_lines():
                if line.startswith("data: {"):
                    heard.append(json.loads(line.removeprefix("data: "))["method"])

        tg.start_soon(listen)
        yield heard
        tg.cancel_scope.cancel()


def last_message(answer: httpx2.Response) -> Message:
    """The one that answers, whatever form the response has."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line.removeprefix("data:") for line in answer.text.splitlines() if line.startswith("data: {")]
        return json.loads(lines[-1])
    return answer.json()


@dataclass
class House:
    """A gateway over HTTP."""

    folder: Path
    gateway: Gateway
    client: httpx2.AsyncClient
    settings: dict[str, Any]

    @property
    def gate(self) -> Path:
        """The file that `hold` waits for."""
        return self.folder / "gate"

    def open_gate(self) -> None:
        self.gate.touch()

    def began(self) -> int:
        """How many held calls have arrived."""
        return len(list(self.folder.glob("gate.began.*")))

    async def agent(self, modern: bool = True, view: str | None = None) -> Agent:
        path = f"/mcp/{view}" if view else "/mcp"
        return await Agent(self.client, self.gateway.base + path, modern).open()

    def write(self, servers: dict[str, Entry], **settings: Any) -> None:
        """Change the file as an editor does: the new one takes the old one's place."""
        staged = self.folder / "new"
        staged.mkdir(exist_ok=True)
        path = config_file(staged, servers, **{**self.settings, **settings})
        path.replace(self.folder / path.name)

    def write_text(self, text: str) -> None:
        """Change the file in place."""
        (self.folder / "servers.json").write_text(text)

    def signal(self, number: int) -> None:
        os.kill(self.gateway.process.pid, number)

    async def get(self, path: str) -> Any:
        return (await self.client.get(self.gateway.base + path)).json()

    async def upstream(self, name: str) -> Any:
        return await self.get(f"/upstreams/{name}")

    async def configuration(self) -> Any:
        return (await self.get("/upstreams"))["configuration"]

    async def loaded_anew(self, act: Callable[[], None]) -> None:
        """Do something, and wait until the configuration in force is another."""
        before = (await self.configuration())["loaded_at"]
        act()

        async def loaded() -> bool:
            return (await self.configuration())["loaded_at"] != before

        await wait_until(loaded, SECONDS)

    async def serves(self, agent: Agent, tool: str, label: str) -> None:
        """Wait until a call is answered by the process of that label."""

        async def does() -> bool:
            return (await agent.call(tool))["label"] == label

        await wait_until(does, SECONDS)

    def children(self) -> list[int]:
        """The processes that the gateway has started and not ended."""
        pid = self.gateway.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@asynccontextmanager
async def house(folder: Path, servers: dict[str, Entry], **settings: Any) -> AsyncGenerator[House]:
    """Run a gateway until the block ends; its upstreams are up."""
    settings = {**PATIENT, "state_dir": str(folder / "state"), **settings}
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
    with http_gateway(folder, servers, **settings) as gateway:
        async with httpx2.AsyncClient(timeout=SECONDS, limits=limits, headers=BOTH) as client:
            it = House(folder, gateway, client, settings)
            assert await (await it.agent()).tools() or not servers
            yield it


def started(args: list[str], terminal: int) -> subprocess.Popen[bytes]:
    """A program with all its streams at one end."""
    return subprocess.Popen(args, cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)


@dataclass
class Load:
    """Calls without a pause, and what became of them."""

    answered: int = 0
    failures: list[str] = field(default_factory=list[str])


@asynccontextmanager
async def load(agents: list[Agent], tools: list[str]) -> AsyncGenerator[Load]:
    """Have each agent call the tools in turn, over and over, until the block ends."""
    load, done = Load(), anyio.Event()

    async def work(agent: Agent) -> None:
        for number in count():
            if done.is_set():
                return
            try:
                await agent.call(tools[number % len(tools)])
                load.answered += 1
            except Exception as error:
                load.failures.append(f"{type(error).__name__}: {error}")

    async with anyio.create_task_group() as tg:
        for agent in agents:
            tg.start_soon(work, agent)
        yield load
        done.set()
