"""Documents for tests, as short as can be."""

from typing import Any

from gateway.openapi.model import ApiInfo, CompileOptions, LeftOut, Operation
from gateway.openapi.operations import compile_document

Node = dict[str, Any]


def document(paths: Node, **more: Any) -> Node:
    return {"openapi": "3.1.0", "info": {"title": "T", "version": "1"}, "paths": paths, **more}


def one(operation: Node, *, method: str = "get", path: str = "/things", **more: Any) -> Node:
    """A document of one operation."""
    return document({path: {method: operation}}, **more)


def compiled(found: Node, **options: Any) -> tuple[ApiInfo, dict[str, Operation], dict[str, str]]:
    """What a document says, its operations, and the reasons for what is left out."""
    info, operations, left_out = ApiInfo(), dict[str, Operation](), dict[str, str]()
    given: Node = {"upstream": "api", **options}
    for each in compile_document(found, CompileOptions(**given)):
        if isinstance(each, Operation):
            operations[each.name] = each
        elif isinstance(each, LeftOut):
            left_out[each.name] = each.reason
        elif isinstance(each, ApiInfo):
            info = each
    return info, operations, left_out


def operation_of(found: Node, **options: Any) -> Operation:
    """The one operation of a document."""
    _, operations, left_out = compiled(found, **options)
    assert not left_out
    (operation,) = operations.values()
    return operation
