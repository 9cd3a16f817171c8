"""The clients we know: where each keeps its servers, how it writes one down, and the command that adds one."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

Entry = dict[str, Any]
"""One server, as some client writes it."""


@dataclass(frozen=True, slots=True)
class Client:
    """One client. Paths are by `sys.platform`, of which `linux` stands for all others; `~` and %VARIABLES% as usual."""

    name: str
    title: str
    root: str
    """The key in its file that the servers stand under."""
    files: Mapping[str, str]
    """Platform → the file that holds for all of a person's projects."""
    project_file: str = ""
    """The file in a project's folder, if there can be one."""
    typed: bool = False
    """Whether an entry says its type."""
    url_key: str = "url"
    http: bool = True
    """Whether an entry can be a URL."""
    afterwards: str = ""
    """What has to be done for it to notice."""

    def file(self, platform: str, environ: Mapping[str, str]) -> str:
        """The file for all projects on that platform, written as its users write paths."""
        path = self.files.get(platform, self.files["linux"])
        if platform == "win32":
            for variable in ("APPDATA", "USERPROFILE"):
                path = path.replace(f"%{variable}%", environ.get(variable, f"%{variable}%"))
            return str(PureWindowsPath(path))
        home = environ.get("HOME")
        return str(PurePosixPath(path.replace("~", home, 1) if home else path))

    def stdio(self, command: Sequence[str]) -> Entry:
        entry: Entry = {"type": "stdio"} if self.typed else {}
        return {**entry, "command": command[0], "args": list(command[1:])}

    def remote(self, url: str, headers: Mapping[str, str]) -> Entry:
        entry: Entry = {"type": "http"} if self.typed else {}
        return {**entry, self.url_key: url, **({"headers": dict(headers)} if headers else {})}

    def snippet(self, name: str, entry: Entry) -> dict[str, Any]:
        return {self.root: {name: entry}}

    def adding(self, name: str, entry: Entry, platform: str) -> str | None:
        """The shell command that adds the entry; None when the client has no such command."""
        words = _ADDING[self.name](name, entry) if self.name in _ADDING else None
        return None if words is None else quoted(words, platform)


def quoted(words: Sequence[str], platform: str = sys.platform) -> str:
    """A command line for that platform's shell."""
    return subprocess.list2cmdline(words) if platform == "win32" else shlex.join(words)


def _claude(name: str, entry: Entry) -> list[str]:
    words = ["claude", "mcp", "add", "--scope", "user"]
    if "url" in entry:
        return [*words, "--transport", "http", name, entry["url"], *_headers(entry)]
    return [*words, name, "--", entry["command"], *entry["args"]]


def _code(name: str, entry: Entry) -> list[str]:
    return ["code", "--add-mcp", json.dumps({"name": name, **entry})]


def _gemini(name: str, entry: Entry) -> list[str]:
    words = ["gemini", "mcp", "add", "--scope", "user"]
    if "httpUrl" in entry:
        return [*words, "--transport", "http", *_headers(entry), name, entry["httpUrl"]]
    return [*words, name, entry["command"], "--", *entry["args"]]


def _headers(entry: Entry) -> list[str]:
    return [word for key, value in entry.get("headers", {}).items() for word in ("--header", f"{key}: {value}")]


_ADDING: Final = {"claude-code": _claude, "vscode": _code, "gemini": _gemini}
_DESKTOP: Final = "Claude/claude_desktop_config.json"
_USER: Final = "Code/User/mcp.json"
_RESTART: Final = "quit and start it again"

CLIENTS: Final = {
    client.name: client
    for client in (
        Client(
            "claude-desktop",
            "Claude Desktop",
            "mcpServers",
            {
                "darwin": f"~/Library/Application Support/{_DESKTOP}",
                "win32": f"%APPDATA%/{_DESKTOP}",
                "linux": f"~/.config/{_DESKTOP}",
            },
            http=False,
            afterwards=_RESTART,
        ),
        Client(
            "claude-code",
            "Claude Code",
            "mcpServers",
            {"win32": "%USERPROFILE%/.claude.json", "linux": "~/.claude.json"},
            ".mcp.json",
            typed=True,
        ),
        Client(
            "cursor",
            "Cursor",
            "mcpServers",
            {"win32": "%USERPROFILE%/.cursor/mcp.json", "linux": "~/.cursor/mcp.json"},
            ".cursor/mcp.json",
        ),
        Client(
            "vscode",
            "VS Code",
            "servers",
            {
                "darwin": f"~/Library/Application Support/{_USER}",
                "win32": f"%APPDATA%/{_USER}",
                "linux": f"~/.config/{_USER}",
            },
            ".vscode/mcp.json",
            typed=True,
        ),
        Client(
            "gemini",
            "Gemini CLI",
            "mcpServers",
            {"win32": "%USERPROFILE%/.gemini/settings.json", "linux": "~/.gemini/settings.json"},
            ".gemini/settings.json",
            url_key="httpUrl",
            afterwards=_RESTART,
        ),
    )
}
"""By the name the command line knows them by."""


def installed_file(client: Client) -> Path:
    """Where the client keeps its servers on this machine."""
    import os

    return Path(client.file(sys.platform, os.environ))
