"""Log messages of upstreams: at which level each runs, and whose a message is that names no request."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import anyio
import structlog

from gateway.bridge.log_levels import LogRequests, is_wanted
from gateway.errors import GatewayError, InvalidParams
from gateway.frontend.agents import ConnectedAgent
from gateway.frontend.lookup import Opener, Viewer
from gateway.protocol import LOG_LEVELS, Era
from gateway.request import Agent, Request
from gateway.upstream.audience import Audience
from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.frontend")

AGREE_SECONDS: Final = 5.0
"""How long an answer waits for upstreams to take up the level it is about."""

METHOD: Final = "notifications/message"


class LogMessages:
    """Handles `logging/setLevel`, and what the modern era asks for with each request.

    Args:
        sees: whether an upstream is there for an agent. Of one that is not, an agent neither sets the level nor hears.
    """

    def __init__(self, upstreams: Mapping[str, Upstream], sees: Callable[[Viewer, str], bool]) -> None:
        self._upstreams = upstreams
        self._sees = sees
        self._agents: dict[str, ConnectedAgent] = {}
        self._requests = LogRequests()

    def open(self, agent: ConnectedAgent) -> None:
        """A handshake-era agent has connected."""
        self._agents[agent.id] = agent

    async def close(self, agent: ConnectedAgent) -> None:
        """It has gone."""
        if self._agents.pop(agent.id, None) is not None and agent.log_level is not None:
            await self._share_level()

    async def set_level(self, request: Request) -> dict[str, Any]:
        level = request.params.get("level")
        if level not in LOG_LEVELS:
            raise InvalidParams(f"level must be one of {', '.join(LOG_LEVELS)}")
        cast(ConnectedAgent, request.agent).log_level = level
        await self._share_level()
        return {}

    async def take_up(self, request: Request, upstream: Upstream) -> None:
        """Have the upstream log at the level that a modern request asks for."""
        level = request.agent.log_level
        if request.agent.era is Era.MODERN and level and self._requests.asks(upstream.name, level):
            await self._share_level(upstream)

    async def brief(self, upstream: Upstream) -> None:
        """One begins to serve: have it run at the level asked for so far."""
        await self._share_level(upstream)

    @contextmanager
    def at_work(self, upstream: str, request: Request) -> Generator[None]:
        """The upstream is working on the request while this lasts."""
        with self._requests.at_work(upstream, request):
            yield

    def on_log(self, upstream: str, params: dict[str, Any], audience: Audience) -> None:
        """A message that names no request.

        What came by a connection that has one client is for that client alone. Else it is for those who may be meant,
        if they are all of one root principal; if not, it could be about somebody else's business, and is nobody's.
        Among theirs it is for who alone is served there now, if one is; a modern request gets it only then, for it has
        no stream that outlives it.
        """
        if audience.agent is not None:
            _tell(audience.agent, params)
            return
        agents = [one for one in self._agents.values() if audience.includes(one)]
        requests = [request for request in self._requests.working(upstream) if audience.includes(request.agent)]
        if len({*(one.opener.root_id for one in agents), *(request.principal.root_id for request in requests)}) != 1:
            return
        if len({request.agent.id for request in requests}) == 1:
            if is_wanted(requests[-1].agent, params):
                requests[-1].notify(METHOD, params)
            return
        for one in agents:
            if self._sees(Opener(one), upstream):
                _tell(one, params)

    async def _share_level(self, *upstreams: Upstream) -> None:
        """Have these upstreams, or all, run at the most verbose level asked for; waits a little for them to agree."""
        agents = [agent for agent in self._agents.values() if agent.log_level is not None]
        with anyio.move_on_after(AGREE_SECONDS):
            async with anyio.create_task_group() as tg:
                for upstream in list(upstreams or self._upstreams.values()):
                    levels = [agent.log_level for agent in agents if self._sees(Opener(agent), upstream.name)]
                    tg.start_soon(_set_level, upstream, self._requests.level(upstream.name, levels))


async def _set_level(upstream: Upstream, level: str | None) -> None:
    try:
        await upstream.set_log_level(level)
    except GatewayError as error:
        log.warning("log level not set", upstream=upstream.name, reason=error.message)


def _tell(agent: Agent, params: dict[str, Any]) -> None:
    if is_wanted(agent, params):
        agent.notify(METHOD, params)
