"""The clients we know: where each keeps its servers, how it writes one down, and the command that adds one.

How an entry looks is in `client_forms`; the tests in `tests/public` have the clients' own programs read it where there
are such programs (Claude Code, Codex, Copilot CLI, Gemini CLI, opencode). The others are as documented at
Windsurf https://docs.windsurf.com/windsurf/cascade/mcp · Zed https://zed.dev/docs/ai/mcp · Cline
https://docs.cline.bot/mcp/configuring-mcp-servers · LM Studio https://lmstudio.ai/docs/app/mcp · Continue
https://docs.continue.dev/customize/deep-dives/mcp · VS Code https://code.visualstudio.com/docs/copilot/reference/mcp-configuration
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from gateway.cli.importer import client_forms as forms
from gateway.cli.importer.client_forms import Entry, quoted

__all__ = ["CLIENTS", "Entry", "McpClient", "installed_file", "quoted"]


@dataclass(frozen=True, slots=True)
class McpClient:
    """One client. Paths are by `sys.platform`, of which `linux` stands for all others; `~` and %VARIABLES% as usual."""

    name: str
    title: str
    root: str
    """The key in its file that the servers stand under."""
    files: Mapping[str, str]
    """Platform → the file that holds for all of a person's projects."""
    project_file: str = ""
    """The file in a project's folder, if there can be one."""
    stdio_form: Callable[[Sequence[str]], Entry] = forms.stdio
    """The entry that starts a program."""
    remote_form: Callable[[str, Mapping[str, str]], Entry] | None = forms.remote
    """The entry that reaches a URL, with headers; None where there cannot be one."""
    add: Callable[[str, Entry], list[str]] | None = None
    """The words of the client's own command that adds an entry."""
    text: Callable[[dict[str, Any]], str] = forms.as_json
    """How its file is written."""
    listed: bool = False
    """Whether servers are a list, and say their names themselves."""
    afterwards: str = ""
    """What has to be done for it to notice."""

    @property
    def http(self) -> bool:
        """Whether an entry can be a URL."""
        return self.remote_form is not None

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
        return self.stdio_form(command)

    def remote(self, url: str, headers: Mapping[str, str]) -> Entry:
        assert self.remote_form is not None
        return self.remote_form(url, headers)

    def snippet(self, name: str, entry: Entry) -> dict[str, Any]:
        return {self.root: [{"name": name, **entry}] if self.listed else {name: entry}}

    def adding(self, name: str, entry: Entry, platform: str) -> str | None:
        """The shell command that adds the entry; None when the client has no such command."""
        return None if self.add is None else quoted(self.add(name, entry), platform)


_DESKTOP: Final = "Claude/claude_desktop_config.json"
_USER: Final = "Code/User/mcp.json"
_CLINE: Final = "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"
_RESTART: Final = "quit and start it again"


def _at_home(path: str) -> dict[str, str]:
    """The same place on every platform, below the home directory."""
    return {"win32": f"%USERPROFILE%/{path}", "linux": f"~/{path}"}


def _of_application(path: str) -> dict[str, str]:
    """Where desktop applications keep their settings."""
    return {
        "darwin": f"~/Library/Application Support/{path}",
        "win32": f"%APPDATA%/{path}",
        "linux": f"~/.config/{path}",
    }


CLIENTS: Final = {
    client.name: client
    for client in (
        McpClient(
            "claude-desktop",
            "Claude Desktop",
            "mcpServers",
            _of_application(_DESKTOP),
            remote_form=None,
            afterwards=_RESTART,
        ),
        McpClient(
            "claude-code",
            "Claude Code",
            "mcpServers",
            _at_home(".claude.json"),
            ".mcp.json",
            stdio_form=forms.typed_stdio,
            remote_form=forms.typed_remote,
            add=forms.claude,
        ),
        McpClient("cursor", "Cursor", "mcpServers", _at_home(".cursor/mcp.json"), ".cursor/mcp.json"),
        McpClient(
            "vscode",
            "VS Code",
            "servers",
            _of_application(_USER),
            ".vscode/mcp.json",
            stdio_form=forms.typed_stdio,
            remote_form=forms.typed_remote,
            add=forms.code,
        ),
        McpClient(
            "gemini",
            "Gemini CLI",
            "mcpServers",
            _at_home(".gemini/settings.json"),
            ".gemini/settings.json",
            remote_form=forms.gemini_remote,
            add=forms.gemini,
            afterwards=_RESTART,
        ),
        McpClient(
            "codex",
            "Codex",
            "mcp_servers",
            _at_home(".codex/config.toml"),
            ".codex/config.toml",
            remote_form=forms.codex_remote,
            add=forms.codex,
            text=forms.as_toml,
        ),
        McpClient(
            "opencode",
            "opencode",
            "mcp",
            _at_home(".config/opencode/opencode.json"),
            "opencode.json",
            stdio_form=forms.opencode_stdio,
            remote_form=forms.opencode_remote,
            add=forms.opencode,
        ),
        McpClient(
            "copilot",
            "GitHub Copilot CLI",
            "mcpServers",
            _at_home(".copilot/mcp-config.json"),
            stdio_form=forms.copilot_stdio,
            remote_form=forms.copilot_remote,
            add=forms.copilot,
        ),
        McpClient(
            "windsurf",
            "Windsurf",
            "mcpServers",
            _at_home(".codeium/windsurf/mcp_config.json"),
            remote_form=forms.windsurf_remote,
            afterwards="press the refresh button of Cascade's MCP servers",
        ),
        McpClient(
            "zed",
            "Zed",
            "context_servers",
            {"win32": "%APPDATA%/Zed/settings.json", "linux": "~/.config/zed/settings.json"},
            ".zed/settings.json",
        ),
        McpClient("cline", "Cline", "mcpServers", _of_application(_CLINE), remote_form=forms.cline_remote),
        McpClient("lm-studio", "LM Studio", "mcpServers", _at_home(".lmstudio/mcp.json")),
        McpClient(
            "continue",
            "Continue",
            "mcpServers",
            _at_home(".continue/config.yaml"),
            stdio_form=forms.typed_stdio,
            remote_form=forms.continue_remote,
            text=forms.as_yaml,
            listed=True,
        ),
    )
}
"""By the name the command line knows them by."""

IMPORT_ONLY: Final = {
    "goose": {"win32": "%APPDATA%/Block/goose/config/config.yaml", "linux": "~/.config/goose/config.yaml"},
}
"""Clients whose servers are taken over, and which say themselves how one adds another (`goose configure`)."""


def installed_file(name: str) -> Path:
    """Where the client of that name keeps its servers on this machine."""
    client = CLIENTS.get(name) or McpClient(name, name, "", IMPORT_ONLY[name])
    path = Path(client.file(sys.platform, os.environ))
    commented = path.with_suffix(".jsonc")
    return commented if path.suffix == ".json" and not path.exists() and commented.exists() else path
