"""Remembers whose each URI was, and decides what becomes of it when the servers' order or lists say otherwise. Pure.

A URI that one server owned becomes another's when that one stands before it now, or lists more than it did. That is a
takeover: reported, and where either of the two has `pin: block`, the URI stays with whom it was until somebody approves
it. No takeover is what a server claims that stood before from the start and is seen for the first time.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from gateway.catalogue.identity import definition_hash
from gateway.catalogue.ownership import NOTHING, Claimants, Claims, Item, Ownership, Shadowed, Waits, shadowed
from gateway.catalogue.patterns import pattern
from gateway.config.models import ServerConfig
from gateway.store.owners import Items, OwnershipRecord, Records, approved, inherited, key

_FEW: Final = 200
"""URIs of which it is looked up whether their server had a template for them already; more cost too much."""
_NEW: Final = OwnershipRecord()


class Owners:
    """
    Args:
        servers: in their order.
        records: what is remembered of them.
    """

    def __init__(
        self, servers: Mapping[str, ServerConfig], records: Mapping[str, OwnershipRecord] | None = None
    ) -> None:
        self.records: Records = dict(records or {})
        self.keys: Mapping[str, str] = {}
        """Server → what it is remembered by."""
        self.takeovers: Waits = {}
        """`(server, whose it was)` → what of the former's takes URIs from the latter, since the last `assign`."""
        self.takeovers_before: Waits = {}
        """The same since the `assign` before that."""
        self.ownership = Ownership()
        self._claimants = Claimants()
        self._blocks: set[str] = set()
        self._is_off = True
        self._incomplete: set[str] = set()
        self._made: dict[str, tuple[Claims, OwnershipRecord, Mapping[Item, str]]] = {}
        """Server → its last record, and of what it was made."""
        self._still: dict[str, tuple[Claims, OwnershipRecord, Claims]] = {}
        """Server → what it owned and still claims, and of what that was made."""
        self._compared: dict[tuple[str, str], tuple[Claims, Claims, Shadowed]] = {}
        self.use(servers)
        self.ownership = self._claimants.ownership(self.keys)

    def use(self, servers: Mapping[str, ServerConfig]) -> None:
        """Go by these servers, and no others. One that was not seen yet claims what it did last time."""
        before, self.keys = self.keys, {name: key(name, definition_hash(each)) for name, each in servers.items()}
        self.records = inherited(self.records, self.keys.values())
        self._blocks = {name for name, each in servers.items() if each.pin == "block"}
        self._is_off = all(each.pin == "off" for each in servers.values())
        for name in before:
            if before[name] != self.keys.get(name):
                self._claimants.update(name, None)
        for name in self.keys:
            if name not in self._claimants and (record := self.records.get(self.keys[name])) is not None:
                self._claimants.update(name, _claims({*record.owned, *record.shadowed}))

    def update(self, server: str, claims: Claims, *, complete: bool = True) -> bool:
        """A server claims these now. Returns whether that is something else than before; `assign` then.

        Args:
            complete: whether all of its lists are known.
        """
        is_new = self._claimants.update(server, claims) or complete is (server in self._incomplete)
        (self._incomplete.discard if complete else self._incomplete.add)(server)
        return is_new

    def __contains__(self, server: str) -> bool:
        """Whether it is known what a server claims."""
        return server in self._claimants

    @property
    def is_off(self) -> bool:
        """Whether nothing is to be remembered."""
        return self._is_off

    @property
    def waits(self) -> Waits:
        """Those takeovers that wait for approval."""
        return {pair: what for pair, what in self.takeovers.items() if self._blocks & {*pair}}

    def assign(self) -> Records:
        """Find out whose each URI is now, and remember that; returns what was remembered before."""
        self.takeovers_before, self.takeovers = self.takeovers, self._takeovers()
        self.ownership = self._claimants.ownership(self.keys, self.waits)
        before, self.records = self.records, {**self.records, **self._remembered()}
        return before

    def waiting(self) -> dict[str, Items]:
        """What waits for approval, by what its server is remembered by."""
        found: dict[str, Items] = {}
        for (taker, _), what in self.waits.items():
            found[self.keys[taker]] = found.get(self.keys[taker], frozenset()) | frozenset(what.items())
        return found

    def accept(self, stored: Mapping[str, OwnershipRecord]) -> bool:
        """Take up what others have approved, and what they remember of servers that are none of these. Returns whether
        anything was approved; `assign` then."""
        own = approved(self.records, stored, self.waiting())
        is_new = own != self.records
        self.records = {**stored, **own}
        return is_new

    def approve(self, server: str, names: Collection[str] = ()) -> None:
        """Let a server take over what it would; only these URIs and templates, if there are any. `assign` then."""
        items = {item for item in self.waiting().get(self.keys[server], ()) if not names or item[1] in names}
        record = self.records[self.keys[server]]
        rest = {item: other for item, other in record.shadowed.items() if item not in items}
        self.records[self.keys[server]] = replace(record, owned=record.owned | items, shadowed=rest)

    def _takeovers(self) -> Waits:
        found: dict[tuple[str, str], Shadowed] = {}
        plain: Ownership | None = None
        names = list(self.keys)
        for place, taker in enumerate(names):
            new = self._new(taker)
            done: set[str] = set()
            for owner in names[place + 1 :] if new else ():
                lost = self._lost(taker, owner, new)
                if lost.uris:
                    plain = plain or self._claimants.ownership(names)
                    takers = {each for each, _ in found}
                    others = {uri for (_, uri), other in plain.shadows.get(taker, {}).items() if other not in takers}
                    lost = Shadowed(self._not_owned(taker, lost.uris - others - done), lost.templates)
                    done |= lost.uris
                if lost:
                    found[taker, owner] = lost
        return found

    def _new(self, server: str) -> dict[str | None, Claims]:
        """What a server claims and did not own: None → what it did not claim at all, and a server → what was that
        one's instead. Empty if there is no such thing."""
        found: dict[str | None, set[Item]] = {}
        record, claims = self._record(server) or _NEW, self._claimants[server]
        known = self._made.get(server)
        if known is not None and known[0] is claims and known[1] is record and not record.shadowed:
            return {}
        for item in claims.items():
            other = record.shadowed.get(item)
            if other is not None or item not in record.owned:
                found.setdefault(other, set()).add(item)
        return {other: _claims(items) for other, items in found.items()}

    def _lost(self, taker: str, owner: str, new: Mapping[str | None, Claims]) -> Shadowed:
        """What of that takes URIs that the other server owned."""
        record = self._record(owner)
        claims = [claims for other, claims in new.items() if other in (None, self.keys[owner])]
        if record is None or not claims or (self._record(taker) is None and self.keys[taker] in record.awaited):
            return NOTHING
        owned = self._owned(owner, record)
        theirs = claims[0] if len(claims) == 1 else claims[0].and_(claims[1])
        known = self._compared.get((taker, owner))
        if known is None or known[:2] != (theirs, owned):
            known = self._compared[taker, owner] = theirs, owned, shadowed(theirs, owned)
        return known[2]

    def _owned(self, server: str, record: OwnershipRecord) -> Claims:
        """What it owned, and still claims."""
        claims = self._claimants[server]
        known = self._still.get(server)
        if known is None or known[0] is not claims or known[1] is not record:
            owned = _claims(record.owned & frozenset(claims.items()))
            known = self._still[server] = claims, record, owned
        return known[2]

    def _not_owned(self, server: str, uris: frozenset[str]) -> frozenset[str]:
        """Those of the URIs for which it had no template either."""
        record = self._record(server)
        if record is None or len(uris) > _FEW:
            return uris
        owned = _claims(record.owned - record.shadowed.keys())
        return frozenset(uri for uri in uris if not owned.cover(uri))

    def _record(self, server: str) -> OwnershipRecord | None:
        return self.records.get(self.keys[server])

    def _remembered(self) -> Records:
        found: Records = {}
        unseen: set[str] = set()
        for name, itself in self.keys.items():
            record = self.records.get(itself)
            if name not in self._claimants or (record is None and name in self._incomplete):
                unseen.add(itself)
            elif name not in self._incomplete:
                awaited = frozenset(unseen if record is None else record.awaited and unseen & record.awaited)
                found[itself] = self._made_of(name, awaited)
        return found

    def _made_of(self, server: str, awaited: frozenset[str]) -> OwnershipRecord:
        """The record of a server as things are; made once for as long as they are so."""
        claims, shadows = self._claimants[server], self.ownership.shadows.get(server, {})
        record = self._record(server)
        known = self._made.get(server)
        if known is None or known[0] is not claims or known[1] is not record or known[2] != shadows:
            partly = {item for item, other in shadows.items() if self._owns_some(server, item, other)}
            owned = frozenset(claims.items()) - shadows.keys() | partly
            shadowed_by: dict[tuple[str, str], str] = {item: self.keys[other] for item, other in shadows.items()}
            record = OwnershipRecord(owned, shadowed_by, awaited)
        elif record is None or record.awaited != awaited:
            record = replace(record or _NEW, awaited=awaited)
        self._made[server] = claims, record, shadows
        return record

    def _owns_some(self, server: str, item: Item, other: str) -> bool:
        """Whether some URIs of a template may be its server's, though others are another's."""
        kind, text = item
        is_later = (server, other) in self.ownership.waits
        return kind == "templates" and not is_later and not self._claimants[other].contain(pattern(text))


def _claims(items: Iterable[tuple[str, str]]) -> Claims:
    every = list(items)
    uris = (text for kind, text in every if kind == "resources")
    return Claims.of(uris, (text for kind, text in every if kind != "resources"))
