"""How views show what they have: names, words, short lists; and that each name leads to one tool."""

from gateway.catalogue.catalogue import Catalogue, changed
from gateway.catalogue.merge import merge
from gateway.catalogue.shapes import ViewShape
from tests.catalogue.listings import upstream

BASE: Catalogue = merge(
    [
        upstream("a", tools=("one", "two"), prompts=("ask",), resources=("x:1",), instructions="Long."),
        upstream("b", tools=("one",)),
    ],
    "upstream",
)


def names(catalogue: Catalogue) -> list[str]:
    return [tool["name"] for tool in catalogue.tools]


def test_names_and_words_are_changed_and_nothing_else() -> None:
    shape = ViewShape(
        {"tools": {"a__two": "zwei", "gone": "x"}, "prompts": {"a__ask": "fragen"}},
        {"tools": {"a__one": "The first."}, "resources": {"x:1": "A thing."}},
        "Brief.",
    )
    shown = shape.apply(BASE)
    assert names(shown) == ["a__one", "b__one", "zwei"]
    assert shown.tools[0]["description"] == "The first."
    assert shown.tool("zwei") is BASE.tool("a__two")
    assert shown.tool("a__two") is None
    assert shown.prompt("fragen") is BASE.prompt("a__ask")
    assert shown.resources[0]["description"] == "A thing."
    assert shown.instructions == "Brief."
    assert BASE.tools[0].get("description") is None, "the catalogue itself is left alone"
    assert ViewShape().apply(BASE).tools == BASE.tools


def test_two_may_swap_names() -> None:
    shown = ViewShape({"tools": {"a__one": "b__one", "b__one": "a__one"}}).apply(BASE)
    assert shown.tool("a__one") is BASE.tool("b__one")
    assert shown.tool("b__one") is BASE.tool("a__one")


def test_a_name_that_is_taken_is_nobodys_loss() -> None:
    shown = ViewShape({"tools": {"a__two": "b__one"}}).apply(BASE)
    assert shown.tool("b__one") is BASE.tool("a__two")
    assert len(names(shown)) == len(set(names(shown))) == 3
    (other,) = set(names(shown)) - {"a__one", "b__one"}
    assert shown.tool(other) is BASE.tool("b__one")
    assert other.startswith("b__one")


def test_search_lists_what_is_pinned_and_keeps_all() -> None:
    shape = ViewShape({"tools": {"a__two": "zwei"}}, discovery="search", pinned=("zwei", "b__*"))
    shown = shape.apply(BASE)
    assert names(shown) == ["b__one", "call_tool", "find_tools", "zwei"]
    assert [tool["name"] for tool in shown.searched] == ["a__one", "b__one", "zwei"]
    assert shown.tool("a__one") is BASE.tool("a__one"), "what is not listed is there"
    assert shown.tool("find_tools") is None
    assert "find_tools" in str(shown.instructions)
    assert "Long." in str(shown.instructions)
    assert names(ViewShape(discovery="search").apply(Catalogue())) == ["call_tool", "find_tools"]


def test_a_tool_of_a_servers_that_is_called_like_ours_gets_another_name() -> None:
    base = merge([upstream("a", tools=("find_tools", "call_tool"))], "none")
    shown = ViewShape(discovery="search", pinned=("*",)).apply(base)
    assert {"find_tools", "call_tool"} < set(names(shown))
    assert len(names(shown)) == 4
    assert {owner.original for owner in shown.tool_owners.values()} == {"find_tools", "call_tool"}
    assert {"find_tools", "call_tool"}.isdisjoint(shown.tool_owners)


def test_another_shape_is_another_list() -> None:
    plain, searched = ViewShape().apply(BASE), ViewShape(discovery="search").apply(BASE)
    assert changed(plain, searched) == {"tools"}
    assert changed(plain, ViewShape(words={"resources": {"x:1": "A thing."}}).apply(BASE)) == {"resources"}
    assert changed(plain, ViewShape().apply(BASE)) == set()
