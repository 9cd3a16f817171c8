"""Links in results lead to the upstream that returned them, and nothing else of a result changes."""

from copy import deepcopy
from typing import Any

import pytest

from gateway.bridge.links import MAX_LINKS, relink

LINK: dict[str, Any] = {"type": "resource_link", "uri": "f:1", "name": "f:1"}
EMBEDDED: dict[str, Any] = {"type": "resource", "resource": {"uri": "f:1", "text": "f:1"}}
TEXT: dict[str, Any] = {"type": "text", "text": "f:1", "uri": "f:1"}


def there(uri: str) -> str:
    return {"f:1": "b+f:1", "ui://w": "ui://b+w"}.get(uri, uri)


@pytest.mark.parametrize(
    ("result", "changed"),
    [
        ({"content": [LINK, TEXT]}, {"content": [{**LINK, "uri": "b+f:1"}, TEXT]}),
        (
            {"content": [EMBEDDED], "structuredContent": {"uri": "f:1"}},
            {
                "content": [{"type": "resource", "resource": {"uri": "b+f:1", "text": "f:1"}}],
                "structuredContent": {"uri": "f:1"},
            },
        ),
        ({"contents": [{"uri": "f:1"}, {"uri": "g:"}]}, {"contents": [{"uri": "b+f:1"}, {"uri": "g:"}]}),
        (
            {"messages": [{"content": LINK}, {"content": [TEXT, LINK]}]},
            {"messages": [{"content": {**LINK, "uri": "b+f:1"}}, {"content": [TEXT, {**LINK, "uri": "b+f:1"}]}]},
        ),
        (
            {"_meta": {"ui": {"resourceUri": "ui://w"}, "ui/resourceUri": "ui://w", "x": "ui://w"}},
            {"_meta": {"ui": {"resourceUri": "ui://b+w"}, "ui/resourceUri": "ui://b+w", "x": "ui://w"}},
        ),
        (
            {"taskId": "t", "result": {"content": [LINK]}},
            {"taskId": "t", "result": {"content": [{**LINK, "uri": "b+f:1"}]}},
        ),
    ],
)
def test_links_lead_where_their_upstream_means(result: dict[str, Any], changed: dict[str, Any]) -> None:
    result = deepcopy(result)
    relink(result, there)
    assert result == changed
    assert list(result) == list(changed)


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"content": "x", "contents": {"uri": "f:1"}, "messages": [7, {"content": None}], "_meta": [], "result": [LINK]},
        {"content": [{"type": "resource_link", "uri": 7}, {"type": "resource", "resource": ["f:1"]}, None]},
        {"content": [{"type": "resource_link"}, {"type": "resource"}], "_meta": {"ui": "f:1"}},
        {"result": {"result": {"content": [LINK]}}},
    ],
)
def test_what_is_no_link_stays(result: dict[str, Any]) -> None:
    before = deepcopy(result)
    relink(result, there)
    assert result == before


def test_only_so_many_are_looked_into() -> None:
    result = {"contents": [{"uri": "f:1"} for _ in range(MAX_LINKS + 1)]}
    relink(result, there)
    assert [each["uri"] for each in result["contents"]][-2:] == ["b+f:1", "f:1"]
