"""The catalogue of every view, as each principal sees it; one update costs what it changed.

A view is the merged catalogue under public names, a profile of it at `/mcp/{profile}`, or one upstream's own at
`/mcp/{upstream}`. What a profile leaves of the catalogue is a matter of who looks (`Visibility`); its shape is put on
what is left. What an upstream contributes to either is made when it lists anew (`contributions`), once for all who see
the same of it; a merged catalogue is put together from that when somebody asks for it. Where an upstream offers
something else to clients that declare more, or less, each such variant is a part of its own.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from anyio.lowlevel import checkpoint

from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner, changed
from gateway.catalogue.contributions import Contributions
from gateway.catalogue.intake import Kind
from gateway.catalogue.joined import JoinedCatalogues
from gateway.catalogue.judge import Judge, Lenient
from gateway.catalogue.kept_results import readable
from gateway.catalogue.merge import Prefix
from gateway.catalogue.naming import SEPARATOR, public_prefix
from gateway.catalogue.owners import Owners
from gateway.catalogue.ownership import Ownership
from gateway.catalogue.parts import Part
from gateway.catalogue.pins import Change, PinVerdict
from gateway.catalogue.shapes import ViewShape
from gateway.catalogue.steps import Steps, at_once, in_steps
from gateway.catalogue.visibility import Names, Selection, View, Visibility, lists_of
from gateway.config.models import ServerConfig
from gateway.upstream.listing import Listing, LoginListing

MAX_VIEWERS: Final = 4_096
"""Most people of whom it is known what they see."""

NOTHING: Final = Catalogue()

LARGE: Final = 500
"""Items of a listing from which on it is worked on beside the event loop."""
BESIDE: Final = 100
"""The same of comparing it with its pins, which takes longer."""


class CatalogueViews:
    """The catalogues, by who looks and at which view; they follow what upstreams list and what is configured.

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
        self._contributions = Contributions(servers, prefix, judge or Lenient(), owners or Owners(servers))
        self._table = self._contributions.table
        self.withheld = self._contributions.withheld
        self.labels: Mapping[str, frozenset[str]] = self._table.labels
        """Upstream → the labels of clients to which it offers something else; only of those that do."""
        self._replaced: dict[View, dict[Names, tuple[Part | None, Part | None]]] = {}
        """View → parts before and after the last update, of those that it changed."""
        self._joined = JoinedCatalogues()
        self.revision = 0
        """Another number whenever somebody may see something else."""
        self._seen: dict[tuple[Visibility, Selection], tuple[Part, ...]] = {}
        self._latest_of: dict[int, tuple[Visibility, Catalogue]] = {}
        self._sees_of: dict[tuple[str, int], tuple[Visibility, bool]] = {}
        """What somebody's `id` saw last."""

    @property
    def ownership(self) -> Ownership:
        """Whose each URI is now; another object when that has changed."""
        return self._contributions.ownership

    # --- What somebody sees -------------------------------------------------------------------------------------------

    def has(self, view: View, visibility: Visibility) -> bool:
        """Whether there is such a view for somebody who sees so much."""
        if view is not None and view in self._shapes:
            return not visibility.is_shut
        return view is None or self.sees(view, visibility)

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

    def sees(self, upstream: str, visibility: Visibility) -> bool:
        """Whether an upstream is there for somebody who sees so much: one of which it may use nothing is not."""
        known = self._sees_of.get((upstream, id(visibility)))
        if known is not None and known[0] is visibility:
            return known[1]
        sees = self._find_out_whether(upstream, visibility)
        if len(self._sees_of) >= MAX_VIEWERS:
            self._sees_of.clear()
        self._sees_of[upstream, id(visibility)] = visibility, sees
        return sees

    def _find_out_whether(self, upstream: str, visibility: Visibility) -> bool:
        if upstream not in self._contributions.rules or not visibility.sees_upstream(upstream):
            return False
        if visibility.within is None:
            return True
        return any(not self._restricted(part, visibility).is_empty for part in self._table.offers_of(upstream))

    def view(self, view: View, visibility: Visibility, selection: Selection = ()) -> Catalogue:
        """The catalogue of somebody who sees so much; an empty one where there is no such view, or no longer."""
        if not self.is_own(view):
            shape = self._shapes.get(view)
            if selection or shape is not None:
                return readable(self._join(self._parts(visibility, selection), shape), is_sorted=True)
            return readable(self._latest(visibility), is_sorted=True)
        assert view is not None
        part = self._table.own_part(view, selection)
        if part is None or not self.sees(view, visibility):
            return NOTHING
        return readable(self._restricted(part, visibility).catalogue, is_sorted=False)

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
        return self._contributions.verdicts.get(upstream, PinVerdict(Listing()))

    def verdicts(self) -> dict[str, PinVerdict]:
        """That of each upstream of which there is one."""
        return dict(self._contributions.verdicts)

    def blocked(self, kind: Kind, owner: Owner, selection: Selection = ()) -> Change | None:
        """The unapproved change because of which an item must not be used, or the template that led to it."""
        return self.withheld.change(kind, owner, selection)

    def held_back(self, view: View, visibility: Visibility, selection: Selection = ()) -> Catalogue:
        """What is not published because it is blocked and new, under the names it would have. Only for who sees
        everything: to others it might never be shown."""
        if not visibility.unrestricted:
            return NOTHING
        return self.withheld.catalogue(self.base(view), selection, self._contributions.prefix)

    def withholds(self, upstream: str, uri: str, selection: Selection = ()) -> bool:
        """Whether all that stands for an unlisted URI of an upstream's are templates that are blocked."""
        if not self.withheld.is_from(upstream, selection):
            return False
        withheld = self.withheld.catalogue(upstream, selection, self._contributions.prefix)
        catalogues = self.whole(upstream, selection), withheld
        owners = [owner for catalogue in catalogues if (owner := catalogue.unlisted(uri)) is not None and owner.item]
        return bool(owners) and all(self.blocked("resources", owner, selection) for owner in owners)

    def public_name(self, kind: Kind, upstream: str, own: str) -> str:
        """What an upstream's item is called in the merged view, which rules go by; its own name if it is not there."""
        names = (part.public.get((kind, own)) for part in self._table.offers_of(upstream))
        return next(filter(None, names), own)

    def head(self, upstream: str) -> str:
        """What the names of all its tools and prompts begin with in the merged catalogue."""
        return public_prefix(upstream) + SEPARATOR if self._contributions.prefix != "none" else ""

    def base(self, view: View) -> View:
        """The view that it is made of."""
        return view if self.is_own(view) else None

    def changes(self, view: View, visibility: Visibility, selection: Selection = ()) -> set[ChangeKind]:
        """Which lists the last `update` changed for somebody."""
        kinds = set[ChangeKind]()
        for (name, label), (before, after) in self._replaced.get(self.base(view), {}).items():
            if (name, label) != lists_of(name, selection):
                continue
            old, new = (
                NOTHING if part is None else self._restricted(part, visibility).catalogue for part in (before, after)
            )
            if visibility.sees_upstream(name):
                kinds |= changed(old, new)
        return kinds

    # --- What upstreams list ------------------------------------------------------------------------------------------

    def update(self, listings: Iterable[tuple[str, Listing | None]]) -> set[View]:
        """Take new listings (None: the upstream offers nothing now); returns the views that may have changed."""
        names = [name for name, listing in listings if self._contributions.judge(name, listing)]
        self._replaced = {}
        if names:
            at_once(self._rebuild(names))
        return set(self._replaced)

    async def examine(self, name: str, listing: Listing | None) -> None:
        """Compare a large listing with its pins beside the event loop, so that it can be taken in at once; and look up
        those that are kept for each."""
        if listing is not None and (isinstance(listing, LoginListing) or _size(listing) >= BESIDE):
            await self._contributions.examine(name, listing)

    async def take_in(self, name: str, listing: Listing | None) -> set[View]:
        """The same for one listing, in steps between which others get their turn. One update at a time."""
        size = _size(listing)
        self._replaced = {}
        if self._contributions.judge(name, listing):
            await checkpoint()
            await in_steps(self._rebuild([name], is_addition=True), beside=size >= LARGE)
        return set(self._replaced)

    def reconsider(self) -> set[View]:
        """Go by what is remembered of URIs and their owners; returns the views that may have changed."""
        self._contributions.reconsider()
        self._replaced = {}
        at_once(self._rebuild([]))
        return set(self._replaced)

    async def prepare(
        self, servers: Mapping[str, ServerConfig], prefix: Prefix, listings: Iterable[tuple[str, Listing | None]]
    ) -> None:
        """Make beside the event loop what `configure` with the same will need, if nothing changes until then."""
        await self._contributions.prepare(servers, prefix, listings)

    def configure(
        self,
        servers: Mapping[str, ServerConfig],
        prefix: Prefix,
        listings: Iterable[tuple[str, Listing | None]],
        shapes: Mapping[View, ViewShape] | None = None,
    ) -> None:
        """Hold these servers and no others, by these rules. To see what that changed for somebody, compare views."""
        self._shapes = shapes or {}
        stale = self._contributions.configure(servers, prefix, listings)
        self._replaced = {}
        self._joined.clear()
        self._forget()
        at_once(self._rebuild(stale))
        self._contributions.end_preparations()

    def _rebuild(self, names: Collection[str], *, is_addition: bool = False) -> Steps:
        """See `Contributions.rebuild`. Whatever was made of parts that were replaced goes with its last step."""
        replacement = yield from self._contributions.rebuild(names, is_addition=is_addition)
        for view, parts in replacement.parts.items():
            self._replaced.setdefault(view, {}).update(parts)
        self._seen.clear()
        self._forget()
        if replacement.has_other_owners:
            self._joined.clear()
        self._joined.drop(replacement.gone)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """What somebody saw is not what they see now."""
        self._latest_of.clear()
        self._sees_of.clear()
        self.revision += 1

    def _latest(self, visibility: Visibility) -> Catalogue:
        """The merged catalogue of somebody who declares nothing unusual, as nearly always. Who comes again brings the
        same object, and what it sees need not be compared."""
        known = self._latest_of.get(id(visibility))
        if known is not None and known[0] is visibility:
            return known[1]
        catalogue = self._join(self._parts(visibility, ()))
        if len(self._latest_of) >= MAX_VIEWERS:
            self._latest_of.clear()
        self._latest_of[id(visibility)] = visibility, catalogue
        return catalogue

    def _join(self, parts: tuple[Part, ...], shape: ViewShape | None = None) -> Catalogue:
        if not parts and shape is None:
            return NOTHING
        return self._joined.of(parts, self._contributions.prefix, self._contributions.ownership, shape)

    def _parts(self, visibility: Visibility, selection: Selection) -> tuple[Part, ...]:
        """What the merged catalogue consists of for somebody."""
        parts = self._seen.get((visibility, selection))
        if parts is None:
            seen = (part for part in self._table.merged_parts(selection) if self.sees(part.name, visibility))
            parts = tuple(self._restricted(part, visibility) for part in seen)
            if len(self._seen) >= MAX_VIEWERS:
                self._seen.clear()
            self._seen[visibility, selection] = parts
        return parts

    def _restricted(self, part: Part, visibility: Visibility) -> Part:
        if visibility.within is None:
            return part

        def admits(kind: Kind, owner: Owner) -> bool:
            public = part.public.get((kind, owner.original), owner.original)
            if not visibility.admits(owner.upstream, public, kind, owner.original):
                return False
            # That an earlier upstream has the same URI takes none away from a rule that denies it.
            return kind in ("tools", "prompts") or not visibility.denies(owner.original)

        return part.restricted(visibility.within, admits)


def _size(listing: Listing | None) -> int:
    return 0 if listing is None else sum(map(len, (listing.tools, listing.resources, listing.prompts, listing.skills)))
