"""What a view offers besides where large results are kept: a tool and a resource template by which they are read."""

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.naming import unused
from gateway.errors import InvalidParams
from gateway.jsonrpc import as_object
from gateway.upstream.listing import Item

READ_RESULT: Final = "read_result"
"""Where an upstream's tool has that name in a view, ours has another."""
SCHEME: Final = "result://"

READER: Final[Item] = {
    "name": READ_RESULT,
    "title": "Read on in a result",
    "description": (
        "Read on in a result of a tool that was too large to be given at once. The end of such a result says its URI, "
        "and where to start. Narrower calls of the tool itself are better, where it has arguments for that."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "uri": {"type": "string", "description": "The result's URI: result://…"},
            "start": {
                "type": "integer",
                "minimum": 0,
                "default": 0,
                "description": "The first character to read; the result itself begins at 0.",
            },
            "length": {
                "type": "integer",
                "minimum": 1,
                "description": "How many characters to read; as many as are given at once when absent.",
            },
        },
        "required": ["uri"],
    },
    "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
}
TEMPLATE: Final[Item] = {
    "uriTemplate": "result://{id}{?start,length}",
    "name": "result",
    "title": "Kept results",
    "description": (
        "Results of tools that were too large to be given at once: the whole text, or `length` characters from `start`."
    ),
    "mimeType": "text/plain",
}

_URI: Final = re.compile(r"result://([0-9a-f]{32})/?(?:\?([^#]*))?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_LONGEST_RANGE: Final = 100
"""Characters of the longest `start=…&length=…`, escaped or not: there is no reason to look into a longer one."""
_READABLE: Final = "readable"


def uri_of(id: str) -> str:
    """The URI of a kept result."""
    return SCHEME + id


def parsed(uri: str) -> tuple[str, dict[str, int]] | None:
    """`(id, range)` of a URI that has the form of ours; None: it has not. The range has `start`, `length`, or neither.

    Raises:
        InvalidParams: it asks for what is no range.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        return None
    asked: dict[str, int] = {}
    query = match[2] or ""
    for name, value in parse_qsl(query, keep_blank_values=True) if len(query) <= _LONGEST_RANGE else [(query, "")]:
        if name not in ("start", "length") or name in asked or not _NUMBER.fullmatch(value):
            raise InvalidParams(f"{uri[:200]} has no range: it must be like {SCHEME}…?start=4000&length=2000")
        asked[name] = int(value)
    if asked.get("length") == 0:
        raise InvalidParams("length must be 1 at least")
    return match[1].lower(), asked


def is_kept(uri: str) -> bool:
    """Whether a URI has the form of ours, whatever it asks for."""
    return _URI.fullmatch(uri) is not None


def readable(catalogue: Catalogue, *, is_sorted: bool) -> Catalogue:
    """A catalogue with the tool and the template, if some tool of it is one whose results are kept. Made once.

    Args:
        is_sorted: whether its lists are.
    """
    if not catalogue.keeps_results or catalogue.reader is not None:
        return catalogue
    made: Catalogue | None = catalogue.pages.get(_READABLE)
    if made is None:
        made = catalogue.pages[_READABLE] = _with_reader(catalogue, is_sorted=is_sorted)
    return made


def _with_reader(catalogue: Catalogue, *, is_sorted: bool) -> Catalogue:
    name = unused(READ_RESULT, "the gateway's own", catalogue.tool_owners)
    tools = _with(catalogue.tools, {**READER, "name": name}, "name", is_sorted=is_sorted)
    templates = catalogue.templates
    if all(template["uriTemplate"] != TEMPLATE["uriTemplate"] for template in templates):
        templates = _with(templates, TEMPLATE, "uriTemplate", is_sorted=is_sorted)
    capabilities: Mapping[str, Any] = catalogue.capabilities
    resources = {"listChanged": True, **as_object(capabilities.get("resources"))}
    return replace(
        catalogue,
        tools=tools,
        templates=templates,
        capabilities={**capabilities, "resources": resources},
        reader=name,
    )


def _with(items: tuple[Item, ...], item: Item, key: str, *, is_sorted: bool) -> tuple[Item, ...]:
    at = bisect_left(items, item[key], key=lambda each: each[key]) if is_sorted else len(items)
    return (*items[:at], item, *items[at:])
