"""What the interaction tests show, and where it is demanded. `test_requirements.py` holds the two together."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

_MODERN: Final = "https://modelcontextprotocol.io/specification/2026-07-28"
_HANDSHAKE: Final = "https://modelcontextprotocol.io/specification/2025-11-25"
_OURS: Final = "docs/architecture.md"

REQUIREMENTS: Final[dict[str, tuple[str, str]]] = {
    "cancel:http-handshake": (f"{_HANDSHAKE}/basic/utilities/cancellation", "A notification cancels."),
    "cancel:http-modern": (f"{_MODERN}/basic/transports/streamable-http", "Closing the response stream cancels."),
    "cancel:no-answer": (f"{_HANDSHAKE}/basic/utilities/cancellation", "A cancelled request is not answered."),
    "cancel:reaches": (_OURS, "A cancellation reaches the upstream, in the way of its era."),
    "changes:lists": (f"{_MODERN}/server/tools", "A change of a list is announced to those who asked."),
    "changes:only-asked": (f"{_MODERN}/basic/patterns/subscriptions", "Only the kinds asked for are sent."),
    "changes:updates": (f"{_HANDSHAKE}/server/resources", "Who subscribed to a resource hears of its updates."),
    "completion": (f"{_MODERN}/server/utilities/completion", "Arguments of prompts and templates are completed."),
    "errors:id": (f"{_MODERN}/basic", "An answer carries the id of its request."),
    "errors:method": (f"{_MODERN}/basic", "An unknown method is -32601."),
    "errors:params": (f"{_MODERN}/basic", "Malformed parameters are -32602."),
    "errors:upstream": (_OURS, "An upstream's own error arrives as it is."),
    "fidelity:arguments": (_OURS, "Arguments reach the upstream as they were sent."),
    "fidelity:error": (_OURS, "Code, message and data of an error arrive as they were sent."),
    "fidelity:items": (_OURS, "Items of lists keep every field but the names the gateway rewrites."),
    "fidelity:result": (_OURS, "Results arrive as they were sent, unknown fields included."),
    "initialize": (f"{_HANDSHAKE}/basic/lifecycle", "A handshake opens a connection."),
    "lists:cursor": (f"{_MODERN}/server/utilities/pagination", "An invalid cursor is -32602."),
    "lists:hints": (f"{_MODERN}/server/utilities/caching", "Lists carry ttlMs and cacheScope."),
    "lists:pages": (f"{_MODERN}/server/utilities/pagination", "Lists come in pages."),
    "listen:acknowledged": (f"{_MODERN}/basic/patterns/subscriptions", "The acknowledgement comes first."),
    "listen:tagged": (f"{_MODERN}/basic/patterns/subscriptions", "Every frame carries the subscription id."),
    "logging:level": (f"{_HANDSHAKE}/server/utilities/logging", "Messages below the level are not sent."),
    "logging:per-request": (f"{_MODERN}/server/utilities/logging", "Messages are sent for requests that ask."),
    "names:public": (_OURS, "Public names are what agents accept."),
    "open:capabilities": (f"{_MODERN}/server/discover", "Capabilities are those that can be honoured."),
    "open:discover": (f"{_MODERN}/server/discover", "server/discover is answered."),
    "open:era": (f"{_MODERN}/basic/versioning", "Each request is served in its own era."),
    "open:initialize": (f"{_HANDSHAKE}/basic/lifecycle", "initialize is answered with the revision agreed on."),
    "open:revision": (f"{_HANDSHAKE}/basic/lifecycle", "An unknown revision is answered with one that is known."),
    "outage:down": (_OURS, "A call to an upstream that is down says which, and in what state it is."),
    "outage:garbage": (_OURS, "An answer that is not MCP fails its own call."),
    "outage:grace": (_OURS, "A lost upstream's items stay listed for a while."),
    "outage:lost": (_OURS, "A connection that breaks mid-call fails that call."),
    "outage:others": (_OURS, "Other upstreams do not notice."),
    "outage:oversized": (_OURS, "An answer over the cap fails its own call."),
    "outage:timeout": (_OURS, "A call has a deadline."),
    "ping": (f"{_HANDSHAKE}/basic/utilities/ping", "ping is answered."),
    "progress:asked": (f"{_MODERN}/basic/utilities/progress", "Progress is sent to who asked, and to nobody else."),
    "progress:order": (f"{_MODERN}/basic/utilities/progress", "Progress comes in order, before the result."),
    "progress:token": (f"{_MODERN}/basic/utilities/progress", "Progress carries the agent's own token."),
    "prompts:get": (f"{_MODERN}/server/prompts", "Prompts are got."),
    "prompts:list": (f"{_MODERN}/server/prompts", "Prompts are listed."),
    "prompts:unknown": (f"{_MODERN}/server/prompts", "An unknown prompt is -32602."),
    "questions:refused": (_OURS, "What an upstream asks back is refused with a clear error."),
    "resources:contested": (_OURS, "A URI of several upstreams is published for each of them."),
    "resources:list": (f"{_MODERN}/server/resources", "Resources and templates are listed."),
    "resources:read": (f"{_MODERN}/server/resources", "Resources are read."),
    "resources:template": (f"{_MODERN}/server/resources", "URIs of templates are read."),
    "resources:unknown": (f"{_MODERN}/server/resources", "An unknown resource has the error code of its era."),
    "resources:verbatim": (_OURS, "A URI that one upstream owns stays as it is."),
    "together:answers": (_OURS, "Agents with the same request ids get their own answers."),
    "together:logs": (_OURS, "Agents get their own log messages."),
    "together:progress": (_OURS, "Agents get their own progress."),
    "tools:call": (f"{_MODERN}/server/tools", "Tools are called."),
    "tools:content": (f"{_MODERN}/server/tools", "Every kind of content arrives."),
    "tools:is-error": (f"{_MODERN}/server/tools", "A tool's own failure is a result."),
    "tools:list": (f"{_MODERN}/server/tools", "Tools are listed."),
    "tools:unknown": (f"{_MODERN}/server/tools", "An unknown tool is -32602."),
    "tools:x-mcp-header": (f"{_MODERN}/server/tools", "Arguments are mirrored into headers."),
    "view:own": (_OURS, "At /mcp/NAME an upstream has its own names."),
}
"""Requirement → where it is from (a URL, or the page of our own that promises it), and the sentence."""

F = TypeVar("F", bound=Callable[..., Any])

COVERED: Final[set[str]] = set()
"""Requirements that tests have claimed, as their modules were imported."""


def requirement(*ids: str) -> Callable[[F], F]:
    """Marks a test with what it shows."""
    unknown = set(ids) - REQUIREMENTS.keys()
    assert not unknown, f"not in REQUIREMENTS: {sorted(unknown)}"
    COVERED.update(ids)
    return lambda test: test
