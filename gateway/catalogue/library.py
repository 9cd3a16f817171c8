"""The catalogue of every view, as each principal sees it; one update costs what it changed.

A view is the merged catalogue under public names, or one upstream's own at `/mcp/{upstream}`. What an upstream
contributes to either is made when it lists anew (`parts`), once for all who see the same of it; a merged catalogue is
put together from that when somebody asks for it. Where an upstream offers something else to clients that declare more,
or less, each such variant is a part of its own.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Final, Protocol

import anyio
import anyio.to_thread
import structlog
from anyio.lowlevel import checkpoint

from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner, changed
from gateway.catalogue.intake import Kind, ToolRules, UpstreamItems
from gateway.catalogue.merge import Prefix, claims, merge
from gateway.catalogue.naming import SEPARATOR, public_prefix
from gateway.catalogue.owners import Owners
from gateway.catalogue.ownership import Ownership
from gateway.catalogue.ownership_reports import tell
from gateway.catalogue.parts import Part, join, public_names_of
from gateway.catalogue.pins import Change, Verdict, unjudged
from gateway.config.models import ServerConfig
from gateway.upstream.listing import Listing

log = structlog.stdlib.get_logger("gateway.catalogue")

View = str | None
"""An upstream's name, or None for the merged catalogue."""

Selection = tuple[tuple[str, str], ...]
"""`(upstream, label)` of each variant that a client sees instead of the upstream's main lists."""

Names = tuple[str, str]
"""`(upstream, label)`; the label of its main lists is empty."""

NOTHING: Final = Catalogue()

_URIS: Final = {"resources", "templates"}

MAX_JOINED_ITEMS: Final = 250_000
"""Most items in the merged catalogues that are kept, all together; the one unused for longest goes first."""
MAX_HELD_BACK: Final = 64
"""Most catalogues of what is held back that are kept."""
MAX_SIGHTS: Final = 4_096
"""Most people of whom it is known what they see."""
LARGE: Final = 500
"""Items of a listing from which on it is worked on beside the event loop."""
BESIDE: Final = 100
"""The same of comparing it with its pins, which takes longer."""


class Visibility(Protocol):
    """What somebody may see. Equal ones share catalogues, so they must be hashable by what they allow."""

    @property
    def unrestricted(self) -> bool: ...

    @property
    def within(self) -> Hashable:
        """What decides which items of an upstream it sees; None: nothing does. Equal ones see the same of each."""
        ...

    def sees_upstream(self, upstream: str) -> bool:
        """Whether the credential includes the upstream; what of it may be used is another matter."""
        ...

    def admits(self, upstream: str, public: str) -> bool:
        """Whether the item of that public name (tools, prompts) or URI (resources, templates) may be used."""
        ...

    def denies(self, public: str) -> bool:
        """Whether a rule forbids an item by that name, whatever upstream it belongs to."""
        ...

    def __hash__(self) -> int: ...


class Judge(Protocol):
    """Decides what of an upstream's listing may be published."""

    def judge(self, upstream: str, listing: Listing) -> Verdict: ...

    async def prepare(
        self, upstream: str, listing: Listing, servers: Mapping[str, ServerConfig] | None = None
    ) -> Verdict:
        """Work out beside the event loop what `judge` will say, with these servers if they are to be others then."""
        ...


class Lenient:
    """All may be published."""

    def judge(self, upstream: str, listing: Listing) -> Verdict:
        return unjudged(listing)

    async def prepare(
        self, upstream: str, listing: Listing, servers: Mapping[str, ServerConfig] | None = None
    ) -> Verdict:
        return unjudged(listing)


@dataclass(frozen=True, slots=True)
class _Made:
    """Catalogues of one upstream's items, made before they are needed."""

    items: UpstreamItems
    prefix: Prefix
    ownership: Ownership
    own: Catalogue
    merged: Catalogue


class CatalogueViews:
    """Holds the catalogues.

    Args:
        prefix: how names are made in the merged view.
        judge: decides what of an upstream's listing may be published; by default, all.
        owners: remembers whose each URI was.
    """

    def __init__(
        self,
        servers: Mapping[str, ServerConfig],
        prefix: Prefix,
        judge: Judge | None = None,
        owners: Owners | None = None,
    ) -> None:
        self._rules = {name: rules_of(server) for name, server in servers.items()}
        self._prefix: Prefix = prefix
        self._judge = judge or Lenient()
        self._made: dict[Names, _Made] = {}
        self._verdicts: dict[str, Verdict] = {}
        self.owners = owners or Owners(servers)
        self._ownership = self.owners.ownership
        self.labels: dict[str, frozenset[str]] = {}
        """Upstream → the labels of clients to which it offers something else; only of those that do."""
        self._blocked: dict[Names, Mapping[tuple[str, str], Change]] = {}
        """Only of lists of which something is."""
        self._held_back: dict[tuple[View, Selection], Catalogue] = {}
        self._varied: dict[Names, tuple[Part, Part]] = {}
        """Of each variant, what `_own` and `_merged` have of the main lists."""
        self._own: dict[str, Part] = {}
        """Upstream → its own view."""
        self._merged: dict[str, Part] = {}
        """Upstream → what it contributes to the merged view."""
        self._offered: dict[str, Part] = {}
        """The same of all upstreams; of one that is away, as it was."""
        self._replaced: dict[View, dict[Names, tuple[Part | None, Part | None]]] = {}
        """View → parts before and after the last update, of those that it changed."""
        self._joined: OrderedDict[tuple[Part, ...], Catalogue] = OrderedDict()
        self._joined_items = 0
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
        return view is None or self.sees(view, sight)

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
        variants = (self._varied[upstream, label][1] for label in self.labels.get(upstream, ()))
        parts = [part for part in (self._offered.get(upstream), *variants) if part is not None]
        return any(not self._restricted(part, sight).is_empty for part in parts)

    def view(self, view: View, sight: Visibility, selection: Selection = ()) -> Catalogue:
        """The catalogue of somebody of that sight; an empty one where there is no such view, or no longer."""
        if view is None:
            return self._latest(sight) if not selection else self._join(self._parts(sight, selection))
        part = self._own_part(view, selection)
        return self._restricted(part, sight).catalogue if part is not None and self.sees(view, sight) else NOTHING

    def whole(self, view: View, selection: Selection = ()) -> Catalogue:
        """The view of somebody who may see everything."""
        if view is None:
            return self._join(tuple(self._merged_parts(selection)))
        part = self._own_part(view, selection)
        return part.catalogue if part is not None else NOTHING

    def contributions(self) -> list[tuple[str, Catalogue, Catalogue]]:
        """`(upstream, its own view, what it contributes to the merged one)`, of all that are listed now."""
        return [(name, part.catalogue, self._merged[name].catalogue) for name, part in self._own.items()]

    def knows(self, upstream: str) -> bool:
        """Whether it was ever seen what an upstream offers."""
        return upstream in self._offered

    def verdict(self, upstream: str) -> Verdict:
        """How what an upstream offers compares with its pins."""
        return self._verdicts.get(upstream, Verdict(Listing()))

    def verdicts(self) -> dict[str, Verdict]:
        """That of each upstream of which there is one."""
        return dict(self._verdicts)

    @property
    def blocks(self) -> bool:
        """Whether anything is blocked."""
        return bool(self._blocked)

    def blocked(self, kind: Kind, owner: Owner, selection: Selection = ()) -> Change | None:
        """The unapproved change because of which an item must not be used, or the template that led to it."""
        changes = self._blocked.get(_of(owner.upstream, selection)) if self._blocked else None
        if changes is None:
            return None
        return changes.get((kind, owner.original)) or changes.get(("templates", str(owner.item.get("uriTemplate"))))

    def held_back(self, view: View, sight: Visibility, selection: Selection = ()) -> Catalogue:
        """What is not published because it is blocked and new, under the names it would have. Only for who sees
        everything: to others it might never be shown."""
        return self._held(view, selection) if sight.unrestricted else NOTHING

    def withholds(self, upstream: str, uri: str, selection: Selection = ()) -> bool:
        """Whether all that stands for an unlisted URI of an upstream's are templates that are blocked."""
        if _of(upstream, selection) not in self._blocked:
            return False
        catalogues = self.whole(upstream, selection), self._held(upstream, selection)
        owners = [owner for catalogue in catalogues if (owner := catalogue.unlisted(uri)) is not None and owner.item]
        return bool(owners) and all(self.blocked("resources", owner, selection) for owner in owners)

    def head(self, upstream: str) -> str:
        """What the names of all its tools and prompts begin with in the merged catalogue."""
        return public_prefix(upstream) + SEPARATOR if self._prefix != "none" else ""

    def changes(self, view: View, sight: Visibility, selection: Selection = ()) -> set[ChangeKind]:
        """Which lists the last `update` changed for somebody."""
        kinds = set[ChangeKind]()
        for (name, label), (before, after) in self._replaced.get(view, {}).items():
            if (name, label) != _of(name, selection):
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
            _at_once(self._rebuild(names))
        return set(self._replaced)

    async def examine(self, name: str, listing: Listing | None) -> None:
        """Compare a large listing with its pins beside the event loop, so that it can be taken in at once."""
        if listing is not None and _size(listing) >= BESIDE:
            await self._judge.prepare(name, listing)

    async def take_in(self, name: str, listing: Listing | None) -> set[View]:
        """The same for one listing, in steps between which others get their turn. One update at a time."""
        size = _size(listing)
        self._replaced = {}
        if self._take(name, self._judged(name, listing)):
            await checkpoint()
            await _in_steps(self._rebuild([name]), beside=size >= LARGE)
        return set(self._replaced)

    def reconsider(self) -> set[View]:
        """Go by what is remembered of URIs and their owners; returns the views that may have changed."""
        self._generation += 1
        self._is_unowned = True
        self._replaced = {}
        _at_once(self._rebuild([]))
        return set(self._replaced)

    async def prepare(
        self, servers: Mapping[str, ServerConfig], prefix: Prefix, listings: Iterable[tuple[str, Listing | None]]
    ) -> None:
        """Make beside the event loop what `configure` with the same will need, if nothing changes until then."""
        for name, listing in listings:
            server = servers.get(name)
            if server is None or listing is None:
                continue
            verdicts = await self._judge.prepare(name, listing, servers)
            rules = rules_of(server)
            for each, verdict in _each(name, verdicts) if rules != self._rules.get(name) else ():
                items, ownership = UpstreamItems(name, verdict.listing, rules), self._ownership
                own = await anyio.to_thread.run_sync(merge, [items], "own")
                merged = await anyio.to_thread.run_sync(merge, [items], prefix, ownership)
                self._made[each] = _Made(items, prefix, ownership, own, merged)

    def configure(
        self, servers: Mapping[str, ServerConfig], prefix: Prefix, listings: Iterable[tuple[str, Listing | None]]
    ) -> None:
        """Hold these servers and no others, by these rules. To see what that changed for somebody, compare views."""
        before, self._rules = self._rules, {name: rules_of(server) for name, server in servers.items()}
        self._prefix = prefix
        self.owners.use(servers)
        for name in before.keys() - self._rules.keys():
            self._take(name, None)
            for each in self._parts_of(name):
                self._varied.pop(each, None)
            for parts in (self._own, self._merged, self._offered, self.labels):
                parts.pop(name, None)
        stale = {name for name, rules in self._rules.items() if rules != before.get(name)}
        stale |= {name for name, listing in listings if self._take(name, self._judged(name, listing))}
        stale |= {name for name in self._verdicts if name not in self.owners}
        self._generation += 1
        self._is_unowned = True
        self._replaced = {}
        self._joined.clear()
        self._forget()
        self._joined_items = 0
        _at_once(self._rebuild(stale))
        self._made.clear()

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _judged(self, name: str, listing: Listing | None) -> Verdict | None:
        return self._judge.judge(name, listing) if listing is not None else None

    def _take(self, name: str, verdict: Verdict | None) -> bool:
        """Returns whether it is another one than before."""
        if verdict == self._verdicts.get(name):
            return False
        if verdict is None:
            del self._verdicts[name]
        else:
            self._verdicts[name] = verdict
        return True

    def _rebuild(self, names: Collection[str]) -> "_Steps":
        """Make anew what depends on these upstreams: in steps, of which only the last changes what anybody sees."""
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
            verdicts = {each: verdict for name in affected for each, verdict in _each(name, self._verdicts[name])}
            own: dict[Names, Catalogue] = {}
            merged: dict[Names, Catalogue] = {}
            for each, verdict in verdicts.items():
                items = UpstreamItems(each[0], verdict.listing, self._rules[each[0]])
                known = self._parts_of(each[0]).get(each)
                if (made := self._made_before(each, items, ownership)) is not None:
                    own[each], merged[each] = made.own, made.merged
                    continue
                if each[0] in names or known is None:
                    own[each] = yield partial(merge, [items], "own")
                else:
                    own[each] = known[0].catalogue
                merged[each] = yield partial(merge, [items], self._prefix, ownership)
            if generation == self._generation:
                break  # else the configuration is another by now
        self._hold_back()
        self._replace({*names, *affected}, verdicts, own, merged, ownership)

    def _made_before(self, each: Names, items: UpstreamItems, ownership: Ownership) -> _Made | None:
        made = self._made.get(each)
        if made is None or made.items != items or made.prefix != self._prefix:
            return None
        return None if ownership.differs(made.ownership, each[0]) else made

    def _replace(
        self,
        names: Collection[str],
        verdicts: Mapping[Names, Verdict],
        own: Mapping[Names, Catalogue],
        merged: Mapping[Names, Catalogue],
        ownership: Ownership,
    ) -> None:
        gone = set[Part]()
        for name in names:
            before = self._parts_of(name)
            for parts in (self._own, self._merged, self.labels):
                parts.pop(name, None)
            for each in before:
                self._varied.pop(each, None)
            for each, verdict in verdicts.items():
                if each[0] == name:
                    public = public_names_of(merged[each])
                    pair = tuple(Part(name, verdict.listing, those[each], public) for those in (own, merged))
                    self._set(each, *pair)
            if (name, "") in merged:
                _report(merged[name, ""])
            after = self._parts_of(name)
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
            self._joined_items = 0
        for parts in [parts for parts in self._joined if not gone.isdisjoint(parts)]:
            self._joined_items -= self._joined.pop(parts).size
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

    def _join(self, parts: tuple[Part, ...]) -> Catalogue:
        if not parts:
            return NOTHING
        catalogue = self._joined.get(parts)
        if catalogue is None:
            catalogue = self._joined[parts] = join(parts, self._prefix, self._ownership)
            self._joined_items += catalogue.size
            while self._joined_items > MAX_JOINED_ITEMS and len(self._joined) > 1:
                self._joined_items -= self._joined.popitem(last=False)[1].size
        else:
            self._joined.move_to_end(parts)
        return catalogue

    def _set(self, names: Names, own: Part, merged: Part) -> None:
        name, label = names
        if label:
            self._varied[names] = own, merged
            self.labels[name] = self.labels.get(name, frozenset()) | {label}
        else:
            self._own[name] = own
            self._merged[name] = self._offered[name] = merged

    def _parts_of(self, name: str) -> dict[Names, tuple[Part, Part]]:
        """All parts of one upstream."""
        if name not in self._own:
            return {}
        varied = {(name, label): self._varied[name, label] for label in self.labels.get(name, ())}
        return {(name, ""): (self._own[name], self._merged[name]), **varied}

    def _own_part(self, name: str, selection: Selection) -> Part | None:
        varied = self._varied.get(_of(name, selection)) if selection else None
        return varied[0] if varied is not None else self._own.get(name)

    def _merged_parts(self, selection: Selection) -> Iterable[Part]:
        if not selection:
            return self._merged.values()
        varied = ((part, self._varied.get(_of(name, selection))) for name, part in self._merged.items())
        return (part if other is None else other[1] for part, other in varied)

    def _parts(self, sight: Visibility, selection: Selection) -> tuple[Part, ...]:
        """What the merged catalogue consists of for somebody."""
        parts = self._seen.get((sight, selection))
        if parts is None:
            seen = (part for part in self._merged_parts(selection) if self.sees(part.name, sight))
            parts = tuple(self._restricted(part, sight) for part in seen)
            if len(self._seen) >= MAX_SIGHTS:
                self._seen.clear()
            self._seen[sight, selection] = parts
        return parts

    def _restricted(self, part: Part, sight: Visibility) -> Part:
        if sight.within is None:
            return part

        def admits(kind: Kind, owner: Owner) -> bool:
            if not sight.admits(owner.upstream, part.public.get((kind, owner.original), owner.original)):
                return False
            # That an earlier upstream has the same URI takes none away from a rule that denies it.
            return kind in ("tools", "prompts") or not sight.denies(owner.original)

        return part.restricted(sight.within, admits)

    def _items(self, name: str, listing_of: Callable[[Verdict], Listing]) -> UpstreamItems:
        return UpstreamItems(name, listing_of(self._verdicts[name]), self._rules[name])

    def _hold_back(self) -> None:
        all_of_them = (each for name, verdict in self._verdicts.items() for each in _each(name, verdict))
        self._blocked = {each: verdict.blocked for each, verdict in all_of_them if verdict.blocked}
        self._held_back.clear()

    def _held(self, view: View, selection: Selection) -> Catalogue:
        """What is held back of these lists; looked for only when something is not found."""
        if not self._blocked:
            return NOTHING
        held = self._held_back.get((view, selection))
        if held is None:
            if len(self._held_back) >= MAX_HELD_BACK:
                self._held_back.clear()
            names = [name for name in self._verdicts if view in (None, name) and _of(name, selection) in self._blocked]
            items = [self._items(name, partial(_held_back_of, label=_of(name, selection)[1])) for name in names]
            held = merge(items, self._prefix if view is None else "own") if items else NOTHING
            self._held_back[view, selection] = held
        return held


def _size(listing: Listing | None) -> int:
    return 0 if listing is None else sum(map(len, (listing.tools, listing.resources, listing.prompts)))


def _of(name: str, selection: Selection) -> Names:
    """Which lists of an upstream somebody sees who selected these."""
    return next((each for each in selection if each[0] == name), (name, ""))


def _each(name: str, verdict: Verdict) -> list[tuple[Names, Verdict]]:
    return [((name, ""), verdict), *(((name, label), variant) for label, variant in verdict.variants.items())]


def _held_back_of(verdict: Verdict, label: str) -> Listing:
    return verdict.variants.get(label, verdict).held_back


def _all_of(verdict: Verdict) -> Listing:
    """What is offered to anybody."""
    if not verdict.variants:
        return verdict.listing
    listings = [verdict.listing, *(each.listing for each in verdict.variants.values())]
    return replace(
        verdict.listing,
        tools=tuple(chain.from_iterable(each.tools for each in listings)),
        resources=tuple(chain.from_iterable(each.resources for each in listings)),
        templates=tuple(chain.from_iterable(each.templates for each in listings)),
    )


_Steps = Generator[Callable[[], Catalogue], Catalogue, None]
"""Yields work, and is sent what comes of it."""


def _at_once(steps: _Steps) -> None:
    try:
        work = next(steps)
        while True:
            work = steps.send(work())
    except StopIteration:
        pass


async def _in_steps(steps: _Steps, *, beside: bool) -> None:
    """
    Args:
        beside: whether each step takes so long that it is made beside the event loop.
    """
    try:
        work = next(steps)
        while True:
            if beside:
                result = await anyio.to_thread.run_sync(work)
            else:
                result = work()
                await checkpoint()
            work = steps.send(result)
    except StopIteration:
        pass


def _report(catalogue: Catalogue) -> None:
    for one in catalogue.dropped:
        log.warning("item left out", upstream=one.upstream, kind=one.kind, name=one.name, reason=one.reason)


def rules_of(server: ServerConfig) -> ToolRules:
    rules = server.tools
    return ToolRules(tuple(rules.allow), tuple(rules.deny), dict(rules.rename), dict(rules.describe))
