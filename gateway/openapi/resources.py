"""GET operations as resources and resource templates, and the way back from a URI to arguments."""

import re
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from gateway.openapi.faults import ArgumentFault, OperationFault
from gateway.openapi.model import Operation

SCHEME: Final = "openapi"
_NOT_OF_HOST: Final = re.compile(r"[^A-Za-z0-9.-]+")
_VARIABLE: Final = re.compile(r"\{([^{}]+)\}")


def with_resource(operation: Operation, upstream: str) -> Operation:
    """The operation, as a resource too, or as a template of some.

    Raises:
        OperationFault: a URI cannot say what it must be told.
    """
    path = operation.path
    asked: list[str] = []
    for parameter in operation.parameters:
        if parameter.place == "path":
            if parameter.style != "simple" or parameter.is_json:
                raise OperationFault(f"its path has {parameter.name!r} in a style that URIs here have not")
            path = path.replace(f"{{{parameter.name}}}", f"{{{_variable(parameter.argument)}}}")
        elif parameter.place == "query" and parameter.style == "form" and not parameter.is_json:
            asked.append(_variable(parameter.argument))
        elif parameter.required:
            raise OperationFault(f"it needs {parameter.name!r} in its {parameter.place}, which a URI cannot carry")
    if operation.body is not None and operation.body.required:
        raise OperationFault("it needs a body, which a URI cannot carry")
    literal = _VARIABLE.sub("", path)
    if any(part in (".", "..") for part in path.split("/")) or not literal.isascii():
        raise OperationFault("its path cannot be part of a URI")
    base = f"{SCHEME}://{_NOT_OF_HOST.sub('-', upstream).strip('-').lower() or 'api'}"
    about = {key: operation.tool[key] for key in ("title", "description") if key in operation.tool}
    entry: dict[str, Any] = {"name": operation.name, **about, "_meta": operation.tool["_meta"]}
    needed = any(parameter.required for parameter in operation.parameters)
    is_template = "{" in path or needed
    if is_template:
        entry["uriTemplate"] = f"{base}{path}" + (f"{{?{','.join(asked)}}}" if asked else "")
    else:
        entry["uri"] = f"{base}{path}"
    return msgspec.structs.replace(operation, resource=entry)


def arguments_of(operation: Operation, uri: str) -> dict[str, Any] | None:
    """The arguments that a URI stands for; None if it is none of the operation's.

    Raises:
        ArgumentFault: it has a parameter that the operation does not know.
    """
    entry = operation.resource
    if entry is None:
        return None
    pattern = entry.get("uri") or entry["uriTemplate"].partition("{?")[0]
    plain, _, query = uri.partition("?")
    pieces = _VARIABLE.split(pattern)
    expression = "".join(re.escape(piece) if i % 2 == 0 else "([^/?#]+)" for i, piece in enumerate(pieces))
    match = re.fullmatch(expression, plain)
    if match is None:
        return None
    named = {_variable(parameter.argument): parameter for parameter in operation.parameters}
    arguments: dict[str, Any] = {
        named[name].argument: unquote(value) for name, value in zip(pieces[1::2], match.groups(), strict=True)
    }
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        parameter = named.get(unquote(name))
        if parameter is None or parameter.place != "query":
            raise ArgumentFault(f"has no parameter {unquote(name)[:60]!r}")
        given = unquote(value.replace("+", " "))
        if parameter.argument in arguments:
            before = arguments[parameter.argument]
            arguments[parameter.argument] = [*before, given] if isinstance(before, list) else [before, given]
        else:
            arguments[parameter.argument] = given
    return arguments


def _variable(argument: str) -> str:
    """An argument's name as the name of a variable (RFC 6570, 2.3)."""
    return quote(argument, safe="").replace("-", "%2D").replace("~", "%7E")
