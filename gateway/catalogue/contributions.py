"""What each upstream contributes to the catalogues: parts, made of its listing and made anew when it lists anew.

What may be published of a listing is decided by its pins, whose each URI is by `owners`. Parts are made in steps, of
which only the last changes what is there. Who sees which part is a matter of `library`.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Final

import structlog

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.intake import CompiledToolRules, UpstreamItems
from gateway.catalogue.judge import Judge
from gateway.catalogue.merge import Prefix, claims, merge
from gateway.catalogue.owners import Owners
from gateway.catalogue.ownership import Ownership
from gateway.catalogue.ownership_reports import tell
from gateway.catalogue.part_table import PartTable
from gateway.catalogue.parts import Part, public_names_of
from gateway.catalogue.pins import PinVerdict
from gateway.catalogue.prepared import Prepared
from gateway.catalogue.visibility import Names, View
from gateway.catalogue.withheld import Withheld, verdicts_of
from gateway.config.models import ServerConfig
from gateway.upstream.listing import Listing

log = structlog.stdlib.get_logger("gateway.catalogue")

_URIS: Final = {"resources", "templates", "skills"}


@dataclass(frozen=True, slots=True)
class Replacement:
    """What was replaced by what."""

    parts: Mapping[View, Mapping[Names, tuple[Part | None, Part | None]]]
    """View → its parts before and after, of those that were made anew."""
    gone: Set[Part]
    """Those of the merged catalogue that are no more, as each who looks saw them."""
    has_other_owners: bool
    """Whether some URIs are another server's now."""


class Contributions:
    """The parts of all upstreams, and of what they are made.

    Args:
        servers: those there are, and their rules.
        prefix: how names are made in the merged view.
        judge: decides what of an upstream's listing may be published.
        owners: remembers whose each URI was.
    """

    def __init__(self, servers: Mapping[str, ServerConfig], prefix: Prefix, judge: Judge, owners: Owners) -> None:
        self.rules = {name: CompiledToolRules.of(server) for name, server in servers.items()}
        """Of each upstream that is configured."""
        self.prefix: Prefix = prefix
        self.owners = owners
        self.ownership = owners.ownership
        """Whose each URI is now; another object when that has changed."""
        self.table = PartTable()
        self.verdicts: dict[str, PinVerdict] = {}
        """Upstream → how what it offers now compares with its pins."""
        self.withheld = Withheld(self.verdicts, self._items)
        self._judge = judge
        self._prepared = Prepared()
        self._unshown = set[str]()
        """Names whose verdict is another by now, while what is shown is still made of the one before."""
        self._generation = 0
        """How often the configuration has changed."""
        self._is_unowned = False
        """Whether it is to be found out anew whose each URI is."""

    async def examine(self, name: str, listing: Listing) -> None:
        """Compare a listing with its pins beside the event loop, so that `judge` finds that done."""
        await self._judge.prepare(name, listing)

    def judge(self, name: str, listing: Listing | None) -> bool:
        """Compare a listing with its pins (None: the upstream offers nothing now).

        Returns whether its parts are not made of what comes of that, and so have to be made anew.
        """
        verdict = self._judge.judge(name, listing) if listing is not None else None
        if verdict != self.verdicts.get(name):
            self._unshown.add(name)
            if verdict is None:
                del self.verdicts[name]
            else:
                self.verdicts[name] = verdict
        return name in self._unshown

    async def prepare(
        self, servers: Mapping[str, ServerConfig], prefix: Prefix, listings: Iterable[tuple[str, Listing | None]]
    ) -> None:
        """Make beside the event loop what `configure` with the same will need, if nothing changes until then."""
        for name, listing in listings:
            server = servers.get(name)
            if server is None or listing is None:
                continue
            verdict = await self._judge.prepare(name, listing, servers)
            if (rules := CompiledToolRules.of(server)) != self.rules.get(name):
                await self._prepared.make(name, verdict, rules, prefix, self.ownership)

    def configure(
        self, servers: Mapping[str, ServerConfig], prefix: Prefix, listings: Iterable[tuple[str, Listing | None]]
    ) -> set[str]:
        """Go by these servers and no others. Returns those whose parts have to be made anew; after that,
        `end_preparations`."""
        before, self.rules = self.rules, {name: CompiledToolRules.of(server) for name, server in servers.items()}
        self.prefix = prefix
        self.owners.use(servers)
        for name in before.keys() - self.rules.keys():
            self.judge(name, None)
            self._unshown.discard(name)
            self.table.forget(name)
        stale = {name for name, rules in self.rules.items() if rules != before.get(name)}
        stale |= {name for name, listing in listings if self.judge(name, listing)}
        stale |= {name for name in self.verdicts if name not in self.owners}
        self.reconsider()
        return stale

    def reconsider(self) -> None:
        """Have it found out anew whose each URI is, also by who is making parts just now."""
        self._generation += 1
        self._is_unowned = True

    def end_preparations(self) -> None:
        """What was prepared is in force, or will not be."""
        self._prepared.clear()

    def rebuild(
        self, names: Collection[str], *, is_addition: bool = False
    ) -> Generator[Callable[[], Catalogue], Catalogue, Replacement]:
        """Make anew what depends on these upstreams: in steps, of which only the last changes what anybody sees.

        Args:
            is_addition: whether the rules are as they were, so that lists of one of many which are so, too, are kept.
        """
        while True:
            generation = self._generation
            for name in names:
                if name in self.verdicts:  # else what it claimed stays claimed: it may only be away
                    are_known = not _URIS & {*self.verdicts[name].listing.unknown}
                    claimed = claims(self._items(name, _all_of))
                    self._is_unowned |= self.owners.update(name, claimed, complete=are_known)
            if self._is_unowned:
                tell(self.owners.assign(), self.owners)
            ownership = self.owners.ownership
            affected = [name for name in self.verdicts if name in names or ownership.differs(self.ownership, name)]
            verdicts = {each: verdict for name in affected for each, verdict in verdicts_of(name, self.verdicts[name])}
            own: dict[Names, Catalogue] = {}
            merged: dict[Names, Catalogue] = {}
            for each, verdict in verdicts.items():
                items = UpstreamItems(each[0], verdict.listing, self.rules[each[0]])
                known = self.table.parts_of(each[0]).get(each)
                is_kept = is_addition and known is not None and known[0].listing is verdict.listing
                if each[1] and known is not None and is_kept and not ownership.differs(self.ownership, each[0]):
                    own[each], merged[each] = known[0].catalogue, known[1].catalogue
                    continue
                if (made := self._prepared.find(each, items, self.prefix, ownership)) is not None:
                    own[each], merged[each] = made.own, made.merged
                    continue
                if each[0] in names or known is None:
                    own[each] = yield partial(merge, [items], "own")
                else:
                    own[each] = known[0].catalogue
                merged[each] = yield partial(merge, [items], self.prefix, ownership)
            if generation == self._generation:
                break  # else the configuration is another by now
        self.withheld.renew()
        return self._replace({*names, *affected}, verdicts, own, merged, ownership)

    def _replace(
        self,
        names: Collection[str],
        verdicts: Mapping[Names, PinVerdict],
        own: Mapping[Names, Catalogue],
        merged: Mapping[Names, Catalogue],
        ownership: Ownership,
    ) -> Replacement:
        gone = set[Part]()
        replaced: dict[View, dict[Names, tuple[Part | None, Part | None]]] = {}
        self._unshown.difference_update(names)
        for name in names:
            before = self.table.parts_of(name)
            self.table.remove(name)
            for each, verdict in verdicts.items():
                if each[0] == name:
                    public = public_names_of(merged[each])
                    pair = tuple(Part(name, verdict.listing, those[each], public) for those in (own, merged))
                    self.table.set(each, *pair)
            if (name, "") in merged:
                _report(merged[name, ""])
            after = self.table.parts_of(name)
            for each in {*before, *after}:
                (was_own, was_merged), (is_own, is_merged) = (some.get(each, (None, None)) for some in (before, after))
                if was_merged is not None:
                    gone |= was_merged.forms
                replaced.setdefault(None, {})[each] = was_merged, is_merged
                replaced.setdefault(name, {})[each] = was_own, is_own
        has_other_owners = ownership is not self.ownership
        self.ownership, self._is_unowned = ownership, False
        return Replacement(replaced, gone, has_other_owners)

    def _items(self, name: str, listing_of: Callable[[PinVerdict], Listing]) -> UpstreamItems:
        return UpstreamItems(name, listing_of(self.verdicts[name]), self.rules[name])


def _all_of(verdict: PinVerdict) -> Listing:
    """What is offered to anybody."""
    if not verdict.variants:
        return verdict.listing
    listings = [verdict.listing, *(each.listing for each in verdict.variants.values())]
    return replace(
        verdict.listing,
        tools=tuple(chain.from_iterable(each.tools for each in listings)),
        resources=tuple(chain.from_iterable(each.resources for each in listings)),
        templates=tuple(chain.from_iterable(each.templates for each in listings)),
        skills=tuple(chain.from_iterable(each.skills for each in listings)),
    )


def _report(catalogue: Catalogue) -> None:
    for one in catalogue.dropped:
        log.warning("item left out", upstream=one.upstream, kind=one.kind, name=one.name, reason=one.reason)
