"""From a URI back to its owner: listed, contested, or fitting a template only."""

import subprocess
import sys

import pytest

from gateway.catalogue import templates
from gateway.catalogue.catalogue import Ambiguous, Catalogue, Owner
from gateway.catalogue.intake import UpstreamItems
from gateway.catalogue.merge import merge
from gateway.upstream.listing import Listing
from tests.catalogue.listings import resource, template, tool, upstream


def found(catalogue: Catalogue, uri: str) -> list[tuple[str, str]]:
    """Who may serve `uri`: `(upstream, URI to ask for)`."""
    owners = catalogue.templates_for(uri)
    assert isinstance(owners, list)
    return [(owner.upstream, owner.original) for owner in owners]


def test_unknown_names_have_no_owner() -> None:
    catalogue = Catalogue()
    assert catalogue.tool("x") is None
    assert catalogue.prompt("x") is None
    assert catalogue.resource("x:") is None
    assert catalogue.template("x:{y}") is None
    assert catalogue.templates_for("x:") == []


def test_a_contested_resource_is_reached_by_its_public_forms_only() -> None:
    catalogue = merge([upstream("a", resources=("w:",)), upstream("b", resources=("w:", "b:"))], "upstream")
    assert [item["uri"] for item in catalogue.resources] == ["a+w:", "b+w:", "b:"]
    assert catalogue.resource("w:") == Ambiguous(("a+w:", "b+w:"))
    assert catalogue.resource("a+w:") == Owner("a", "w:", resource("w:"))
    assert catalogue.resource("b+w:") == Owner("b", "w:", resource("w:"))
    assert catalogue.resource("b:") == Owner("b", "b:", resource("b:"))
    assert catalogue.resource("b+b:") is None


def test_a_contested_user_interface_keeps_its_scheme_and_its_tool_leads_there() -> None:
    def server(name: str) -> UpstreamItems:
        links = {"ui": {"resourceUri": "ui://w", "visibility": ["app"]}, "ui/resourceUri": "ui://w", "x": 1}
        linked = {**tool("show"), "_meta": links}
        return UpstreamItems(name, Listing(tools=(linked, tool("plain")), resources=(resource("ui://w"),)))

    catalogue = merge([server("a"), server("b")], "upstream")
    assert [item["uri"] for item in catalogue.resources] == ["ui://a+w", "ui://b+w"]
    assert catalogue.resource("ui://b+w") == Owner("b", "ui://w", resource("ui://w"))
    shown = {item["name"]: item.get("_meta") for item in catalogue.tools}
    there = {"ui": {"resourceUri": "ui://b+w", "visibility": ["app"]}, "ui/resourceUri": "ui://b+w", "x": 1}
    assert (shown["b__show"], shown["b__plain"]) == (there, None)
    alone = merge([server("a")], "upstream")
    assert alone.tools[1]["_meta"]["ui"]["resourceUri"] == "ui://w"


def test_a_contested_template_of_user_interfaces_matches_its_public_form() -> None:
    catalogue = merge([upstream("a", templates=("ui://{x}",)), upstream("b", templates=("ui://{x}",))], "upstream")
    assert [item["uriTemplate"] for item in catalogue.templates] == ["ui://a+{x}", "ui://b+{x}"]
    found = catalogue.templates_for("ui://b+y")
    assert isinstance(found, list)
    assert [(owner.upstream, owner.original) for owner in found] == [("b", "ui://y")]


def test_a_template_is_found_by_its_literal_text() -> None:
    catalogue = merge([upstream("a", templates=("f:{x}", "g:{x}")), upstream("b", templates=("f:{x}",))], "upstream")
    assert [item["uriTemplate"] for item in catalogue.templates] == ["a+f:{x}", "b+f:{x}", "g:{x}"]
    assert catalogue.template("g:{x}") == Owner("a", "g:{x}", template("g:{x}"))
    assert catalogue.template("b+f:{x}") == Owner("b", "f:{x}", template("f:{x}"))
    assert catalogue.template("f:{x}") == Ambiguous(("a+f:{x}", "b+f:{x}"))


@pytest.mark.parametrize(
    ("uri", "owners"),
    [
        ("db://users/7", [("a", "db://users/7")]),
        ("db://users/7?fields=name", [("a", "db://users/7?fields=name")]),
        ("db://users/7/posts", []),
        ("db://USERS/7", []),
        ("log://x/y/z", [("b", "log://x/y/z")]),
        ("log://", [("b", "log://")]),
        ("", []),
    ],
)
def test_templates_match_as_the_sdk_says(uri: str, owners: list[tuple[str, str]]) -> None:
    many = [upstream("a", templates=("db://users/{id}{?fields}",)), upstream("b", templates=("log://{+path}",))]
    assert found(merge(many, "upstream"), uri) == owners


def test_the_owner_of_a_match_carries_the_template() -> None:
    catalogue = merge([upstream("a", templates=("f:{x}",))], "upstream")
    assert catalogue.templates_for("f:1") == [Owner("a", "f:1", template("f:{x}"))]


def test_the_most_specific_template_comes_first() -> None:
    many = [
        upstream("a", templates=("{+any}",)),
        upstream("b", templates=("f:{x}",)),
        upstream("c", templates=("f:b{x}",)),
    ]
    assert found(merge(many, "upstream"), "f:bc") == [("c", "f:bc"), ("b", "f:bc"), ("a", "f:bc")]


def test_two_templates_of_one_upstream_are_one_owner() -> None:
    catalogue = merge([upstream("a", templates=("f:{x}", "f:{+x}"))], "upstream")
    assert catalogue.templates_for("f:1") == [Owner("a", "f:1", template("f:{+x}"))]


def test_a_contested_template_is_reached_by_its_public_forms_only() -> None:
    many = [
        upstream("a", templates=("f:{x}",)),
        upstream("b", templates=("f:{x}",)),
        upstream("c", templates=("g:{x}",)),
    ]
    catalogue = merge(many, "upstream")
    assert found(catalogue, "a+f:1") == [("a", "f:1")]
    assert found(catalogue, "b+f:1") == [("b", "f:1")]
    assert found(catalogue, "c+f:1") == []
    assert catalogue.templates_for("f:1") == Ambiguous(("a+f:1", "b+f:1"))
    assert found(catalogue, "g:1") == [("c", "g:1")]
    assert found(catalogue, "f:1/2") == []


def test_only_the_known_prefix_is_removed() -> None:
    many = [upstream("a", templates=("{+u}",)), upstream("b", templates=("{+u}",)), upstream("c", templates=("x+{y}",))]
    catalogue = merge(many, "upstream")
    assert found(catalogue, "a+b+x+1") == [("a", "b+x+1")]
    assert found(catalogue, "x+1") == [("c", "x+1")]


def test_a_public_form_is_tried_before_a_template_that_takes_everything() -> None:
    many = [
        upstream("a", templates=("f:{x}",)),
        upstream("b", templates=("f:{x}",)),
        upstream("c", templates=("{+all}",)),
    ]
    assert found(merge(many, "upstream"), "a+f:1") == [("a", "f:1"), ("c", "a+f:1")]
    literal = upstream("c", templates=("a+f:{+rest}",))
    assert found(merge([*many[:2], literal], "upstream"), "a+f:1") == [("a", "f:1"), ("c", "a+f:1")]


@pytest.mark.parametrize("unsupported", ["f:{x}{y}", "f:{x:3}", "f:{", "f:{?x*}"])
def test_a_template_the_sdk_cannot_match_is_tried_on_its_literal_text(unsupported: str) -> None:
    many = [upstream("a", templates=(unsupported,)), upstream("b", templates=("f{+x}",))]
    catalogue = merge(many, "upstream")
    assert found(catalogue, "f:1") == [("b", "f:1"), ("a", "f:1")]
    assert found(catalogue, "g:1") == []


def test_a_template_that_is_no_template_at_all_takes_nothing() -> None:
    assert found(merge([upstream("a", templates=("{x}{y}",))], "upstream"), "anything") == []


def test_a_comparison_that_would_take_too_long_is_not_made() -> None:
    costly = "".join(f"{{v{number}}}-" for number in range(100))
    catalogue = merge([upstream("a", templates=(costly, "{+all}")), upstream("b", templates=("{+all}x",))], "upstream")
    short, long = "-" * 100, "-" * (templates.BUDGET // len(costly)) + "x"
    assert catalogue.templates_for(short) == [Owner("a", short, template(costly))]
    assert found(catalogue, long) == [("b", long), ("a", long)]


def test_an_upstream_with_many_costly_templates_takes_no_time_from_the_others() -> None:
    many = tuple(f"{{+v{number:03}}}?" for number in range(100))
    catalogue = merge(
        [upstream("a", templates=(*many, "{+anything}")), upstream("b", templates=("{+any}",))], "upstream"
    )
    short, long = "-" * 100, "-" * (templates.BUDGET // 100)
    assert found(catalogue, short) == [("a", short), ("b", short)]
    assert found(catalogue, long) == [("b", long)]


def test_a_reader_is_told_of_a_change_under_every_uri_it_may_use() -> None:
    many = [
        upstream("a", resources=("f:1", "f:2"), templates=("f:{x}", "h:{x}")),
        upstream("b", resources=("f:1",), templates=("f:{x}", "f:{+x}")),
    ]
    catalogue = merge(many, "upstream")
    assert catalogue.public_uris("a", "f:1") == ("a+f:1",)
    assert catalogue.public_uris("a", "f:2") == ("f:2", "a+f:2")
    assert catalogue.public_uris("a", "f:3") == ("a+f:3",)
    assert catalogue.public_uris("a", "h:1") == ("h:1",)
    assert catalogue.public_uris("a", "nobody:lists-it") == ("nobody:lists-it",)
    assert catalogue.public_uris("b", "f:1") == ("b+f:1",)
    assert catalogue.public_uris("b", "f:3") == ("b+f:3", "f:3")
    assert catalogue.public_uri("a", "f:2") == "f:2"
    assert catalogue.public_uri("a", "f:3") == "a+f:3"


def test_every_public_uri_leads_back() -> None:
    many = [upstream(name, resources=("f:1",), templates=("f:{x}", f"{name}:{{x}}")) for name in "ab"]
    catalogue = merge(many, "upstream")
    for name in "ab":
        for own in ("f:1", "f:2", f"{name}:1"):
            for public in catalogue.public_uris(name, own):
                listed = catalogue.resource(public)
                owners = [(listed.upstream, listed.original)] if isinstance(listed, Owner) else found(catalogue, public)
                assert owners == [(name, own)]


def test_merging_and_listing_import_nothing_slow() -> None:
    """The SDK's import takes longer than a stdio client should wait for its first list."""
    script = """
import sys
from gateway.catalogue import merge, pages, snapshot
from gateway.catalogue.intake import UpstreamItems
from gateway.upstream.listing import Listing
tools = ({"name": "t", "inputSchema": {"type": "object"}},)
templates = ({"uriTemplate": "f:{x}"},)
listing = Listing(tools=tools, templates=templates, version="2026-07-28")
catalogue = merge.merge([UpstreamItems("a", listing)], "upstream")
assert catalogue.resource("f:1") is None
assert not {"mcp", "mcp_types", "pydantic"} & sys.modules.keys()
assert catalogue.templates_for("f:1")
assert "mcp" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
