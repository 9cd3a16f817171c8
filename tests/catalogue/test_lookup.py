"""From a URI back to its owner: listed, shadowed, or fitting a template only."""

import subprocess
import sys

import pytest

from gateway.catalogue import templates
from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.catalogue.intake import CompiledToolRules, UpstreamItems
from gateway.catalogue.merge import merge
from gateway.upstream.listing import Item, Listing
from tests.catalogue.listings import resource, template, tool, upstream


def found(catalogue: Catalogue, uri: str) -> tuple[str, str] | None:
    """Who may serve `uri`: `(upstream, URI to ask for)`."""
    owner = catalogue.unlisted(uri)
    return (owner.upstream, owner.original) if owner is not None else None


def test_unknown_names_have_no_owner() -> None:
    catalogue = Catalogue()
    assert catalogue.tool("x") is None
    assert catalogue.prompt("x") is None
    assert catalogue.resource("x:") is None
    assert catalogue.template("x:{y}") is None
    assert catalogue.unlisted("x:") is None


def test_a_shadowed_resource_has_the_prefix_of_its_upstream() -> None:
    catalogue = merge([upstream("a", resources=("w:",)), upstream("b", resources=("w:", "b:"))], "upstream")
    assert [item["uri"] for item in catalogue.resources] == ["b+w:", "b:", "w:"]
    assert catalogue.resource("w:") == Owner("a", "w:", resource("w:"))
    assert catalogue.resource("b+w:") == Owner("b", "w:", resource("w:"))
    assert catalogue.resource("b:") == Owner("b", "b:", resource("b:"))
    assert catalogue.resource("a+w:") is None
    assert catalogue.resource("b+b:") is None


def linked(link: object, **more: object) -> Item:
    return {**tool("show"), "_meta": {"ui": {"resourceUri": link, "visibility": ["app"]}, "x": 1, **more}}


def test_a_shadowed_user_interface_keeps_its_scheme_and_its_tool_leads_there() -> None:
    def server(name: str) -> UpstreamItems:
        tools = (linked("ui://w", **{"ui/resourceUri": "ui://w"}), tool("plain"))
        return UpstreamItems(name, Listing(tools=tools, resources=(resource("ui://w"),)))

    catalogue = merge([server("a"), server("b")], "upstream")
    assert [item["uri"] for item in catalogue.resources] == ["ui://b+w", "ui://w"]
    assert catalogue.resource("ui://b+w") == Owner("b", "ui://w", resource("ui://w"))
    shown = {item["name"]: item.get("_meta") for item in catalogue.tools}
    there = {"ui": {"resourceUri": "ui://b+w", "visibility": ["app"]}, "ui/resourceUri": "ui://b+w", "x": 1}
    assert (shown["b__show"], shown["b__plain"]) == (there, None)
    assert shown["a__show"] == server("a").listing.tools[0]["_meta"]


def test_a_user_interface_that_is_not_listed_leads_to_the_tools_own_upstream() -> None:
    links = UpstreamItems("b", Listing(tools=(linked("ui://w"),)))
    alone = merge([links], "upstream")
    assert found(alone, "ui://w") == ("b", "ui://w")
    for other in (upstream("a", resources=("ui://w",)), upstream("a", templates=("ui://{x}",))):
        catalogue = merge([other, links], "upstream")
        [shown] = catalogue.tools
        assert shown["_meta"]["ui"]["resourceUri"] == "ui://b+w"
        assert found(catalogue, "ui://b+w") == ("b", "ui://w")
        after = merge([links, other], "upstream")
        assert after.tools == alone.tools
        assert found(after, "ui://w") == ("b", "ui://w")
    assert alone.resources == ()


@pytest.mark.parametrize("link", [7, [], {"x": 1}, None, "https://x/"])
def test_what_is_no_link_to_a_user_interface_claims_nothing(link: object) -> None:
    catalogue = merge([UpstreamItems("a", Listing(tools=(linked(link),))), upstream("b")], "upstream")
    assert catalogue.tools[0]["_meta"] == linked(link)["_meta"]
    assert catalogue.links == {}


def test_the_user_interface_of_a_tool_that_is_not_offered_claims_nothing() -> None:
    hidden = UpstreamItems("a", Listing(tools=(linked("ui://w"),)), CompiledToolRules(deny=("show",)))
    catalogue = merge([hidden, upstream("b", resources=("ui://w",))], "upstream")
    assert catalogue.resource("ui://w") == Owner("b", "ui://w", resource("ui://w"))


def test_a_shadowed_template_of_user_interfaces_matches_its_public_form() -> None:
    catalogue = merge([upstream("a", templates=("ui://{x}",)), upstream("b", templates=("ui://{x}",))], "upstream")
    assert [item["uriTemplate"] for item in catalogue.templates] == ["ui://b+{x}", "ui://{x}"]
    assert found(catalogue, "ui://b+y") == ("b", "ui://y")
    assert found(catalogue, "ui://y") == ("a", "ui://y")


def test_a_template_is_found_by_its_literal_text() -> None:
    catalogue = merge([upstream("a", templates=("f:{x}", "g:{x}")), upstream("b", templates=("f:{x}",))], "upstream")
    assert [item["uriTemplate"] for item in catalogue.templates] == ["b+f:{x}", "f:{x}", "g:{x}"]
    assert catalogue.template("g:{x}") == Owner("a", "g:{x}", template("g:{x}"))
    assert catalogue.template("f:{x}") == Owner("a", "f:{x}", template("f:{x}"))
    assert catalogue.template("b+f:{x}") == Owner("b", "f:{x}", template("f:{x}"))
    assert catalogue.template("a+f:{x}") is None


@pytest.mark.parametrize(
    ("uri", "owner"),
    [
        ("db://users/7", ("a", "db://users/7")),
        ("db://users/7?fields=name", ("a", "db://users/7?fields=name")),
        ("db://users/7/posts", None),
        ("db://USERS/7", None),
        ("log://x/y/z", ("b", "log://x/y/z")),
        ("log://", ("b", "log://")),
        ("", None),
    ],
)
def test_templates_match_as_the_sdk_says(uri: str, owner: tuple[str, str] | None) -> None:
    many = [upstream("a", templates=("db://users/{id}{?fields}",)), upstream("b", templates=("log://{+path}",))]
    assert found(merge(many, "upstream"), uri) == owner


def test_the_owner_of_a_match_carries_the_template() -> None:
    catalogue = merge([upstream("a", templates=("f:{x}",))], "upstream")
    assert catalogue.unlisted("f:1") == Owner("a", "f:1", template("f:{x}"))


def test_the_order_of_upstreams_decides_and_not_what_is_more_specific() -> None:
    many = [
        upstream("c", templates=("{+any}",)),
        upstream("b", templates=("f:{x}",)),
        upstream("a", templates=("f:b{x}",)),
    ]
    assert [found(merge(order, "upstream"), "f:bc") for order in (many, many[1:], many[2:])] == [
        ("c", "f:bc"),
        ("b", "f:bc"),
        ("a", "f:bc"),
    ]
    catalogue = merge(many, "upstream")
    assert [item["uriTemplate"] for item in catalogue.templates] == ["a+f:b{x}", "b+f:{x}", "{+any}"]
    assert found(catalogue, "a+f:bc") == ("a", "f:bc")
    assert found(catalogue, "b+f:bc") == ("b", "f:bc")


def test_of_one_upstreams_templates_the_most_specific_counts() -> None:
    catalogue = merge([upstream("a", templates=("f:{+x}", "f:b{x}", "f:{x}"))], "upstream")
    assert catalogue.unlisted("f:bc") == Owner("a", "f:bc", template("f:b{x}"))


def test_a_template_that_could_mean_some_of_an_earlier_ones_uris_has_a_prefix_and_the_rest_bare_as_well() -> None:
    catalogue = merge([upstream("a", resources=("f:1",)), upstream("b", templates=("f:{x}",))], "upstream")
    assert [item["uriTemplate"] for item in catalogue.templates] == ["b+f:{x}"]
    assert found(catalogue, "b+f:1") == ("b", "f:1")
    assert found(catalogue, "f:2") == ("b", "f:2")
    assert catalogue.resource("f:1") == Owner("a", "f:1", resource("f:1"))
    assert catalogue.public_uris("b", "f:1") == ("b+f:1",)
    assert catalogue.public_uris("b", "f:2") == ("f:2", "b+f:2")


def test_what_an_earlier_ones_template_matches_is_listed_with_a_prefix() -> None:
    catalogue = merge([upstream("a", templates=("f:{x}",)), upstream("b", resources=("f:1", "f:1/2"))], "upstream")
    assert [item["uri"] for item in catalogue.resources] == ["b+f:1", "f:1/2"]
    assert found(catalogue, "f:1") == ("a", "f:1")


def test_only_the_known_prefix_is_removed() -> None:
    many = [upstream("a", templates=("{+u}",)), upstream("b", templates=("{+u}",)), upstream("c", templates=("x+{y}",))]
    catalogue = merge(many, "upstream")
    assert found(catalogue, "b+c+x+1") == ("b", "c+x+1")
    assert found(catalogue, "c+x+1") == ("c", "x+1")
    assert found(catalogue, "x+1") == ("a", "x+1")


def test_a_public_form_is_tried_before_a_template_that_takes_everything() -> None:
    many = [
        upstream("c", templates=("{+all}",)),
        upstream("b", templates=("f:{x}",), resources=("g:",)),
    ]
    catalogue = merge(many, "upstream")
    assert found(catalogue, "b+f:1") == ("b", "f:1")
    assert catalogue.resource("b+g:") == Owner("b", "g:", resource("g:"))


def test_nobody_takes_the_public_form_of_an_earlier_one() -> None:
    many = [upstream("a", resources=("f:1",)), upstream("b", resources=("f:1",), templates=("f:{x}",))]
    before = merge(many, "upstream")
    after = merge([*many, upstream("c", resources=("b+f:1", "b+f:2"), templates=("b+f:{+rest}",))], "upstream")
    for catalogue in (before, after):
        assert catalogue.resource("b+f:1") == Owner("b", "f:1", resource("f:1"))
        assert found(catalogue, "b+f:2") == ("b", "f:2")
    assert after.resource("c+b+f:2") == Owner("c", "b+f:2", resource("b+f:2"))
    assert found(after, "c+b+f:3") == ("c", "b+f:3")


def test_a_prefix_makes_way_for_an_earlier_ones_uri_that_looks_like_it() -> None:
    many = [
        upstream("a", resources=("f:1", "git+f:1"), templates=("ui://git+{x}",)),
        upstream("git", resources=("f:1",)),
    ]
    catalogue = merge(many, "upstream")
    assert catalogue.resource("git+f:1") == Owner("a", "git+f:1", resource("git+f:1"))
    [form] = [item["uri"] for item in catalogue.resources if str(item["uri"]).startswith("git-")]
    assert catalogue.resource(form) == Owner("git", "f:1", resource("f:1"))


def test_a_link_to_what_nobody_lists_leads_to_its_own_upstream_where_the_bare_one_is_anothers() -> None:
    catalogue = merge([upstream("a", templates=("f:{x}",)), upstream("b", resources=("f:1",))], "upstream")
    assert catalogue.ownership.public("b", "f:2") == "b+f:2"
    assert found(catalogue, "b+f:2") == ("b", "f:2")
    assert catalogue.ownership.public("b", "g:2") == "g:2"
    assert found(catalogue, "b+g:2") is None
    assert found(catalogue, "a+f:2") is None


@pytest.mark.parametrize("unsupported", ["f:{x}{y}", "f:{x:3}", "f:{", "f:{?x*}"])
def test_a_template_the_sdk_cannot_match_is_tried_on_its_literal_text(unsupported: str) -> None:
    catalogue = merge([upstream("a", templates=(unsupported,)), upstream("b", templates=("f{+x}",))], "upstream")
    assert found(catalogue, "f:1") == ("a", "f:1")
    assert found(catalogue, "f1") == ("b", "f1")
    assert found(catalogue, "g:1") is None


def test_all_its_literal_texts_count_in_their_order() -> None:
    catalogue = merge([upstream("a", templates=("f:{x}{y}/of/{z}{u}.txt",))], "upstream")
    assert found(catalogue, "f:1/of/2.txt") == ("a", "f:1/of/2.txt")
    assert found(catalogue, "f:1/of.txt") is None
    assert found(catalogue, "f:1/of/2.png") is None


def test_a_template_that_is_no_template_at_all_takes_nothing() -> None:
    assert found(merge([upstream("a", templates=("{x}{y}",))], "upstream"), "anything") is None


def test_a_comparison_that_would_take_too_long_is_not_made() -> None:
    costly = "".join(f"{{v{number}}}-" for number in range(100))
    catalogue = merge([upstream("a", templates=(costly, "{+all}")), upstream("b", templates=("{+all}x",))], "upstream")
    short, long = "-" * 100, "-" * (templates.BUDGET // len(costly)) + "x"
    assert catalogue.unlisted(short) == Owner("a", short, template(costly))
    assert catalogue.unlisted(long) == Owner("a", long, template("{+all}"))


def test_every_public_uri_leads_back() -> None:
    many = [upstream(name, resources=("f:1",), templates=("f:{x}", f"{name}:{{x}}")) for name in "ab"]
    catalogue = merge(many, "upstream")
    for name in "ab":
        for own in ("f:1", "f:2", f"{name}:1"):
            for public in catalogue.public_uris(name, own):
                owner = catalogue.resource(public) or catalogue.unlisted(public)
                assert owner is not None
                assert (owner.upstream, owner.original) == (name, own)


def test_merging_and_listing_import_nothing_slow() -> None:
    """The SDK's import takes longer than a stdio client should wait for its first list."""
    script = """
import sys
from gateway.catalogue import merge, pages, snapshot
from gateway.catalogue.intake import UpstreamItems
from gateway.upstream.listing import Item, Listing
tools = ({"name": "t", "inputSchema": {"type": "object"}},)
templates, resources = ({"uriTemplate": "f:{x}"},), ({"uri": "f:1"},)
listing = Listing(tools=tools, templates=templates, resources=resources, version="2026-07-28")
catalogue = merge.merge([UpstreamItems("a", listing), UpstreamItems("b", listing)], "upstream")
assert catalogue.resource("b+f:1")
assert catalogue.unlisted("f:2").upstream == "a"
assert not {"mcp.client.session", "mcp_types", "pydantic"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
