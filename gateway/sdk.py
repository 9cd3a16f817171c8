"""Loads the MCP SDK, once, whoever needs it first.

Its import takes most of a second: too long for a stdio client to wait before `tools/list` is answered from the
snapshot, and long enough for two threads to meet in the middle of it, which its circular imports do not survive. So
nothing of ours imports `mcp` at module level on the way to the first answer, and whatever needs it calls `load` first.
"""

from importlib import import_module
from threading import Lock

_lock = Lock()


def load() -> None:
    """Import all of the SDK that the gateway uses. Blocks; instant once it has been done."""
    with _lock:
        for module in ("mcp", "mcp.client.session", "mcp.client.sse", "mcp.shared.inbound", "mcp.shared.uri_template"):
            import_module(module)
