"""A gateway's REST side on a real socket, with upstreams that really run, behind the least of fronts."""

import json
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2

from gateway.access.agent_tokens import AgentTokens
from gateway.access.policy import Policy, Rule
from gateway.access.rate_limit import Limit, MemoryLimiter, headers
from gateway.access.signing_key import SigningKeys
from gateway.app import Gateway
from gateway.config.models import GatewaySettings
from gateway.config.reading.loader import load
from gateway.errors import GatewayError, InsufficientScope, RateLimited, Unauthenticated
from gateway.frontend.connections import Handle, bounds_of
from gateway.frontend.http import Rest
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.listener import HttpListener
from gateway.logins.connecting import Connecting
from gateway.request import ADMIN, READ, WRITE, Principal
from gateway.rest import fail, rest_app
from gateway.rest.changes import ignore
from gateway.store.agents import MemoryAgentStore
from gateway.telemetry.activity import Activity
from gateway.upstream.upstream import Upstream

PEOPLE: Final = {
    who.owner: who
    for who in (
        Principal("key:alice", "api_key", "alice", frozenset({READ, WRITE, ADMIN})),
        Principal("key:bob", "api_key", "bob", frozenset({READ, WRITE}), frozenset({"time"})),
        Principal("key:carol", "api_key", "carol", frozenset({READ})),
        Principal("key:dora", "api_key", "dora", frozenset()),
        Principal("key:erin", "api_key", "erin", frozenset({READ, WRITE}), frozenset({"time"})),
        Principal("key:hasty", "api_key", "hasty", rate_limit_rpm=1),
    )
}
"""By API key."""

PUBLIC: Final = ("/health", "/readyz", "/metrics", "/docs", "/openapi.json")

PATIENCE: Final = 30.0
"""Seconds for an answer, on a busy machine."""

TIME: Final = {"command": sys.executable, "args": ["-P", "-m", "gateway.demo.time"]}
"""An upstream that works."""
BROKEN: Final = {"command": "no-such-program-anywhere"}


@dataclass
class House:
    """What a test may look at and ask."""

    base: str
    gateway: Gateway
    agents: AgentTokens
    client: httpx2.AsyncClient
    activity: Activity
    draining: bool = False

    async def ask(
        self, who: str | None, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx2.Response:
        """One request of somebody, by their name, or of nobody."""
        credential = {"x-api-key": who} if who else {}
        return await self.client.request(method, path, headers={**credential, **(headers or {})}, **more)


@asynccontextmanager
async def house(
    folder: Path,
    servers: Mapping[str, Mapping[str, Any]],
    *,
    rules: Sequence[Rule] = (),
    restart: Callable[[Upstream], None] = Upstream.restart,
    cap: int = 100,
    **settings: Any,
) -> AsyncGenerator[House]:
    """Serve until the block ends.

    Args:
        settings: of the `gateway` block.
        cap: agents of one principal.
    """
    path = folder / "servers.json"
    path.write_text(json.dumps({"gateway": {"state_dir": str(folder / "state"), **settings}, "servers": servers}))
    config = load(path, environ={}, dotenv=None)
    gateway = Gateway(config)
    agents = AgentTokens(SigningKeys.from_secret("s" * 32), MemoryAgentStore(), cap=cap)
    activity = Activity()
    rest = rest_app(
        gateway.current,
        gateway.upstreams,
        gateway.library,
        Policy(rules),
        gateway.metrics,
        agents,
        restart=restart,
        count=_Counter(),
        is_draining=lambda: served.draining,
        lacks_scope=_lacks_scope,
        activity=activity,
        connecting=lambda: _connecting(gateway),
    )
    async with (
        gateway.running(),
        listening(_front(rest, agents)) as base,
        httpx2.AsyncClient(base_url=base, timeout=PATIENCE) as client,
    ):
        served = House(base, gateway, agents, client, activity)
        yield served


@asynccontextmanager
async def listening(handle: Handle) -> AsyncGenerator[str]:
    """Serve on a free port; yields its base URL."""
    listener = HttpListener("127.0.0.1", 0, bounds_of(GatewaySettings()))
    async with anyio.create_task_group() as tg:
        await tg.start(listener.serve, handle, fail)
        yield listener.url
        tg.cancel_scope.cancel()


def _connecting(gateway: Gateway) -> Connecting:
    logins = gateway.logins
    servers = gateway.current.config.enabled
    return Connecting(logins, gateway.store, lambda: servers, lambda who, server: True, ignore)


class _Counter:
    """Counts as the gateway does: a bucket for each principal."""

    def __init__(self) -> None:
        self._limiter = MemoryLimiter()

    async def __call__(self, principal: Principal) -> Mapping[str, str]:
        limit = Limit(principal.rate_limit_rpm or 100_000)
        decision = self._limiter.consume(principal.id, limit)
        if not decision.allowed:
            raise RateLimited(decision.retry_after, f"of {limit.rpm} a minute")
        return headers(decision)


def _front(rest: Rest, agents: AgentTokens) -> Handle:
    """Says who is asking, and no more."""

    async def front(request: HttpRequest) -> None:
        user = None if request.path.startswith(PUBLIC) else await _authenticate(request.headers, agents)
        await rest(request, user)

    return front


async def _authenticate(given: Mapping[str, str], agents: AgentTokens) -> Principal:
    if "x-api-key" in given:
        principal = PEOPLE.get(given["x-api-key"])
        if principal is None:
            raise Unauthenticated("This API key is not valid.")
        return replace(principal)  # never the same object twice
    if "x-agent-token" in given:
        return await agents.authenticate(given["x-agent-token"])
    raise Unauthenticated("Authentication is required.")


def _lacks_scope(principal: Principal, needed: Collection[str]) -> GatewayError:
    error = InsufficientScope(needed)
    error.headers["www-authenticate"] = f'Bearer error="insufficient_scope", scope="{" ".join(needed)}"'
    return error
