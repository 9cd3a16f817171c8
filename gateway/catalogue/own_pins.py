"""Pins where each principal has lists of their own: what somebody approved for all, or else what each saw first.

What a principal sees first is kept apart from the other pins (`own_pin_records`): it is theirs, and nobody else's lists
are compared with it. It is looked up before a list is judged (`prepare`); until then nothing of that list is shown.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import structlog

from gateway.blocking import in_thread
from gateway.catalogue import pins as decisions
from gateway.catalogue.identity import definition_hash
from gateway.catalogue.intake import KEYS
from gateway.catalogue.own_pin_records import MAX_RECORD, OwnPinRecords, key_of
from gateway.catalogue.pins import PinVerdict
from gateway.config.models import ServerConfig
from gateway.errors import StoreUnavailable
from gateway.store import pins as pin_file
from gateway.store.pins import Pins
from gateway.upstream.listing import LOGIN_TOOL, Listing, LoginListing

log = structlog.stdlib.get_logger("gateway.pins")

NOTHING: Final = Pins({kind: {} for kind in KEYS})
"""With these pins, all there is is new."""
MAX_AGAIN: Final = 20
"""Of those that could not be kept, how many are tried again at a time."""


@dataclass(frozen=True, slots=True)
class _JudgedOnce:
    listing: Listing
    pins: Pins
    server: ServerConfig
    verdict: PinVerdict


class OwnPins:
    """
    Args:
        records: where they are kept; None for nowhere.
    """

    def __init__(self, records: OwnPinRecords | None = None) -> None:
        self.records = records
        self._first: dict[tuple[str, str, str], Pins] = {}
        """By upstream, label, and the hash of the server's definition; of lists that are there now."""
        self._unkept: set[tuple[str, str, str]] = set()
        """Those that could not be kept, or looked up, yet."""
        self._judged: dict[tuple[str, str], _JudgedOnce] = {}
        self._left: dict[tuple[str, str], Listing] = {}
        """Lists of principals who have logged out since: they are no first look at anything."""
        self._trouble = ""

    def keep(self, upstreams: Collection[str]) -> None:
        """There are no others any more."""
        self._first = {key: pins for key, pins in self._first.items() if key[0] in upstreams}
        self._judged = {key: judged for key, judged in self._judged.items() if key[0] in upstreams}
        self._left = {key: listing for key, listing in self._left.items() if key[0] in upstreams}
        self._unkept &= self._first.keys()

    async def prepare(self, server: ServerConfig, upstream: str, listing: LoginListing) -> None:
        """Look up what was seen first of these lists; what never was is kept."""
        identity = definition_hash(server)
        present = {(upstream, label, identity) for label in listing.own}
        for key in [key for key in self._first if key[0] == upstream and key not in present]:
            del self._first[key]
        self._unkept &= self._first.keys()
        again = set(sorted(self._unkept)[:MAX_AGAIN])
        for label, own in listing.own.items():
            key = upstream, label, identity
            if self._left.get((upstream, label)) is own:
                continue
            self._left.pop((upstream, label), None)
            if key not in self._first or key in again:
                self._first[key] = await self._first_of(key, own)

    async def forget(self, server: ServerConfig, upstream: str, label: str) -> None:
        """A principal's next look is the first."""
        self.let_go(upstream, label)
        if self.records is not None:
            try:
                await self.records.forget(key_of(upstream, definition_hash(server), label))
            except (OSError, StoreUnavailable) as error:
                self._say(f"{error}")

    def let_go(self, upstream: str, label: str) -> None:
        """They are no longer in force; whoever wants to know looks them up anew."""
        for key in [key for key in self._first if key[:2] == (upstream, label)]:
            del self._first[key]
        if (last := self._judged.pop((upstream, label), None)) is not None:
            self._left[upstream, label] = last.listing

    def judge(self, approved: Pins | None, server: ServerConfig, upstream: str, listing: LoginListing) -> PinVerdict:
        """
        Args:
            approved: what is pinned of it for all, if anything is.
        """
        identity = definition_hash(server) if approved is None else ""
        variants = {
            label: self._judge(approved or self._first.get((upstream, label, identity)), server, upstream, label, own)
            for label, own in listing.own.items()
        }
        for key in [key for key in self._judged if key[0] == upstream and key[1] not in listing.own]:
            del self._judged[key]
        changes = {change.identity: change for verdict in variants.values() for change in verdict.changes}
        suspicions = dict.fromkeys(each for verdict in variants.values() for each in verdict.suspicions)
        shown = _before_login(listing, approved) if server.auth.show_before_login and approved else listing
        return PinVerdict(shown, tuple(changes.values()), tuple(suspicions), variants=variants)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _judge(
        self, pins: Pins | None, server: ServerConfig, upstream: str, label: str, listing: Listing
    ) -> PinVerdict:
        key = upstream, label
        if pins is None:  # nobody has looked yet; whoever brought the list does, and has it judged then
            return PinVerdict(Listing(version=listing.version, private=True, label=label))
        last = self._judged.get(key)
        if last is None or last.listing is not listing or last.pins is not pins or last.server is not server:
            verdict = decisions.judge(pins, listing, server.tools.offers, block=server.pin == "block")
            last = self._judged[key] = _JudgedOnce(listing, pins, server, verdict)
        return last.verdict

    async def _first_of(self, key: tuple[str, str, str], listing: Listing) -> Pins:
        upstream, label, identity = key
        mine = self._first.get(key) or replace(await in_thread(decisions.pins_of, listing), server=identity)
        if pin_file.size(mine) > MAX_RECORD:
            self._say(f"they are larger than {MAX_RECORD} bytes", upstream)
            return replace(NOTHING, server=identity)
        self._unkept.discard(key)
        if self.records is None:
            return mine
        try:
            pins, is_settled = await self.records.first(key_of(upstream, identity, label), mine)
        except ValueError as error:
            self._say(str(error), upstream)
            return replace(NOTHING, server=identity)
        except OSError as error:
            self._say(str(error.strerror), upstream)
            pins, is_settled = mine, False
        if not is_settled:
            self._unkept.add(key)
        return pins

    def _say(self, reason: str, upstream: str = "") -> None:
        if reason != self._trouble:
            log.error("what somebody saw first of a server is not kept", upstream=upstream or None, reason=reason)
        self._trouble = reason


def _before_login(listing: LoginListing, approved: Pins) -> LoginListing:
    """With the tools that were approved, the first call of which asks for the login."""
    tools = approved.items.get("tools", {})
    own = () if LOGIN_TOOL in tools else listing.tools
    return replace(listing, tools=(*tools.values(), *own))
