"""What one upstream offers: its lists as it sent them, and what the era says about keeping them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.jsonrpc import as_object
from gateway.protocol import TASKS_VERSION

Item = dict[str, Any]
"""One tool, resource, resource template, prompt or skill, exactly as the upstream sent it."""

Variation = Mapping[str, tuple[Item, ...]]
"""Of the lists, those that differ."""

NO_EXPIRY: Final = None

LOGIN_TOOL: Final = "login"
_MARK: Final = "mcp-gateway/login"


@dataclass(frozen=True, slots=True)
class Listing:
    """One upstream's catalogue at one moment. Items stand in the upstream's own order."""

    tools: tuple[Item, ...] = ()
    resources: tuple[Item, ...] = ()
    templates: tuple[Item, ...] = ()
    prompts: tuple[Item, ...] = ()
    skills: tuple[Item, ...] = ()
    capabilities: dict[str, Any] = field(default_factory=dict[str, Any])
    """`ServerCapabilities` as declared."""
    server_info: dict[str, Any] = field(default_factory=dict[str, Any])
    instructions: str | None = None
    version: str = ""
    """The protocol revision negotiated."""
    ttl_ms: int | None = NO_EXPIRY
    """Smallest `ttlMs` of the lists (2026-07-28); None when the upstream gave none."""
    private: bool = False
    """Whether any list came with `cacheScope: private`."""
    unknown: tuple[str, ...] = ()
    """Of the lists, those that could not be fetched even once: that they are empty means nothing."""
    variants: Mapping[str, Variation] = field(default_factory=dict[str, Variation])
    """What it lists instead for clients that declare other capabilities, by `variants.label_of`; nothing where it is
    the same. What was filled or used last stands last."""
    label: str = ""
    """That of the client of the main connection, whose lists these are."""


@dataclass(frozen=True, slots=True)
class LoginListing(Listing):
    """What a server offers that wants a login: this to who has none, and to others what they see with theirs."""

    own: Mapping[str, Listing] = field(default_factory=dict[str, Listing])
    """By a label for each principal (`personal.label_of`)."""


def offers_tasks(listing: Listing | None) -> bool:
    """Whether calls of an upstream's tools can be made tasks of 2025-11-25."""
    return listing is not None and listing.version == TASKS_VERSION and declares_tasks(listing.capabilities)


def declares_tasks(capabilities: Mapping[str, Any]) -> bool:
    """Whether capabilities of that revision say so."""
    requests = as_object(as_object(capabilities.get("tasks")).get("requests"))
    return isinstance(as_object(requests.get("tools")).get("call"), dict)


def login_tool(upstream: str) -> Item:
    """The tool of the gateway's own by which an agent can ask for a login."""
    return {
        "name": LOGIN_TOOL,
        "title": f"Log in to {upstream}",
        "description": f"Asks the user to log in to the server {upstream!r}, which shows its other tools only to who "
        "has. Call it when something of that server is needed; afterwards list the tools again.",
        "inputSchema": {"type": "object", "properties": {}},
        "_meta": {_MARK: True},
    }


def is_login_tool(name: str, item: Mapping[str, Any]) -> bool:
    """Whether an upstream's tool is the gateway's own, by its own name."""
    return name == LOGIN_TOOL and isinstance(meta := item.get("_meta"), dict) and _MARK in meta
