"""Many upstreams' listings into one catalogue. Pure. Their order decides who owns a URI, and nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, Literal, Protocol

from gateway import jsonrpc
from gateway.catalogue import skills
from gateway.catalogue.capabilities import MAX_INSTRUCTIONS, cut, declared_by, merged_capabilities, merged_instructions
from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner
from gateway.catalogue.intake import KEYS, DroppedItem, Kind, ListedItem, UpstreamItems, admit
from gateway.catalogue.naming import (
    SEPARATOR,
    UI_SCHEME,
    own_names,
    prefixed,
    public_names,
    public_prefix,
    unused,
)
from gateway.catalogue.ownership import Claimants, Claims, Ownership, UriKind
from gateway.catalogue.templates import Template, specificity
from gateway.jsonrpc import as_object
from gateway.upstream.listing import Item, Listing

Prefix = Literal["upstream", "none", "own"]
"""`upstream`: `{upstream}__{name}`. `none`: valid names without prefix. `own`: one upstream under its own names."""


_OLDER_LINK: Final = "ui/resourceUri"
"""Where `_meta` had the link before it became `ui.resourceUri`."""


@dataclass(frozen=True, slots=True)
class _Published:
    public: str
    entry: ListedItem
    prefix: str = ""
    """What a URI got to be told from another upstream's."""

    @property
    def owner(self) -> Owner:
        return Owner(self.entry.upstream, self.entry.original, self.entry.item, self.entry.max_tokens)

    def item(self, kind: Kind) -> Item:
        return {**self.entry.item, KEYS[kind]: self.public}


def merge(upstreams: Sequence[UpstreamItems], prefix: Prefix, ownership: Ownership | None = None) -> Catalogue:
    """Build the catalogue. Sorted by public name; in `own` mode in the upstream's own order.

    Args:
        upstreams: in the order of the configuration.
        ownership: whose the URIs are, if others than these upstreams have a say in it. Not for `own`.

    Items are shallow copies that differ from the upstream's in `name`, `uri` or `uriTemplate` (and in `description`
    where a rule says so) and in nothing else.

    Raises:
        ValueError: two upstreams share a name, or `own` was asked of any number but one.
    """
    ordered = sorted(upstreams, key=lambda upstream: upstream.name)
    if len({upstream.name for upstream in ordered}) != len(ordered):
        raise ValueError("two upstreams share a name")
    if prefix == "own" and len(ordered) != 1:
        raise ValueError("only one upstream can be seen under its own names")

    if ownership is None:
        ownership = owned(upstreams)
    dropped: list[DroppedItem] = []
    published: dict[Kind, list[_Published]] = {
        "tools": _publish_names("tools", ordered, prefix, dropped),
        "resources": _publish_uris("resources", ordered, ownership, dropped),
        "templates": _publish_uris("templates", ordered, ownership, dropped),
        "prompts": _publish_names("prompts", ordered, prefix, dropped),
        "skills": _publish_skills(ordered, ownership, dropped),
    }
    if prefix != "own":
        for some in published.values():
            some.sort(key=lambda one: one.public)

    def items(kind: Kind) -> tuple[Item, ...]:
        return tuple(one.item(kind) for one in published[kind])

    listings = [upstream.listing for upstream in ordered]
    templates = [
        Template(one.entry.upstream, one.entry.original, one.prefix, one.entry.item) for one in published["templates"]
    ]
    resources = {one.public: one.owner for one in published["resources"]}
    links = {
        ownership.public(tool.entry.upstream, link): Owner(tool.entry.upstream, link, {})
        for tool in published["tools"]
        for link in interfaces(tool.entry.item)
    }
    for one in published["skills"]:
        for uri in skills.uris(one.entry.item):
            links.setdefault(prefixed(one.prefix, uri), Owner(one.entry.upstream, uri, {}))
    return Catalogue(
        tools=tuple(_relinked(one, ownership) for one in published["tools"]),
        resources=items("resources"),
        templates=items("templates"),
        prompts=items("prompts"),
        skills=tuple(skills.renamed(one.entry.item, one.prefix) for one in published["skills"]),
        capabilities=merged_capabilities(declared_by(listing) for listing in listings),
        instructions=instructions_of(ordered, prefix),
        ttl_ms=min((listing.ttl_ms for listing in listings if listing.ttl_ms is not None), default=None),
        private=any(listing.private for listing in listings),
        dropped=tuple(dropped),
        fingerprints=_fingerprints(published),
        tool_owners={one.public: one.owner for one in published["tools"]},
        prompt_owners={one.public: one.owner for one in published["prompts"]},
        resource_owners=resources,
        template_owners={one.public: one.owner for one in published["templates"]},
        skill_owners={one.public: one.owner for one in published["skills"]},
        links={public: owner for public, owner in links.items() if public not in resources},
        matchers=tuple(sorted(templates, key=specificity)),
        listed_uris={(one.entry.upstream, one.entry.original): one.public for one in published["resources"]},
        ownership=ownership,
        keeps_results=any(one.entry.max_tokens is not None for one in published["tools"]),
    )


def owned(upstreams: Iterable[UpstreamItems]) -> Ownership:
    """Whose the URIs of these upstreams are, in that order."""
    claimants, names = Claimants(), list[str]()
    for upstream in upstreams:
        claimants.update(upstream.name, claims(upstream))
        names.append(upstream.name)
    return claimants.ownership(names)


def claims(upstream: UpstreamItems) -> Claims:
    """The URIs that an upstream can serve: what it lists, the files of its skills, and the user interfaces of the tools
    it may offer."""
    listing = upstream.listing
    tools = [tool for tool in listing.tools if upstream.rules.offers(str(as_object(tool).get("name")))]
    links = (link for tool in tools for link in interfaces(tool))
    return Claims.of(
        chain(_strings(listing.resources, KEYS["resources"]), links, _files(listing)),
        _strings(listing.templates, KEYS["templates"]),
    )


def _files(listing: Listing) -> Iterator[str]:
    """Of skills that may be published."""
    for skill in listing.skills:
        if isinstance(skill.get("uri"), str) and skills.unfit(skill) is None:
            yield from skills.uris(skill)


def interfaces(tool: Item) -> set[str]:
    """What a tool links to as its user interface (MCP Apps), as far as it is of that scheme."""
    meta = as_object(as_object(tool).get("_meta"))
    links = (as_object(meta.get("ui")).get("resourceUri"), meta.get(_OLDER_LINK))
    return {link for link in links if isinstance(link, str) and link.startswith(UI_SCHEME)}


def _strings(items: Iterable[Item], key: str) -> Iterator[str]:
    return (uri for item in items if isinstance(uri := as_object(item).get(key), str))


def _publish_names(
    kind: Kind, upstreams: Iterable[UpstreamItems], prefix: Prefix, dropped: list[DroppedItem]
) -> list[_Published]:
    published: list[_Published] = []
    taken: set[str] = set()
    for upstream in upstreams:
        entries = {entry.original: entry for entry in admit(upstream, kind, dropped)}
        renamed = upstream.rules.rename if kind == "tools" else None
        if prefix == "own":
            names = own_names(entries, renamed)
        else:
            names = public_names(upstream.name if prefix == "upstream" else None, entries, renamed)
        for original in sorted(names):
            # Taken only without prefixes, or where two prefixes share a hash: even then nothing may be lost.
            names[original] = unused(names[original], f"{upstream.name} {original}", taken)
            taken.add(names[original])
        published += (_Published(names[original], entry) for original, entry in entries.items())
    return published


def _publish_uris(
    kind: UriKind, upstreams: Iterable[UpstreamItems], ownership: Ownership, dropped: list[DroppedItem]
) -> list[_Published]:
    published: list[_Published] = []
    for upstream in upstreams:
        for entry in admit(upstream, kind, dropped):
            prefix = ownership.prefix(kind, entry.upstream, entry.original)
            published.append(_Published(prefixed(prefix, entry.original), entry, prefix))
    return published


def _publish_skills(
    upstreams: Iterable[UpstreamItems], ownership: Ownership, dropped: list[DroppedItem]
) -> list[_Published]:
    published: list[_Published] = []
    for upstream in upstreams:
        for entry in admit(upstream, "skills", dropped):
            prefixes = (ownership.prefix("resources", upstream.name, uri) for uri in skills.uris(entry.item))
            prefix = next(filter(None, prefixes), "")
            published.append(_Published(prefixed(prefix, entry.original), entry, prefix))
    return published


def _relinked(tool: _Published, ownership: Ownership) -> Item:
    """A tool whose link to its user interface leads to its own upstream."""
    item = tool.item("tools")
    changed = {
        link: public for link in interfaces(item) if (public := ownership.public(tool.entry.upstream, link)) != link
    }
    if not changed:
        return item
    meta = as_object(item.get("_meta"))
    links: dict[str, Any] = {}
    ui = as_object(meta.get("ui"))
    if public := changed.get(str(ui.get("resourceUri"))):
        links["ui"] = {**ui, "resourceUri": public}
    if public := changed.get(str(meta.get(_OLDER_LINK))):
        links[_OLDER_LINK] = public
    return {**item, "_meta": {**meta, **links}}


class Introduced(Protocol):
    """An upstream that may have instructions."""

    @property
    def name(self) -> str: ...

    @property
    def listing(self) -> Listing: ...


def instructions_of(upstreams: Sequence[Introduced], prefix: Prefix) -> str | None:
    """What several upstreams, or with `own` the one, have to say of themselves."""
    if prefix == "own":
        text = upstreams[0].listing.instructions
        return text and cut(text, MAX_INSTRUCTIONS)
    parts = [(_heading(upstream.name, prefix), upstream.listing.instructions) for upstream in upstreams]
    return merged_instructions([(heading, text) for heading, text in parts if text])


def _heading(upstream: str, prefix: Prefix) -> str:
    """Instructions speak of tools by their own names; the heading tells the agent what it knows them as."""
    return f"{upstream} (`{public_prefix(upstream)}{SEPARATOR}*`)" if prefix == "upstream" else upstream


def _fingerprints(published: dict[Kind, list[_Published]]) -> dict[ChangeKind, str]:
    digests: dict[ChangeKind, str] = {}
    parts: dict[ChangeKind, tuple[Kind, ...]] = {
        "tools": ("tools",),
        "resources": ("resources", "templates", "skills"),
        "prompts": ("prompts",),
    }
    for name, kinds in parts.items():
        if any(published[kind] for kind in kinds):
            digest = blake2b(digest_size=16)
            for kind in kinds:
                for one in published[kind]:
                    digest.update(jsonrpc.dumps(one.public) + one.entry.encoded)
            digests[name] = digest.hexdigest()
    return digests
