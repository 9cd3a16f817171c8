"""Documents that refer to one another, made one: each stands in the first under its name, and references lead there."""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

Node = dict[str, Any]

BUNDLE: Final = "x-mcp-gateway-documents"
"""The member of the first document in which the others are."""
MAX_NAMES: Final = 6_000
"""Documents that one may refer to; more than are read."""
LONGEST_NAME: Final = 2_000
"""Characters of what is a document's name."""
_NOT_READ: Final = frozenset({"example", "examples", "default", "enum", "const", "discriminator", "links"})
"""Whose references lead to nothing that a tool consists of."""


def is_url(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def named(ref: str, within: str) -> tuple[str, str]:
    """The name of the document that a reference leads to, and the pointer within that.

    Args:
        within: the name of the document in which it stands: a URL, or a path relative to the first document's folder.
    """
    place, pointer = urldefrag(ref)
    if not place:
        return within, pointer
    if is_url(within):
        return urljoin(within, place), pointer
    if urlsplit(place).scheme or place.startswith(("/", "\\")):
        return place, pointer
    return posixpath.normpath(posixpath.join(posixpath.dirname(within), unquote(place))), pointer


def elsewhere(document: Any, name: str) -> set[str]:
    """The names of the documents that one refers to: so many at most, of those that can be names."""
    found: set[str] = set()
    for node in _referring(document):
        try:
            target = named(node["$ref"], name)[0]
        except ValueError:
            continue  # is no URL
        if target != name and len(target) <= LONGEST_NAME:
            found.add(target)
            if len(found) >= MAX_NAMES:
                break
    return found


def bundled(documents: Mapping[str, Any], first: str) -> Any:
    """The first document with the others in it. Changes them. A reference to one that is not there keeps its name."""
    for name, document in documents.items():
        for node in _referring(document):
            try:
                target, pointer = named(node["$ref"], name)
            except ValueError:
                continue
            if target == first:
                node["$ref"] = f"#{pointer}"
            elif target in documents:
                member = target.replace("~", "~0").replace("/", "~1").replace("%", "%25")
                node["$ref"] = f"#/{BUNDLE}/{member}{pointer}"
            else:
                node["$ref"] = f"{target}#{pointer}"
    whole: Any = documents[first]
    if isinstance(whole, dict) and len(documents) > 1:
        cast(Node, whole)[BUNDLE] = {name: each for name, each in documents.items() if name != first}
    return cast(Any, whole)


def _referring(document: Any) -> Iterator[Node]:
    """The objects in it that are references, each once, however often it is there."""
    seen: set[int] = set()
    todo: list[Any] = [document]
    while todo:
        here = todo.pop()
        if not isinstance(here, dict | list) or id(cast(Any, here)) in seen:
            continue
        seen.add(id(cast(Any, here)))
        if isinstance(here, list):
            todo += cast("list[Any]", here)
            continue
        members = cast(Node, here)
        if isinstance(members.get("$ref"), str):
            yield members
        todo += (value for key, value in members.items() if key not in _NOT_READ or not isinstance(value, dict | list))
