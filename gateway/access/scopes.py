"""Which scope each method needs."""

from typing import Final

from gateway.protocol import LIST_METHODS
from gateway.request import READ, WRITE

SCOPES: Final = {
    **dict.fromkeys(("initialize", "ping")),
    **dict.fromkeys(("server/discover", "completion/complete", "prompts/get", "logging/setLevel", "tasks/get"), READ),
    **dict.fromkeys(("resources/read", "resources/subscribe", "resources/unsubscribe", "subscriptions/listen"), READ),
    **dict.fromkeys(("skills/get", "resources/directory/read", "tasks/result", "tasks/list"), READ),
    **dict.fromkeys((*LIST_METHODS, "roots/list"), READ),
}
"""Method → the scope it needs; every other may do something, and needs `write`."""


def scope_of(method: str) -> str | None:
    """The scope that a request needs, and with it whoever answers a question that belongs to it."""
    return SCOPES.get(method, WRITE)
