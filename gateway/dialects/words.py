"""Keywords of JSON Schema: what values fit them, of which type a schema with one is, and earlier drafts' in today's."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

Schema = dict[str, Any]

TYPES: Final = ("object", "array", "string", "number", "integer", "boolean")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_schema(value: object) -> bool:
    return isinstance(value, bool | dict)


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(_is_schema(each) for each in cast(Schema, value).values())


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(_is_schema(each) for each in cast("list[Any]", value)) and value != []


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in cast("list[Any]", value))


def _is_type(value: object) -> bool:
    known = {*TYPES, "null"}
    if isinstance(value, list):
        names = cast("list[Any]", value)
        return bool(names) and all(isinstance(each, str) and each in known for each in names)
    return isinstance(value, str) and value in known


VALID: Final[Mapping[str, Callable[[object], bool]]] = {
    "type": _is_type,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    "multipleOf": lambda value: _is_number(value) and cast(float, value) > 0,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _is_count),
    **dict.fromkeys(("minContains", "maxContains"), _is_count),
    **dict.fromkeys(("description", "title", "format", "pattern", "$ref", "$comment"), _is_text),
    **dict.fromkeys(("contentEncoding", "contentMediaType", "$id", "$schema", "$anchor", "$dynamicRef"), _is_text),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _is_flag),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "dependentSchemas"), _is_map),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _is_list),
    **dict.fromkeys(("items", "additionalProperties", "not", "if", "then", "else", "contains"), _is_schema),
    **dict.fromkeys(("propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"), _is_schema),
    "required": _is_names,
    **dict.fromkeys(("enum", "examples"), lambda value: isinstance(value, list)),
}
"""Keyword → whether a value fits it (JSON Schema 2020-12)."""

OF_TYPE: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset({"minProperties", "maxProperties"}),
    "array": frozenset({"minItems", "maxItems", "uniqueItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    **dict.fromkeys(
        ("number", "integer"),
        frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"}),
    ),
    "boolean": frozenset(),
}
TELLING: Final = {
    **dict.fromkeys(("properties", "required", "additionalProperties", "patternProperties"), "object"),
    **dict.fromkeys(("minProperties", "maxProperties", "propertyNames"), "object"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"), "array"),
    **dict.fromkeys(("minLength", "maxLength", "pattern"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
}
"""Keyword → of which type a schema must be that has it and no `type`."""
UNDERSTOOD: Final = frozenset(
    {"type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems", "nullable"}
    | {"$ref", "allOf", "anyOf", "oneOf", "description", "title", "default"}
    | {"$schema", "$id", "$anchor", "$comment", "$defs", "definitions"}
).union(*OF_TYPE.values())
ABOUT: Final = ("description", "title", "default")


def in_todays_words(node: Schema) -> Schema:
    """A schema of an earlier draft in the words of 2020-12, without keywords whose values do not fit them. The same
    object if nothing had to be done."""
    changed: Schema = {}
    if isinstance(node.get("items"), list):
        changed |= {"prefixItems": node["items"], "items": node.get("additionalItems")}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if node.get(exclusive) is True and _is_number(node.get(bound)):
            changed |= {exclusive: node[bound], bound: None}
    whole = {**node, **changed} if changed else node
    unfit = [key for key, value in whole.items() if (fits := VALID.get(key)) is not None and not fits(value)]
    return {key: value for key, value in whole.items() if key not in unfit} if unfit else whole


def types_of(node: Schema) -> set[str]:
    given = node.get("type")
    if given is not None:
        return {given} if isinstance(given, str) else set(given)
    values: Any = [node["const"]] if "const" in node else node.get("enum")
    if values is not None:
        return {type_of(value) for value in values}
    told = {TELLING[key] for key in node if key in TELLING}
    return told or {*TYPES, "null"}


def type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
