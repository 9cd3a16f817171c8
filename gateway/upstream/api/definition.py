"""What is known of an API from its document: its operations, and the lists that they make."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.openapi.model import ApiInfo, Compiled, LeftOut, Operation


@dataclass(frozen=True, slots=True)
class ApiDefinition:
    """One reading of a document."""

    info: ApiInfo
    operations: Mapping[str, Operation]
    """By the names of their tools."""
    left_out: tuple[LeftOut, ...] = ()
    tools: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    resources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    templates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def of(cls, compiled: Iterable[Compiled]) -> "ApiDefinition":
        info, operations, left_out = ApiInfo(), dict[str, Operation](), list[LeftOut]()
        for each in compiled:
            if isinstance(each, Operation):
                operations[each.name] = each
            elif isinstance(each, LeftOut):
                left_out.append(each)
            elif isinstance(each, ApiInfo):
                info = each
        entries = [each.resource for each in operations.values() if each.resource is not None]
        return cls(
            info,
            operations,
            tuple(left_out),
            [each.tool for each in operations.values()],
            [each for each in entries if "uri" in each],
            [each for each in entries if "uriTemplate" in each],
        )
