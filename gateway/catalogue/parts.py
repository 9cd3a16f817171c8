"""What each upstream contributes to a view, made once; and the view itself, put together from that at little cost."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, pairwise
from typing import Any, Final, TypeVar

from gateway.catalogue.capabilities import declared_by, merged_capabilities
from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner
from gateway.catalogue.intake import KEYS, Kind
from gateway.catalogue.merge import Prefix, instructions_of
from gateway.catalogue.naming import prefixed, unused
from gateway.catalogue.ownership import Ownership
from gateway.catalogue.restrict import Admits, restrict
from gateway.catalogue.templates import Template, specificity
from gateway.upstream.listing import Item, Listing

MAX_RESTRICTED: Final = 256
"""Most restricted forms of one part that are kept."""


@dataclass(eq=False)
class Part:
    """What one upstream contributes. Made anew when that changes; equal only to itself."""

    name: str
    listing: Listing
    catalogue: Catalogue
    """Its items alone, under the names they have in the view."""
    public: "Mapping[tuple[Kind, str], str]" = field(default_factory=dict[tuple[Kind, str], str], repr=False)
    """Kind and own name → public name in the merged view, by which rules know it."""
    _restricted: "dict[Hashable, Part]" = field(default_factory=dict[Hashable, "Part"], repr=False)

    @property
    def is_empty(self) -> bool:
        return not self.catalogue.fingerprints

    @property
    def forms(self) -> "set[Part]":
        """It, and what others see of it."""
        return {self, *self._restricted.values()}

    def restricted(self, rules: Hashable, admits: Admits) -> "Part":
        """The part as somebody sees it who may not use all of it.

        Args:
            rules: what `admits` goes by. Who has equal ones shares a part, and so does who sees the same by others.
        """
        part = self._restricted.get(rules)
        if part is None:
            seen = restrict(self.catalogue, admits)
            alike = (each for each in (self, *self._restricted.values()) if _is_same(each.catalogue, seen))
            part = next(alike, None) or Part(self.name, self.listing, seen, self.public)
            if len(self._restricted) >= MAX_RESTRICTED:
                self._restricted.clear()
            self._restricted[rules] = part
        return part


def _is_same(one: Catalogue, other: Catalogue) -> bool:
    """Whether two that were made from the same parts show and lead to the same."""
    return one.fingerprints == other.fingerprints and one.links.keys() == other.links.keys()


def public_names_of(catalogue: Catalogue) -> dict[tuple[Kind, str], str]:
    """Kind and own name → public name, of one upstream's items."""
    owners: dict[Kind, Mapping[str, Owner]] = {
        "tools": catalogue.tool_owners,
        "prompts": catalogue.prompt_owners,
        "resources": catalogue.resource_owners,
        "templates": catalogue.template_owners,
        "skills": catalogue.skill_owners,
    }
    return {(kind, owner.original): public for kind, some in owners.items() for public, owner in some.items()}


def join(parts: Iterable[Part], prefix: Prefix, ownership: Ownership) -> Catalogue:
    """The catalogue of several upstreams together, sorted by public name.

    Linear in the number of items, but nothing is looked at, encoded or hashed again: 2 ms for 20,000 tools.
    """
    ordered = sorted(parts, key=lambda part: part.name)
    catalogues = [part.catalogue for part in ordered]
    tools, tool_owners = _named(ordered, "tools", lambda one: one.tools, lambda one: one.tool_owners)
    prompts, prompt_owners = _named(ordered, "prompts", lambda one: one.prompts, lambda one: one.prompt_owners)
    listings = [part.listing for part in ordered]
    matchers = [one.matchers for one in catalogues if one.matchers]
    return Catalogue(
        tools=tools,
        resources=_sorted([one.resources for one in catalogues], "resources"),
        templates=_sorted([one.templates for one in catalogues], "templates"),
        prompts=prompts,
        skills=_sorted([one.skills for one in catalogues], "skills"),
        capabilities=merged_capabilities(declared_by(listing) for listing in listings),
        instructions=instructions_of(ordered, prefix),
        ttl_ms=min((listing.ttl_ms for listing in listings if listing.ttl_ms is not None), default=None),
        private=any(one.private for one in catalogues),
        dropped=tuple(chain.from_iterable(one.dropped for one in catalogues)),
        fingerprints=_fingerprints(ordered),
        tool_owners=tool_owners,
        prompt_owners=prompt_owners,
        resource_owners=_united(one.resource_owners for one in catalogues),
        template_owners=_united(one.template_owners for one in catalogues),
        skill_owners=_united(one.skill_owners for one in catalogues),
        links=_united(one.links for one in catalogues),
        matchers=matchers[0] if len(matchers) == 1 else tuple(sorted(chain.from_iterable(matchers), key=_rank)),
        listed_uris=_united(one.listed_uris for one in catalogues),
        ownership=ownership,
        keeps_results=any(one.keeps_results for one in catalogues),
    )


def _named(
    parts: Sequence[Part],
    kind: Kind,
    items_of: Callable[[Catalogue], Sequence[Item]],
    owners_of: Callable[[Catalogue], Mapping[str, Owner]],
) -> tuple[tuple[Item, ...], dict[str, Owner]]:
    """The items of a kind whose names say which upstream they are of. Two upstreams share a name only where their
    prefixes share a hash, or there is none; even then nothing is lost."""
    owners: dict[str, Owner] = {}
    blocks: list[Sequence[Item]] = []
    for part in parts:
        items, mine = items_of(part.catalogue), owners_of(part.catalogue)
        if not owners.keys().isdisjoint(mine):
            renamed: dict[str, Owner] = {}
            items = [_renamed(item, mine[item["name"]], owners, renamed) for item in items]
            mine = renamed
        owners |= mine
        if items:
            blocks.append(items)
    return _sorted(blocks, kind), owners


def _renamed(item: Item, owner: Owner, taken: Mapping[str, Owner], renamed: dict[str, Owner]) -> Item:
    public = unused(item["name"], f"{owner.upstream} {owner.original}", {*taken, *renamed})
    renamed[public] = owner
    return {**item, "name": public}


def _sorted(blocks: Iterable[Sequence[Item]], kind: Kind) -> tuple[Item, ...]:
    """Sorted sequences as one. Where names begin with their upstream's, each is a block of its own in it."""
    key = KEYS[kind]
    in_order = sorted((block for block in blocks if block), key=lambda block: block[0][key])
    items = tuple(chain.from_iterable(in_order))
    if any(before[-1][key] > after[0][key] for before, after in pairwise(in_order)):
        return tuple(sorted(items, key=lambda item: item[key]))
    return items


K = TypeVar("K")
V = TypeVar("V")


def _rank(template: Template) -> tuple[tuple[Any, ...], str]:
    return specificity(template), prefixed(template.prefix, template.original)


def _united(mappings: Iterable[Mapping[K, V]]) -> dict[K, V]:
    united: dict[K, V] = {}
    for mapping in mappings:
        united |= mapping
    return united


def _fingerprints(parts: Sequence[Part]) -> dict[ChangeKind, str]:
    kinds: tuple[ChangeKind, ...] = ("tools", "resources", "prompts")
    digests: dict[ChangeKind, str] = {}
    for kind in kinds:
        own = [(part.name, part.catalogue.fingerprints[kind]) for part in parts if kind in part.catalogue.fingerprints]
        if own:
            digests[kind] = blake2b(repr(own).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return digests
