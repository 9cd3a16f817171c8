"""Lists page by page, also while they change."""

import base64
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue.pages import page
from gateway.errors import InvalidParams
from gateway.upstream.listing import Item


def items(names: str) -> list[Item]:
    return [{"name": name} for name in names]


def served(names: str, cursor: str | None, size: int, *, is_sorted: bool = True) -> tuple[str, str | None]:
    """One page of a list whose items have one-letter names."""
    some, following = page(items(names), cursor, size, "name", is_sorted=is_sorted)
    return "".join(item["name"] for item in some), following


def cursor_after(last: str) -> str:
    _, cursor = served(last + "~", None, 1, is_sorted=False)
    assert cursor is not None
    return cursor


@given(st.lists(st.text(), unique=True), st.integers(1, 5), st.booleans())
def test_the_pages_of_a_list_are_the_list(names: list[str], size: int, is_sorted: bool) -> None:
    every = [{"uri": name} for name in (sorted(names) if is_sorted else names)]
    seen: list[Item] = []
    cursor: str | None = None
    for _ in range(len(every) + 1):
        some, cursor = page(every, cursor, size, "uri", is_sorted=is_sorted)
        assert len(some) <= size
        seen.extend(some)
        if cursor is None:
            break
    assert cursor is None
    assert seen == every


@pytest.mark.parametrize("size", [3, 4])
def test_a_list_of_one_page_has_no_cursor(size: int) -> None:
    assert served("abc", None, size) == ("abc", None)


def test_an_empty_list_is_one_page() -> None:
    assert served("", None, 5) == ("", None)


@pytest.mark.parametrize(
    ("then", "rest"),
    [
        ("abcd", "cd"),
        ("acd", "cd"),  # the last one served has gone
        ("abcde", "cde"),
        ("0abcd", "cd"),  # something came before it
        ("d", "d"),
        ("ab", ""),
        ("", ""),
    ],
)
def test_a_sorted_list_continues_after_the_last_name_whatever_changed(then: str, rest: str) -> None:
    assert served(then, cursor_after("b"), 10) == (rest, None)


@pytest.mark.parametrize(("then", "rest"), [("dbca", "ca"), ("bdca", "dca"), ("dacb", "")])
def test_a_list_in_its_own_order_continues_at_the_place_of_the_last_one(then: str, rest: str) -> None:
    assert served(then, cursor_after("b"), 10, is_sorted=False) == (rest, None)


@pytest.mark.parametrize("then", ["dca", ""])
def test_a_list_in_its_own_order_has_to_be_read_again_when_the_last_one_has_gone(then: str) -> None:
    with pytest.raises(InvalidParams, match="start again"):
        served(then, cursor_after("b"), 10, is_sorted=False)


def test_a_cursor_is_opaque_ascii_without_padding() -> None:
    for name in ("a", "é", "日本", "a/b?c", "\U0001f600" * 3):
        cursor = page([{"name": name}, {"name": "~"}], None, 1, "name", is_sorted=False)[1]
        assert cursor is not None
        assert cursor.replace("-", "").replace("_", "").isalnum()
        assert cursor.isascii()


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


NO_CURSORS: list[Any] = [
    "",
    "a",
    "!!!!",
    "é",
    " " + encoded(b"1:a"),
    encoded(b"a"),
    encoded(b"2:a"),
    encoded(b"1:\xff"),
    7,
    [],
    {},
    True,
    b"x",
]


@pytest.mark.parametrize("cursor", NO_CURSORS)
def test_what_is_no_cursor_of_ours_is_refused(cursor: Any) -> None:
    with pytest.raises(InvalidParams, match="Not a cursor"):
        page(items("abc"), cursor, 2, "name")


@given(st.text())
def test_any_text_is_either_a_cursor_or_refused(cursor: str) -> None:
    with suppress(InvalidParams):
        assert len(page(items("abc"), cursor, 2, "name")[0]) <= 2
