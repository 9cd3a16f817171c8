"""Loads what the gateway uses of the MCP SDK, once, whoever needs it first.

Its import takes a quarter of a second: too long for a stdio client to wait before `tools/list` is answered from the
snapshot, and long enough for two threads to meet in the middle of it, which its circular imports do not survive. So
nothing of ours imports `mcp` at module level on the way to the first answer, and whatever needs it calls `load` first.

Its packages import everything there is, a web framework with it, to offer it under short names that the gateway does
not use; and its session imports the models of each revision, to check messages by which the gateway passes on as they
are. That would be as much time again, and 11 MiB. So these modules are put in place unopened.
"""

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import Lock
from types import ModuleType
from typing import Any, Final

PACKAGES: Final = ("mcp", "mcp.client", "mcp.server")
"""Those whose `__init__` imports far more than a module in them needs. Each stands after the one that it is in."""
CHECKING: Final = "mcp_types.methods"
"""Knows the models of each revision."""

_lock = Lock()
_placing = Lock()
_loaded = False


class _Unopened(ModuleType):
    """A module that runs when a name is asked for that it would define (`from mcp import Client`)."""

    opened = False

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        is_its_own = name == "__all__" or not name.startswith("__")
        if self.opened or not is_its_own or spec is None or spec.loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.opened = True
        spec.loader.exec_module(self)
        return getattr(self, name)


def load() -> None:
    """Import all of the SDK that the gateway uses. Blocks; instant once it has been done."""
    global _loaded
    if _loaded:
        return
    with _lock:
        _put_off(*PACKAGES, CHECKING)
        for module in ("mcp.client.session", "mcp.shared.inbound", "mcp.shared.uri_template"):
            import_module(module)
        _loaded = True


@cache
def uri_templates() -> ModuleType:
    """The SDK's `mcp.shared.uri_template`, without the rest of the SDK: who owns a URI is to be known before the first
    list is answered, and that file needs nothing else."""
    _put_off(*PACKAGES)
    return import_module("mcp.shared.uri_template")


def _put_off(*names: str) -> None:
    """Unless somebody has imported them already."""
    with _placing:
        for name in names:
            if name in sys.modules:
                continue
            spec = find_spec(name)
            if spec is None:
                return  # whoever imports it will say that it is missing
            module = module_from_spec(spec)
            module.__class__ = _Unopened
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
