"""The protocol's vocabulary: revisions, eras, `_meta` keys, error codes, and which method does what.

Constants only, so that every room may import them at no cost. The same names exist in `mcp_types`, whose import takes
0.3 s that a stdio client would wait for; `tests/test_protocol.py` holds the two together.

Source: https://modelcontextprotocol.io/specification/2026-07-28 and …/2025-11-25.
"""

from enum import Enum
from typing import Final

HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions that open with `initialize`, oldest first."""

MODERN_VERSIONS: Final = ("2026-07-28",)
"""Revisions in which every request carries its own envelope, oldest first."""

TASKS_VERSION: Final = "2025-11-25"
"""The one revision that has tasks itself; in later ones they are an extension, and others."""

DEFAULT_VERSION: Final = "2025-03-26"
"""What an HTTP request without `MCP-Protocol-Version` speaks (2025-11-25, basic/transports)."""


class Era(Enum):
    """Which of the two ways of speaking MCP a peer uses."""

    HANDSHAKE = "handshake"
    MODERN = "modern"

    @staticmethod
    def of(version: str) -> "Era":
        return Era.MODERN if version in MODERN_VERSIONS else Era.HANDSHAKE


INPUT_REQUIRED: Final = "input_required"
"""The `resultType` of a result that asks (2026-07-28, basic/patterns/mrtr)."""

META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
META_SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
META_RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
"""2025-11-25 only. An agent could name another's with it: what one says here is not passed on."""

SKILLS: Final = "io.modelcontextprotocol/skills"
"""The extension of SEP-2640."""
TASKS: Final = "io.modelcontextprotocol/tasks"
"""The extension of SEP-2663."""

ENVELOPE_KEYS: Final = frozenset({META_VERSION, META_CLIENT_INFO, META_CLIENT_CAPABILITIES, META_LOG_LEVEL})
"""The `_meta` keys that describe the hop, not the request: each side of the gateway writes its own."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
RESOURCE_NOT_FOUND: Final = -32002
"""Handshake era only; 2026-07-28 uses `INVALID_PARAMS`."""
URL_ELICITATION_REQUIRED: Final = -32042
"""Handshake era only (2025-11-25); 2026-07-28 asks with `input_required` instead."""
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
REQUEST_CANCELLED: Final = -32800
"""What ends the HTTP stream of a cancelled handshake-era request; clients have stopped listening by then."""

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""Least severe first (RFC 5424)."""

CANCELLED: Final = "notifications/cancelled"
PROGRESS: Final = "notifications/progress"
TASK_STATUS: Final = "notifications/tasks/status"
"""Of `TASKS_VERSION`."""

LIST_METHODS: Final = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
    "skills/list": "skills",
}
"""Listing method → the key its items stand under."""

CHANGE_NOTIFICATIONS: Final = {
    "tools": "notifications/tools/list_changed",
    "resources": "notifications/resources/list_changed",
    "prompts": "notifications/prompts/list_changed",
}
"""What changed → the notification that says so."""
