"""What people type after a tool's name."""

from typing import Any

import pytest

from gateway.cli.ui.arguments import ArgumentError, missing, parse

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"zip": {"type": "string"}, "count": {"type": "integer"}, "any": {}, "odd": True},
    "required": ["zip", "any"],
}


def stdin() -> str:
    return '{"from": "stdin"}'


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["-"], {"from": "stdin"}),
        (['{"a": [1, null]}'], {"a": [1, None]}),
        ([' {"a": 1}'], {"a": 1}),
        (["count=3"], {"count": 3}),
        (["any=true", "odd=null"], {"any": True, "odd": None}),
        (['any={"x": [1]}'], {"any": {"x": [1]}}),
        (["any=plain text"], {"any": "plain text"}),
        (["any=a=b"], {"any": "a=b"}),
        (["any="], {"any": ""}),
        (["any=NaN"], {"any": "NaN"}),
        (["zip=01234"], {"zip": "01234"}),
        (["zip=12345"], {"zip": "12345"}),
        (['zip="12345"'], {"zip": "12345"}),
        (["zip=true"], {"zip": "true"}),
    ],
)
def test_arguments(words: list[str], expected: dict[str, Any]) -> None:
    assert parse(words, stdin, SCHEMA) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{not json"], "the argument is not JSON"),
        (["[1]"], "not an object"),
        (["word"], "'word' is neither key=value nor a JSON object"),
        (["=1"], "neither key=value"),
        (["a=1", "a=2"], "'a' is given twice"),
    ],
)
def test_what_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        parse(words, stdin, SCHEMA)


def test_stdin_that_is_no_object_is_refused() -> None:
    with pytest.raises(ArgumentError, match="stdin is JSON, but not an object"):
        parse(["-"], lambda: "1", {})


@pytest.mark.parametrize(
    ("arguments", "schema", "expected"),
    [
        ({}, SCHEMA, ["zip (string)", "any"]),
        ({"zip": "1", "any": 1}, SCHEMA, []),
        ({}, {}, []),
        ({}, {"required": "zip"}, []),
        ({}, {"required": [1, "zip"]}, ["zip"]),
    ],
)
def test_missing_arguments(arguments: dict[str, Any], schema: dict[str, Any], expected: list[str]) -> None:
    assert missing(arguments, schema) == expected
