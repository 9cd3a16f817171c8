"""What an agent sees: its catalogue, the upstreams behind it, and who owns what it names."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import anyio

from gateway.access.policy import Grant, Policy
from gateway.bridge.links import relink
from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.catalogue.intake import Kind
from gateway.catalogue.kept_results import is_kept
from gateway.catalogue.library import NOTHING, CatalogueViews
from gateway.catalogue.visibility import Selection
from gateway.errors import DefinitionChanged, UnknownResource
from gateway.protocol import Era
from gateway.request import Agent, Principal
from gateway.upstream.listing import LOGIN_TOOL, login_tool
from gateway.upstream.upstream import Upstream

T = TypeVar("T")

MAX_SEEN: Final = 4096
"""Principals in views, of which it is remembered what they see."""


class Viewer(Protocol):
    """Who looks: a `Call` or an `Opener`. An `Agent` is none, for what it may see depends on the credential of each
    request."""

    @property
    def agent(self) -> Agent: ...

    @property
    def principal(self) -> Principal: ...

    @property
    def view(self) -> str | None: ...

    @property
    def era(self) -> Era: ...


@dataclass(frozen=True, slots=True)
class Opener:
    """Who opened a session, where it is told what belongs to no request."""

    agent: Agent

    @property
    def principal(self) -> Principal:
        return self.agent.opener

    @property
    def view(self) -> str | None:
        return self.agent.view

    @property
    def era(self) -> Era:
        return self.agent.era


class Lookup:
    """
    Args:
        startup_wait: seconds from its start for which an upstream is waited for, if nothing is known of it.
    """

    def __init__(
        self, policy: Policy, library: CatalogueViews, upstreams: Mapping[str, Upstream], startup_wait: float
    ) -> None:
        self._policy = policy
        self._library = library
        self._upstreams = upstreams
        self._seen: dict[tuple[int, str | None], tuple[Principal, Catalogue]] = {}
        """What somebody's `id` sees in a view, at these revisions of the catalogue and the policy."""
        self._revision = self._policy_revision = -1
        self.startup_wait = startup_wait

    def grant(self, viewer: Viewer) -> Grant:
        return self._policy.grant(viewer.principal, viewer.view)

    def is_own(self, view: str | None) -> bool:
        """See `CatalogueViews.is_own`."""
        return self._library.is_own(view)

    def catalogue(self, viewer: Viewer) -> Catalogue:
        """Who comes again brings the same principal, and unless something has changed sees what they saw. What was seen
        before a change is not kept: it may be large, and principals many."""
        principal, view, library, policy = viewer.principal, viewer.agent.view, self._library, self._policy
        if self._revision != library.revision or self._policy_revision != policy.revision:
            self._seen.clear()
            self._revision, self._policy_revision = library.revision, policy.revision
        seen = self._seen.get((id(principal), view))
        if seen is not None and seen[0] is principal and not library.labels:
            return seen[1]
        catalogue = library.view(view, self.grant(viewer), self.selection(viewer))
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen[id(principal), view] = principal, catalogue
        return catalogue

    def selection(
        self, viewer: Viewer, label_of: Callable[[Upstream, Agent], str | None] = Upstream.label
    ) -> Selection:
        """Of which upstreams it sees other lists than most, for what it declares, or because they are its own."""
        varying = self._library.labels
        if not varying:
            return ()
        view = self._library.base(viewer.view)
        names = sorted(varying) if view is None else [view]
        labels = {name: label_of(upstream, viewer.agent) for name in names if (upstream := self._upstreams.get(name))}
        return tuple((name, label) for name, label in labels.items() if label and label in varying.get(name, ()))

    def note(self, viewer: Viewer) -> None:
        """Somebody is there: if its upstreams may offer it something else, they are asked for that meanwhile."""
        for upstream in self.upstreams(viewer):
            upstream.learning.note(viewer.agent)

    def sees(self, viewer: Viewer, upstream: str) -> bool:
        """Whether an upstream is there for somebody: they may use something of it, and see it in their view."""
        return self._library.covers(viewer.view, upstream) and self._library.sees(upstream, self.grant(viewer))

    def upstreams(self, viewer: Viewer) -> list[Upstream]:
        return [upstream for name, upstream in self._upstreams.items() if self.sees(viewer, name)]

    def candidates(self, viewer: Viewer) -> list[Upstream]:
        """Those and any that would be there for them if they offered something they may use."""
        return self._candidates(viewer.view, self.grant(viewer))

    async def has(self, view: str | None, grant: Grant) -> bool:
        """Whether there is such a view for somebody. Where the policy decides by what upstreams offer, those that are
        starting are waited for: all of them, or the time would tell which there are."""
        if not self._library.has(view, grant) and not grant.unrestricted:
            await self._wait(self._candidates(None, grant))
        return self._library.has(view, grant)

    async def settle(self, viewer: Viewer) -> bool:
        """While upstreams are starting for the first time, wait a little for what they offer: many agents list once.
        Returns whether there was anything to wait for."""
        has_met = await self._meet(viewer)
        if all(upstream.settled.is_set() for upstream in self._upstreams.values()):
            return has_met
        return await self._wait(self.candidates(viewer)) or has_met

    async def _meet(self, viewer: Viewer) -> bool:
        """Where each has lists of their own, have those of who looks, if they have a login there. Returns whether there
        was anything to wait for."""
        own = [each for each in self._upstreams.values() if each.has_own_lists and self.sees(viewer, each.name)]
        waited = [False]

        async def meet(upstream: Upstream) -> None:
            waited.append(await upstream.meet(viewer.agent, self.startup_wait))

        if own:
            async with anyio.create_task_group() as tg:
                for upstream in own:
                    tg.start_soon(meet, upstream)
        return any(waited)

    def _candidates(self, view: str | None, grant: Grant) -> list[Upstream]:
        return [
            upstream
            for name, upstream in self._upstreams.items()
            if self._library.covers(view, name) and grant.sees_upstream(name)
        ]

    async def _wait(self, upstreams: list[Upstream]) -> bool:
        waiting = [upstream for upstream in upstreams if not upstream.settled.is_set()]
        for upstream in waiting:
            with anyio.move_on_after(self.startup_wait - upstream.age()):
                await upstream.settled.wait()
            upstream.offer.expect_no_longer()
        return bool(waiting)

    def away(self, viewer: Viewer) -> list[Upstream]:
        """Those that are there for it, and of which nothing is listed now."""
        return [upstream for upstream in self.upstreams(viewer) if upstream.listing is None]

    def away_owner(self, viewer: Viewer, name: str) -> Upstream | None:
        """The upstream that is away and whose tool or prompt a name must be, if it is any's."""
        for upstream in self.away(viewer):
            if self.is_own(viewer.view) or name.startswith(self._library.head(upstream.name)):
                return upstream
        return None

    async def find(self, viewer: Viewer, look_up: Callable[[Catalogue], T | None]) -> T | None:
        """Look something up; if it is not there because its upstream is only just starting, wait for that. What is held
        back is found too, so that it can be refused with the reason."""
        found = look_up(self.catalogue(viewer))
        if found is None and await self.settle(viewer):
            found = look_up(self.catalogue(viewer))
        if found is None:
            found = look_up(self._held_back(viewer))
        return look_up(self._before_logout(viewer)) if found is None else found

    def _before_logout(self, viewer: Viewer) -> Catalogue:
        """What somebody saw while they had logins of their own: whoever calls something of it is asked to log in."""
        if not any(upstream.has_own_lists for upstream in self._upstreams.values()):
            return NOTHING
        return self._library.view(viewer.view, self.grant(viewer), self.selection(viewer, Upstream.last_label))

    def login_tool(self, viewer: Viewer, name: str) -> Owner | None:
        """The tool of the gateway's own, by its public name, by which somebody logs in to an upstream; it is there also
        where it is not listed, because they have."""
        for upstream in self.upstreams(viewer):
            public = self._library.head(upstream.name) + LOGIN_TOOL
            own = LOGIN_TOOL if viewer.view is not None else public
            if name == own and upstream.logs_in and self.grant(viewer).admits(upstream.name, public):
                return Owner(upstream.name, LOGIN_TOOL, login_tool(upstream.name))
        return None

    def _held_back(self, viewer: Viewer) -> Catalogue:
        return self._library.held_back(viewer.view, self.grant(viewer), self.selection(viewer))

    def public_name(self, kind: Kind, upstream: str, own: str) -> str:
        """See `CatalogueViews.public_name`."""
        return self._library.public_name(kind, upstream, own)

    def admits_tool(self, viewer: Viewer, upstream: str, public: str) -> bool:
        """Whether the policy lets somebody use an upstream's tool of that public name, in their view; also while the
        upstream is away."""
        is_there = upstream in self._upstreams and self._library.covers(viewer.view, upstream)
        return is_there and self.grant(viewer).admits(upstream, public, "tools", public)

    def sees_task(self, viewer: Viewer, upstream: str, tool: str | None) -> bool:
        """Whether a task is there for its principal: the policy lets them use the tool that it is of, in their view.

        Args:
            tool: by its upstream's name; None if that is not known.
        """
        if not self.sees(viewer, upstream):
            return False
        if tool is None:
            return True
        public = self.public_name("tools", upstream, tool)
        if public == tool:  # it is not there any more, or has no prefix
            public = self._library.head(upstream) + tool
        return self.admits_tool(viewer, upstream, public)

    async def owner(self, viewer: Viewer, uri: str) -> Owner:
        """Who serves a URI. One that nobody lists belongs to a template, or to the only one who can know it.

        Raises:
            UnknownResource: nobody, as far as this agent is concerned.
        """
        if is_kept(uri) and self.catalogue(viewer).reader is not None:
            raise UnknownResource(uri)  # the gateway's own, and no upstream is to hear of it
        found = await self.find(viewer, partial(_owner_in, uri=uri))
        return self._permitted(viewer, uri, *(found or (None, False)))

    def owner_now(self, viewer: Viewer, uri: str) -> Owner:
        """The same, without waiting for upstreams that are starting, and only if what it leads to may be used.

        Raises:
            UnknownResource: nobody.
            DefinitionChanged: it is blocked.
        """
        found = _owner_in(self.catalogue(viewer), uri)
        owner = self._permitted(viewer, uri, *(found or (None, False)))
        self.check(viewer, "resources", owner)
        return owner

    def _permitted(self, viewer: Viewer, uri: str, owner: Owner | None, is_listed: bool) -> Owner:
        if owner is not None and is_listed:
            return owner
        if owner is None and (view := self._library.base(viewer.view)) is not None:
            owner = Owner(view, uri, {})
        if (
            owner is None
            or not self.admits_uri(viewer, owner.upstream, owner.original)
            or (not owner.item and self._library.withholds(owner.upstream, owner.original, self.selection(viewer)))
        ):
            raise UnknownResource(uri)
        return owner

    def check(self, viewer: Viewer, kind: Kind, owner: Owner) -> None:
        """
        Raises:
            DefinitionChanged: it is not what was pinned, and blocked until somebody approves it.
        """
        if not self._library.withheld.is_any:
            return
        if change := self._library.blocked(kind, owner, self.selection(viewer)):
            raise DefinitionChanged(owner.upstream, change.kind, change.name, change.what)

    @property
    def shadows(self) -> Collection[str]:
        """The upstreams of whose URIs others own the bare form of some."""
        return self._library.ownership.shadows

    def relink(self, result: dict[str, Any], upstream: str) -> None:
        """Have the links in an upstream's result lead to it, where others own the bare URIs."""
        relink(result, partial(self._library.ownership.public, upstream))

    def admits_uri(self, viewer: Viewer, upstream: str, own: str) -> bool:
        """Whether the policy lets an agent have an upstream's URI, by every name it has."""
        grant = self.grant(viewer)
        if grant.unrestricted:
            return True
        catalogue = self._library.whole(None, () if self.is_own(viewer.view) else self.selection(viewer))
        is_listed = (upstream, own) in catalogue.listed_uris
        return grant.admits_uri(upstream, own, catalogue.public_uris(upstream, own), is_listed=is_listed)


def _owner_in(catalogue: Catalogue, uri: str) -> tuple[Owner, bool] | None:
    """Whose a URI is, and whether it is listed."""
    listed = catalogue.resource(uri)
    owner = listed or catalogue.unlisted(uri)
    return (owner, listed is not None) if owner is not None else None
