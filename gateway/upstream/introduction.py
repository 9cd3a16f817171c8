"""What an upstream says of itself when it is met, as clients and the SDK's models can take it. Pure.

Repaired where the meaning is certain: PHP writes `[]` for an empty object, some servers write `null` for what they do
not offer, or their version as a number. Everything else stays what it is.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.jsonrpc import as_object, mended
from gateway.protocol import META_SERVER_INFO

_TEXTS: Final = ("name", "version", "title", "description", "websiteUrl")
_NESTED: Final = frozenset({"experimental", "extensions"})
"""Capabilities that hold an object a name."""


def repaired(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The result of `initialize` or `server/discover`."""
    result = dict(raw)
    if "capabilities" in raw:
        result["capabilities"] = _capabilities(raw["capabilities"])
    if isinstance(raw.get("serverInfo"), dict):
        result["serverInfo"] = _info(raw["serverInfo"])
    meta = as_object(raw.get("_meta"))
    if isinstance(meta.get(META_SERVER_INFO), dict):
        result["_meta"] = {**meta, META_SERVER_INFO: _info(meta[META_SERVER_INFO])}
    if not isinstance(raw.get("instructions"), str):
        result.pop("instructions", None)
    return result


def _capabilities(value: object) -> object:
    """Without those that are `null` or `false`: they are not offered."""
    value = _object(value)
    if not isinstance(value, dict):
        return value
    offered = {name: _object(one) for name, one in cast("dict[str, Any]", value).items() if one not in (None, False)}
    for name in _NESTED & offered.keys():
        offered[name] = _capabilities(offered[name])
    return offered


def _object(value: object) -> object:
    return {} if value is True else mended(value)


def _info(value: Mapping[str, Any]) -> dict[str, Any]:
    info = {name: one for name, one in value.items() if one is not None}
    for name in _TEXTS:
        if isinstance(info.get(name), int | float):
            info[name] = str(info[name])
    info.setdefault("version", "")
    return info
