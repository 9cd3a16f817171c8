"""Loads what the gateway uses of the MCP SDK, once, whoever needs it first.

Its import takes a quarter of a second: too long for a stdio client to wait before `tools/list` is answered from the
snapshot, and long enough for two threads to meet in the middle of it, which its circular imports do not survive. So
nothing of ours imports `mcp` at module level on the way to the first answer, and whatever needs it calls `load` first.

Its packages import everything there is, a web framework with it, to offer it under short names that the gateway does
not use; and its session imports the models of each revision, to check messages by which the gateway passes on as they
are. That would be as much time again, and 11 MiB. So these modules are put in place unopened.
"""

from functools import cache
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Final

from gateway.unopened import put_off

PACKAGES: Final = ("mcp", "mcp.client", "mcp.server")
"""Those whose `__init__` imports far more than a module in them needs. Each stands after the one that it is in."""
CHECKING: Final = "mcp_types.methods"
"""Knows the models of each revision."""

_lock = Lock()
_loaded = False


def load() -> None:
    """Import all of the SDK that the gateway uses. Blocks; instant once it has been done."""
    global _loaded
    if _loaded:
        return
    with _lock:
        put_off(*PACKAGES, CHECKING)
        for module in ("mcp.client.session", "mcp.shared.inbound", "mcp.shared.uri_template"):
            import_module(module)
        _loaded = True


@cache
def uri_templates() -> ModuleType:
    """The SDK's `mcp.shared.uri_template`, without the rest of the SDK: who owns a URI is to be known before the first
    list is answered, and that file needs nothing else."""
    put_off(*PACKAGES)
    return import_module("mcp.shared.uri_template")
