"""Entries written as YAML mean what they should to our reader, and to any other."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.cli.importer import yaml_text
from gateway.config.reading.source import parse

ODD = [
    *("", "~", "null", "true", "on", "12", "1e3", "0x1f", "12:30", "2026-01-01", "<<", "=", "-", "- a", "--- a", "? a"),
    *("a: b", "a #b", "#", "a:", "${A:-b: c}", "[x]", "{x}", "*x", "&x", "!x", "@x", "%x", "|", ">", "'", '"', "\\n"),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(ODD)
VALUES = st.dictionaries(
    TEXT, TEXT | st.booleans() | st.lists(TEXT) | st.dictionaries(TEXT, TEXT | st.booleans(), max_size=3), max_size=5
)


@given(TEXT.filter(bool), VALUES)
def test_what_is_written_is_what_is_read(name: str, values: dict[str, Any]) -> None:
    text = "\n".join(["servers:", *yaml_text.entry(name, values, 2, 2)])
    expected = {"servers": {name: values or None}}
    assert parse(text, "x.yaml").data == expected
    assert yaml.safe_load(text) == expected


@given(TEXT)
@example("0 ?")
def test_a_scalar_stands_on_one_line(text: str) -> None:
    assert len(yaml_text.scalar(text).splitlines()) <= 1 or not text.isprintable()
    assert parse(f"[{yaml_text.scalar(text, flow=True)}, x]", "x.yaml").data == [text, "x"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("npx", "npx"),
        ("-y", "-y"),
        ("@scope/package", '"@scope/package"'),
        ("https://example.com/mcp?a=b&c#d", "https://example.com/mcp?a=b&c#d"),
        ("Bearer ${TOKEN}", "Bearer ${TOKEN}"),
        ("C:\\Users\\ada", "C:\\Users\\ada"),
        ("8080", '"8080"'),
        ("no", '"no"'),
        ("", '""'),
        ("two\nlines", '"two\\nlines"'),
        ("naïve ☃", '"naïve ☃"'),
        ("\x7f\x85\u2028", '"\\u007f\\u0085\\u2028"'),
        (True, "true"),
    ],
)
def test_people_would_write_it_so(value: Any, expected: str) -> None:
    assert yaml_text.scalar(value) == expected


def test_short_lists_stand_on_one_line_and_long_ones_do_not() -> None:
    assert yaml_text.entry("s", {"args": ["-y", "a,b"], "env": {"A": "1"}}, 2, 4) == [
        "  s:",
        '      args: [-y, "a,b"]',
        "      env:",
        '          A: "1"',
    ]
    long = yaml_text.entry("s", {"args": ["word"] * 30}, 2, 2)
    assert long[:3] == ["  s:", "    args:", "      - word"]
    assert len(long) == 32
