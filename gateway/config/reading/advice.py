"""What is valid, and yet probably not what its author meant."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.config.models.server import ServerConfig
from gateway.config.reading.source import Place, mapping

_PROCESS_ONLY: Final = ("args", "env", "env_file", "cwd")
_BARE_VARIABLE: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_LONG: Final = re.compile(r"[0-9]{4,}")


def look_at(values: Mapping[str, Any], server: ServerConfig) -> Iterator[tuple[Place, str]]:
    """Places in an entry, as its author gave it, and what to tell them about each."""
    if server.type == "stdio":
        if values.get("headers"):
            yield ("headers",), "ignored, a stdio server has no headers; give it what it needs in env"
        if values.get("auth"):
            yield ("auth",), "ignored, nobody logs in to a stdio server; give it what it needs in env"
    else:
        for key in _PROCESS_ONLY:
            if values.get(key):
                yield (key,), f"ignored, the gateway does not start a server of type {server.type}"
    if server.command and " " in server.command and not server.args and "/" not in server.command:
        yield ("command",), "has spaces, but is no shell line; put arguments into args"
    for key in ("timeout", "connect_timeout"):
        if _LONG.fullmatch(str(values.get(key))):
            yield (key,), f"is {values[key]} seconds; for milliseconds write {values[key]}ms"
    for group in ("env", "headers"):
        for name, value in (mapping(values.get(group)) or {}).items():
            if isinstance(value, str) and (match := _BARE_VARIABLE.fullmatch(value)):
                yield (group, name), f"is passed on as it stands; to expand the variable write ${{{match[1]}}}"
