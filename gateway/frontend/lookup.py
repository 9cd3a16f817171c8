"""What an agent sees: its catalogue, the upstreams behind it, and who owns what it names."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import anyio

from gateway.access.policy import Grant, Policy
from gateway.catalogue.catalogue import Ambiguous, Catalogue, Owner
from gateway.catalogue.intake import Kind
from gateway.catalogue.library import Library
from gateway.errors import DefinitionChanged, UnknownResource
from gateway.protocol import INVALID_PARAMS, Era
from gateway.request import Agent
from gateway.upstream.upstream import Upstream

T = TypeVar("T")


class Lookup:
    """
    Args:
        startup_wait: seconds that upstreams which are still starting are waited for.
    """

    def __init__(
        self, policy: Policy, library: Library, upstreams: Mapping[str, Upstream], startup_wait: float
    ) -> None:
        self._policy = policy
        self._library = library
        self._upstreams = upstreams
        self.startup_wait = startup_wait

    def grant(self, agent: Agent) -> Grant:
        return self._policy.grant(agent.principal)

    def catalogue(self, agent: Agent) -> Catalogue:
        return self._library.view(agent.view, self.grant(agent))

    def sees(self, agent: Agent, upstream: str) -> bool:
        """Whether an upstream is there for an agent: it may use something of it, and sees it in its view."""
        return agent.view in (None, upstream) and self._library.sees(upstream, self.grant(agent))

    def upstreams(self, agent: Agent) -> list[Upstream]:
        return [upstream for name, upstream in self._upstreams.items() if self.sees(agent, name)]

    def candidates(self, agent: Agent) -> list[Upstream]:
        """Those and any that would be there for it if they offered something it may use."""
        return self._candidates(agent.view, self.grant(agent))

    async def has(self, view: str | None, grant: Grant) -> bool:
        """Whether there is such a view for somebody. Where the policy decides by what upstreams offer, those that are
        starting are waited for: all of them, or the time would tell which there are."""
        if not self._library.has(view, grant) and not grant.unrestricted:
            await self._wait(self._candidates(None, grant))
        return self._library.has(view, grant)

    async def settle(self, agent: Agent) -> bool:
        """While upstreams are starting for the first time, wait a little for what they offer: many agents list once.
        Returns whether there was anything to wait for."""
        return await self._wait(self.candidates(agent))

    def _candidates(self, view: str | None, grant: Grant) -> list[Upstream]:
        return [
            upstream for name, upstream in self._upstreams.items() if view in (None, name) and grant.sees_upstream(name)
        ]

    async def _wait(self, upstreams: list[Upstream]) -> bool:
        waiting = [upstream for upstream in upstreams if not upstream.settled.is_set()]
        if waiting:
            with anyio.move_on_after(self.startup_wait):
                for upstream in waiting:
                    await upstream.settled.wait()
        return bool(waiting)

    async def find(self, agent: Agent, look_up: Callable[[Catalogue], T | None]) -> T | None:
        """Look something up; if it is not there because its upstream is only just starting, wait for that. What is held
        back is found too, so that it can be refused with the reason."""
        found = look_up(self.catalogue(agent))
        if found is None and await self.settle(agent):
            found = look_up(self.catalogue(agent))
        return look_up(self._library.held_back(agent.view, self.grant(agent))) if found is None else found

    async def owners(self, agent: Agent, uri: str) -> list[Owner]:
        """Who may serve a URI, likeliest first.

        Raises:
            UnknownResource: nobody, as far as this agent is concerned.
        """
        found = await self.find(
            agent, lambda catalogue: catalogue.resource(uri) or catalogue.templates_for(uri) or None
        )
        if isinstance(found, Owner):
            return [found]
        # Nobody lists it: a template may stand for it, or there is only one who can know it.
        guesses = found if isinstance(found, list) else []
        if found is None and agent.view is not None and not self._library.withholds(agent.view, uri):
            guesses = [Owner(agent.view, uri, {})]
        if owners := [owner for owner in guesses if self.admits_uri(agent, owner.upstream, owner.original)]:
            return owners
        raise unknown_resource(agent, uri, found if isinstance(found, Ambiguous) else None)

    def check(self, kind: Kind, owner: Owner) -> None:
        """
        Raises:
            DefinitionChanged: it is not what was pinned, and blocked until somebody approves it.
        """
        if change := self._library.blocked(kind, owner):
            raise DefinitionChanged(owner.upstream, change.kind, change.name, change.what)

    def admits_uri(self, agent: Agent, upstream: str, own: str) -> bool:
        """Whether the policy lets an agent have an upstream's URI that it was not listed, by every name it has."""
        grant = self.grant(agent)
        return grant.unrestricted or all(
            grant.admits(upstream, public) for public in self._library.whole(None).public_uris(upstream, own)
        )


def unknown_resource(agent: Agent, uri: str, found: Ambiguous | None) -> UnknownResource:
    hint = f". Several upstreams have it; use one of {', '.join(found.choices)}" if found is not None else ""
    error = UnknownResource(uri, hint)
    if agent.era is Era.MODERN:
        error.code = INVALID_PARAMS
    return error
