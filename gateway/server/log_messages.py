"""Log messages of upstreams: at which level each runs, and whose a message is that names no request."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import anyio
import structlog

from gateway.bridge.log_levels import LogRequests
from gateway.call import Call
from gateway.errors import GatewayError, InvalidParams
from gateway.protocol import LOG_LEVELS, Era
from gateway.request import Agent, wants
from gateway.server.agents import ConnectedAgent
from gateway.server.lookup import Opener, Viewer
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
            await self.share_level()

    async def set_level(self, call: Call) -> dict[str, Any]:
        level = call.params.get("level")
        if level not in LOG_LEVELS:
            raise InvalidParams(f"level must be one of {', '.join(LOG_LEVELS)}")
        cast(ConnectedAgent, call.agent).log_level = level
        await self.share_level()
        return {}

    def raises_level(self, call: Call) -> bool:
        """Note the level that a modern call asks for; whether its upstream has to say more for it than so far."""
        level = call.agent.log_level
        if level is None or call.agent.era is not Era.MODERN or call.upstream is None:
            return False
        return self._requests.asks(call.upstream, level)

    async def take_up(self, upstream: Upstream) -> None:
        """Have the upstream log at the level that requests ask for."""
        await self.share_level(upstream)

    async def restore_subscriptions(self, upstream: Upstream) -> None:
        """One begins to serve: have it run at the level asked for so far."""
        await self.share_level(upstream)

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
        working = self._upstreams[upstream].calls if upstream in self._upstreams else ()
        requests = [call for call in working if audience.includes(call.agent)]
        if len({*(one.opener.root_id for one in agents), *(call.principal.root_id for call in requests)}) != 1:
            return
        if len({call.agent.id for call in requests}) == 1:
            if wants(requests[-1].agent, params):
                requests[-1].notify(METHOD, params)
            return
        for one in agents:
            if self._sees(Opener(one), upstream):
                _tell(one, params)

    async def share_level(self, *upstreams: Upstream) -> None:
        """Have these upstreams, or all, run at the most verbose level asked for; waits a little for them to agree."""
        agents = [agent for agent in self._agents.values() if agent.log_level is not None]
        with anyio.move_on_after(AGREE_SECONDS):
            async with anyio.create_task_group() as tg:
                for upstream in list(upstreams or self._upstreams.values()):
                    levels = [agent.log_level for agent in agents if self._sees(Opener(agent), upstream.name)]
                    tg.start_soon(_set_level, upstream, self._requests.level(upstream.name, levels))


async def _set_level(upstream: Upstream, level: str | None) -> None:
    try:
        await upstream.links.set_log_level(level)
    except GatewayError as error:
        log.warning("log level not set", upstream=upstream.name, reason=error.message)


def _tell(agent: Agent, params: dict[str, Any]) -> None:
    if wants(agent, params):
        agent.notify(METHOD, params)
