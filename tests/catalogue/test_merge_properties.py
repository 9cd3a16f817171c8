"""What holds for any upstreams: nothing is lost, everything leads back, and order and neighbours do not matter."""

from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway import jsonrpc
from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.catalogue.intake import KEYS, UpstreamItems
from gateway.catalogue.merge import Prefix, merge
from gateway.upstream.listing import Item, Listing
from tests.catalogue.listings import KINDS, published, resource, routes, tool, upstreams


@given(upstreams, st.sampled_from(["upstream", "none"]))
def test_nothing_is_lost_and_everything_leads_back(many: list[UpstreamItems], prefix: Prefix) -> None:
    catalogue = merge(many, prefix)
    assert catalogue.dropped == ()
    for kind in KINDS:
        names = published(catalogue, kind)
        assert names == sorted(set(names))
        assert len(names) == sum(len(getattr(one.listing, kind)) for one in many)
    for one in many:
        for item in one.listing.tools:
            public = routes(catalogue, "tools")[one.name, item["name"]]
            assert catalogue.tool(public) == Owner(one.name, item["name"], item)
        for item in one.listing.prompts:
            public = routes(catalogue, "prompts")[one.name, item["name"]]
            assert catalogue.prompt(public) == Owner(one.name, item["name"], item)
        for item in one.listing.resources:
            public = catalogue.listed_uris[one.name, item["uri"]]
            assert catalogue.resource(public) == Owner(one.name, item["uri"], item)


@given(upstreams, st.sampled_from(["upstream", "none"]))
def test_items_differ_from_the_upstreams_in_their_name_only(many: list[UpstreamItems], prefix: Prefix) -> None:
    catalogue = merge(many, prefix)
    for kind in KINDS:
        key = KEYS[kind]
        lookup: Any = getattr(catalogue, kind.removesuffix("s"))
        for item in getattr(catalogue, kind):
            owner: Owner = lookup(item[key])
            assert jsonrpc.dumps({**item, key: owner.original}) == jsonrpc.dumps(owner.item)


@given(upstreams, st.sampled_from(["upstream", "none"]), st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter_and_that_of_upstreams_only_for_uris(
    many: list[UpstreamItems], prefix: Prefix, random: Random
) -> None:
    def shuffled(one: UpstreamItems) -> UpstreamItems:
        lists = {kind: list[Item](getattr(one.listing, kind)) for kind in KINDS}
        for items in lists.values():
            random.shuffle(items)
        return replace(one, listing=replace(one.listing, **{kind: tuple(items) for kind, items in lists.items()}))

    catalogue = merge(many, prefix)
    assert merge([shuffled(one) for one in many], prefix) == catalogue
    reordered = merge(random.sample(many, len(many)), prefix)
    assert (reordered.tool_owners, reordered.prompt_owners) == (catalogue.tool_owners, catalogue.prompt_owners)


def uri_routes(catalogue: Catalogue) -> dict[str, tuple[str, str]]:
    """Where each listed URI, each template, and a URI of each template leads."""
    owners = {**catalogue.resource_owners, **catalogue.template_owners}
    for form in list(catalogue.template_owners):
        if (owner := catalogue.unlisted(form)) is not None:
            owners[form + " as a URI"] = owner
    return {public: (owner.upstream, owner.original) for public, owner in owners.items()}


@given(upstreams)
def test_adding_an_upstream_changes_no_route(many: list[UpstreamItems]) -> None:
    for count in range(1, len(many)):
        before, after = merge(many[:count], "upstream"), merge(many[: count + 1], "upstream")
        assert routes(before, "tools").items() <= routes(after, "tools").items()
        assert routes(before, "prompts").items() <= routes(after, "prompts").items()
        assert uri_routes(before).items() <= uri_routes(after).items()


@given(upstreams.filter(bool))
def test_an_upstream_seen_alone_is_as_it_is(many: list[UpstreamItems]) -> None:
    one = many[0]
    catalogue = merge([one], "own")
    for kind in KINDS:
        assert getattr(catalogue, kind) == getattr(one.listing, kind)
        assert [jsonrpc.dumps(item) for item in getattr(catalogue, kind)] == [
            jsonrpc.dumps(item) for item in getattr(one.listing, kind)
        ]
    for item in one.listing.tools:
        assert catalogue.tool(item["name"]) == Owner(one.name, item["name"], item)


@given(upstreams)
def test_the_first_that_lists_a_uri_owns_it(many: list[UpstreamItems]) -> None:
    catalogue = merge(many, "upstream")
    for uri in {item["uri"] for one in many for item in one.listing.resources}:
        first = next(one for one in many if any(item["uri"] == uri for item in one.listing.resources))
        bare = catalogue.resource(uri) or catalogue.unlisted(uri)
        if bare is None or bare.upstream != first.name:  # then it could be somebody's before it in another way
            before = [one.name for one in many[: many.index(first)]]
            assert catalogue.ownership.owner(uri) in before


JUNK: list[Any] = [None, 1, "x", [], {}, {"name": 1}, {"name": ""}, {"uri": None}, {"name": "x", "inputSchema": []}]


@given(st.lists(st.sampled_from([*JUNK, tool("a"), tool("b"), resource("a:"), resource("b:")]), max_size=8))
def test_every_item_is_either_published_or_reported(items: list[Any]) -> None:
    some = tuple(items)
    listing = Listing(tools=some, resources=some, templates=some, prompts=some)
    catalogue = merge([UpstreamItems("up", listing)], "upstream")
    for kind in KINDS:
        reported = [one for one in catalogue.dropped if one.kind == kind]
        assert len(getattr(catalogue, kind)) + len(reported) == len(items)
