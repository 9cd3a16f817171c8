"""Loads the MCP SDK, once, whoever needs it first.

Its import takes most of a second: too long for a stdio client to wait before `tools/list` is answered from the
snapshot, and long enough for two threads to meet in the middle of it, which its circular imports do not survive. So
nothing of ours imports `mcp` at module level on the way to the first answer, and whatever needs it calls `load` first.
"""

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Lock
from types import ModuleType

_lock = Lock()
_loaded = False


def load() -> None:
    """Import all of the SDK that the gateway uses. Blocks; instant once it has been done."""
    global _loaded
    if _loaded:
        return
    with _lock:
        for module in ("mcp", "mcp.client.session", "mcp.client.sse", "mcp.shared.inbound", "mcp.shared.uri_template"):
            import_module(module)
        _loaded = True


@cache
def uri_templates() -> ModuleType:
    """The SDK's `mcp.shared.uri_template`, without the rest of the SDK: who owns a URI is to be known before the first
    list is answered, and that file needs nothing else."""
    loaded = sys.modules.get("mcp.shared.uri_template")
    package = find_spec("mcp")
    if loaded is not None or package is None or not package.submodule_search_locations:
        return loaded or import_module("mcp.shared.uri_template")
    file = Path(package.submodule_search_locations[0], "shared", "uri_template.py")
    spec = spec_from_file_location("gateway._uri_template", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module
