"""Other clients' words for a login at a server, put into ours where they mean the same.

Cursor writes `auth: {CLIENT_ID, CLIENT_SECRET, scopes}`; Gemini, Claude Code, VS Code and opencode write `oauth` with
`clientId` and others; FastMCP writes `auth: oauth`.
"""

from typing import Any, Final

from gateway.config.reading.entries import ServerEntry
from gateway.config.reading.problems import line_at
from gateway.config.reading.source import mapping

WORDS: Final = {
    "CLIENT_ID": "client_id",
    "clientId": "client_id",
    "CLIENT_SECRET": "client_secret",
    "clientSecret": "client_secret",
    "scope": "scopes",
    "callbackPort": "callback_port",
}
"""A client's key in its block → ours."""


def translate(entry: ServerEntry, warnings: list[str]) -> None:
    """Change `auth` of a canonical entry in place, remembering where each value was written."""
    if "auth" not in entry.values:
        return
    origin = entry.written.get(("auth",), ("auth",))
    given = entry.values["auth"]
    if given is True or given == "oauth":
        entry.values["auth"] = {"login": "auto"}
    elif given is False:
        entry.values["auth"] = {"login": "none"}
    elif (block := mapping(given)) is not None:
        entry.values["auth"] = _block(entry, block, origin, warnings)


def _block(
    entry: ServerEntry, block: dict[str, Any], origin: tuple[str | int, ...], warnings: list[str]
) -> dict[str, Any]:
    ours: dict[str, Any] = {}
    is_foreign = origin != ("auth",)
    for key, value in block.items():
        name = WORDS.get(key, key)
        if is_foreign and key == "enabled":
            ours["login"] = "auto" if value else "none"
        elif is_foreign and name not in WORDS.values():
            where = (*entry.place, *origin, key)
            what = "ignored, another client's key"
            warnings.append(line_at(entry.document, where, entry.about, f"{origin[-1]}.{key}", what))
            continue
        else:
            ours[name] = value.split() if name == "scopes" and isinstance(value, str) else value
        if name != key:
            entry.written["auth", name] = (*origin, key)
    return ours
