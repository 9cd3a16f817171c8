"""What changes in a handshake-era session after its id was sealed, noted for when the session is made anew: which
resources it is subscribed to, and its log level."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from gateway.call import Answerer, Call
from gateway.protocol import CHANGE_NOTIFICATIONS, LOG_LEVELS
from gateway.server.agents import ConnectedAgent
from gateway.server.listening import Listening
from gateway.server.log_messages import LogMessages
from gateway.server.lookup import Lookup, Opener

LEVEL: Final = "level"
RESOURCE: Final = "resource "
"""What the names of facts that are subscriptions begin with; the URI follows."""

Note = Callable[[ConnectedAgent, Mapping[str, str | None]], Awaitable[None]]
"""`(agent, changes)`: notes facts of an agent by name; None forgets one."""


async def _nowhere(agent: ConnectedAgent, changes: Mapping[str, str | None]) -> None:
    """Connections that cannot be taken up again need no notes."""


class SessionFacts:
    """Answers the requests that change a session, and restores what they changed."""

    def __init__(self, lookup: Lookup, listening: Listening, log_messages: LogMessages) -> None:
        self.note: Note = _nowhere
        self._lookup = lookup
        self._listening = listening
        self._log_messages = log_messages
        self._is_sharing = self._is_due = False

    @property
    def methods(self) -> dict[str, Answerer]:
        return {
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
            "logging/setLevel": self._set_level,
        }

    async def restore(self, agent: ConnectedAgent, facts: Mapping[str, str]) -> None:
        """A session was made anew. What it may have missed meanwhile, it is told to look at again."""
        opener = Opener(agent)
        self._lookup.note(opener)
        for kind in CHANGE_NOTIFICATIONS:
            if kind in self._lookup.catalogue(opener).capabilities:
                agent.notify(CHANGE_NOTIFICATIONS[kind], None)
        if (level := facts.get(LEVEL)) in LOG_LEVELS:
            agent.log_level = level
            await self._share_levels()
        uris = [name.removeprefix(RESOURCE) for name in facts if name.startswith(RESOURCE)]
        if uris:
            await self._listening.resume(agent, uris)

    async def apply(self, agent: ConnectedAgent, changes: Mapping[str, str | None]) -> None:
        """These facts changed at another node."""
        if (level := changes.get(LEVEL)) in LOG_LEVELS:
            agent.log_level = level
            await self._share_levels()
        for name, value in changes.items():
            if name.startswith(RESOURCE):
                uri = name.removeprefix(RESOURCE)
                if value is None:
                    await self._listening.drop(agent, uri)
                else:
                    await self._listening.resume(agent, [uri], look_again=False)

    async def _subscribe(self, call: Call) -> dict[str, Any]:
        result = await self._listening.subscribe(call)
        await self._noted(call, {RESOURCE + call.params["uri"]: ""})
        return result

    async def _unsubscribe(self, call: Call) -> dict[str, Any]:
        result = await self._listening.unsubscribe(call)
        await self._noted(call, {RESOURCE + call.params["uri"]: None})
        return result

    async def _set_level(self, call: Call) -> dict[str, Any]:
        result = await self._log_messages.set_level(call)
        await self._noted(call, {LEVEL: call.params["level"]})
        return result

    async def _noted(self, call: Call, changes: Mapping[str, str | None]) -> None:
        await self.note(cast(ConnectedAgent, call.agent), changes)

    async def _share_levels(self) -> None:
        """Once for all that come at a time: after a restart very many do."""
        self._is_due = True
        if self._is_sharing:
            return
        self._is_sharing = True
        try:
            while self._is_due:
                self._is_due = False
                await self._log_messages.share_level()
        finally:
            self._is_sharing = False
