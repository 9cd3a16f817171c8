"""The index by itself: how texts become words, what fits, and what hostile definitions and wishes cost."""

from typing import Any

import pytest

from gateway.search.index import Described, ToolIndex, words_of_tool
from gateway.search.meanings import meanings, nearness
from gateway.search.thesaurus import parse, thesaurus
from gateway.search.words import words_of

PLAIN = parse("")


def index(known: Any = PLAIN, **tools: Any) -> ToolIndex:
    """Of tools by name: a description, or a whole definition."""
    items = {
        name: {"name": name, "description": each} if isinstance(each, str) else each for name, each in tools.items()
    }
    return ToolIndex(
        ((name, words_of_tool(Described.of(item, [name], "server"), known)) for name, item in items.items()), known
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("searchIssues", ["search", "issu"]),
        ("search_issues", ["search", "issu"]),
        ("search-issues", ["search", "issu"]),
        ("HTTPServer", ["http", "server"]),
        ("all of the things", []),
        ("Größe 10", ["größe", "10"]),
        ("东京 weather", ["东京", "weather"]),
        ("", []),
    ],
)
def test_names_and_texts_are_split_into_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_names_titles_descriptions_parameters_and_servers_are_searched() -> None:
    some = index(
        alpha_one="",
        b={"name": "b", "title": "Alpha"},
        c="An alpha.",
        d={"name": "d", "inputSchema": {"properties": {"alpha": {"type": "string"}}}},
        e={"name": "e", "inputSchema": {"properties": {"x": {"description": "the alpha"}}}},
        f="nothing of it",
    )
    assert set(some.search("alpha", 10)) == {"alpha_one", "b", "c", "d", "e"}
    assert set(some.search("server", 10)) == {"alpha_one", "b", "c", "d", "e", "f"}
    assert some.search("alpha", 1) == ["alpha_one"], "a name says most"


def test_what_fits_not_at_all_is_not_found() -> None:
    assert index(a="one", b="two").search("three", 10) == []
    assert index().search("anything", 10) == []
    assert index(a="one").search("", 10) == []


def test_other_words_for_the_same_are_understood() -> None:
    known = parse("remove, delete, throw away\n@git: version control")
    some = index(known, delete_page="", list_pages="")
    assert some.search("remove it", 1) == ["delete_page"]
    assert some.search("throw away a leaf", 1) == ["delete_page"]
    assert index(known, git_log="", log="").search("version control", 5) == ["git_log"]


def test_one_way_words_go_one_way() -> None:
    known = parse("headline > news")
    assert index(known, get_news="").search("headlines", 5) == ["get_news"]
    assert index(known, get_headlines="").search("news", 5) == []


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "x", "description": 5, "title": [], "annotations": "no", "inputSchema": []},
        {"name": "x", "inputSchema": {"properties": []}},
        {"name": "x", "inputSchema": {"properties": {"a": None, "b": {"properties": {"c": 1}}}}},
        {"name": "x", "annotations": {"title": None}},
    ],
)
def test_definitions_may_hold_anything(tool: dict[str, Any]) -> None:
    assert len(index(x=tool)) == 1


def test_what_nests_without_end_is_looked_at_for_a_while() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"properties": {"deep": schema}}
    assert index(x={"name": "x", "inputSchema": schema}).search("deep", 1) == ["x"]


def test_a_wish_may_be_long() -> None:
    some = index(a="one two three")
    assert some.search("three " * 1_000_000, 1) == ["a"]
    assert some.search("x" * 1_000_000, 1) == []


def test_the_thesaurus_is_of_use() -> None:
    """Each line stands for something: no word is there alone, and each product has words."""
    known = thesaurus()
    assert len(known.others) > 500
    assert all(known.others.values())
    assert all(known.products.values())


def test_of_what_fits_as_well_the_nearest_in_meaning_comes_first() -> None:
    """None of the words in which the two differ is the wish's, or stands for one of them."""
    some = index(one_item="Item: a melody for violin", two_item="Item: a harbour for ships")
    assert some.search("item about a vessel that sails the ocean", 2) == ["two_item", "one_item"]
    assert some.search("item played by an orchestra", 2) == ["one_item", "two_item"]


def test_what_is_unknown_means_nothing() -> None:
    assert list(meanings().of(["qwrtz", ""])) == []
    assert nearness(meanings().of([]), meanings().of(words_of("ship"))) == 0.0
    ship, boat, melody = (meanings().of(words_of(word)) for word in ("ship", "boat", "melody"))
    assert nearness(ship, ship) == pytest.approx(1.0, abs=1e-5)
    assert nearness(ship, boat) > nearness(ship, melody)
