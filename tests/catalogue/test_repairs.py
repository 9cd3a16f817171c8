"""One item must never cost a strict client the whole list: mended where the meaning is certain, else left out."""

from dataclasses import replace
from typing import Any

import pytest

from gateway import jsonrpc
from gateway.catalogue.intake import KEYS, Kind, UpstreamItems
from gateway.catalogue.merge import merge
from gateway.catalogue.pins import pins_of
from gateway.catalogue.repairs import for_handshake
from gateway.upstream.listing import Item, Listing

OBJECT: Item = {"type": "object"}


def published(kind: Kind, item: Item, version: str = "2025-11-25") -> tuple[list[Item], list[str]]:
    """What becomes of an item called `x`: as it is listed, or why it is not."""
    listing = replace(Listing(version=version), **{kind: ({KEYS[kind]: "x", **item},)})
    catalogue = merge([UpstreamItems("up", listing)], "own")
    items: tuple[Item, ...] = getattr(catalogue, kind)
    return [{key: value for key, value in each.items() if key != KEYS[kind]} for each in items], [
        each.reason for each in catalogue.dropped
    ]


@pytest.mark.parametrize(
    ("kind", "item", "repaired"),
    [
        (
            "tools",
            {
                **dict.fromkeys(("title", "description", "outputSchema", "annotations", "icons", "_meta")),
                "inputSchema": OBJECT,
            },
            {"inputSchema": OBJECT},
        ),
        ("tools", {"inputSchema": {}}, {"inputSchema": OBJECT}),
        ("tools", {"inputSchema": []}, {"inputSchema": OBJECT}),
        ("tools", {"inputSchema": {"anyOf": [OBJECT]}}, {"inputSchema": {"anyOf": [OBJECT], "type": "object"}}),
        ("tools", {"inputSchema": {"type": ["object", "null"]}}, {"inputSchema": OBJECT}),
        ("tools", {"inputSchema": {"type": "object", "properties": None, "required": None}}, {"inputSchema": OBJECT}),
        ("tools", {"inputSchema": {**OBJECT, "properties": []}}, {"inputSchema": {**OBJECT, "properties": {}}}),
        (
            "tools",
            {
                "inputSchema": {
                    **OBJECT,
                    "properties": {"a": True, "b": False, "c": {"type": "string", "default": None}},
                }
            },
            {
                "inputSchema": {
                    **OBJECT,
                    "properties": {"a": {}, "b": {"not": {}}, "c": {"type": "string", "default": None}},
                }
            },
        ),
        ("tools", {"inputSchema": OBJECT, "outputSchema": {}}, {"inputSchema": OBJECT, "outputSchema": OBJECT}),
        (
            "tools",
            {
                "inputSchema": OBJECT,
                "annotations": {"title": None, "readOnlyHint": "yes", "openWorldHint": False, "x": None},
            },
            {"inputSchema": OBJECT, "annotations": {"openWorldHint": False, "x": None}},
        ),
        (
            "tools",
            {
                "inputSchema": OBJECT,
                "execution": {"taskSupport": None},
                "icons": [{"src": "a", "sizes": "1x1"}, {}, "b"],
            },
            {"inputSchema": OBJECT, "execution": {}, "icons": [{"src": "a"}]},
        ),
        ("tools", {"inputSchema": OBJECT, "icons": "a", "_meta": []}, {"inputSchema": OBJECT, "_meta": {}}),
        ("resources", {"mimeType": None, "size": "9"}, {"name": "x"}),
        ("resources", {"name": None, "size": None}, {"name": "x"}),
        (
            "resources",
            {"name": "r", "annotations": {"audience": "user", "priority": 7}},
            {"name": "r", "annotations": {}},
        ),
        ("templates", {"description": None}, {"name": "x"}),
        ("prompts", {"arguments": None}, {}),
        ("prompts", {"arguments": {}}, {}),
        (
            "prompts",
            {"arguments": [{"name": "a", "description": None, "required": None, "title": "A"}]},
            {"arguments": [{"name": "a", "title": "A"}]},
        ),
    ],
)
def test_what_is_certain_is_repaired(kind: Kind, item: Item, repaired: Item) -> None:
    assert published(kind, item) == ([repaired], [])


UNFIT: list[tuple[Kind, Item, str]] = [
    ("tools", {"inputSchema": None}, "no inputSchema object"),
    ("tools", {"inputSchema": {"type": "array"}}, "inputSchema is not of type object"),
    ("tools", {"inputSchema": {**OBJECT, "properties": [1]}}, "inputSchema.properties is no object"),
    (
        "tools",
        {"inputSchema": {**OBJECT, "properties": {"a": 7}}},
        "inputSchema.properties holds what is no schema",
    ),
    ("tools", {"inputSchema": {**OBJECT, "required": True}}, "inputSchema.required is no list of names"),
    ("tools", {"inputSchema": OBJECT, "outputSchema": {"type": "array"}}, "outputSchema is not of type object"),
    ("tools", {"inputSchema": OBJECT, "outputSchema": "x"}, "outputSchema is no object"),
    (
        "tools",
        {"inputSchema": OBJECT, "execution": {"taskSupport": 1}},
        "execution.taskSupport is none that there is",
    ),
    ("tools", {"inputSchema": OBJECT, "execution": 1}, "execution is no object"),
    ("tools", {"inputSchema": OBJECT, "title": 7}, "title is no string"),
    ("tools", {"inputSchema": OBJECT, "annotations": "x"}, "annotations is no object"),
    ("tools", {"inputSchema": OBJECT, "_meta": 1}, "_meta is no object"),
    ("resources", {"name": 7}, "name is no string"),
    ("templates", {"mimeType": 7}, "mimeType is no string"),
    ("prompts", {"arguments": "x"}, "arguments is no list"),
    ("prompts", {"arguments": ["x"]}, "arguments holds what is no object"),
    ("prompts", {"arguments": [{}]}, "an argument has no name"),
    ("prompts", {"arguments": [{"name": "a", "required": "yes"}]}, "required of an argument is of another type"),
]


@pytest.mark.parametrize(("kind", "item", "reason"), UNFIT)
def test_what_is_not_is_left_out_with_the_reason(kind: Kind, item: Item, reason: str) -> None:
    assert published(kind, item) == ([], [reason])


def test_what_a_later_revision_allows_stays() -> None:
    item: Item = {"inputSchema": OBJECT, "outputSchema": {"type": "array"}}
    assert published("tools", item, "2026-07-28") == ([item], [])


def test_what_is_in_order_is_the_same_object_with_its_keys_where_they_were() -> None:
    tool: Item = {
        "x-unknown": None,
        "inputSchema": {"properties": {}, "type": "object"},
        "name": "x",
        "_meta": {"a": None},
    }
    catalogue = merge([UpstreamItems("up", Listing(tools=(tool,)))], "own")
    assert jsonrpc.dumps(catalogue.tools[0]) == jsonrpc.dumps(tool)
    broken: Any = {"title": None, **tool}
    catalogue = merge([UpstreamItems("up", Listing(tools=(broken,)))], "upstream")
    assert jsonrpc.dumps(catalogue.tools[0]) == jsonrpc.dumps({**tool, "name": "up__x"})


def test_what_is_pinned_is_what_the_upstream_sent() -> None:
    tool: Item = {"name": "x", "title": None, "inputSchema": {}}
    assert pins_of(Listing(tools=(tool,))).items["tools"] == {"x": tool}


@pytest.mark.parametrize(
    ("schema", "older"),
    [
        ({"type": "array"}, None),
        ({"type": ["object", "null"]}, None),
        ({}, None),
        ({"anyOf": [OBJECT]}, None),
        ({"type": "object", "properties": 1}, None),
        ({"type": "object", "properties": {"a": True}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": "object", "title": "t", "$defs": {}}, {"type": "object", "title": "t", "$defs": {}}),
    ],
)
def test_an_output_schema_that_older_clients_would_refuse_is_left_out_for_them(
    schema: Item, older: Item | None
) -> None:
    tool: Item = {"name": "x", "inputSchema": OBJECT, "outputSchema": schema}
    assert published("tools", tool, "2026-07-28")[0][0]["outputSchema"] == schema
    shown = for_handshake(tool)
    assert shown.get("outputSchema") == older
    assert {**shown, "outputSchema": schema} == tool


def test_a_tool_that_older_clients_take_is_not_even_copied() -> None:
    tool: Item = {"name": "x", "inputSchema": OBJECT, "outputSchema": OBJECT}
    assert for_handshake(tool) is tool
