"""What a listing is in view of all that is pinned, and what is pinned then. Pure; may take long, so it may be asked
beside the event loop."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.catalogue import pins as decisions
from gateway.catalogue.identity import definition_hash
from gateway.catalogue.intake import KEYS
from gateway.catalogue.pins import PinVerdict
from gateway.config.models import ServerConfig
from gateway.store import pins as pin_file
from gateway.store.pins import Pins
from gateway.upstream.listing import Listing


@dataclass(frozen=True, slots=True)
class Pinned:
    """The pins that a listing is held to."""

    pins: Pins
    after: Mapping[str, Pins]
    """All pins, with what was seen of this upstream for the first time."""
    is_new: bool = False
    """Whether it was pinned just now."""
    is_too_large: bool = False
    """Whether it is not, because it is too large."""
    has_namesake: bool = False
    """Whether another server of the same name was pinned before."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one listing, and of what that was so."""

    listing: Listing
    server: ServerConfig
    known: Mapping[str, Pins]
    pinned: Pinned
    verdict: PinVerdict

    def is_of(self, listing: Listing, server: ServerConfig) -> bool:
        return self.listing is listing and (self.server is server or self.server == server)


def judge(known: Mapping[str, Pins], servers: Mapping[str, ServerConfig], upstream: str, listing: Listing) -> Judged:
    """Compare a listing with its pins, after what was never seen is pinned."""
    server = servers[upstream]
    pinned = pin(known, servers, upstream, listing)
    verdict = decisions.judge(pinned.pins, listing, server.offers, block=server.pin == "block")
    return Judged(listing, server, known, pinned, verdict)


def pins_now(known: Mapping[str, Pins], servers: Mapping[str, ServerConfig], upstream: str) -> Pins | None:
    return pin_file.find(known, upstream, definition_hash(servers[upstream]), servers)


def pin(known: Mapping[str, Pins], servers: Mapping[str, ServerConfig], upstream: str, listing: Listing) -> Pinned:
    """The upstream's pins, complete with the lists that are seen for the first time; too large ones are empty, so that
    all they hold is new."""
    server = definition_hash(servers[upstream])
    key = pin_file.key(known, upstream, server)
    before = pins = pin_file.find(known, upstream, server, servers)
    too_large = False
    if pins is not None:
        pins, too_large = _with_first_seen(pins, listing)
    if pins is not None and KEYS.keys() <= {*pins.items, *listing.unknown}:
        if key in known and pins.server is not None and pins is before:
            return Pinned(pins, known, is_too_large=too_large)
        pins = replace(pins, server=server)
        return Pinned(pins, {**known, key: pins}, is_too_large=too_large)
    added = replace(decisions.pins_of(listing), server=server)
    joined = pin_file.joined(known, {key: pins} if pins is not None else {})
    joined = pin_file.joined(joined, {key: added})
    if pin_file.size(joined[key]) > pin_file.MAX_UPSTREAM_BYTES:
        pins = pins or Pins()
        pins = replace(pins, items={**{kind: {} for kind in KEYS}, **pins.items})
        return Pinned(pins, known, is_too_large=True)
    others = (other.removesuffix(f" {each.server}") for other, each in known.items() if other != key)
    return Pinned(joined[key], joined, is_new=True, is_too_large=too_large, has_namesake=upstream in others)


def _with_first_seen(pins: Pins, listing: Listing) -> tuple[Pins, bool]:
    """The pins with what is seen for the first time of what other clients get, unless that is too large; and whether it
    is."""
    seen = decisions.first_seen(pins, listing)
    if seen is pins or pin_file.size(seen) <= pin_file.MAX_UPSTREAM_BYTES:
        return seen, False
    return pins, True
