"""What changes in a handshake-era session after its id was sealed, noted for when the session is made anew: which
resources it is subscribed to, its log level, which tools it has found, and which servers run a process for it alone."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from gateway.call import Answerer, Call
from gateway.errors import StateGone
from gateway.protocol import CHANGE_NOTIFICATIONS, LOG_LEVELS
from gateway.request import Agent
from gateway.server.agents import ConnectedAgent
from gateway.server.listening import Listening
from gateway.server.log_messages import LogMessages
from gateway.server.lookup import Lookup, Opener
from gateway.server.tool_search import ToolSearch

LEVEL: Final = "level"
RESOURCE: Final = "resource "
"""What the names of facts that are subscriptions begin with; the URI follows."""

PROCESS: Final = "process "
"""The same of processes of its own; the upstream's name follows. The value is the node that runs it."""

Note = Callable[[ConnectedAgent, Mapping[str, str | None]], Awaitable[None]]
"""`(agent, changes)`: notes facts of an agent by name; None forgets one."""


async def _nowhere(agent: ConnectedAgent, changes: Mapping[str, str | None]) -> None:
    """Connections that cannot be taken up again need no notes."""


class SessionFacts:
    """Answers the requests that change a session, and restores what they changed."""

    def __init__(
        self, lookup: Lookup, listening: Listening, log_messages: LogMessages, tool_search: ToolSearch
    ) -> None:
        self.note: Note = _nowhere
        self.note_soon: Callable[[ConnectedAgent, Mapping[str, str | None]], None] = lambda agent, changes: None
        self._tool_search = tool_search
        tool_search.note = lambda agent, changes: self.note_soon(agent, changes)
        self.node = ""
        """This one, as others know it."""
        self._processes: dict[str, set[str]] = {}
        """Agent's id → upstreams that run a process for it alone."""
        self._lost = set[tuple[str, str]]()
        """`(agent's id, upstream)`: those that are gone, of which it has not heard."""
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
        self._tool_search.restore(agent, facts)
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
        self._tool_search.restore(agent, changes)
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

    # --- Processes of its own -----------------------------------------------------------------------------------------

    def on_own_process(self, upstream: str, agent: Agent) -> None:
        """See `Observer.on_own_process`."""
        lost = agent.id, upstream
        if lost in self._lost:
            self._lost.discard(lost)
            raise StateGone(upstream)
        self._processes.setdefault(agent.id, set()).add(upstream)
        self.note_soon(cast(ConnectedAgent, agent), {PROCESS + upstream: self.node})

    async def find_lost(
        self, agent: ConnectedAgent, facts: Mapping[str, str], is_gone: Callable[[str], Awaitable[bool]]
    ) -> None:
        """A session is made anew: find out which processes of its own are gone.

        Args:
            is_gone: whether a node is.
        """
        for name, node in facts.items():
            if name.startswith(PROCESS) and await is_gone(node):
                self._lost.add((agent.id, name.removeprefix(PROCESS)))

    async def idle(self, agent: ConnectedAgent) -> None:
        """What its own processes knew, it could have forgotten too by now."""
        if processes := self._processes.get(agent.id):
            await self.note(agent, {PROCESS + upstream: None for upstream in processes})

    def close(self, agent: ConnectedAgent) -> None:
        """It has gone."""
        self._processes.pop(agent.id, None)
        if self._lost:
            self._lost = {each for each in self._lost if each[0] != agent.id}

    # --- Requests -----------------------------------------------------------------------------------------------------

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
