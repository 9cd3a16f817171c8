"""What each era wraps around a request and a result, taken off on one side and put on on the other.

The envelope describes a hop: the agent's ends here, and the upstream session writes its own. Everything else in `_meta`
(trace context, vendor keys) belongs to the request and travels on.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway import __version__
from gateway.jsonrpc import Message, Meta
from gateway.protocol import ENVELOPE_KEYS, INPUT_REQUIRED, LIST_METHODS, META_RELATED_TASK, META_SERVER_INFO, Era

SERVER_INFO: Final[Mapping[str, Any]] = {"name": "mcp-gateway", "title": "MCP Gateway", "version": __version__}

_OWN = ENVELOPE_KEYS | {"progressToken", META_RELATED_TASK}
_CACHEABLE = frozenset({*LIST_METHODS, "resources/read", "skills/get", "server/discover"})


def unwrap_params(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters without what belongs to the agent's own hop. The input is left as it is."""
    meta = params.get("_meta")
    if isinstance(meta, Meta):
        kept = meta.memo.get(_kept)
        if kept is None:
            kept = meta.memo[_kept] = _kept(meta)
    elif isinstance(meta, dict):
        kept = _kept(cast("dict[str, Any]", meta))
    else:
        return params
    rest = params.copy()
    if kept:
        rest["_meta"] = kept
    else:
        del rest["_meta"]
    return rest


def _kept(meta: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in meta.items() if key not in _OWN}


def dress_result(
    result: dict[str, Any], method: str, era: Era, server_info: Mapping[str, Any] = SERVER_INFO
) -> dict[str, Any]:
    """Give a result what its agent's era requires, and nothing more. Changes `result` in place and returns it.

    Modern: `resultType`, an identity, and for what may be cached how long and by whom; an upstream's own values win.
    Handshake: no `resultType`, which did not exist.
    """
    if era is Era.HANDSHAKE:
        result.pop("resultType", None)
        return result
    if "resultType" not in result:
        result["resultType"] = "complete"
    if method in _CACHEABLE:
        result.setdefault("ttlMs", 0)
        result.setdefault("cacheScope", "private")
    meta: object = result.get("_meta")
    if meta is None and "_meta" not in result:
        result["_meta"] = {META_SERVER_INFO: server_info}
    elif isinstance(meta, dict) and META_SERVER_INFO not in meta:
        meta[META_SERVER_INFO] = server_info
    return result


def is_input_required(result: Message) -> bool:
    """Whether the upstream answered with questions of its own (2026-07-28, basic/patterns/mrtr)."""
    return result.get("resultType") == INPUT_REQUIRED
