"""What the gateway declares when it speaks for several upstreams."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue.capabilities import MAX_INSTRUCTIONS, cut, merged_capabilities, merged_instructions


def deep(levels: int) -> dict[str, Any]:
    return {"x": deep(levels - 1)} if levels else {}


CASES: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([], {}),
    ([{}], {}),
    ([{"tools": {}}], {"tools": {"listChanged": True}}),
    ([{"tools": {"listChanged": False}}], {"tools": {"listChanged": True}}),
    ([{"tools": {}}, {"prompts": {}}], {"tools": {"listChanged": True}, "prompts": {"listChanged": True}}),
    ([{"resources": {}}], {"resources": {"listChanged": True}}),
    (
        [{"resources": {"subscribe": False}}, {"resources": {"subscribe": True}}],
        {"resources": {"listChanged": True, "subscribe": True}},
    ),
    ([{"resources": {"subscribe": "yes"}}], {"resources": {"listChanged": True}}),
    ([{"completions": {}}, {"logging": {}}], {"completions": {}, "logging": {}}),
    # not objects: not declared
    ([{"tools": None, "prompts": True, "extensions": [], "logging": 1}], {}),
    # what the gateway cannot honour
    ([{"tasks": {"list": {}}}, {"tasks": {"requests": {"tools": {"call": True}}}}], {}),
    # the gateway lists them itself
    ([{"tasks": {"requests": {"tools": {"call": {}}}}}], {"tasks": {"list": {}, "requests": {"tools": {"call": {}}}}}),
    ([{"extensions": {"e": {"v": 1}}}, {"extensions": {"f": {}}}], {"extensions": {"e": {"v": 1}, "f": {}}}),
    ([{"extensions": {"e": {"v": 1}}}, {"extensions": {"e": {"v": 1}}}], {"extensions": {"e": {"v": 1}}}),
    ([{"extensions": {"e": {"v": 1}}}, {"extensions": {"e": {"v": True}}}], {}),
    ([{"experimental": {"e": {}}}, {"experimental": {"e": {"v": 1}, "f": {}}}], {"experimental": {"f": {}}}),
    ([{"extensions": {"e": deep(900)}}, {"extensions": {"f": {}}}], {"extensions": {"f": {}}}),
]


@pytest.mark.parametrize(("declared", "merged"), CASES)
def test_capabilities(declared: list[dict[str, Any]], merged: dict[str, Any]) -> None:
    assert merged_capabilities(declared) == merged
    assert merged_capabilities(declared[::-1]) == merged


def test_no_instructions() -> None:
    assert merged_instructions([]) is None


def test_short_instructions_are_kept_whole_and_long_ones_share_what_is_left() -> None:
    text = merged_instructions([("a", "x" * 200_000), ("b", "short"), ("c", "y" * 100_000)])
    assert text is not None
    assert len(text.encode()) <= MAX_INSTRUCTIONS
    assert len(text.encode()) > MAX_INSTRUCTIONS - 10
    assert "## b\n\nshort\n\n## c" in text
    assert abs(text.count("x") - text.count("y")) < 10
    assert text.count("…") == 2


@given(st.lists(st.tuples(st.text("ab", max_size=5), st.text("aé😀\n")), min_size=1))
def test_instructions_that_fit_are_complete(parts: list[tuple[str, str]]) -> None:
    assert merged_instructions(parts) == "\n\n".join(f"## {heading}\n\n{text}" for heading, text in parts)


def test_headings_alone_can_fill_the_room() -> None:
    text = merged_instructions([("h" * 100, "text")] * 1000)
    assert text is not None
    assert len(text.encode()) <= MAX_INSTRUCTIONS


@pytest.mark.parametrize(
    ("text", "size", "result"),
    [
        ("abc", 3, "abc"),
        ("", 0, ""),
        ("abcdef", 5, "ab…"),
        ("ééé", 5, "é…"),
        ("ééé", 4, "…"),
        ("abcdef", 3, "…"),
        ("abcdef", 2, ""),
    ],
)
def test_cutting_counts_bytes_and_leaves_whole_characters(text: str, size: int, result: str) -> None:
    assert cut(text, size) == result
