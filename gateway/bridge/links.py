"""Links in what an upstream returns, where a bare URI would lead to another upstream. Pure.

Only the results of upstreams some of whose URIs are another's are looked into; all others pass as they are.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.jsonrpc import as_object

Public = Callable[[str], str]
"""An upstream's own URI → the one that leads there."""

MAX_LINKS: Final = 2_000
"""Places of one result that are looked into, so that none holds up the event loop; later links stay as they are."""

_LINK: Final = "resourceUri"
_OLDER_LINK: Final = "ui/resourceUri"


def relink(result: dict[str, Any], public: Public) -> None:
    """Have every link in a result lead to where its upstream means, and nothing else be changed: of the contents of
    tools, prompts and resources, of the user interface in `_meta`, and of a task's result."""
    for holder, key in islice(_links(jsonrpc.opened(result)), MAX_LINKS):
        if isinstance(uri := holder.get(key), str) and (there := public(uri)) != uri:
            holder[key] = there


def _links(result: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    yield from _interfaces(result)
    for content in _objects(result.get("contents")):
        yield content, "uri"
    for content in _objects(result.get("content")):
        yield from _of_block(content)
    for message in _objects(result.get("messages")):
        said: object = message.get("content")
        blocks = cast("list[object]", said) if isinstance(said, list) else [said]
        for content in _objects(blocks):
            yield from _of_block(content)
    if isinstance(result.get("result"), dict):
        yield from _links(cast("dict[str, Any]", {**result["result"], "result": None}))


def _of_block(content: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    yield from _interfaces(content)
    if content.get("type") == "resource_link":
        yield content, "uri"
    elif content.get("type") == "resource":
        yield as_object(content.get("resource")), "uri"


def _interfaces(item: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    meta = as_object(item.get("_meta"))
    if meta:
        yield meta, _OLDER_LINK
        yield as_object(meta.get("ui")), _LINK


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in cast("list[Any]", value) if isinstance(each, dict)] if isinstance(value, list) else []
