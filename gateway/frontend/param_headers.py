"""`Mcp-Param-*`: arguments that a tool's schema wants mirrored into HTTP headers (2026-07-28, `x-mcp-header`)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway import sdk
from gateway.errors import HeaderMismatch
from gateway.upstream.listing import Item

if TYPE_CHECKING:
    from mcp.shared.inbound import InboundLadderRejection

PREFIX = "mcp-param-"


def mirrored(tool: Item, params: Mapping[str, Any]) -> dict[str, str]:
    """The headers that a call of `tool` must carry to its upstream. Empty for nearly every tool there is."""
    schema = tool.get("inputSchema")
    if not _mentions(schema):
        return {}
    sdk.load()
    from mcp.shared.inbound import mcp_param_headers, x_mcp_header_map

    return mcp_param_headers(x_mcp_header_map(schema), params.get("arguments") or {})


def check(tool: Item, params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Check what an agent mirrored.

    Raises:
        HeaderMismatch: a header is missing, or is not what the argument says.
    """
    schema = tool.get("inputSchema")
    if not _mentions(schema):
        return
    sdk.load()
    from mcp.shared.inbound import validate_mcp_param_headers

    rejection: InboundLadderRejection | None = validate_mcp_param_headers(
        schema, params.get("arguments") or {}, headers
    )
    if rejection is not None:
        raise HeaderMismatch(rejection.message)


def unrecognised(tool: Item, headers: Mapping[str, str]) -> dict[str, str]:
    """The `Mcp-Param-*` headers that the schema does not name; they are forwarded as they are."""
    given = {name: value for name, value in headers.items() if name.startswith(PREFIX)}
    if not given:
        return given
    sdk.load()
    from mcp.shared.inbound import x_mcp_header_map

    named = {f"{PREFIX}{token.lower()}" for token in x_mcp_header_map(tool.get("inputSchema")).values()}
    return {name: value for name, value in given.items() if name not in named}


def _mentions(schema: Any, depth: int = 16) -> bool:
    """Whether `x-mcp-header` occurs in a schema; a cheap test before the thorough one."""
    if depth == 0:
        return True
    if isinstance(schema, dict):
        return "x-mcp-header" in schema or any(_mentions(value, depth - 1) for value in schema.values())  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
    if isinstance(schema, list):
        return any(_mentions(value, depth - 1) for value in schema)  # pyright: ignore[reportUnknownVariableType]
    return False
