"""Tools as the API of somebody's model takes them: see `dialects`. Worked out once a tool, when somebody asks."""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from gateway import jsonrpc
from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.catalogue.kept_results import READ_RESULT, READER
from gateway.catalogue.shapes import OWN_TOOLS
from gateway.jsonrpc import as_object
from gateway.pause import Pause
from gateway.upstream.listing import Item

if TYPE_CHECKING:
    from gateway.dialects.adapting import Adaptation
    from gateway.dialects.dialect import SchemaDialect

log = structlog.stdlib.get_logger("gateway.catalogue")

_MEMO: Final = "schema for "
_OURS: Final = {**OWN_TOOLS, READ_RESULT: READER}


def adaptation(catalogue: Catalogue, name: str) -> "Adaptation | None":
    """That of a tool, by its name in the catalogue; None if there is none, or nothing to adapt it to."""
    if catalogue.dialect is None:
        return None
    owner = catalogue.tool_owners.get(name)
    if owner is not None:
        return _of_owner(owner, catalogue.dialect)
    name = READ_RESULT if name == catalogue.reader else name
    return _of_ours(name, catalogue.dialect) if name in _OURS else None


def shown(catalogue: Catalogue, tool: Item) -> Item | None:
    """A tool of a catalogue as agents see it; None if it has no schema that can be shown."""
    found = adaptation(catalogue, tool["name"])
    if found is None or found.schema is tool.get("inputSchema"):
        return tool
    return {**tool, "inputSchema": found.schema} if found.schema is not None else None


def all_shown(catalogue: Catalogue, tools: Iterable[Item]) -> list[Item]:
    return [each for tool in tools if (each := shown(catalogue, tool)) is not None]


async def shown_in_steps(catalogue: Catalogue, tools: Iterable[Item]) -> list[Item]:
    """The same, beside all else: what is not worked out yet takes a millisecond a tool, and tens at worst."""
    pause, some = Pause(), list[Item]()
    for tool in tools:
        await pause.if_due()
        if (each := shown(catalogue, tool)) is not None:
            some.append(each)
    return some


def restore(catalogue: Catalogue, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a call with arguments as the tool's owner wants them; the same object if they are that already.

    Raises:
        InvalidParams: it cannot be told what is meant.
    """
    found = adaptation(catalogue, name)
    if found is None or found.restore is None or params.get("arguments") is None:
        return params
    from gateway.dialects.restoring import restored

    jsonrpc.opened(params)
    return {**params, "arguments": restored(params["arguments"], found.restore)}


def _of_owner(owner: Owner, dialect: "SchemaDialect") -> "Adaptation":
    from gateway.dialects.adapting import Adaptation, adapt

    key = _MEMO + dialect.name
    found: Adaptation | None = owner.memo.get(key)
    if found is None:
        about = {"upstream": owner.upstream, "tool": owner.original[:200], "dialect": dialect.name}
        try:
            found = adapt(as_object(owner.item.get("inputSchema")), dialect)
        except Exception:  # one tool's schema, which others wrote, must not break the list that it stands in
            log.exception("schema not understood", **about)
            found = Adaptation(None, reason="it is written in an unforeseen way")
        owner.memo[key] = found
        if found.schema is None:
            log.warning("tool left out of profiles", **about, reason=found.reason)
    return found


@cache
def _of_ours(name: str, dialect: "SchemaDialect") -> "Adaptation":
    from gateway.dialects.adapting import adapt

    return adapt(cast("dict[str, Any]", _OURS[name]["inputSchema"]), dialect)
