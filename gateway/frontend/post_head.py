"""What the head of a request to MCP says, looked into once for all that have it; and a request with its sender."""

from typing import Final

import msgspec

from gateway.errors import HeaderMismatch, NotAcceptable
from gateway.frontend.body import check_encoding, check_form
from gateway.frontend.call_response import EVENTS
from gateway.frontend.http_head import JSON, RequestHead
from gateway.frontend.http_request import HttpRequest
from gateway.protocol import HANDSHAKE_VERSIONS
from gateway.request import Principal
from gateway.server.agents import Routing, routing_of

ROUTING_HEADERS: Final = frozenset(
    {"mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "host", "origin", "content-type"}
)


class Http(msgspec.Struct, eq=False):
    """One HTTP request, and who sent it."""

    request: HttpRequest
    principal: Principal
    view: str | None
    headers: dict[str, str]
    """By lower-case name."""

    __repr__ = object.__repr__  # headers hold credentials

    def accepts(self, kind: str) -> bool:
        return accepts(self.request.head, kind)


class Form(msgspec.Struct, frozen=True, eq=False):
    """What the head of a POST says of it."""

    version: str | None
    """`MCP-Protocol-Version`."""
    is_modern: bool
    """Whether that is one of the modern era, or one that is not spoken here."""
    session: str | None
    """`Mcp-Session-Id`."""
    streams: bool
    """Whether its client accepts an event stream."""
    names_events: bool
    """Whether it does so by name."""
    routing: Routing


def accepts(head: RequestHead, kind: str) -> bool:
    accept = head.headers.get("accept", "*/*").lower()
    return kind in accept or "*/*" in accept or kind.partition("/")[0] + "/*" in accept


def form_of(head: RequestHead) -> Form:
    """
    Raises:
        NotAcceptable, UnsupportedMediaType: it cannot be answered, or read.
    """
    if not accepts(head, JSON):
        raise NotAcceptable("Accept must include application/json and text/event-stream.")
    check_form(head.headers)
    check_encoding(head.headers)
    version = head.headers.get("mcp-protocol-version")
    return Form(
        version,
        version is not None and version not in HANDSHAKE_VERSIONS,
        head.headers.get("mcp-session-id"),
        accepts(head, EVENTS),
        EVENTS in head.headers.get("accept", "").lower(),
        routing_of(head.headers),
    )


def check_routing(head: RequestHead) -> None:
    """
    Raises:
        HeaderMismatch: a routing header stands there twice, so that two readers might read two things.
    """
    for name in head.repeated:
        if name in ROUTING_HEADERS:
            raise HeaderMismatch(f"{name} header appears more than once")
