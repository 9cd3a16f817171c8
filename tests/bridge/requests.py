"""Agents and requests as the bridge gets them."""

from typing import Any, Final

from gateway.call import Call
from gateway.request import Ask, Principal
from gateway.server.agents import ConnectedAgent

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
ALL: Final[dict[str, Any]] = {
    "sampling": {"tools": {}},
    "elicitation": {"form": {}, "url": {}},
    "roots": {"listChanged": True},
}
"""Capabilities of a client that can be asked everything."""


def agent(
    version: str = MODERN, capabilities: dict[str, Any] | None = None, principal: str = "ann", view: str | None = None
) -> ConnectedAgent:
    return ConnectedAgent(
        Principal(principal), view, version, capabilities=ALL if capabilities is None else capabilities
    )


def call(
    who: ConnectedAgent | None = None, *, method: str = "tools/call", ask: Ask | None = None, **params: Any
) -> Call:
    """A `tools/call`, whose notifications nobody hears."""
    who = who or agent()
    return Call(1, method, {"name": "a", **params}, who, who.opener, lambda method, params: None, ask)
