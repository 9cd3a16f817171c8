"""Pins where each principal has lists of their own: what somebody approved for all, or else what each saw first.

What a principal sees first is kept in memory only, and never in the file of pins: it is theirs. It is trusted anew
after a restart; what is in the file is not.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from gateway.catalogue import pins as decisions
from gateway.catalogue.pins import PinVerdict
from gateway.config.models import ServerConfig
from gateway.store.pins import Pins
from gateway.upstream.listing import LOGIN_TOOL, Listing, LoginListing

MAX_FIRST: Final = 10_000
"""Principals at servers, of whom it is remembered what they saw first."""


@dataclass(frozen=True, slots=True)
class _JudgedOnce:
    listing: Listing
    pins: Pins
    server: ServerConfig
    verdict: PinVerdict


class OwnPins:
    def __init__(self) -> None:
        self._first: dict[tuple[str, str], Pins] = {}
        """By upstream and label."""
        self._judged: dict[tuple[str, str], _JudgedOnce] = {}

    def keep(self, upstreams: Collection[str]) -> None:
        """There are no others any more."""
        for kept in (self._first, self._judged):
            for key in [key for key in kept if key[0] not in upstreams]:
                del kept[key]

    def judge(self, approved: Pins | None, server: ServerConfig, upstream: str, listing: LoginListing) -> PinVerdict:
        """
        Args:
            approved: what is pinned of it for all, if anything is.
        """
        variants = {label: self._judge(approved, server, upstream, label, own) for label, own in listing.own.items()}
        for key in [key for key in self._judged if key[0] == upstream and key[1] not in listing.own]:
            del self._judged[key]
        changes = {change.identity: change for verdict in variants.values() for change in verdict.changes}
        suspicions = dict.fromkeys(each for verdict in variants.values() for each in verdict.suspicions)
        shown = _before_login(listing, approved) if server.auth.show_before_login and approved else listing
        return PinVerdict(shown, tuple(changes.values()), tuple(suspicions), variants=variants)

    def _judge(
        self, approved: Pins | None, server: ServerConfig, upstream: str, label: str, listing: Listing
    ) -> PinVerdict:
        key = upstream, label
        pins = approved or self._first.get(key)
        if pins is None:
            pins = self._first[key] = decisions.pins_of(listing)
            if len(self._first) > MAX_FIRST:
                del self._first[next(iter(self._first))]
        last = self._judged.get(key)
        if last is None or last.listing is not listing or last.pins is not pins or last.server is not server:
            verdict = decisions.judge(pins, listing, server.tools.offers, block=server.pin == "block")
            last = self._judged[key] = _JudgedOnce(listing, pins, server, verdict)
        return last.verdict


def _before_login(listing: LoginListing, approved: Pins) -> LoginListing:
    """With the tools that were approved, the first call of which asks for the login."""
    tools = approved.items.get("tools", {})
    own = () if LOGIN_TOOL in tools else listing.tools
    return replace(listing, tools=(*tools.values(), *own))
