"""Puts modules in place that have not run: packages whose `__init__` imports far more than what is used of them.

`from package.module import name` works as ever, and imports the module alone.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import Lock
from types import ModuleType
from typing import Any

_placing = Lock()


class _Unopened(ModuleType):
    """A module that runs when a name is asked for that it would define (`from mcp import Client`), and not for those of
    modules in it."""

    opened = False

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        is_its_own = name == "__all__" or not name.startswith("__")
        if self.opened or not is_its_own or spec is None or spec.loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if spec.submodule_search_locations is not None and find_spec(f"{self.__name__}.{name}") is not None:
            return import_module(f"{self.__name__}.{name}")
        self.opened = True
        spec.loader.exec_module(self)
        return getattr(self, name)


def put_off(*names: str) -> None:
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
