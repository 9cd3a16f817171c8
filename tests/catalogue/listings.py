"""Upstreams to merge, in the short forms the tables use, and the strategies the property tests draw from."""

from typing import Any, Literal

from hypothesis import strategies as st

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.intake import KEYS, CompiledToolRules, Kind, UpstreamItems
from gateway.upstream.listing import Item, Listing


def tool(name: str, **extra: Any) -> Item:
    return {"name": name, "inputSchema": {"type": "object"}, **extra}


def resource(uri: str, **extra: Any) -> Item:
    return {"uri": uri, "name": "a resource", **extra}


def template(uri_template: str, **extra: Any) -> Item:
    return {"uriTemplate": uri_template, "name": "a template", **extra}


def prompt(name: str, **extra: Any) -> Item:
    return {"name": name, **extra}


def upstream(
    name: str,
    *,
    tools: tuple[str, ...] = (),
    resources: tuple[str, ...] = (),
    templates: tuple[str, ...] = (),
    prompts: tuple[str, ...] = (),
    rules: CompiledToolRules | None = None,
    **listing: Any,
) -> UpstreamItems:
    """An upstream with items of these names."""
    return UpstreamItems(
        name,
        Listing(
            tools=tuple(map(tool, tools)),
            resources=tuple(map(resource, resources)),
            templates=tuple(map(template, templates)),
            prompts=tuple(map(prompt, prompts)),
            **listing,
        ),
        rules or CompiledToolRules(),
    )


KINDS: tuple[Kind, ...] = ("tools", "resources", "templates", "prompts")


def published(catalogue: Catalogue, kind: Kind) -> list[str]:
    items: tuple[Item, ...] = getattr(catalogue, kind)
    return [item[KEYS[kind]] for item in items]


def routes(catalogue: Catalogue, kind: Literal["tools", "prompts"]) -> dict[tuple[str, str], str]:
    """`(upstream, own name)` → public name, as the index knows it."""
    lookup = catalogue.tool if kind == "tools" else catalogue.prompt
    owners = [(lookup(public), public) for public in published(catalogue, kind)]
    return {(owner.upstream, owner.original): public for owner, public in owners if owner is not None}


names = st.one_of(
    st.text("ab_-. /é😀", min_size=1, max_size=6),
    st.text(min_size=1, max_size=12),
    st.builds(str.__mul__, st.sampled_from(["a", "b.", "b/"]), st.integers(20, 45)),
)
"""Names that look alike once sanitised or cut."""

uris = st.one_of(
    st.sampled_from(["file:///x", "a+file:///x", "a+a+file:///x", "b+file:///x", "ui://widget", "https://x/", "+"]),
    st.text("ab+:/", min_size=1, max_size=6),
)
"""URIs, some of which look like the public form of others."""

_EXTRAS: tuple[Item, ...] = (
    {},
    {"title": "T", "description": 'Déjà "vu"\n', "_meta": {"example.com/x": [1, 2.5, None, {"deep": True}]}},
    {"x-unknown": 2**70, "annotations": {"b": 1, "a": 2}},
)


def _items(key: str, identities: st.SearchStrategy[str], required: Item) -> st.SearchStrategy[tuple[Item, ...]]:
    """Items of different identity; what identifies them stands first or last."""

    def item(identity: str, extra: Item, first: bool) -> Item:
        return {key: identity, **required, **extra} if first else {**extra, **required, key: identity}

    items = st.builds(item, identities, st.sampled_from(_EXTRAS), st.booleans())
    return st.lists(items, max_size=4, unique_by=lambda one: str(one[key])).map(tuple)


listings = st.builds(
    Listing,
    tools=_items("name", names, {"inputSchema": {"type": "object"}}),
    resources=_items("uri", uris, {"name": "r"}),
    templates=_items("uriTemplate", uris, {"name": "t"}),
    prompts=_items("name", names, {}),
)

upstreams = st.dictionaries(st.sampled_from("abc") | names, listings, max_size=3).map(
    lambda drawn: [UpstreamItems(name, listing) for name, listing in drawn.items()]
)
"""A few upstreams with different names."""
