"""What one upstream offers: to those who share its main connection, and to clients that declare something else.

Who declares what gets which lists is a matter of labels: see `variants.py`.
"""

import time
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from gateway.protocol import Era
from gateway.request import Agent
from gateway.upstream.links import UpstreamLinks
from gateway.upstream.listing import Listing
from gateway.upstream.personal import OwnListings
from gateway.upstream.private import declared
from gateway.upstream.variants import label_of, listing_for, rebased, used, varied

if TYPE_CHECKING:
    from gateway.upstream.upstream import Upstream


class Offer:
    """
    Args:
        listing: what it offered when last seen (the snapshot), or None.
    """

    def __init__(self, upstream: "Upstream", links: UpstreamLinks, listing: Listing | None) -> None:
        self.settled = anyio.Event()
        """Set once it is known what the upstream offers, or that it cannot be known now."""
        self.known = listing
        """What it offered when last seen, however long ago."""
        self._upstream = upstream
        self._links = links
        self._lost_at: float | None = None
        self._withdrawn = False
        self._untold = False
        """Whether the observer has yet to hear what it offers."""
        self.own = OwnListings(upstream) if links.has_credentials else None
        """What it lists for each who has a login of their own, and how others get one."""
        if self.listing is not None:
            self.settled.set()

    @property
    def listing(self) -> Listing | None:
        """What it offers now; None when nothing is known, or it has been away for longer than `grace`."""
        if self.own is not None and (self._links.has_own_lists or self._offers_login()):
            return self.own.listing
        return None if self._withdrawn else self.known

    def _offers_login(self) -> bool:
        """Whether all that can be had of it now is a login, for all."""
        return (self.known is None or self._withdrawn) and self._links.main.can_be_logged_in

    @property
    def is_told(self) -> bool:
        """Whether everybody has heard what it offers."""
        return not (self.known is None or self._withdrawn or self._untold)

    def is_stale(self) -> bool:
        """Whether its lists have outlived the `ttlMs` they came with, and it would not have told us of a change."""
        ttl_ms = self.known.ttl_ms if self.known is not None else None
        if ttl_ms is None or self._links.main.session is None:
            return False
        upstream = self._upstream
        return upstream.watch.is_older_than(max(ttl_ms / 1000, upstream.timing.min_ttl_seconds))

    def remember(self, listing: Listing) -> None:
        """What it offered when another node saw it last, if nothing is known here."""
        if self.known is None:
            self.known = listing
            self.settled.set()

    async def publish(self, listing: Listing, problems: Collection[str], announced: Collection[str] = ()) -> None:
        """A fresh listing is there. Waits until the observer has made something of it, for all upstreams' turns.

        Args:
            announced: the kinds of lists the upstream said had changed.
        """
        upstream = self._upstream
        listing = replace(listing, label=label_of(Era.of(listing.version), self._links.declared()))
        if self.known is not None:
            listing = replace(listing, variants=rebased(self.known, listing))
        self._untold |= listing != self.known or self._withdrawn
        self.known = listing
        self._withdrawn = False
        upstream.pulse()
        self._links.main.degrade("; ".join(problems))
        for problem in problems:
            upstream.reports.incomplete(problem)
        if self._untold or announced:
            await upstream.observer.on_listing(upstream, announced)
            self._untold = False
        self.settled.set()
        upstream.pulse()

    # --- When it cannot be had --------------------------------------------------------------------------------------

    def expect_no_longer(self) -> None:
        """Nobody waits any more for a first word of what it offers; when it comes, everybody is told."""
        if not self.settled.is_set():
            self.settled.set()
            self._tell_soon()

    def withdraw(self) -> None:
        """It offers nothing, for it is never connected to."""
        self._withdrawn = True
        self.settled.set()
        self._tell_soon()

    def lost(self) -> None:
        """It is away: its items are withdrawn once that has been for longer than the grace period."""
        self.expect_no_longer()
        if self._lost_at is None and self._upstream.tasks is not None:
            self._lost_at = time.monotonic()
            self._upstream.tasks.start_soon(self._expire, self._lost_at)

    def login_needed(self) -> None:
        """What it offers now may be no more than a login."""
        if self.settled.is_set():
            self._tell_soon()

    def found(self) -> None:
        """It is back."""
        self._lost_at = None

    async def _expire(self, lost_at: float) -> None:
        await anyio.sleep(self._upstream.config.grace)
        if self._lost_at == lost_at and self.known is not None:
            self._withdrawn = True
            await self._upstream.observer.on_listing(self._upstream, ())

    def _tell_soon(self) -> None:
        if self._upstream.tasks is not None:
            self._upstream.tasks.start_soon(self._upstream.observer.on_listing, self._upstream, ())

    # --- To clients that declare something else ---------------------------------------------------------------------

    @property
    def main_label(self) -> str:
        """That of its lists for those who share the main connection."""
        if self.known is not None and self.known.label:
            return self.known.label
        return label_of(self._known_era() or Era.MODERN, self._links.declared())

    def label(self, agent: Agent) -> str | None:
        """Under which label stands what it lists for an agent, as far as is known; None where that is what it lists
        for all."""
        if self.own is not None and self._links.has_own_lists:
            return self.own.label(agent)
        label = self.own_label(agent)
        if label is not None and not self.has_variant(label) and self._known_era() is Era.MODERN:
            return label_of(Era.MODERN, declared(agent))  # perhaps it speaks no other
        return label

    def own_label(self, agent: Agent) -> str | None:
        """By the connection that the agent has, or would have."""
        era, links = self._known_era(), self._links
        if era is None:
            return None
        if links.isolation(agent, era) in (None, "shared"):
            if era is Era.HANDSHAKE and links.only is None:
                return None  # it knows of its one session's client only
            own = era
        else:
            shakes = era is Era.HANDSHAKE or (agent.era is Era.HANDSHAKE and links.may_shake_hands)
            own = Era.HANDSHAKE if shakes else Era.MODERN
        label = label_of(own, declared(agent))
        return label if label != self.main_label else None

    def has_variant(self, label: str) -> bool:
        return self.known is not None and label in self.known.variants

    def use(self, label: str) -> None:
        """Somebody is there whose lists those of a label are: of all variants they are the last to be forgotten."""
        if self.known is not None:
            self.known = used(self.known, label)

    async def publish_variant(self, label: str, other: Listing, kinds: Collection[str]) -> None:
        """These lists of it are known for clients of a label."""
        known = self.known
        if known is None:
            return
        fresh = {kind: getattr(other, kind) for kind in kinds}
        listing = varied(known, label, replace(listing_for(known, label), **fresh))
        self._untold |= listing != known
        self.known = listing
        self._upstream.pulse()
        if self._untold and not self._withdrawn:
            await self._upstream.observer.on_listing(self._upstream, ())
            self._untold = False

    def _known_era(self) -> Era | None:
        if self._links.agreed is not None:
            return self._links.agreed.era
        return Era.of(self.known.version) if self.known is not None else None
