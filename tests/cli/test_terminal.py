"""Tables, cutting and wrapping: columns, not characters, are what counts."""

import io

import click
import pytest

from gateway.cli.ui.terminal import columns, cut, first_line, harmless, plural, shows, table, wrapped


@pytest.mark.parametrize(
    ("text", "expected"),
    [("abc", 3), ("", 0), ("é", 1), ("e\u0301", 1), ("日本", 4), ("a\u200bb", 2)],
)
def test_columns(text: str, expected: int) -> None:
    assert columns(text) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("日本語です", 6, "日本…"),
        ("ab cdef", 4, "ab…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_cut(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected
    assert columns(cut(text, limit)) <= limit


def test_a_table_is_aligned_and_its_last_column_gives_way() -> None:
    rows = [("one", "1", "a short text"), ("twenty", "20", "a text that is too long for it")]
    lines = table(rows, header=("NAME", "N", "TEXT"), right=(1,), limit=30)
    assert [click.unstyle(line) for line in lines] == [
        "NAME     N  TEXT",
        "one      1  a short text",
        "twenty  20  a text that is to…",
    ]


@pytest.mark.parametrize("limit", [1, 5, 12, 40])
def test_a_table_never_exceeds_its_limit(limit: int) -> None:
    lines = table([("name" * 5, "日本語", "text " * 20)], header=("A", "B", "C"), limit=limit, indent=2)
    assert max(columns(click.unstyle(line)) for line in lines) <= max(limit, 2)


def test_what_came_from_elsewhere_cannot_steer_the_terminal() -> None:
    assert harmless("a\x1b[31mb\r\n\tc\x07\x9b") == "a\\x1b[31mb\n\tc\\x07\\x9b"
    assert first_line("\n  \n  the\tfirst \x1b]0;title\x07\nthe second") == "the first \\x1b]0;title\\x07"


def test_wrapped_text_keeps_its_indentation() -> None:
    assert wrapped("one two three four five six seven", 4, 30) == "one two three four five\n    six seven"
    assert wrapped("a\nb", 2, None) == "a\n  b"


def test_plural() -> None:
    assert [plural(count, "tool") for count in (0, 1, 2, 1234)] == ["0 tools", "1 tool", "2 tools", "1,234 tools"]


def test_a_stream_shows_what_its_encoding_has() -> None:
    assert shows("✓", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert not shows("✓", io.TextIOWrapper(io.BytesIO(), "cp1252"))
