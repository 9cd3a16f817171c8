"""What the APIs of models refuse in a function's schema: from their documentation and their answers, and strictly.

Independent of what adapts schemas: nothing here is imported from there. Each says what is wrong, by place.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

Faults = Iterator[str]

# Schema of generativelanguage v1beta; `$`-keywords, `const`, `oneOf`, … are answered with "Unknown name".
GEMINI_FIELDS = {
    *("type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required"),
    *("minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf", "propertyOrdering"),
    *("default", "items", "minimum", "maximum"),
}
GEMINI_FORMATS = {
    "string": {"enum", "date-time"},
    "number": {"float", "double"},
    "integer": {"int32", "int64"},
}
GEMINI_TYPES = {"string", "number", "integer", "boolean", "array", "object"}


def gemini(schema: Any) -> Faults:
    if schema.get("type") != "object":
        yield "(top): not of type object"
    for name in schema.get("properties", {}):
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            yield f"{name}: not a parameter's name"
    yield from _gemini(schema, "", top=True)


def _gemini(given: Any, at: str, *, top: bool = False) -> Faults:
    if not isinstance(given, dict):
        yield f"{at}: not an object"
        return
    schema = cast("dict[str, Any]", given)
    yield from (f"{at}: unknown name {key}" for key in schema.keys() - GEMINI_FIELDS)
    kind = schema.get("type")
    if "anyOf" in schema:
        if schema.keys() != {"anyOf"}:
            yield f"{at}: any_of must be the only field"
        alternatives = cast("list[Any]", schema["anyOf"])
        if not alternatives:
            yield f"{at}: any_of is empty"
        for index, each in enumerate(alternatives):
            yield from _gemini(each, f"{at}|{index}")
        return
    if not isinstance(kind, str) or kind not in GEMINI_TYPES:
        yield f"{at}: type is {kind}"
        return
    if "format" in schema and schema["format"] not in GEMINI_FORMATS.get(kind, ()):
        yield f"{at}: format {schema['format']}"
    if "enum" in schema:
        if kind != "string":
            yield f"{at}: enum only for strings"
        elif not all(isinstance(each, str) and each for each in schema["enum"]) or not schema["enum"]:
            yield f"{at}: enum of what is no text, or empty"
    for key in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
        if key in schema and not (isinstance(schema[key], int) and schema[key] >= 0):
            yield f"{at}: {key}"
    for key in ("minimum", "maximum"):
        if key in schema and (isinstance(schema[key], bool) or not isinstance(schema[key], int | float)):
            yield f"{at}: {key}"
    if "nullable" in schema and not isinstance(schema["nullable"], bool):
        yield f"{at}: nullable"
    if kind == "array":
        if "items" not in schema:
            yield f"{at}: items: missing field"
        else:
            yield from _gemini(schema["items"], f"{at}[]")
    elif "items" in schema:
        yield f"{at}: items of what is no array"
    if kind == "object":
        properties = cast("dict[str, Any]", schema.get("properties") or {})
        if not top and not properties:
            yield f"{at}: properties should be non-empty"
        for name in schema.get("required", ()):
            if name not in properties:
                yield f"{at}: required {name} is not defined"
        for name, each in properties.items():
            yield from _gemini(each, f"{at}.{name}")
    elif schema.keys() & {"properties", "required"}:
        yield f"{at}: properties of what is no object"


def _walk(given: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema."""
    if not isinstance(given, dict):
        return
    schema = cast("dict[str, Any]", given)
    yield at, schema
    for key in ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"):
        if isinstance(schema.get(key), dict):
            for name, each in schema[key].items():
                yield from _walk(each, f"{at}.{name}")
    for key in ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"):
        yield from _walk(schema.get(key), f"{at}.{key}")
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(schema.get(key), list):
            for index, each in enumerate(schema[key]):
                yield from _walk(each, f"{at}.{key}{index}")


def _is_valid(schema: Any) -> Faults:
    """By JSON Schema 2020-12. Takes long: 10 ms a tool."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message[:80]}"


def openai(schema: Any) -> Faults:
    if schema.get("type") != "object":
        yield "(top): schema must be of type object"
    if above := schema.keys() & {"oneOf", "anyOf", "allOf", "enum", "const", "not"}:
        yield f"(top): {sorted(above)} at the top level"
    for at, each in _walk(schema):
        if (each.get("type") == "array" or "array" in (each.get("type") or ())) and "items" not in each:
            yield f"{at}: array schema missing items"


STRICT_KEYWORDS = {
    *("type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "description"),
    *("title", "$ref", "$defs", "definitions", "pattern", "format", "multipleOf", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"),
}
STRICT_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}


def openai_strict(schema: Any) -> Faults:
    yield from openai(schema)
    values = 0
    for at, each in _walk(schema):
        yield from (f"{at}: {key} is not permitted" for key in each.keys() - STRICT_KEYWORDS)
        if not each.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
            yield f"{at}: schema must have a type"
        if each.get("type") == "object" or "object" in (each.get("type") or ()) or "properties" in each:
            if each.get("additionalProperties") is not False:
                yield f"{at}: additionalProperties must be false"
            if sorted(each.get("required", ())) != sorted(each.get("properties", {})):
                yield f"{at}: required must include every property"
        if "format" in each and each["format"] not in STRICT_FORMATS:
            yield f"{at}: format {each['format']}"
        values += len(each.get("enum", ()))
        if sum(len(str(value)) for value in each.get("enum", ())) > 15_000 and len(each["enum"]) > 250:
            yield f"{at}: enum too long"
    if values > 1_000:
        yield f"(top): {values} values of enums"
    if (many := sum(len(each.get("properties", ())) for _, each in _walk(schema))) > 5_000:
        yield f"(top): {many} properties"
    if _levels(schema) > 10:
        yield "(top): more than 10 levels"


def _levels(given: Any, depth: int = 0) -> int:
    if not isinstance(given, dict) or depth > 60:
        return 0
    schema = cast("dict[str, Any]", given)
    own = int("properties" in schema)
    within = [*schema.get("properties", {}).values(), schema.get("items"), *schema.get("anyOf", ())]
    return own + max((_levels(each, depth + 1) for each in within), default=0)


def anthropic(schema: Any) -> Faults:
    yield from _is_valid(schema)
    if schema.get("type") != "object":
        yield "(top): type must be object"
    if above := schema.keys() & {"oneOf", "anyOf", "allOf"}:
        yield f"(top): does not support {sorted(above)} at the top level"
    for name in schema.get("properties", {}):
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name):
            yield f"{name}: property keys should match the pattern"


APIS: dict[str, Callable[[Any], Faults]] = {
    "gemini": gemini,
    "openai": openai,
    "openai-strict": openai_strict,
    "anthropic": anthropic,
}
