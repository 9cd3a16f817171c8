"""The catalogue of every view, as each principal sees it; one update costs what it changed.

A view is the merged catalogue under public names, a profile of it at `/mcp/{profile}`, or one upstream's own at
`/mcp/{upstream}`. What a profile leaves of the catalogue is a matter of who looks (`Visibility`); its shape is put on
what is left. What an upstream
contributes to either is made when it lists anew (`parts`), once for all who see the same of it; a merged catalogue is
put together from that when somebody asks for it. Where an upstream offers something else to clients that declare more,
or less, each such variant is a part of its own.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Final

import structlog
from anyio.lowlevel import checkpoint

from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner, changed
from gateway.catalogue.intake import CompiledToolRules, Kind, UpstreamItems
from gateway.catalogue.joined import JoinedCatalogues
from gateway.catalogue.judge import Judge, Lenient
from gateway.catalogue.kept_results import readable
from gateway.catalogue.merge import Prefix, claims, merge
from gateway.catalogue.naming import SEPARATOR, public_prefix
from gateway.catalogue.owners import Owners
from gateway.catalogue.ownership import Ownership
from gateway.catalogue.ownership_reports import tell
from gateway.catalogue.part_table import PartTable
from gateway.catalogue.parts import Part, public_names_of
from gateway.catalogue.pins import Change, PinVerdict
from gateway.catalogue.prepared import Prepared
from gateway.catalogue.shapes import ViewShape
from gateway.catalogue.steps import Steps, at_once, in_steps
from gateway.catalogue.visibility import Names, Selection, View, Visibility, lists_of
from gateway.catalogue.withheld import Withheld, verdicts_of
from gateway.config.models import ServerConfig
from gateway.upstream.listing import Listing, LoginListing

log = structlog.stdlib.get_logger("gateway.catalogue")

MAX_SIGHTS: Final = 4_096
"""Most people of whom it is known what they see."""

NOTHING: Final = Catalogue()

_URIS: Final = {"resources", "templates", "skills"}

LARGE: Final = 500
"""Items of a listing from which on it is worked on beside the event loop."""
BESIDE: Final = 100
"""The same of comparing it with its pins, which takes longer."""


class CatalogueViews:
    """Holds the catalogues.

    Args:
        prefix: how names are made in the merged view.
        judge: decides what of an upstream's listing may be published; by default, all.
        owners: remembers whose each URI was.
        shapes: of each profile by its name, and with None of the merged catalogue if it has one.
    """

    def __init__(
        self,
        servers: Mapping[str, ServerConfig],
        prefix: Prefix,
        judge: Judge | None = None,
        owners: Owners | None = None,
        shapes: Mapping[View, ViewShape] | None = None,
    ) -> None:
        self._shapes: Mapping[View, ViewShape] = shapes or {}
        self._rules = {name: CompiledToolRules.of(server) for name, server in servers.items()}
        self._prefix: Prefix = prefix
        self._judge = judge or Lenient()
        self._prepared = Prepared()
        self._verdicts: dict[str, PinVerdict] = {}
        self._unshown = set[str]()
        """Names whose verdict is another by now, while what is shown is still made of the one before."""
        self.owners = owners or Owners(servers)
        self._ownership = self.owners.ownership
        self._withheld = Withheld(self._verdicts, self._items)
        self._table = PartTable()
        self.labels: Mapping[str, frozenset[str]] = self._table.labels
        """Upstream → the labels of clients to which it offers something else; only of those that do."""
        self._replaced: dict[View, dict[Names, tuple[Part | None, Part | None]]] = {}
        """View → parts before and after the last update, of those that it changed."""
        self._joined = JoinedCatalogues()
        self.revision = 0
        """Another number whenever somebody may see something else."""
        self._generation = 0
        """How often the configuration has changed."""
        self._is_unowned = False
        """Whether it is to be found out anew whose each URI is."""
        self._seen: dict[tuple[Visibility, Selection], tuple[Part, ...]] = {}
        self._latest_of: dict[int, tuple[Visibility, Catalogue]] = {}
        self._sees_of: dict[tuple[str, int], tuple[Visibility, bool]] = {}
        """What somebody's `id` saw last."""

    @property
    def ownership(self) -> Ownership:
        """Whose each URI is now; another object when that has changed."""
        return self._ownership

    # --- What somebody sees -------------------------------------------------------------------------------------------

    def has(self, view: View, sight: Visibility) -> bool:
        """Whether there is such a view for somebody of that sight."""
        if view is not None and view in self._shapes:
            return not sight.is_shut
        return view is None or self.sees(view, sight)

    @property
    def shaped(self) -> Collection[View]:
        """The profiles, and None if the merged catalogue has a shape."""
        return self._shapes.keys()

    def is_own(self, view: View) -> bool:
        """Whether a view shows an upstream by its own names, and not the merged catalogue or some of it."""
        return view is not None and view not in self._shapes

    def covers(self, view: View, upstream: str) -> bool:
        """Whether an upstream is in a view, as far as that says so itself; what of it, is a matter of who looks."""
        return view == upstream or not self.is_own(view)

    def sees(self, upstream: str, sight: Visibility) -> bool:
        """Whether an upstream is there for somebody of that sight: one of which it may use nothing is not."""
        known = self._sees_of.get((upstream, id(sight)))
        if known is not None and known[0] is sight:
            return known[1]
        sees = self._find_out_whether(upstream, sight)
        if len(self._sees_of) >= MAX_SIGHTS:
            self._sees_of.clear()
        self._sees_of[upstream, id(sight)] = sight, sees
        return sees

    def _find_out_whether(self, upstream: str, sight: Visibility) -> bool:
        if upstream not in self._rules or not sight.sees_upstream(upstream):
            return False
        if sight.within is None:
            return True
        return any(not self._restricted(part, sight).is_empty for part in self._table.offers_of(upstream))

    def view(self, view: View, sight: Visibility, selection: Selection = ()) -> Catalogue:
        """The catalogue of somebody of that sight; an empty one where there is no such view, or no longer."""
        if not self.is_own(view):
            shape = self._shapes.get(view)
            if selection or shape is not None:
                return readable(self._join(self._parts(sight, selection), shape), is_sorted=True)
            return readable(self._latest(sight), is_sorted=True)
        assert view is not None
        part = self._table.own_part(view, selection)
        if part is None or not self.sees(view, sight):
            return NOTHING
        return readable(self._restricted(part, sight).catalogue, is_sorted=False)

    def whole(self, view: View, selection: Selection = ()) -> Catalogue:
        """The view of somebody who may see everything."""
        if not self.is_own(view):
            shape = self._shapes.get(view) if view is not None else None
            return self._join(tuple(self._table.merged_parts(selection)), shape)
        assert view is not None
        part = self._table.own_part(view, selection)
        return part.catalogue if part is not None else NOTHING

    def contributions(self) -> list[tuple[str, Catalogue, Catalogue]]:
        """`(upstream, its own view, what it contributes to the merged one)`, of all that are listed now."""
        return [(name, part.catalogue, self._table.merged[name].catalogue) for name, part in self._table.own.items()]

    def knows(self, upstream: str) -> bool:
        """Whether it was ever seen what an upstream offers."""
        return upstream in self._table.offered

    def verdict(self, upstream: str) -> PinVerdict:
        """How what an upstream offers compares with its pins."""
        return self._verdicts.get(upstream, PinVerdict(Listing()))

    def verdicts(self) -> dict[str, PinVerdict]:
        """That of each upstream of which there is one."""
        return dict(self._verdicts)

    @property
    def blocks(self) -> bool:
        """Whether anything is blocked."""
        return self._withheld.is_any

    def blocked(self, kind: Kind, owner: Owner, selection: Selection = ()) -> Change | None:
        """The unapproved change because of which an item must not be used, or the template that led to it."""
        return self._withheld.change(kind, owner, selection)

    def held_back(self, view: View, sight: Visibility, selection: Selection = ()) -> Catalogue:
        """What is not published because it is blocked and new, under the names it would have. Only for who sees
        everything: to others it might never be shown."""
        return self._withheld.catalogue(self.base(view), selection, self._prefix) if sight.unrestricted else NOTHING

    def withholds(self, upstream: str, uri: str, selection: Selection = ()) -> bool:
        """Whether all that stands for an unlisted URI of an upstream's are templates that are blocked."""
        if not self._withheld.is_from(upstream, selection):
            return False
        catalogues = self.whole(upstream, selection), self._withheld.catalogue(upstream, selection, self._prefix)
        owners = [owner for catalogue in catalogues if (owner := catalogue.unlisted(uri)) is not None and owner.item]
        return bool(owners) and all(self.blocked("resources", owner, selection) for owner in owners)

    def public_name(self, kind: Kind, upstream: str, own: str) -> str:
        """What an upstream's item is called in the merged view, which rules go by; its own name if it is not there."""
        names = (part.public.get((kind, own)) for part in self._table.offers_of(upstream))
        return next(filter(None, names), own)

    def head(self, upstream: str) -> str:
        """What the names of all its tools and prompts begin with in the merged catalogue."""
        return public_prefix(upstream) + SEPARATOR if self._prefix != "none" else ""

    def base(self, view: View) -> View:
        """The view that it is made of."""
        return view if self.is_own(view) else None

    def changes(self, view: View, sight: Visibility, selection: Selection = ()) -> set[ChangeKind]:
        """Which lists the last `update` changed for somebody."""
        kinds = set[ChangeKind]()
        for (name, label), (before, after) in self._replaced.get(self.base(view), {}).items():
            if (name, label) != lists_of(name, selection):
                continue
            old, new = (
                NOTHING if part is None else self._restricted(part, sight).catalogue for part in (before, after)
            )
            if sight.sees_upstream(name):
                kinds |= changed(old, new)
        return kinds

    # --- What upstreams list ------------------------------------------------------------------------------------------

    def update(self, listings: Iterable[tuple[str, Listing | None]]) -> set[View]:
        """Take new listings (None: the upstream offers nothing now); returns the views that may have changed."""
        names = [name for name, listing in listings if self._take(name, self._judged(name, listing))]
        self._replaced = {}
        if names:
            at_once(self._rebuild(names))
        return set(self._replaced)

    async def examine(self, name: str, listing: Listing | None) -> None:
        """Compare a large listing with its pins beside the event loop, so that it can be taken in at once; and look up
        those that are kept for each."""
        if listing is not None and (isinstance(listing, LoginListing) or _size(listing) >= BESIDE):
            await self._judge.prepare(name, listing)

    async def take_in(self, name: str, listing: Listing | None) -> set[View]:
        """The same for one listing, in steps between which others get their turn. One update at a time."""
        size = _size(listing)
        self._replaced = {}
        if self._take(name, self._judged(name, listing)):
            await checkpoint()
            await in_steps(self._rebuild([name], is_addition=True), beside=size >= LARGE)
        return set(self._replaced)

    def reconsider(self) -> set[View]:
        """Go by what is remembered of URIs and their owners; returns the views that may have changed."""
        self._generation += 1
        self._is_unowned = True
        self._replaced = {}
        at_once(self._rebuild([]))
        return set(self._replaced)

    async def prepare(
        self, servers: Mapping[str, ServerConfig], prefix: Prefix, listings: Iterable[tuple[str, Listing | None]]
    ) -> None:
        """Make beside the event loop what `configure` with the same will need, if nothing changes until then."""
        for name, listing in listings:
            server = servers.get(name)
            if server is None or listing is None:
                continue
            verdict = await self._judge.prepare(name, listing, servers)
            if (rules := CompiledToolRules.of(server)) != self._rules.get(name):
                await self._prepared.make(name, verdict, rules, prefix, self._ownership)

    def configure(
        self,
        servers: Mapping[str, ServerConfig],
        prefix: Prefix,
        listings: Iterable[tuple[str, Listing | None]],
        shapes: Mapping[View, ViewShape] | None = None,
    ) -> None:
        """Hold these servers and no others, by these rules. To see what that changed for somebody, compare views."""
        before, self._rules = self._rules, {name: CompiledToolRules.of(server) for name, server in servers.items()}
        self._prefix = prefix
        self._shapes = shapes or {}
        self.owners.use(servers)
        for name in before.keys() - self._rules.keys():
            self._take(name, None)
            self._unshown.discard(name)
            self._table.forget(name)
        stale = {name for name, rules in self._rules.items() if rules != before.get(name)}
        stale |= {name for name, listing in listings if self._take(name, self._judged(name, listing))}
        stale |= {name for name in self._verdicts if name not in self.owners}
        self._generation += 1
        self._is_unowned = True
        self._replaced = {}
        self._joined.clear()
        self._forget()
        at_once(self._rebuild(stale))
        self._prepared.clear()

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _judged(self, name: str, listing: Listing | None) -> PinVerdict | None:
        return self._judge.judge(name, listing) if listing is not None else None

    def _take(self, name: str, verdict: PinVerdict | None) -> bool:
        """Returns whether it is not what is shown: it is another one than before, or that was not shown yet."""
        if verdict != self._verdicts.get(name):
            self._unshown.add(name)
            if verdict is None:
                del self._verdicts[name]
            else:
                self._verdicts[name] = verdict
        return name in self._unshown

    def _rebuild(self, names: Collection[str], *, is_addition: bool = False) -> Steps:
        """Make anew what depends on these upstreams: in steps, of which only the last changes what anybody sees.

        Args:
            is_addition: whether the rules are as they were, so that lists of one of many which are so, too, are kept.
        """
        while True:
            generation = self._generation
            for name in names:
                if name in self._verdicts:  # else what it claimed stays claimed: it may only be away
                    are_known = not _URIS & {*self._verdicts[name].listing.unknown}
                    claimed = claims(self._items(name, _all_of))
                    self._is_unowned |= self.owners.update(name, claimed, complete=are_known)
            if self._is_unowned:
                tell(self.owners.settle(), self.owners)
            ownership = self.owners.ownership
            affected = [name for name in self._verdicts if name in names or ownership.differs(self._ownership, name)]
            verdicts = {each: verdict for name in affected for each, verdict in verdicts_of(name, self._verdicts[name])}
            own: dict[Names, Catalogue] = {}
            merged: dict[Names, Catalogue] = {}
            for each, verdict in verdicts.items():
                items = UpstreamItems(each[0], verdict.listing, self._rules[each[0]])
                known = self._table.parts_of(each[0]).get(each)
                is_kept = is_addition and known is not None and known[0].listing is verdict.listing
                if each[1] and known is not None and is_kept and not ownership.differs(self._ownership, each[0]):
                    own[each], merged[each] = known[0].catalogue, known[1].catalogue
                    continue
                if (made := self._prepared.find(each, items, self._prefix, ownership)) is not None:
                    own[each], merged[each] = made.own, made.merged
                    continue
                if each[0] in names or known is None:
                    own[each] = yield partial(merge, [items], "own")
                else:
                    own[each] = known[0].catalogue
                merged[each] = yield partial(merge, [items], self._prefix, ownership)
            if generation == self._generation:
                break  # else the configuration is another by now
        self._withheld.renew()
        self._replace({*names, *affected}, verdicts, own, merged, ownership)

    def _replace(
        self,
        names: Collection[str],
        verdicts: Mapping[Names, PinVerdict],
        own: Mapping[Names, Catalogue],
        merged: Mapping[Names, Catalogue],
        ownership: Ownership,
    ) -> None:
        gone = set[Part]()
        self._unshown.difference_update(names)
        for name in names:
            before = self._table.parts_of(name)
            self._table.remove(name)
            for each, verdict in verdicts.items():
                if each[0] == name:
                    public = public_names_of(merged[each])
                    pair = tuple(Part(name, verdict.listing, those[each], public) for those in (own, merged))
                    self._table.set(each, *pair)
            if (name, "") in merged:
                _report(merged[name, ""])
            after = self._table.parts_of(name)
            for each in {*before, *after}:
                (was_own, was_merged), (is_own, is_merged) = (some.get(each, (None, None)) for some in (before, after))
                if was_merged is not None:
                    gone |= was_merged.forms
                self._replaced.setdefault(None, {})[each] = was_merged, is_merged
                self._replaced.setdefault(name, {})[each] = was_own, is_own
        self._seen.clear()
        self._forget()
        if ownership is not self._ownership:
            self._joined.clear()
        self._joined.drop(gone)
        self._ownership, self._is_unowned = ownership, False

    def _forget(self) -> None:
        """What somebody saw is not what they see now."""
        self._latest_of.clear()
        self._sees_of.clear()
        self.revision += 1

    def _latest(self, sight: Visibility) -> Catalogue:
        """The merged catalogue of somebody who declares nothing unusual, as nearly always. Who comes again brings the
        same object, and what it sees need not be compared."""
        known = self._latest_of.get(id(sight))
        if known is not None and known[0] is sight:
            return known[1]
        catalogue = self._join(self._parts(sight, ()))
        if len(self._latest_of) >= MAX_SIGHTS:
            self._latest_of.clear()
        self._latest_of[id(sight)] = sight, catalogue
        return catalogue

    def _join(self, parts: tuple[Part, ...], shape: ViewShape | None = None) -> Catalogue:
        return self._joined.of(parts, self._prefix, self._ownership, shape) if parts or shape is not None else NOTHING

    def _parts(self, sight: Visibility, selection: Selection) -> tuple[Part, ...]:
        """What the merged catalogue consists of for somebody."""
        parts = self._seen.get((sight, selection))
        if parts is None:
            seen = (part for part in self._table.merged_parts(selection) if self.sees(part.name, sight))
            parts = tuple(self._restricted(part, sight) for part in seen)
            if len(self._seen) >= MAX_SIGHTS:
                self._seen.clear()
            self._seen[sight, selection] = parts
        return parts

    def _restricted(self, part: Part, sight: Visibility) -> Part:
        if sight.within is None:
            return part

        def admits(kind: Kind, owner: Owner) -> bool:
            public = part.public.get((kind, owner.original), owner.original)
            if not sight.admits(owner.upstream, public, kind, owner.original):
                return False
            # That an earlier upstream has the same URI takes none away from a rule that denies it.
            return kind in ("tools", "prompts") or not sight.denies(owner.original)

        return part.restricted(sight.within, admits)

    def _items(self, name: str, listing_of: Callable[[PinVerdict], Listing]) -> UpstreamItems:
        return UpstreamItems(name, listing_of(self._verdicts[name]), self._rules[name])


def _size(listing: Listing | None) -> int:
    return 0 if listing is None else sum(map(len, (listing.tools, listing.resources, listing.prompts, listing.skills)))


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
