"""Many upstreams, one catalogue: what is published, under which rules, and what is left out and why."""

from dataclasses import replace
from typing import Any

import pytest

from gateway import jsonrpc
from gateway.catalogue.catalogue import Catalogue, changed
from gateway.catalogue.intake import KEYS, MAX_DEPTH, CompiledToolRules, DroppedItem, Kind, UpstreamItems
from gateway.catalogue.merge import merge
from gateway.upstream.listing import Item, Listing
from tests.catalogue.listings import prompt, published, resource, routes, tool, upstream


def nested(levels: int) -> Item:
    value: Item = {}
    for _ in range(levels - 1):
        value = {"properties": value}
    return value


# --- Rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (CompiledToolRules(), ["gh__Issue", "gh__issue_get", "gh__issue_list", "gh__repo_get"]),
        (CompiledToolRules(allow=("issue_*",)), ["gh__issue_get", "gh__issue_list"]),
        (CompiledToolRules(allow=("issue_*", "repo_?et")), ["gh__issue_get", "gh__issue_list", "gh__repo_get"]),
        (CompiledToolRules(deny=("*_get",)), ["gh__Issue", "gh__issue_list"]),
        (CompiledToolRules(allow=("issue_*",), deny=("*_get",)), ["gh__issue_list"]),
        (CompiledToolRules(allow=()), []),
        # globs are about the upstream's names, not about the new ones
        (CompiledToolRules(allow=("repo_get",), rename={"repo_get": "fetch"}), ["gh__fetch"]),
        (CompiledToolRules(allow=("fetch",), rename={"repo_get": "fetch"}), []),
        # a hidden tool holds no name
        (
            CompiledToolRules(deny=("Issue",), rename={"repo_get": "Issue"}),
            ["gh__Issue", "gh__issue_get", "gh__issue_list"],
        ),
    ],
)
def test_the_owner_decides_which_tools_are_offered(rules: CompiledToolRules, names: list[str]) -> None:
    one = upstream("gh", tools=("issue_list", "issue_get", "repo_get", "Issue"), rules=rules)
    catalogue = merge([one], "upstream")
    assert published(catalogue, "tools") == names
    assert catalogue.dropped == ()


def test_what_the_owner_hides_cannot_be_called() -> None:
    catalogue = merge([upstream("gh", tools=("a", "b"), rules=CompiledToolRules(deny=("b",)))], "upstream")
    assert catalogue.tool("gh__a") is not None
    assert catalogue.tool("gh__b") is None
    assert catalogue.tool("a") is None


def test_rules_are_about_tools_only() -> None:
    rules = CompiledToolRules(allow=(), rename={"p": "q"}, describe={"p": "new"})
    catalogue = merge([upstream("gh", prompts=("p",), resources=("r:",), rules=rules)], "upstream")
    assert catalogue.prompts == (prompt("gh__p"),)
    assert catalogue.resources == (resource("r:"),)


def test_rename_and_describe() -> None:
    rules = CompiledToolRules(rename={"a": "search", "gone": "x"}, describe={"a": "Finds things.", "b": "Does b."})
    one = UpstreamItems("gh", Listing(tools=({"description": "old", **tool("a")}, tool("b"))), rules)
    catalogue = merge([one], "upstream")
    assert jsonrpc.dumps(list(catalogue.tools)) == (
        b'[{"name":"gh__b","inputSchema":{"type":"object"},"description":"Does b."},'
        b'{"description":"Finds things.","name":"gh__search","inputSchema":{"type":"object"}}]'
    )
    owner = catalogue.tool("gh__search")
    assert owner is not None
    assert (owner.upstream, owner.original) == ("gh", "a")
    assert one.listing.tools[0]["description"] == "old"


def test_renaming_onto_another_tool_loses_neither() -> None:
    rules = CompiledToolRules(rename={"a": "b"})
    one = upstream("gh", tools=("a", "b"), rules=rules)
    assert published(merge([one], "upstream"), "tools") == ["gh__b", "gh__b_ca234c55"]
    assert published(merge([one], "own"), "tools") == ["b_ca234c55", "b"]


# --- Prefixes -----------------------------------------------------------------------------------------------------


def test_the_merged_catalogue_is_sorted_and_the_own_view_is_not() -> None:
    one = upstream("gh", tools=("b", "a"), prompts=("d", "c"), resources=("z:", "y:"), templates=("z{x}", "y{x}"))
    merged, own = merge([one], "upstream"), merge([one], "own")
    assert published(merged, "tools") == ["gh__a", "gh__b"]
    assert published(merged, "prompts") == ["gh__c", "gh__d"]
    assert published(merged, "resources") == ["y:", "z:"]
    assert published(merged, "templates") == ["y{x}", "z{x}"]
    assert published(own, "tools") == ["b", "a"]
    assert published(own, "prompts") == ["d", "c"]
    assert published(own, "resources") == ["z:", "y:"]
    assert published(own, "templates") == ["z{x}", "y{x}"]


def test_without_prefix_names_are_still_valid() -> None:
    assert published(merge([upstream("gh", tools=("a b", "c"))], "none"), "tools") == ["a_b", "c"]


def test_without_prefix_two_upstreams_still_lose_nothing() -> None:
    catalogue = merge([upstream("a", tools=("x",)), upstream("b", tools=("x",))], "none")
    assert len(catalogue.tools) == 2
    assert routes(catalogue, "tools").keys() == {("a", "x"), ("b", "x")}
    assert routes(catalogue, "tools")["a", "x"] == "x"


def test_a_prefix_that_looks_like_another_ones_hash_still_loses_nothing() -> None:
    catalogue = merge([upstream("my server", tools=("x",)), upstream("my_server-e606ef", tools=("x",))], "upstream")
    assert routes(catalogue, "tools").keys() == {("my server", "x"), ("my_server-e606ef", "x")}


def test_two_upstreams_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="share a name"):
        merge([upstream("a"), upstream("a")], "upstream")


@pytest.mark.parametrize("names", [(), ("a", "b")])
def test_only_one_upstream_can_be_seen_alone(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="own names"):
        merge([upstream(name) for name in names], "own")


# --- Left out -----------------------------------------------------------------------------------------------------


def left_out(kind: Kind, *items: Any, version: str = "2025-11-25") -> tuple[list[str], list[DroppedItem]]:
    """What `kind` publishes of these items, and what it reports."""
    listing = replace(Listing(version=version), **{kind: items})
    catalogue = merge([UpstreamItems("up", listing)], "own")
    return published(catalogue, kind), list(catalogue.dropped)


@pytest.mark.parametrize(
    ("kind", "item", "name", "reason"),
    [
        ("tools", "a string", "#1", "not an object with a string 'name'"),
        ("tools", {"inputSchema": {}}, "#1", "not an object with a string 'name'"),
        ("tools", {"name": 7, "inputSchema": {}}, "#1", "not an object with a string 'name'"),
        ("tools", {"name": "", "inputSchema": {}}, "#1", "not an object with a string 'name'"),
        ("tools", {"name": "t"}, "t", "no inputSchema object"),
        ("tools", {"name": "t", "inputSchema": True}, "t", "no inputSchema object"),
        ("tools", {"name": "t" * 999}, "t" * 200, "no inputSchema object"),
        ("resources", {"name": "r"}, "#1", "not an object with a string 'uri'"),
        ("templates", {"uri": "r"}, "#1", "not an object with a string 'uriTemplate'"),
        ("prompts", None, "#1", "not an object with a string 'name'"),
        ("prompts", {"name": "good"}, "good", "listed more than once"),
    ],
)
def test_a_malformed_item_is_reported_and_breaks_nothing(kind: Kind, item: Any, name: str, reason: str) -> None:
    good: Item = {KEYS[kind]: "good", "inputSchema": {}}
    assert left_out(kind, good, item) == (["good"], [DroppedItem("up", kind, name, reason)])


def test_of_two_items_with_one_name_the_first_usable_one_wins() -> None:
    listing = Listing(tools=({"name": "t"}, tool("t", title="1"), tool("t", title="2")))
    catalogue = merge([UpstreamItems("up", listing)], "own")
    assert catalogue.tools == (tool("t", title="1"),)
    assert [one.reason for one in catalogue.dropped] == ["no inputSchema object", "listed more than once"]


def test_an_item_too_deep_for_an_answer_does_not_break_the_list_for_all() -> None:
    fits = {"name": "deep", "inputSchema": nested(MAX_DEPTH - 1)}
    wide: Item = {"name": "wide", "inputSchema": {"enum": [[]] * (2 * MAX_DEPTH)}}
    deeper = {"name": "deeper", "inputSchema": nested(MAX_DEPTH)}
    deepest: Item = {"name": "deepest", "inputSchema": nested(2000)}
    names, dropped = left_out("tools", fits, wide, deeper, deepest)
    assert names == ["deep", "wide"]
    assert [(one.name, one.reason) for one in dropped] == [
        ("deeper", f"cannot be written as JSON of at most {MAX_DEPTH} levels"),
        ("deepest", f"cannot be written as JSON of at most {MAX_DEPTH} levels"),
    ]


@pytest.mark.parametrize(
    ("annotation", "valid"),
    [({"type": "string", "x-mcp-header": "Region"}, True), ({"type": "object", "x-mcp-header": "Region"}, False)],
)
def test_invalid_header_annotations_matter_to_modern_upstreams_only(annotation: Item, valid: bool) -> None:
    annotated = {"name": "t", "inputSchema": {"type": "object", "properties": {"region": annotation}}}
    assert left_out("tools", annotated, version="2025-11-25") == (["t"], [])
    names, dropped = left_out("tools", annotated, version="2026-07-28")
    assert names == (["t"] if valid else [])
    assert ["x-mcp-header" in one.reason for one in dropped] == ([] if valid else [True])


def test_the_text_of_an_annotation_elsewhere_is_none() -> None:
    mentions = {"name": "t", "x-mcp-header": 1, "inputSchema": {"type": "object", "default": {"x-mcp-header": 1}}}
    assert left_out("tools", mentions, version="2026-07-28") == (["t"], [])


# --- The rest -----------------------------------------------------------------------------------------------------


def test_the_smallest_ttl_and_the_strictest_scope() -> None:
    assert merge([], "upstream").ttl_ms is None
    assert not merge([upstream("a"), upstream("b")], "upstream").private
    catalogue = merge([upstream("a", ttl_ms=500, private=True), upstream("b", ttl_ms=0), upstream("c")], "upstream")
    assert catalogue.ttl_ms == 0
    assert catalogue.private


def test_no_upstreams_make_the_empty_catalogue() -> None:
    assert merge([], "upstream") == Catalogue()


def test_capabilities_are_merged() -> None:
    one = upstream("a", capabilities={"tools": {}})
    other = upstream("b", capabilities={"prompts": {}})
    assert merge([one, other], "upstream").capabilities == {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
    }


def test_instructions_say_whose_they_are_and_what_its_tools_are_called() -> None:
    many = [upstream("my server", instructions="Use b first."), upstream("a", instructions="Be kind."), upstream("c")]
    assert merge(many, "upstream").instructions == (
        "## a (`a__*`)\n\nBe kind.\n\n## my server (`my_server-e606ef__*`)\n\nUse b first."
    )
    assert merge(many, "none").instructions == "## a\n\nBe kind.\n\n## my server\n\nUse b first."
    assert merge([upstream("c", instructions="")], "upstream").instructions is None


def test_instructions_of_an_upstream_seen_alone_are_verbatim_but_bounded() -> None:
    assert merge([upstream("a", instructions="Be kind.")], "own").instructions == "Be kind."
    assert merge([upstream("a")], "own").instructions is None
    bounded = merge([upstream("a", instructions="é" * 100_000)], "own").instructions
    assert bounded is not None
    assert len(bounded.encode()) <= 16 * 1024


BEFORE = upstream("a", tools=("t", "u"), resources=("r:",), templates=("s{x}",), prompts=("p",))


@pytest.mark.parametrize(
    ("after", "differs"),
    [
        (BEFORE, set[str]()),
        (upstream("a", tools=("u", "t"), resources=("r:",), templates=("s{x}",), prompts=("p",)), set[str]()),
        (upstream("a", tools=("t",), resources=("r:",), templates=("s{x}",), prompts=("p",)), {"tools"}),
        (upstream("a", tools=("t", "u"), resources=("r2:",), templates=("s{x}",), prompts=("p",)), {"resources"}),
        (upstream("a", tools=("t", "u"), resources=("r:",), prompts=("p",)), {"resources"}),
        (upstream("a", tools=("t", "u"), resources=("r:", "s{x}"), prompts=("p",)), {"resources"}),
        (upstream("a", tools=("t", "u"), resources=("r:",), templates=("s{x}",)), {"prompts"}),
        (upstream("a"), {"tools", "resources", "prompts"}),
        (replace(BEFORE, name="b"), {"tools", "prompts"}),
        (replace(BEFORE, rules=CompiledToolRules(rename={"t": "v"})), {"tools"}),
        (replace(BEFORE, rules=CompiledToolRules(describe={"t": "new"})), {"tools"}),
    ],
)
def test_what_changed_for_an_agent(after: UpstreamItems, differs: set[str]) -> None:
    assert changed(merge([BEFORE], "upstream"), merge([after], "upstream")) == differs


def test_a_new_order_is_a_change_where_it_can_be_seen() -> None:
    reordered = replace(BEFORE, listing=replace(BEFORE.listing, tools=BEFORE.listing.tools[::-1]))
    assert changed(merge([BEFORE], "own"), merge([reordered], "own")) == {"tools"}
