"""`$ref`s within one document. Nothing outside of it is ever fetched.

By `referencing`, the library below `jsonschema` (docs/adr/0008).
"""

from typing import Any, Final, cast
from urllib.parse import unquote

from referencing import Registry, Resource
from referencing.exceptions import Unresolvable

from gateway.openapi.faults import OperationFault

MAX_HOPS: Final = 32
"""How many references may lead from one to the next."""


class Refs:
    """The references of one document."""

    def __init__(self, document: dict[str, Any]) -> None:
        resource: Resource[Any] = Resource.opaque(document)
        self._resolver = Registry[Any]().with_resource("", resource).resolver()
        self._known: dict[str, Any] = {}

    def lookup(self, ref: str) -> Any:
        """What a reference leads to.

        Raises:
            OperationFault: nowhere, or out of the document.
        """
        if ref in self._known:
            return self._known[ref]
        if not ref.startswith("#"):
            raise OperationFault(f"refers to another document ({ref[:100]}), and those are not fetched: bundle it")
        try:
            found = self._resolver.lookup(ref).contents
        except (Unresolvable, ValueError, TypeError, LookupError):
            raise OperationFault(f"refers to {ref[:100]}, which is not there") from None
        self._known[ref] = found
        return found

    def follow(self, value: Any) -> dict[str, Any]:
        """The object that stands there, or that a reference in its place leads to; empty if it is none.

        Raises:
            OperationFault: it leads nowhere, or in a circle.
        """
        for _ in range(MAX_HOPS):
            if not isinstance(value, dict):
                return {}
            node = cast("dict[str, Any]", value)
            ref = node.get("$ref")
            if not isinstance(ref, str):
                return node
            value = self.lookup(ref)
        raise OperationFault("has references that lead in a circle")


def name_of(ref: str) -> str:
    """What to call in `$defs` what a reference leads to."""
    last = unquote(ref.rpartition("/")[2]).replace("~1", "/").replace("~0", "~")
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in last)[:80] or "schema"
