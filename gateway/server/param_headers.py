"""`Mcp-Param-*`: arguments that a tool's schema wants mirrored into HTTP headers (2026-07-28, `x-mcp-header`).

What a schema says of it is worked out once: a large one takes tens of milliseconds, in which nobody is served.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway import jsonrpc, sdk
from gateway.call import NO_HEADERS
from gateway.catalogue.catalogue import Owner
from gateway.errors import HeaderMismatch

if TYPE_CHECKING:
    from mcp.shared.inbound import InboundLadderRejection

PREFIX: Final = "mcp-param-"
_KEY: Final = "x-mcp-header"


def of_call(tool: Owner, params: dict[str, Any], headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """The headers that a call of `tool` carries to its upstream: what is mirrored, and what no schema names.

    Args:
        headers: what an agent sent that mirrors its arguments itself; None for those that do not.

    Raises:
        HeaderMismatch: a header is missing, or is not what the argument says.
    """
    if _declared(tool) is None and (not headers or PREFIX not in "\n".join(headers)):
        return NO_HEADERS
    jsonrpc.opened(params)
    given: dict[str, str] = {}
    if headers is not None:
        check(tool, params, headers)
        given = unrecognised(tool, headers)
    return given | mirrored(tool, params)


def mirrored(tool: Owner, params: Mapping[str, Any]) -> dict[str, str]:
    """The headers that a call of `tool` must carry to its upstream. Empty for nearly every tool there is."""
    schema = _declared(tool)
    if schema is None:
        return {}
    from mcp.shared.inbound import mcp_param_headers, x_mcp_header_map

    return mcp_param_headers(x_mcp_header_map(schema), params.get("arguments") or {})


def check(tool: Owner, params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Check what an agent mirrored.

    Raises:
        HeaderMismatch: a header is missing, or is not what the argument says.
    """
    schema = _declared(tool)
    if schema is None:
        return
    from mcp.shared.inbound import validate_mcp_param_headers

    rejection: InboundLadderRejection | None = validate_mcp_param_headers(
        schema, params.get("arguments") or {}, headers
    )
    if rejection is not None:
        raise HeaderMismatch(rejection.message)


def unrecognised(tool: Owner, headers: Mapping[str, str]) -> dict[str, str]:
    """The `Mcp-Param-*` headers that the schema does not name; they are forwarded as they are."""
    given = {name: value for name, value in headers.items() if name.startswith(PREFIX)}
    schema = _declared(tool) if given else None
    if schema is None:
        return given
    from mcp.shared.inbound import x_mcp_header_map

    named = {f"{PREFIX}{token.lower()}" for token in x_mcp_header_map(schema).values()}
    return {name: value for name, value in given.items() if name not in named}


def _declared(tool: Owner) -> dict[str, Any] | None:
    """What of a tool's schema is about headers; None if nothing is, or not as it must be."""
    memo = tool.memo
    if _KEY not in memo:
        schema = tool.item.get("inputSchema")
        memo[_KEY] = _extract(schema) if _mentions(schema) else None
    return memo[_KEY]


def _extract(schema: Any) -> dict[str, Any] | None:
    sdk.load()
    from mcp.shared.inbound import find_invalid_x_mcp_header, x_mcp_header_map

    if find_invalid_x_mcp_header(schema) is not None:
        return None
    kept: dict[str, Any] = {"type": "object"}
    for path in x_mcp_header_map(schema):
        whole, part = schema, kept
        for step in path:
            whole = whole["properties"][step]
            facts = {key: whole[key] for key in ("type", _KEY) if key in whole}
            part = part.setdefault("properties", {}).setdefault(step, facts)
    return kept


def _mentions(schema: Any, depth: int = 16) -> bool:
    """Whether `x-mcp-header` occurs in a schema; a cheap test before the thorough one."""
    if depth == 0:
        return True
    if isinstance(schema, dict):
        return _KEY in schema or any(_mentions(value, depth - 1) for value in schema.values())  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
    if isinstance(schema, list):
        return any(_mentions(value, depth - 1) for value in schema)  # pyright: ignore[reportUnknownVariableType]
    return False
