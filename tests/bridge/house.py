"""A whole gateway in this process, without a front: real upstreams on one side, requests as the fronts make them on the
other."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio

from gateway import jsonrpc
from gateway.app import Gateway
from gateway.call import Call
from gateway.config.reading.loader import load
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent
from gateway.timing import USUAL, Timing
from tests.bridge.requests import ALL, HANDSHAKE, MODERN
from tests.interaction._gateway import PATIENT, Entry, config_file

SECONDS: Final = 20.0
_ids: Final = count(1)


@dataclass
class Somebody:
    """An agent, and what became of its requests. Each request of a modern one stands alone, as over HTTP."""

    gateway: Gateway
    version: str = MODERN
    principal: str = "ann"
    view: str | None = None
    capabilities: dict[str, Any] = field(default_factory=lambda: ALL)
    asked: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    """What a handshake-era agent was asked live."""
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    """Its answers, by method; an exception is raised, and for None there is never one."""
    heard: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    session: ConnectedAgent | None = None

    def open(self) -> "Somebody":
        """Open the session that a handshake-era agent has."""
        self.session = self._agent(lasting=True)
        self.gateway.server.open(self.session)
        return self

    async def close(self) -> None:
        assert self.session is not None
        await self.gateway.server.close(self.session)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        agent = self.session or self._agent(lasting=False)
        ask = self._answer if self.version == HANDSHAKE else None
        request = Call(next(_ids), method, params, agent, agent.opener, self._hear, ask)
        with anyio.fail_after(SECONDS):
            return jsonrpc.opened(await self.gateway.handle(request))

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return await self.send("tools/call", name=tool, arguments=arguments or {}, **more)

    def _agent(self, *, lasting: bool) -> ConnectedAgent:
        principal = Principal(self.principal, rate_limit_rpm=-1)
        return ConnectedAgent(
            principal,
            self.view,
            self.version,
            self.capabilities,
            outlet=self._hear,
            inquiry=self._answer,
            lasting=lasting,
        )

    def _hear(self, method: str, params: dict[str, Any] | None) -> None:
        self.heard.append((method, params))

    async def _answer(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        self.asked.append((method, params))
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await anyio.sleep_forever()
        return answer or {}


@asynccontextmanager
async def gateway_of(
    folder: Path, servers: Mapping[str, Entry], timing: Timing = USUAL, /, **settings: Any
) -> AsyncGenerator[Gateway]:
    """A running gateway, whose upstreams are all up."""
    gateway = Gateway(load(config_file(folder, servers, **PATIENT, **settings), dotenv=None), timing=timing)
    async with gateway.running():
        for upstream in gateway.upstreams.values():
            with anyio.fail_after(SECONDS):
                await upstream.settled.wait()
        yield gateway


def questions(result: dict[str, Any]) -> dict[str, Any]:
    """What a modern agent is asked by a result."""
    assert result["resultType"] == "input_required", result
    return result["inputRequests"]


def form(word: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"answer": word}}


def text_of(result: dict[str, Any]) -> str:
    assert not result.get("isError"), result
    return result["content"][0]["text"]
