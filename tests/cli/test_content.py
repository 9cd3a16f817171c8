"""A tool's result, as people see it."""

from typing import Any

import pytest

from gateway.cli.ui.content import render

PIXEL = "iVBORw0KGgo="


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "text", "text": "two\nlines\n"}, "two\nlines"),
        ({"type": "image", "data": PIXEL, "mimeType": "image/png"}, "[image image/png, 8 bytes; --json has the data]"),
        ({"type": "audio", "data": "AA=="}, "[audio of unknown type, 1 byte; --json has the data]"),
        ({"type": "image", "data": "A" * 4000, "mimeType": "x/y"}, "[image x/y, 3.0 kB; --json has the data]"),
        (
            {"type": "resource", "resource": {"uri": "a://b", "mimeType": "text/plain", "text": "inside"}},
            "[resource a://b, text/plain]\ninside",
        ),
        (
            {"type": "resource", "resource": {"uri": "a://b", "blob": "AAAA"}},
            "[resource a://b, of unknown type, 3 bytes; --json has the data]",
        ),
        ({"type": "resource_link", "uri": "a://b", "name": "B"}, "[link a://b, B]"),
        ({"type": "new", "x": 1}, '{"type":"new","x":1}'),
        ({"type": "text"}, '{"type":"text"}'),
    ],
)
def test_each_kind_of_content(block: dict[str, Any], expected: str) -> None:
    assert render({"content": [block]}) == expected


def test_blocks_stand_below_one_another() -> None:
    assert render({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}) == "a\nb"


def test_structured_content_is_shown_where_there_is_nothing_else() -> None:
    assert render({"content": [], "structuredContent": {"a": 1}}) == '{\n  "a": 1\n}'
    assert render({"content": [{"type": "text", "text": "t"}], "structuredContent": {"a": 1}}) == "t"
    assert render({}) == ""
