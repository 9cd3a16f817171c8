"""Swagger 2.0, said in the words of OpenAPI 3: what `operations` reads. Schemas stay where they are.

No library on the package index does this without asking a web service (docs/adr/0008).
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.openapi.refs import Refs

Node = dict[str, Any]

_STYLES: Final[Mapping[str, tuple[str, bool]]] = {
    "csv": ("", False),
    "multi": ("form", True),
    "ssv": ("spaceDelimited", False),
    "pipes": ("pipeDelimited", False),
    "tsv": ("tabDelimited", False),
}
"""`collectionFormat` → style (or the place's own) and explode."""
_NOT_OF_SCHEMA: Final = frozenset({"name", "in", "required", "collectionFormat", "allowEmptyValue", "schema"})


def operation(document: Node, node: Node, parameters: list[Node], refs: Refs) -> tuple[Node, list[Node]]:
    """An operation of 2.0 as one of 3.

    Args:
        parameters: all that it has, references resolved.

    Returns:
        The operation, and those of its parameters that are no body.
    """
    consumes = _names(node.get("consumes")) or _names(document.get("consumes"))
    produces = _names(node.get("produces")) or _names(document.get("produces")) or ["application/json"]
    plain = [_parameter(each) for each in parameters if each.get("in") not in ("body", "formData")]
    body = next((each for each in parameters if each.get("in") == "body"), None)
    fields = [each for each in parameters if each.get("in") == "formData"]
    made: Node = {key: value for key, value in node.items() if key not in ("requestBody", "responses", "parameters")}
    if body is not None:
        media: Node = {"schema": body.get("schema") or {}}
        made["requestBody"] = {
            "required": body.get("required") is True,
            "description": body.get("description"),
            "content": dict.fromkeys(consumes or ["application/json"], media),
        }
    elif fields:
        made["requestBody"] = _form(fields, consumes)
    responses = node.get("responses")
    if isinstance(responses, dict):
        made["responses"] = {
            str(code): _response(refs.follow(each), produces) for code, each in cast(Node, responses).items()
        }
    return made, plain


def _names(value: Any) -> list[str]:
    return [each for each in cast("list[Any]", value) if isinstance(each, str)] if isinstance(value, list) else []


def _parameter(node: Node) -> Node:
    style, explode = _STYLES.get(str(node.get("collectionFormat", "csv")), ("", False))
    made: Node = {key: node[key] for key in ("name", "in", "required", "description", "deprecated") if key in node}
    made["schema"] = _schema(node)
    if node.get("type") == "array":
        made["explode"] = explode
        if style:
            made["style"] = style
    return made


def _schema(node: Node) -> Node:
    return {key: value for key, value in node.items() if key not in _NOT_OF_SCHEMA and key != "description"}


def _form(fields: list[Node], consumes: list[str]) -> Node:
    has_files = any(each.get("type") == "file" for each in fields)
    multipart, form = "multipart/form-data", "application/x-www-form-urlencoded"
    media = multipart if has_files or (multipart in consumes and form not in consumes) else form
    encoding: Node = {}
    properties: Node = {}
    for each in fields:
        name = str(each.get("name", ""))
        properties[name] = {**_schema(each), "description": each.get("description")}
        style, explode = _STYLES.get(str(each.get("collectionFormat", "csv")), ("", False))
        if each.get("type") == "array":
            encoding[name] = {"style": style or "form", "explode": explode}
    required = [str(each.get("name", "")) for each in fields if each.get("required") is True]
    schema = {"type": "object", "properties": properties, "required": required}
    return {"required": bool(required), "content": {media: {"schema": schema, "encoding": encoding}}}


def _response(node: Node, produces: list[str]) -> Node:
    schema = node.get("schema")
    content: Node = {each: {"schema": schema} for each in produces} if isinstance(schema, dict) else {}
    return {"description": node.get("description"), "content": content}


def schemes(document: Node) -> Node:
    """Its security schemes."""
    found = document.get("securityDefinitions")
    if not isinstance(found, dict):
        return {}
    return {
        name: {"type": "http", "scheme": "basic"} if isinstance(each, dict) and each.get("type") == "basic" else each  # pyright: ignore[reportUnknownMemberType]
        for name, each in cast(Node, found).items()
    }


def servers(document: Node) -> list[Node]:
    """Where it says that the API is."""
    host, base = document.get("host"), document.get("basePath")
    path = base if isinstance(base, str) else ""
    if not isinstance(host, str) or not host:
        return [{"url": path}] if path else []
    offered = _names(document.get("schemes"))
    scheme = "http" if offered and "https" not in offered else "https"
    return [{"url": f"{scheme}://{host}{path}"}]
