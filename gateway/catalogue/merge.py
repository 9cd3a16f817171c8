"""Many upstreams' listings into one catalogue. Pure: the same listings give the same catalogue, in whatever order."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal

from gateway import jsonrpc
from gateway.catalogue.capabilities import MAX_INSTRUCTIONS, cut, merged_capabilities, merged_instructions
from gateway.catalogue.catalogue import Ambiguous, Catalogue, ChangeKind, Owner
from gateway.catalogue.intake import KEYS, Dropped, Entry, Kind, UpstreamItems, admit
from gateway.catalogue.naming import (
    SEPARATOR,
    own_names,
    prefixed,
    public_names,
    public_prefix,
    unused,
    uri_prefixes,
)
from gateway.catalogue.templates import Template, specificity
from gateway.jsonrpc import as_object
from gateway.upstream.listing import Item

Prefix = Literal["upstream", "none", "own"]
"""`upstream`: `{upstream}__{name}`. `none`: valid names without prefix. `own`: one upstream under its own names."""


_OLDER_LINK: Final = "ui/resourceUri"
"""Where `_meta` had the link before it became `ui.resourceUri`."""


@dataclass(frozen=True, slots=True)
class _Published:
    public: str
    entry: Entry
    prefix: str = ""
    """What a URI got to be told from another upstream's."""

    @property
    def owner(self) -> Owner:
        return Owner(self.entry.upstream, self.entry.original, self.entry.item)

    def item(self, kind: Kind) -> Item:
        return {**self.entry.item, KEYS[kind]: self.public}


def merge(upstreams: Sequence[UpstreamItems], prefix: Prefix) -> Catalogue:
    """Build the catalogue. Sorted by public name; in `own` mode in the upstream's own order.

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

    dropped: list[Dropped] = []
    published: dict[Kind, list[_Published]] = {
        "tools": _publish_names("tools", ordered, prefix, dropped),
        "resources": _publish_uris("resources", ordered, dropped),
        "templates": _publish_uris("templates", ordered, dropped),
        "prompts": _publish_names("prompts", ordered, prefix, dropped),
    }
    if prefix != "own":
        for some in published.values():
            some.sort(key=lambda one: one.public)

    def items(kind: Kind) -> tuple[Item, ...]:
        return tuple(one.item(kind) for one in published[kind])

    listings = [upstream.listing for upstream in ordered]
    templates = (
        Template(one.entry.upstream, one.entry.original, one.prefix, one.entry.item) for one in published["templates"]
    )
    rewritten = {
        (one.entry.upstream, one.entry.original): one.public
        for one in published["resources"]
        if one.public != one.entry.original
    }
    return Catalogue(
        tools=tuple(_relinked(one, rewritten) for one in published["tools"]),
        resources=items("resources"),
        templates=items("templates"),
        prompts=items("prompts"),
        capabilities=merged_capabilities(listing.capabilities for listing in listings),
        instructions=_instructions(ordered, prefix),
        ttl_ms=min((listing.ttl_ms for listing in listings if listing.ttl_ms is not None), default=None),
        private=any(listing.private for listing in listings),
        dropped=tuple(dropped),
        fingerprints=_fingerprints(published),
        tool_owners={one.public: one.owner for one in published["tools"]},
        prompt_owners={one.public: one.owner for one in published["prompts"]},
        resource_owners=_uri_owners(published["resources"]),
        template_owners=_uri_owners(published["templates"]),
        matchers=tuple(sorted(templates, key=specificity)),
        listed_uris={(one.entry.upstream, one.entry.original): one.public for one in published["resources"]},
    )


def _publish_names(
    kind: Kind, upstreams: Iterable[UpstreamItems], prefix: Prefix, dropped: list[Dropped]
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


def _publish_uris(kind: Kind, upstreams: Iterable[UpstreamItems], dropped: list[Dropped]) -> list[_Published]:
    entries = [entry for upstream in upstreams for entry in admit(upstream, kind, dropped)]
    by_upstream: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        by_upstream[entry.upstream].append(entry.original)
    prefixes = uri_prefixes(by_upstream)
    published: list[_Published] = []
    for entry in entries:
        prefix = prefixes[entry.upstream, entry.original]
        published.append(_Published(prefixed(prefix, entry.original), entry, prefix))
    return published


def _uri_owners(published: Iterable[_Published]) -> dict[str, Owner | Ambiguous]:
    owners: dict[str, Owner | Ambiguous] = {}
    choices: defaultdict[str, list[str]] = defaultdict(list)
    for one in published:
        owners[one.public] = one.owner
        if one.public != one.entry.original:
            choices[one.entry.original].append(one.public)
    return owners | {uri: Ambiguous(tuple(forms)) for uri, forms in choices.items()}


def _relinked(tool: _Published, rewritten: Mapping[tuple[str, str], str]) -> Item:
    """A tool whose link to its user interface (MCP Apps) leads to where the resource is published."""
    item = tool.item("tools")
    meta = as_object(item.get("_meta"))
    ui = as_object(meta.get("ui"))
    public = rewritten.get((tool.entry.upstream, str(ui.get("resourceUri") or meta.get(_OLDER_LINK))))
    if public is None:
        return item
    links: dict[str, Any] = {"ui": {**ui, "resourceUri": public}} if "resourceUri" in ui else {}
    if _OLDER_LINK in meta:
        links[_OLDER_LINK] = public
    return {**item, "_meta": {**meta, **links}}


def _instructions(upstreams: Sequence[UpstreamItems], prefix: Prefix) -> str | None:
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
        "resources": ("resources", "templates"),
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
