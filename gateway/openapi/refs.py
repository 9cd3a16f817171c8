"""`$ref`s within one document. Others that it refers to are in it (`bundling`), or there is a reason why not.

By `referencing`, the library below `jsonschema` (docs/adr/0008).
"""

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import unquote

from referencing import Registry, Resource
from referencing.exceptions import Unresolvable

from gateway.openapi.faults import OperationFault

MAX_HOPS: Final = 32
"""How many references may lead from one to the next."""


class Refs:
    """The references of one document.

    Args:
        unavailable: other documents, and why they are not in this one.
    """

    def __init__(self, document: dict[str, Any], unavailable: Mapping[str, str] | None = None) -> None:
        self._unavailable = unavailable or {}
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
            reason = self._unavailable.get(ref.partition("#")[0], "is another document, and is not read: bundle it")
            raise OperationFault(f"refers to {ref.removesuffix('#')[:200]}, which {reason}")
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
