"""What a schema of a document describes: an object and its properties, or files. Nothing is written here."""

from typing import Any, cast

from gateway.openapi.refs import Refs

Schema = dict[str, Any]


def is_object(schema: Any, refs: Refs, depth: int = 0) -> bool | None:
    """Whether what it describes is an object; None if it does not say."""
    node = refs.follow(schema)
    kind = node.get("type")
    kinds: list[Any] = cast("list[Any]", kind) if isinstance(kind, list) else [kind] if kind else []
    if kinds:
        return "object" in kinds
    if "properties" in node or "additionalProperties" in node:
        return True
    if "items" in node:
        return False
    for key, together in (("allOf", any), ("anyOf", all), ("oneOf", all)):
        parts = node.get(key)
        if isinstance(parts, list) and parts and depth < 8:
            found = [is_object(part, refs, depth + 1) for part in cast("list[Any]", parts)]
            if together(each is True for each in found):
                return True
            if any(each is False for each in found):
                return False
    return None


def properties_of(schema: Any, refs: Refs, depth: int = 0) -> dict[str, Schema]:
    """The properties of an object's schema, those of `allOf` included, each as it stands there, references followed."""
    node = refs.follow(schema)
    found: dict[str, Schema] = {}
    parts = node.get("allOf")
    if isinstance(parts, list) and depth < 8:
        for part in cast("list[Any]", parts):
            found |= properties_of(part, refs, depth + 1)
    own = node.get("properties")
    if isinstance(own, dict):
        found |= {name: refs.follow(each) for name, each in cast(Schema, own).items()}
    return found


def has_files(schema: Any, refs: Refs) -> bool:
    """Whether one of its properties is a file, or a list of files."""
    return any(is_file(each, refs) for each in properties_of(schema, refs).values())


def is_file(schema: Schema, refs: Refs) -> bool:
    """Whether a property is a file, or a list of files."""
    items = schema.get("items")
    return is_binary(schema) or (isinstance(items, dict) and is_binary(refs.follow(items)))


def is_binary(node: Schema) -> bool:
    """Whether what it describes is bytes, as OpenAPI 2, 3.0 and 3.1 each say it."""
    if node.get("type") == "file" or (node.get("type") == "string" and node.get("format") in ("binary", "byte")):
        return node.get("format") != "byte" or node.get("type") == "file"
    media = node.get("contentMediaType")
    return isinstance(media, str) and "contentEncoding" not in node and node.get("type", "string") == "string"
