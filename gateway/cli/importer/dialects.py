"""What the keys of other clients' server entries mean, before they are read like ours.

Each client that has words of its own has a function here. Its form is described in:
Codex https://developers.openai.com/codex/mcp · opencode https://opencode.ai/docs/mcp-servers and
https://opencode.ai/config.json · Zed https://zed.dev/docs/ai/mcp · Goose
https://block.github.io/goose/docs/guides/config-files · Continue
https://docs.continue.dev/customize/deep-dives/mcp · Copilot CLI
https://docs.github.com/copilot/how-tos/copilot-cli/customize-copilot/add-mcp-servers
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gateway.config.reading.source import ConfigDocument, Place, mapping, sequence

Values = dict[str, Any]

SECONDS: Final = "s"
MILLISECONDS: Final = "ms"
LONGEST_SECONDS: Final = 3600
"""What clients that count in seconds allow at most; a larger number is one of milliseconds, whoever wrote it."""
_COUNTS_IN_SECONDS: Final = frozenset({"autoApprove", "alwaysAllow", "disabledTools", "watchPaths", "remoteConfigured"})
"""Keys of Cline and Roo."""
_SERVER_KEYS: Final = frozenset({"command", "url", "httpUrl", "serverUrl"})
_PLAIN_ROOTS: Final[tuple[Place, ...]] = (("mcpServers",), ("servers",), ("mcp", "servers"), ("mcp.servers",))
_OPENCODE_VARIABLE: Final = re.compile(r"\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def find(document: ConfigDocument) -> Iterator[tuple[str, Place, Values]]:
    """Every server entry of a client's file, whichever client it was written for: name, place, our words for it."""
    projects = mapping(document.written(("projects",))) or {}
    for root in (*_PLAIN_ROOTS, *(("projects", name, "mcpServers") for name in projects)):
        read = _opencode if root[0] == "mcp" and _is_opencode(document.written(root)) else _continue
        for name, place, values in _entries(document, root):
            if (translated := read(values)) is not None:
                yield name, place, translated
    for key, read in _DIALECTS.items():
        for name, place, values in _entries(document, (key,)):
            if (translated := read(values)) is not None:
                yield name, place, translated
    if not any(document.written(root) is not None for root in (*_PLAIN_ROOTS, *((key,) for key in _DIALECTS))):
        yield from _bare(document)


def roots_in(document: ConfigDocument) -> list[str]:
    """Under which keys servers could stand, and none does."""
    roots = (*_PLAIN_ROOTS, *((key,) for key in _DIALECTS))
    return [".".join(map(str, root)) for root in roots if document.written(root) is not None]


def unit_of_timeout(document: ConfigDocument, entries: list[Values]) -> str:
    """In what a bare number counts; empty where it is not known."""
    keys = {key for values in entries for key in values}
    if _COUNTS_IN_SECONDS & keys or "cline" in document.name.lower():
        return SECONDS
    return ""


def _entries(document: ConfigDocument, root: Place) -> Iterator[tuple[str, Place, Values]]:
    servers = document.written(root)
    for name, values in (mapping(servers) or {}).items():
        yield name, (*root, name), dict(mapping(values) or {})
    for index, item in enumerate(sequence(servers) or []):
        values = dict(mapping(item) or {})
        yield str(values.pop("name", f"server-{index + 1}")), (*root, index), values


def _bare(document: ConfigDocument) -> Iterator[tuple[str, Place, Values]]:
    """A file that is nothing but servers by name, as `.mcp.json` of a Claude Code plugin may be."""
    for name, values in (mapping(document.data) or {}).items():
        if _SERVER_KEYS & (mapping(values) or {}).keys():
            yield name, (name,), dict(mapping(values) or {})


# --- Clients --------------------------------------------------------------------------------------------------------


def _continue(values: Values) -> Values:
    options = mapping(values.pop("requestOptions", None)) or {}
    return {**values, **({"headers": options["headers"]} if mapping(options.get("headers")) else {})}


def _is_opencode(servers: Any) -> bool:
    return any(sequence((mapping(values) or {}).get("command")) for values in (mapping(servers) or {}).values())


def _opencode(values: Values) -> Values | None:
    if not mapping(values) or not ({"type", *_SERVER_KEYS} & values.keys()):
        return None  # `mcp.servers` of its second version, or a setting
    if (words := sequence(values.get("command"))) is not None:
        values["command"], values["args"] = (words[0] if words else ""), words[1:]
    if values.get("type") in ("local", "remote"):
        del values["type"]
    _rename(values, {"environment": "env"})
    timeout = values.pop("timeout", None)
    if isinstance(timeout, str) and timeout.isdecimal():  # it is how long its list may take, in milliseconds
        values["connect_timeout"] = _milliseconds(timeout)
    return _every_text(values, lambda text: _OPENCODE_VARIABLE.sub(r"${\1}", text))


def _zed(values: Values) -> Values | None:
    if (command := mapping(values.get("command"))) is not None:  # as it was written until 2025
        values |= {"command": command.get("path"), "args": command.get("args"), "env": command.get("env")}
    values.pop("source", None)
    values.pop("settings", None)
    return values if _SERVER_KEYS & values.keys() else None  # an extension of Zed's brings its own server


def _goose(values: Values) -> Values | None:
    values |= mapping(values.pop("config", None)) or {}
    _rename(values, {"cmd": "command", "envs": "env", "uri": "url"})
    env = mapping(values.get("env")) or {}
    names = [str(name) for name in sequence(values.pop("env_keys", None)) or []]
    values["env"] = {**env, **{name: f"${{{name}}}" for name in names if name not in env}}
    if allowed := sequence(values.pop("available_tools", None)):
        values["tools"] = {"allow": allowed}
    _in_seconds(values, "timeout")
    for key in ("name", "bundled", "display_name"):
        values.pop(key, None)
    return values if _SERVER_KEYS & values.keys() else None  # what is built into Goose


def _codex(values: Values) -> Values:
    env = dict(mapping(values.get("env")) or {})
    for item in sequence(values.pop("env_vars", None)) or []:
        name = str((mapping(item) or {}).get("name", item))
        env.setdefault(name, f"${{{name}}}")
    headers = dict(mapping(values.pop("http_headers", None)) or {})
    headers |= {name: f"${{{of}}}" for name, of in (mapping(values.pop("env_http_headers", None)) or {}).items()}
    if token := values.pop("bearer_token_env_var", None):
        headers["Authorization"] = f"Bearer ${{{token}}}"
    if (startup := values.pop("startup_timeout_ms", None)) is not None:
        values["connect_timeout"] = _milliseconds(str(startup))
    _rename(values, {"startup_timeout_sec": "connect_timeout", "tool_timeout_sec": "timeout"})
    _in_seconds(values, "connect_timeout", "timeout")
    rules = {"allow": values.pop("enabled_tools", None), "deny": values.pop("disabled_tools", None)}
    if tools := {key: names for key, names in rules.items() if names}:
        values["tools"] = tools
    return {**values, **({"env": env} if env else {}), **({"headers": headers} if headers else {})}


_DIALECTS: Final[Mapping[str, Callable[[Values], Values | None]]] = {
    "mcp": _opencode,
    "context_servers": _zed,
    "extensions": _goose,
    "mcp_servers": _codex,
}
"""The key that the servers stand under → how their entries are read; None is no server."""


def _rename(values: Values, names: Mapping[str, str]) -> None:
    for old, new in names.items():
        if old in values:
            values[new] = values.pop(old)


def _in_seconds(values: Values, *keys: str) -> None:
    """A bare number under these keys is one of seconds, whatever its size."""
    for key in keys:
        if str(values.get(key)).isdecimal():
            values[key] = f"{values[key]}s"


def _milliseconds(given: str) -> str:
    return f"{int(given) // 1000}s" if given.isdecimal() and int(given) % 1000 == 0 else f"{given}ms"


def _every_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if (items := mapping(value)) is not None:
        return {key: _every_text(item, change) for key, item in items.items()}
    if (elements := sequence(value)) is not None:
        return [_every_text(item, change) for item in elements]
    return value
