"""Schemas that describe, and refuse next to nothing: an API that strays from its document must not lose its answer."""

from typing import Any, Final, cast

from gateway.openapi.inspecting import Schema

_REFUSING: Final = (
    *("const", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "uniqueItems", "not"),
    *("contains", "propertyNames", "if", "then", "else", "unevaluatedProperties", "dependentSchemas", "required"),
    *("patternProperties", "prefixItems"),
)
"""Keywords that a relaxed schema does without."""


def relax(out: Schema, node: Schema) -> Schema:
    """The same without what refuses.

    Args:
        out: as it is written.
        node: as it stands in the document.
    """
    kept = {key: value for key, value in out.items() if key not in _REFUSING}
    if kept.get("additionalProperties") is False:
        del kept["additionalProperties"]
    if (values := kept.pop("enum", None)) is not None:
        kept["examples"] = values
    if (choices := kept.pop("oneOf", None)) is not None:
        kept["anyOf"] = [*kept.get("anyOf", []), *choices]
    if kept.get("anyOf"):
        kept["anyOf"].append({})  # or anything else
    required = cast("list[Any]", node.get("required")) if isinstance(node.get("required"), list) else []
    properties: Schema = kept.get("properties") or {}
    for name, each in properties.items():
        if name not in required and isinstance(each.get("type"), str) and each["type"] != "null":
            each["type"] = [each["type"], "null"]  # what may be absent is often null
    return kept
