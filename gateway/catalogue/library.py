"""The catalogue of every view, as each principal sees it; rebuilt when an upstream's lists change.

A view is the merged catalogue under public names, or one upstream's own at `/mcp/{upstream}`. Most principals see all
of it and share one catalogue; a restricted one gets its own, made when first asked for.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner, changed
from gateway.catalogue.intake import Kind, ToolRules, UpstreamItems
from gateway.catalogue.merge import Prefix, claims, merge
from gateway.catalogue.naming import SEPARATOR, public_prefix
from gateway.catalogue.ownership import Claimants, Ownership
from gateway.catalogue.ownership_reports import tell
from gateway.catalogue.pins import Change, Verdict
from gateway.catalogue.restrict import restrict
from gateway.config.models import ServerConfig
from gateway.upstream.listing import Listing

log = structlog.stdlib.get_logger("gateway.catalogue")

View = str | None
"""An upstream's name, or None for the merged catalogue."""

NOTHING: Final = Catalogue()

MAX_RESTRICTED: Final = 512
"""Most catalogues of restricted principals kept; the one unused for longest is made anew when needed."""
MAX_SEEN: Final = 16_384
"""Most answers kept to whether somebody sees an upstream."""


class Sight(Protocol):
    """What somebody may see. Equal ones share catalogues, so they must be hashable by what they allow."""

    @property
    def unrestricted(self) -> bool: ...

    def sees_upstream(self, upstream: str) -> bool:
        """Whether the credential includes the upstream; what of it may be used is another matter."""
        ...

    def sees_all_of(self, upstream: str) -> bool:
        """Whether nothing that the upstream offers is hidden, whatever it may come to offer."""
        ...

    def admits(self, upstream: str, public: str) -> bool:
        """Whether the item of that public name (tools, prompts) or URI (resources, templates) may be used."""
        ...

    def denies(self, public: str) -> bool:
        """Whether a rule forbids an item by that name, whatever upstream it belongs to."""
        ...

    def __hash__(self) -> int: ...


def _published_as_it_is(upstream: str, listing: Listing) -> Verdict:
    return Verdict(listing)


class Library:
    """Holds the catalogues.

    Args:
        prefix: how names are made in the merged view.
        judge: decides what of an upstream's listing may be published.
    """

    def __init__(
        self,
        servers: Mapping[str, ServerConfig],
        prefix: Prefix,
        judge: Callable[[str, Listing], Verdict] = _published_as_it_is,
    ) -> None:
        self._rules = {name: rules_of(server) for name, server in servers.items()}
        self._prefix: Prefix = prefix
        self._judge = judge
        self._verdicts: dict[str, Verdict] = {}
        self._claimants = Claimants()
        self._ownership = Ownership()
        self._order: Sequence[str] = ()
        self._blocked: dict[str, Mapping[tuple[str, str], Change]] = {}
        """Only of upstreams of which something is."""
        self._held_back: dict[View, Catalogue] = {}
        self._whole: dict[View, Catalogue] = {None: NOTHING, **dict.fromkeys(servers, NOTHING)}
        self._changes: dict[View, set[ChangeKind]] = {}
        self._public: dict[tuple[Kind, str, str], str] = {}
        self._offered: dict[str, frozenset[str]] = {}
        """Upstream → the public names and URIs of all that it offers or, while it is away, last offered."""
        self._seen: dict[tuple[str, Sight], bool] = {}
        self._restricted: OrderedDict[tuple[View, Sight], Catalogue] = OrderedDict()
        self._outdated: dict[tuple[View, Sight], Catalogue] = {}

    def has(self, view: View, sight: Sight) -> bool:
        """Whether there is such a view for somebody of that sight."""
        return view is None or self.sees(view, sight)

    def sees(self, upstream: str, sight: Sight) -> bool:
        """Whether an upstream is there for somebody of that sight: one of which it may use nothing is not."""
        if upstream not in self._whole or not sight.sees_upstream(upstream):
            return False
        if sight.sees_all_of(upstream):
            return True
        seen = self._seen.get((upstream, sight))
        if seen is None:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            seen = any(sight.admits(upstream, public) for public in self._offered.get(upstream, ()))
            self._seen[upstream, sight] = seen
        return seen

    def view(self, view: View, sight: Sight) -> Catalogue:
        """The catalogue of somebody of that sight; an empty one where there is no such view, or no longer."""
        if sight.unrestricted or view not in self._whole:
            return self.whole(view)
        key = view, sight
        catalogue = self._restricted.get(key)
        if catalogue is None:
            catalogue = self._restricted[key] = self._restrict(view, sight)
            if len(self._restricted) > MAX_RESTRICTED:
                self._restricted.popitem(last=False)
        else:
            self._restricted.move_to_end(key)
        return catalogue

    def whole(self, view: View) -> Catalogue:
        """The view of somebody who may see everything."""
        return self._whole.get(view, NOTHING)

    def verdict(self, upstream: str) -> Verdict:
        """How what an upstream offers compares with its pins."""
        return self._verdicts.get(upstream, Verdict(Listing()))

    def blocked(self, kind: Kind, owner: Owner) -> Change | None:
        """The unapproved change because of which an item must not be used, or the template that led to it."""
        changes = self._blocked.get(owner.upstream)
        if changes is None:
            return None
        return changes.get((kind, owner.original)) or changes.get(("templates", str(owner.item.get("uriTemplate"))))

    def held_back(self, view: View, sight: Sight) -> Catalogue:
        """What is not published because it is blocked and new, under the names it would have. Only for who sees
        everything: to others it might never be shown."""
        return self._held_back.get(view, NOTHING) if sight.unrestricted else NOTHING

    def withholds(self, upstream: str, uri: str) -> bool:
        """Whether all that stands for an unlisted URI of an upstream's are templates that are blocked."""
        if upstream not in self._blocked:
            return False
        catalogues = self.whole(upstream), self._held_back.get(upstream, NOTHING)
        owners = [owner for catalogue in catalogues if (owner := catalogue.unlisted(uri)) is not None and owner.item]
        return bool(owners) and all(self.blocked("resources", owner) for owner in owners)

    def head(self, upstream: str) -> str:
        """What the names of all its tools and prompts begin with in the merged catalogue."""
        return public_prefix(upstream) + SEPARATOR if self._prefix != "none" else ""

    def public_form(self, kind: Kind, upstream: str, original: str) -> str:
        """The name or URI by which the merged catalogue, and so the policy, knows an item; a URI nobody listed keeps
        its own form."""
        return self._public.get((kind, upstream, original), original)

    def update(self, listings: Iterable[tuple[str, Listing | None]]) -> set[View]:
        """Take new listings (None: the upstream offers nothing now); returns the views that may have changed."""
        names = [name for name, listing in listings if self._take(name, listing)]
        return self._rebuild(names) if names else set()

    def recall(self, order: Sequence[str], listings: Iterable[tuple[str, Listing | None]]) -> None:
        """Begin with what was known last time, when the servers stood in that order: who owned which URI then is
        compared with who owns it now."""
        self._order = order
        self.update(listings)

    def configure(
        self, servers: Mapping[str, ServerConfig], prefix: Prefix, listings: Iterable[tuple[str, Listing | None]]
    ) -> None:
        """Hold these servers and no others, by these rules. To see what that changed for somebody, compare views."""
        before, self._rules = self._rules, {name: rules_of(server) for name, server in servers.items()}
        self._prefix = prefix
        for name in before.keys() - self._rules.keys():
            self._take(name, None)
            self._claimants.update(name, None)
            del self._whole[name]
            self._offered.pop(name, None)
        stale = {name for name, rules in self._rules.items() if rules != before.get(name)}
        stale |= {name for name, listing in listings if self._take(name, listing)}
        self._rebuild(stale)
        self._restricted.clear()  # the rules they were made by may be others, and so may everybody's public names

    def _rebuild(self, names: Collection[str]) -> set[View]:
        for name in names:
            if name in self._verdicts:  # else what it claimed stays claimed: it may only be away
                self._claimants.update(name, claims(self._items(name, self._verdicts[name].listing)))
        before, self._ownership = self._ownership, self._claimants.ownership(self._rules)
        if self._order:
            before, self._order = self._claimants.ownership(self._order), ()
        tell(before, self._ownership)
        rebuilt: dict[View, Catalogue] = {name: self._build([name], "own") for name in names}
        rebuilt[None] = self._build(list(self._verdicts), self._prefix)
        self._hold_back()
        self._changes = {view: changed(self.whole(view), new) for view, new in rebuilt.items()}
        self._whole.update(rebuilt)
        self._public = _public_forms(rebuilt[None])
        self._offered |= _by_upstream(self._public)
        self._seen.clear()
        self._outdated = {key: old for key, old in self._restricted.items() if key[0] in rebuilt}
        for key in self._outdated:
            del self._restricted[key]
        for dropped in rebuilt[None].dropped:
            if dropped.upstream in names:
                log.warning(
                    "item left out",
                    upstream=dropped.upstream,
                    kind=dropped.kind,
                    name=dropped.name,
                    reason=dropped.reason,
                )
        return set(rebuilt)

    def changes(self, view: View, sight: Sight) -> set[ChangeKind]:
        """Which lists the last `update` changed for somebody."""
        if sight.unrestricted:
            return self._changes.get(view, set())
        old = self._outdated.get((view, sight))
        return changed(old, self.view(view, sight)) if old is not None else set()

    def _take(self, name: str, listing: Listing | None) -> bool:
        verdict = self._judge(name, listing) if listing is not None else None
        if verdict == self._verdicts.get(name):
            return False
        if verdict is None:
            del self._verdicts[name]
        else:
            self._verdicts[name] = verdict
        return True

    def _build(self, names: Iterable[str], prefix: Prefix) -> Catalogue:
        known = [self._items(name, self._verdicts[name].listing) for name in names if name in self._verdicts]
        return merge(known, prefix, None if prefix == "own" else self._ownership) if known else NOTHING

    def _items(self, name: str, listing: Listing) -> UpstreamItems:
        return UpstreamItems(name, listing, self._rules[name])

    def _hold_back(self) -> None:
        self._blocked = {name: verdict.blocked for name, verdict in self._verdicts.items() if verdict.blocked}
        held = [(name, self._verdicts[name].held_back) for name in self._blocked]
        self._held_back = {name: merge([self._items(name, listing)], "own") for name, listing in held}
        if held:
            self._held_back[None] = merge([self._items(*each) for each in held], self._prefix)

    def _restrict(self, view: View, sight: Sight) -> Catalogue:
        names = [name for name in self._verdicts if view in (None, name) and self.sees(name, sight)]

        def admits(kind: Kind, owner: Owner) -> bool:
            public = self.public_form(kind, owner.upstream, owner.original)
            if not sight.admits(owner.upstream, public):
                return False
            # That an earlier upstream has the same URI takes none away from a rule that denies it.
            return kind in ("tools", "prompts") or not sight.denies(owner.original)

        return restrict(self._build(names, self._prefix if view is None else "own"), admits)


def _public_forms(merged: Catalogue) -> dict[tuple[Kind, str, str], str]:
    forms: dict[tuple[Kind, str, str], str] = {}
    owners: tuple[tuple[Kind, Mapping[str, Owner]], ...] = (
        ("tools", merged.tool_owners),
        ("prompts", merged.prompt_owners),
        ("resources", merged.resource_owners),
        ("templates", merged.template_owners),
    )
    for kind, some in owners:
        forms |= {(kind, owner.upstream, owner.original): form for form, owner in some.items()}
    return forms


def _by_upstream(public: Mapping[tuple[Kind, str, str], str]) -> dict[str, frozenset[str]]:
    forms: defaultdict[str, set[str]] = defaultdict(set)
    for (_, upstream, _), form in public.items():
        forms[upstream].add(form)
    return {upstream: frozenset(some) for upstream, some in forms.items()}


def rules_of(server: ServerConfig) -> ToolRules:
    rules = server.tools
    return ToolRules(tuple(rules.allow), tuple(rules.deny), dict(rules.rename), dict(rules.describe))
