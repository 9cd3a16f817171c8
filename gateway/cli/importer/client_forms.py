"""How clients write one server down: the entry, the file around it, and the words of the command that adds it."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

Entry = dict[str, Any]
"""One server, as some client writes it."""

KEY_VARIABLE: Final = "MCP_GATEWAY_KEY"
"""Where clients that want no secret in their file find the key."""


def quoted(words: Sequence[str], platform: str = sys.platform) -> str:
    """A command line for that platform's shell."""
    return subprocess.list2cmdline(words) if platform == "win32" else shlex.join(words)


# --- Entries --------------------------------------------------------------------------------------------------------


def stdio(command: Sequence[str]) -> Entry:
    return {"command": command[0], "args": list(command[1:])}


def remote(url: str, headers: Mapping[str, str]) -> Entry:
    return {"url": url, **_with(headers)}


def _with(headers: Mapping[str, str]) -> Entry:
    return {"headers": dict(headers)} if headers else {}


def typed_stdio(command: Sequence[str]) -> Entry:
    return {"type": "stdio", **stdio(command)}


def typed_remote(url: str, headers: Mapping[str, str]) -> Entry:
    return {"type": "http", **remote(url, headers)}


def gemini_remote(url: str, headers: Mapping[str, str]) -> Entry:
    return {"httpUrl": url, **_with(headers)}


def windsurf_remote(url: str, headers: Mapping[str, str]) -> Entry:
    return {"serverUrl": url, **_with(headers)}


def cline_remote(url: str, headers: Mapping[str, str]) -> Entry:
    return {"type": "streamableHttp", **remote(url, headers)}


def continue_remote(url: str, headers: Mapping[str, str]) -> Entry:
    options = {"requestOptions": {"headers": dict(headers)}} if headers else {}
    return {"type": "streamable-http", "url": url, **options}


def codex_remote(url: str, headers: Mapping[str, str]) -> Entry:
    return {"url": url, **({"http_headers": dict(headers)} if headers else {})}


def opencode_stdio(command: Sequence[str]) -> Entry:
    return {"type": "local", "command": list(command), "enabled": True}


def opencode_remote(url: str, headers: Mapping[str, str]) -> Entry:
    return {"type": "remote", "url": url, "enabled": True, **_with(headers)}


def copilot_stdio(command: Sequence[str]) -> Entry:
    return {"type": "local", **stdio(command), "tools": ["*"]}


def copilot_remote(url: str, headers: Mapping[str, str]) -> Entry:
    return {"type": "http", **remote(url, headers), "tools": ["*"]}


def command_of(entry: Entry) -> str:
    """The program that a stdio entry starts."""
    words = entry["command"]
    return words if isinstance(words, str) else words[0]


# --- Commands -------------------------------------------------------------------------------------------------------


def claude(name: str, entry: Entry) -> list[str]:
    words = ["claude", "mcp", "add", "--scope", "user"]
    if "url" in entry:
        return [*words, "--transport", "http", name, entry["url"], *_header_words(entry)]
    return [*words, name, "--", entry["command"], *entry["args"]]


def code(name: str, entry: Entry) -> list[str]:
    return ["code", "--add-mcp", json.dumps({"name": name, **entry})]


def gemini(name: str, entry: Entry) -> list[str]:
    words = ["gemini", "mcp", "add", "--scope", "user"]
    if "httpUrl" in entry:
        return [*words, "--transport", "http", *_header_words(entry), name, entry["httpUrl"]]
    return [*words, name, entry["command"], "--", *entry["args"]]


def codex(name: str, entry: Entry) -> list[str]:
    words = ["codex", "mcp", "add", name]
    if "url" in entry:
        return [
            *words,
            "--url",
            entry["url"],
            *(("--bearer-token-env-var", KEY_VARIABLE) if "http_headers" in entry else ()),
        ]
    return [*words, "--", entry["command"], *entry["args"]]


def opencode(name: str, entry: Entry) -> list[str]:
    words = ["opencode", "mcp", "add", name]
    if "url" in entry:
        headers = entry.get("headers", {}).items()
        return [
            *words,
            "--url",
            entry["url"],
            *(word for key, value in headers for word in ("--header", f"{key}={value}")),
        ]
    return [*words, "--", *entry["command"]]


def copilot(name: str, entry: Entry) -> list[str]:
    words = ["copilot", "mcp", "add"]
    if "url" in entry:
        return [*words, "--transport", "http", *_header_words(entry), name, entry["url"]]
    return [*words, name, "--", entry["command"], *entry["args"]]


def _header_words(entry: Entry) -> list[str]:
    headers = entry.get("headers", {}).items()
    return [word for key, value in headers for word in ("--header", f"{key}: {value}")]


# --- Files ----------------------------------------------------------------------------------------------------------


def as_json(snippet: dict[str, Any]) -> str:
    return json.dumps(snippet, indent=2, ensure_ascii=False)


def as_toml(snippet: dict[str, Any]) -> str:
    """TOML of text, lists of text and tables of these. JSON's strings are TOML's, too."""
    lines: list[str] = []
    for root, servers in snippet.items():
        for name, entry in servers.items():
            lines.append(f"[{root}.{_toml_key(name)}]")
            lines += [f"{_toml_key(key)} = {_toml(value)}" for key, value in entry.items()]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml(item)}" for key, item in items) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, cast("list[Any]", value))) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if plain else json.dumps(key, ensure_ascii=False)


def as_yaml(snippet: dict[str, Any]) -> str:
    from gateway.cli.importer.yaml_text import lines_of

    return "\n".join(lines_of(snippet, 0, 2))
