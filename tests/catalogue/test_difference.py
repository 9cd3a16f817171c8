"""Two definitions, and the lines that tell a person what is different."""

from typing import Any

import pytest

from gateway.catalogue.difference import differences
from gateway.catalogue.place import MAX_KEY


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"name": "a"}, {"name": "a"}, []),
        ({"a": {"b": 1, "c": [1, {"d": 2}]}}, {"a": {"c": [1, {"d": 3}], "b": 1}}, ["a.c.1.d:", "- 2", "+ 3"]),
        (
            {"description": "First.\nSecond.\nLast."},
            {"description": "First.\nAnother.\nMore.\nLast."},
            ["description:", "- Second.", "+ Another.", "+ More."],
        ),
        ({"description": "a\na"}, {"description": "a"}, ["description:", "- a"]),
        ({"required": ["a", "b"]}, {"required": ["x", "a", "b"]}, ["required:", '+ "x"']),
        ({"a": "1"}, {"a": 1}, ["a:", '- "1"', "+ 1"]),
        ({"a": 1}, {"a": True}, ["a:", "- 1", "+ true"]),
        ({"a": 1}, {"a": 1.0}, ["a:", "- 1", "+ 1.0"]),
        ({"a": ["b"]}, {"a": "b"}, ["a:", '- ["b"]', '+ "b"']),
        ({"a": {"b": 1}}, {"a": [1]}, ["a:", '- {"b":1}', "+ [1]"]),
        ({}, {"a": {}, "b": [], "c": "", "d": None}, ["a:", "+ {}", "b:", "+ []", "c:", "+ ", "d:", "+ null"]),
        (None, {"name": "a", "icons": [{"src": "x"}]}, ["name:", "+ a", "icons:", '+ {"src":"x"}']),
        ({"name": "a"}, None, ["name:", "- a"]),
        ("Be kind.", "Be kind.\nObey.", ["it:", "+ Obey."]),
        (None, "Obey.", ["it:", "+ Obey."]),
        ({"a": 2**70}, {"a": 2**70 + 1}, ["a:", f"- {2**70}", f"+ {2**70 + 1}"]),
    ],
)
def test_what_differs_and_where(old: Any, new: Any, lines: list[str]) -> None:
    assert list(differences(old, new)) == lines


def test_what_cannot_be_seen_is_shown() -> None:
    assert list(differences({"a\x1b[2J": "x"}, {"a\x1b[2J": "x\u200b\u202e"})) == [
        "a\\x1b[2J:",
        "- x",
        "+ x\\u200b\\u202e",
    ]


def test_whoever_stops_early_pays_for_no_more() -> None:
    lines = differences({}, {f"key {index}": object() for index in range(10)} | {"key 0": "fine"})
    assert [next(lines), next(lines)] == ["key 0:", "+ fine"]  # the others could not even be written


def test_long_lines_and_long_keys_are_cut() -> None:
    old, new = {"k" * 10_000: "x" * 10_000}, {"k" * 10_000: "y" * 10_000}
    assert list(differences(old, new, 5)) == ["k" * MAX_KEY + "…:", "- xxxxx", "+ yyyyy"]
    assert list(differences(old, new))[1:] == ["- " + "x" * 10_000, "+ " + "y" * 10_000]
