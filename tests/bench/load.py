"""A closed loop of agents: each asks again as soon as it is answered, and every answer is checked.

What they ask is `Work`; how it travels is in `wires.py`. CPU and memory are those of the process under test and its
children, without the benchmark's own servers among them.
"""

import asyncio
import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import orjson

from tests.bench.answers import MODERN
from tests.bench.processes import usage, working_time

META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
PAD: Final = "x" * 90
WARM_UP_SECONDS: Final = 0.7
LONGEST_ANSWER: Final = 60.0
"""Seconds; nobody answers later when the load is over."""


class Wrong(Exception):
    """An answer is not what was to be answered."""


@dataclass(frozen=True)
class Work:
    """What is asked again and again.

    Args:
        tool: as the system under test calls it; nothing for tools/list.
        kind: whose answer is known: `echo`, `big`, `step`, or `list`.
        modern: in which era.
        size: KiB of a big answer, tools in a list (0 for any), or milliseconds of a step.
    """

    tool: str = "echo"
    kind: Literal["echo", "big", "step", "list"] = "echo"
    modern: bool = False
    size: int = 0

    @property
    def method(self) -> str:
        return "tools/list" if self.kind == "list" else "tools/call"

    def body(self, number: int) -> bytes:
        return self._template.replace(b"%08d", b"%08d" % number).replace(b'"%d"', b"%d" % number)

    @cached_property
    def _template(self) -> bytes:
        """Of a request, without its number."""
        params: dict[str, Any] = {}
        if self.kind != "list":
            params = {"name": self.tool, "arguments": self._arguments}
        meta = dict[str, Any](META if self.modern else {})
        if self.kind == "step":
            meta["progressToken"] = "p"
        if meta:
            params["_meta"] = meta
        return json.dumps({"jsonrpc": "2.0", "id": "%d", "method": self.method, "params": params}).encode()

    @property
    def _arguments(self) -> dict[str, Any]:
        match self.kind:
            case "echo":
                return {"text": f"m%08d{PAD}"}
            case "big":
                return {"kb": self.size}
            case _:
                return {"ms": self.size}

    def check(self, number: int, reply: bytes) -> None:
        """
        Raises:
            Wrong: this does not answer request `number`.
        """
        answer: dict[str, Any] = orjson.loads(reply)
        result: dict[str, Any] | None = answer.get("result")
        if answer.get("id") != number or result is None or result.get("isError"):
            raise Wrong(f"request {number}: {reply[:300]!r}")
        if self.kind == "list":
            if len(result["tools"]) != (self.size or len(result["tools"])):
                raise Wrong(f"{len(result['tools'])} tools instead of {self.size}")
            return
        said = result["content"][0]["text"]
        match self.kind:
            case "echo":
                right = said == f"m{number:08d}{PAD}"
            case "big":
                right = len(said) == self.size * 1024
            case _:
                right = said == "step"
        if not right:
            raise Wrong(f"request {number}: {reply[:300]!r}")


class Agent:
    """One that has one request in flight at a time."""

    def __init__(self) -> None:
        self.answered: Callable[[bytes], None] = lambda reply: None
        """Called with each answer."""
        self.broken: Callable[[str], None] = lambda why: None
        """Called when none will come."""

    def send(self, body: bytes) -> None:
        raise NotImplementedError

    async def exchange(self, body: bytes) -> bytes:
        """One request aside; returns what is answered.

        Raises:
            Wrong: the connection broke.
        """
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def broken(why: str) -> None:
            if not answer.done():
                answer.set_exception(Wrong(why))

        self.answered, self.broken = answer.set_result, broken
        self.send(body)
        return await asyncio.wait_for(answer, LONGEST_ANSWER)

    async def aclose(self) -> None: ...


@dataclass
class Measured:
    """What a system did in one window of time."""

    seconds: float
    took: list[float]
    """Of each call, sorted."""
    cpu: float
    """Seconds."""
    memory: int
    """Bytes, at the end."""
    pause: float
    """Longest time, in seconds, in which nobody was answered."""
    stretch: float
    """Longest time, in seconds, that the process was at work in between; 0 if that was not watched."""

    @property
    def calls(self) -> int:
        return len(self.took)

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of CPU a call."""
        return self.cpu / self.calls * 1e6

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return self.took[min(self.calls - 1, int(share * self.calls))] * 1000


@dataclass
class Load:
    work: Work
    agents: Sequence[Agent]
    watched: bool = False
    """Whether the process's stretches of work are measured, which costs 2 µs an answer."""
    asked: int = 0
    """Requests, until now."""
    _took: list[float] = field(default_factory=list[float])
    _measuring: bool = False
    _stopping: bool = False
    _busy: int = 0
    _answered_at: float = 0.0
    _pause: float = 0.0
    _stretch: float = 0.0

    def __post_init__(self) -> None:
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, pid: int, seconds: float) -> Measured:
        """
        Args:
            pid: whose CPU and memory are measured.

        Raises:
            Wrong: an answer was, or a connection broke.
        """
        gc.collect()
        gc.freeze()
        gc.disable()  # so that no pause is ours
        try:
            for agent in self.agents:
                self._start(agent)
            await self._pass(WARM_UP_SECONDS)
            self._worked = working_time(pid) if self.watched else lambda: 0.0
            self._worked_at = self._worked()
            before, began = usage(pid), time.perf_counter()
            self._measuring, self._answered_at = True, began
            await self._pass(seconds)
            self._measuring, self._stopping = False, True
            took, after = time.perf_counter() - began, usage(pid)
            await asyncio.wait_for(self._over, LONGEST_ANSWER)
        finally:
            gc.enable()
            gc.unfreeze()
        if not self._took:
            raise Wrong("no call was answered in time")
        return Measured(took, sorted(self._took), after.cpu - before.cpu, after.memory, self._pause, self._stretch)

    async def _pass(self, seconds: float) -> None:
        await asyncio.wait([self._over], timeout=seconds)
        if self._over.done():
            self._over.result()

    def _start(self, agent: Agent) -> None:
        number, began, check = 0, 0.0, self.work.check

        def ask() -> None:
            nonlocal number, began
            self.asked += 1
            number, began = self.asked, time.perf_counter()
            agent.send(self.work.body(number))

        def answered(reply: bytes) -> None:
            if self._measuring:
                now = time.perf_counter()
                self._took.append(now - began)
                self._pause = max(self._pause, now - self._answered_at)
                self._answered_at = now
                worked = self._worked()
                self._stretch = max(self._stretch, worked - self._worked_at)
                self._worked_at = worked
            try:
                check(number, reply)
            except Exception as error:
                broken(f"{error!r}: {reply[:200]!r}")
                return
            if not self._stopping:
                ask()
            else:
                self._busy -= 1
                if not self._busy and not self._over.done():
                    self._over.set_result(None)

        def broken(why: str) -> None:
            if not self._over.done():
                self._over.set_exception(Wrong(why))

        agent.answered, agent.broken = answered, broken
        self._busy += 1
        ask()
