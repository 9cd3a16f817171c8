"""Connections that one agent, or one identity, has to itself (`isolation`): made when needed, closed with it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import anyio
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.errors import UpstreamUnavailable
from gateway.protocol import Era
from gateway.request import Agent, Principal
from gateway.upstream.audience import Audience
from gateway.upstream.fair import has_room
from gateway.upstream.link import Link
from gateway.upstream.timing import USUAL, UpstreamTiming

Key = tuple[str, bytes, Era]
"""`(agent's or principal's id, what it declares, the era to try first)`."""

Make = Callable[[Mapping[str, Any], Callable[[], Audience], Era, Principal], Link]
"""`(capabilities, audience, era, principal)`: makes a link that declares these, and tries that era first; its
connections are those people's, and prove themselves as that principal's."""


def declared(agent: Agent) -> dict[str, Any]:
    """What the agent can do for an upstream, in the words in which we declare it there."""
    known = ("sampling", "elicitation", "roots", "extensions", "experimental")
    return {name: agent.capabilities[name] for name in known if agent.capabilities.get(name) is not None}


@dataclass(slots=True)
class PrivateLink:
    """A link of somebody's own, and who uses it. Whoever acquires it releases it."""

    link: Link
    lasting: bool
    """Whether we will be told that its agent has gone."""
    tenant: str
    """The root principal it is for."""
    on_release: Callable[[], None]
    used_at: float = field(default_factory=time.monotonic)
    users: int = 0
    holders: int = 0
    """Who wants it to stay though nobody uses it."""

    def hold(self) -> None:
        """It is not to be closed for being idle. It still makes room for others."""
        self.holders += 1

    def let_go(self) -> None:
        self.holders -= 1
        self.used_at = time.monotonic()

    def release(self) -> None:
        """One request over it has ended."""
        self.users -= 1
        self.used_at = time.monotonic()
        self.on_release()

    def is_idle(self, timing: UpstreamTiming) -> bool:
        patience = timing.lasting_idle_seconds if self.lasting else timing.private_idle_seconds
        return self.users == 0 and not self.holders and time.monotonic() - self.used_at >= patience


class PrivateLinks:
    """One upstream's private connections.

    Args:
        make: makes their links.
        cap: most of them at a time.
    """

    def __init__(self, upstream: str, make: Make, cap: int, timing: UpstreamTiming = USUAL) -> None:
        self.cap = cap
        self._upstream = upstream
        self._make = make
        self._timing = timing
        self._links: dict[Key, list[PrivateLink]] = {}
        self._freed = anyio.Event()
        self._tasks: TaskGroup | None = None

    @property
    def links(self) -> list[Link]:
        return [private.link for some in self._links.values() for private in some]

    async def acquire(
        self,
        agent: Agent,
        isolation: Literal["identity", "session"],
        patience: float,
        *,
        era: Era,
        alone: bool,
        is_call: bool = True,
    ) -> PrivateLink:
        """A connection for one request.

        Args:
            patience: seconds to wait at most for a connection that is in use, when no more may be made.
            era: the one to try first.
            alone: whether an agent that consists of a single request (modern, over HTTP) must not share it meanwhile.
            is_call: whether those that others hold, and nobody uses, make room for it.

        Raises:
            UpstreamUnavailable: too many have one.
        """
        lasting = isolation == "session" and agent.lasting
        capabilities = declared(agent)
        key = agent.id if lasting else agent.opener.id, jsonrpc.dumps_to_keep(capabilities), era
        alone = alone and not lasting
        owner = partial(Audience, agent=agent) if lasting else partial(Audience, principal=agent.opener.id)
        make = partial(self._make, capabilities, owner, era, agent.opener)
        take = partial(self._take, key, make, agent.opener.root_id, lasting=lasting, alone=alone, is_call=is_call)
        private = await self._obtain(key, take, patience)
        private.users += 1
        return private

    def _on_release(self) -> None:
        self._freed.set()
        self._freed = anyio.Event()

    def _take(
        self, key: Key, make: Callable[[], Link], tenant: str, *, lasting: bool, alone: bool, is_call: bool
    ) -> PrivateLink | None:
        some = self._links.setdefault(key, [])
        private = next((private for private in some if not alone or private.users == 0), None)
        if private is None and self._tasks is not None and self._has_room(tenant, is_call=is_call):
            private = PrivateLink(make(), lasting, tenant, self._on_release)
            some.append(private)
            self._tasks.start_soon(private.link.run)
        return private

    async def _obtain(self, key: Key, take: Callable[[], PrivateLink | None], patience: float) -> PrivateLink:
        """A connection as soon as there is one: wait for those of one's own, not for other people's."""
        with anyio.move_on_after(patience):
            while (private := take()) is None and self._links.get(key):
                await self._freed.wait()
            if private is not None:
                return private
        reason = f"clients have {len(self.links)} connections of their own to it, as many as max_sessions allows"
        if len(self.links) < self.cap:
            reason = f"its client has as many of the {self.cap} connections that max_sessions allows as one may have"
        raise UpstreamUnavailable(self._upstream, "busy", reason)

    def _has_room(self, tenant: str, *, is_call: bool) -> bool:
        """Makes room, if need be, by closing what an identity has left unused for longest; it would have gone soon, and
        must not keep others out meanwhile. Tenants share what there is fairly (`fair.py`)."""
        links = [(key, private) for key, some in self._links.items() for private in some]
        own = sum(private.tenant == tenant for _, private in links)
        if has_room(tenant, own, len(links), self.cap):
            return True
        is_anybodys = has_room(tenant, own, len(links) - 1, self.cap)
        unused = [
            (private.tenant != tenant, private.holders > 0, private.used_at, key, private)
            for key, private in links
            if private.users == 0 and not private.lasting and (is_anybodys or private.tenant == tenant)
            if is_call or not private.holders
        ]
        if not unused:
            return False
        *_, key, private = min(unused, key=lambda one: one[:3])
        self._links[key].remove(private)
        private.link.stop()
        return True

    def has(self, agent: Agent) -> bool:
        """Whether there is a connection that belongs to that agent alone, made for its own era."""
        return bool(self._links.get((agent.id, jsonrpc.dumps(declared(agent)), agent.era)))

    def of(self, agent_id: str) -> list[Link]:
        """The connections that belong to that agent alone."""
        return [private.link for key, some in self._links.items() if key[0] == agent_id for private in some]

    def of_tenant(self, root: str) -> list[Link]:
        """Those of a root principal (its id)."""
        return [private.link for some in self._links.values() for private in some if private.tenant == root]

    def release(self, agent_id: str) -> None:
        """That agent has gone: close what was its own."""
        for key in [key for key in self._links if key[0] == agent_id]:
            for private in self._links.pop(key):
                private.link.stop()

    async def run(self) -> None:
        """The owner of them all. Ends by cancellation."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                await anyio.sleep(self._timing.private_idle_seconds / 10)
                for key, some in list(self._links.items()):
                    self._links[key] = [private for private in some if not private.is_idle(self._timing)]
                    for private in some:
                        if private not in self._links[key]:
                            private.link.stop()
                    if not self._links[key]:
                        del self._links[key]
