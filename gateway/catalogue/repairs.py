"""Items that strict clients would refuse, and the whole list with them: mended where the meaning is certain. Pure.

A client that checks a list against the schema of its revision throws everybody's items away for one that does not fit.
The repairs are a closed list, `docs/protocol.md` has it; an item that needs any other is left out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from gateway.catalogue import skills
from gateway.upstream.listing import Item

Check = Callable[[Any], bool]

_HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


class Unfit(Exception):
    """An item that cannot be published. Says why."""


def repaired(kind: str, item: Item, *, modern: bool) -> Item:
    """The item as it may be published; the same object if nothing had to be done. Its identity is looked after already.

    Args:
        kind: `tools`, `resources`, `templates`, `prompts` or `skills`, in which nothing is repaired.
        modern: whether it comes from an upstream of 2026-07-28 or later.

    Raises:
        Unfit: its meaning is not certain.
    """
    if kind == "skills":
        if reason := skills.unfit(item):
            raise Unfit(reason)
        return item
    changes: dict[str, Any] = {key: _DROP for key, value in item.items() if value is None and key in _OPTIONAL}
    _common(item, changes)
    if kind == "tools":
        _tool(item, changes, modern)
    elif kind == "prompts":
        _prompt(item, changes)
    else:
        _resource(item, changes, "uri" if kind == "resources" else "uriTemplate")
    return _changed(item, changes)


def for_handshake(tool: Item) -> Item:
    """A tool that may be published as clients before 2026-07-28 take it: to them an `outputSchema`, which is optional,
    has `type: "object"` if it is there. The same object if nothing had to be done."""
    schema = tool.get("outputSchema")
    if not isinstance(schema, dict):
        return tool
    schema = cast("Item", schema)
    try:
        ours = _schema("outputSchema", schema) if schema.get("type") == "object" else None
    except Unfit:
        ours = None
    if ours is schema:
        return tool
    return _changed(tool, {"outputSchema": _DROP if ours is None else ours})


def without_task_support(tool: Item) -> Item:
    """A tool of an upstream that offers no tasks, whatever the tool says: clients would go by what it says, since other
    upstreams offer them. The same object if nothing had to be done."""
    execution = tool.get("execution")
    if not isinstance(execution, dict) or cast("Item", execution).get("taskSupport") in (None, "forbidden"):
        return tool
    rest = _without(cast("Item", execution), {"taskSupport"})
    return _changed(tool, {"execution": rest or _DROP})


# --- Kinds --------------------------------------------------------------------------------------------------------


def _tool(item: Item, changes: dict[str, Any], modern: bool) -> None:
    schema = _emptied(item.get("inputSchema"))
    if not isinstance(schema, dict):
        raise Unfit("no inputSchema object")
    _put(item, changes, "inputSchema", _schema("inputSchema", cast("Item", schema)))
    output = _emptied(item.get("outputSchema"))
    if output is not None:
        if not isinstance(output, dict):
            raise Unfit("outputSchema is no object")
        schema = cast("Item", output)
        _put(item, changes, "outputSchema", schema if modern else _schema("outputSchema", schema))
    execution = _emptied(item.get("execution"))
    if execution is not None:
        if not isinstance(execution, dict):
            raise Unfit("execution is no object")
        support = cast("Item", execution).get("taskSupport")
        if support not in (None, "forbidden", "optional", "required"):
            raise Unfit("execution.taskSupport is none that there is")
        _put(item, changes, "execution", _without(cast("Item", execution), {"taskSupport"} if support is None else ()))


def _schema(place: str, schema: Item) -> Item:
    """A JSON schema of an object, as the revisions before 2026-07-28 want it."""
    changes: dict[str, Any] = {}
    kind = schema.get("type")
    if kind is None or (isinstance(kind, list) and "object" in kind):
        changes["type"] = "object"
    elif kind != "object":
        raise Unfit(f"{place} is not of type object")
    properties = _emptied(schema.get("properties"))
    if properties is None:
        changes |= {"properties": _DROP} if "properties" in schema else {}
    elif not isinstance(properties, dict):
        raise Unfit(f"{place}.properties is no object")
    else:
        ours = {name: _subschema(place, each) for name, each in cast("Item", properties).items()}
        if ours != properties or properties is not schema["properties"]:
            changes["properties"] = ours
    required = schema.get("required")
    if required is None:
        changes |= {"required": _DROP} if "required" in schema else {}
    elif not (isinstance(required, list) and all(isinstance(each, str) for each in cast("list[Any]", required))):
        raise Unfit(f"{place}.required is no list of names")
    return _changed(schema, changes)


def _subschema(place: str, schema: object) -> object:
    schema = _emptied(schema)
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}  # the same in other words
    if not isinstance(schema, dict):
        raise Unfit(f"{place}.properties holds what is no schema")
    return cast("Item", schema)


def _resource(item: Item, changes: dict[str, Any], key: str) -> None:
    name = item.get("name")
    if name is None:
        changes["name"] = item[key]
    elif not isinstance(name, str):
        raise Unfit("name is no string")
    if not _is_number(item.get("size", 0)):
        changes["size"] = _DROP


def _prompt(item: Item, changes: dict[str, Any]) -> None:
    arguments = item.get("arguments")
    if arguments is None or arguments == {}:
        changes |= {"arguments": _DROP} if "arguments" in item else {}
        return
    if not isinstance(arguments, list):
        raise Unfit("arguments is no list")
    _put(item, changes, "arguments", [_argument(each) for each in cast("list[Any]", arguments)])


def _argument(argument: object) -> Item:
    if not isinstance(argument, dict):
        raise Unfit("arguments holds what is no object")
    item = cast("Item", argument)
    if not isinstance(item.get("name"), str):
        raise Unfit("an argument has no name")
    for key, check in (("title", _is_string), ("description", _is_string), ("required", _is_bool)):
        if item.get(key) is not None and not check(item[key]):
            raise Unfit(f"{key} of an argument is of another type")
    return _without(item, {key for key in ("title", "description", "required") if item.get(key, "") is None})


# --- What all kinds have ------------------------------------------------------------------------------------------


def _common(item: Item, changes: dict[str, Any]) -> None:
    for key in ("title", "description", "mimeType"):
        if item.get(key) is not None and not isinstance(item[key], str):
            raise Unfit(f"{key} is no string")
    meta = _emptied(item.get("_meta"))
    if meta is not None:
        if not isinstance(meta, dict):
            raise Unfit("_meta is no object")
        _put(item, changes, "_meta", cast("Item", meta))
    annotations = _emptied(item.get("annotations"))
    if annotations is not None:
        if not isinstance(annotations, dict):
            raise Unfit("annotations is no object")
        known = cast("Item", annotations)
        _put(item, changes, "annotations", _without(known, {key for key in known if not _is_annotation(key, known)}))
    if item.get("icons") is not None:
        _put(item, changes, "icons", _icons(item["icons"]))


def _is_annotation(key: str, annotations: Item) -> bool:
    check = _ANNOTATIONS.get(key)
    return check is None or check(annotations[key])


def _icons(icons: object) -> object:
    if not isinstance(icons, list):
        return _DROP
    objects = [cast("Item", each) for each in cast("list[Any]", icons) if isinstance(each, dict)]
    return [_icon(each) for each in objects if isinstance(each.get("src"), str)]


def _icon(icon: Item) -> Item:
    return _without(icon, {key for key, check in _ICON.items() if key in icon and not check(icon[key])})


def _is_string(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_audience(value: object) -> bool:
    return isinstance(value, list) and all(each in ("user", "assistant") for each in cast("list[Any]", value))


def _is_priority(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _are_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in cast("list[Any]", value))


_OPTIONAL: Final = frozenset(
    ["title", "description", "mimeType", "_meta", "annotations", "icons", "outputSchema", "execution", "size"]
)
_ANNOTATIONS: Final[Mapping[str, Check]] = {
    "title": _is_string,
    **dict.fromkeys(_HINTS, _is_bool),
    "audience": _is_audience,
    "priority": _is_priority,
    "lastModified": _is_string,
}
_ICON: Final[Mapping[str, Check]] = {
    "mimeType": _is_string,
    "sizes": _are_strings,
    "theme": lambda value: value in ("light", "dark"),
}


# --- Changing -----------------------------------------------------------------------------------------------------

_DROP: Final = object()


def _emptied(value: object) -> object:
    """An empty array is the empty object of languages that cannot tell them apart (PHP)."""
    return cast("Item", {}) if value == [] else value


def _put(item: Item, changes: dict[str, Any], key: str, value: object) -> None:
    if value is not item[key] and (value is _DROP or value != item[key]):
        changes[key] = value


def _without(item: Item, keys: Any) -> Item:
    return {key: value for key, value in item.items() if key not in keys} if keys else item


def _changed(item: Item, changes: Mapping[str, Any]) -> Item:
    if not changes:
        return item
    return {key: value for key, value in {**item, **changes}.items() if value is not _DROP}
