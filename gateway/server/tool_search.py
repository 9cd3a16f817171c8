"""Search in place of a long list: `find_tools`, `call_tool`, and what a session has found.

Both look only into the catalogue that their caller sees, so that a hidden tool and a missing one are the same to them.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import anyio

from gateway import jsonrpc
from gateway.access.policy import Grant
from gateway.call import Call, string
from gateway.catalogue import adapted
from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.naming import SEPARATOR, public_prefix
from gateway.catalogue.repairs import for_handshake
from gateway.catalogue.shapes import CALL_TOOL, FIND_TOOLS
from gateway.catalogue.visibility import Selection, View
from gateway.errors import InvalidParams
from gateway.harmless import harmless
from gateway.jsonrpc import as_object
from gateway.pause import Pause
from gateway.protocol import CHANGE_NOTIFICATIONS, Era
from gateway.request import Agent
from gateway.search.index import Described, ToolIndex, ToolWords, words_of_tool
from gateway.server.lookup import Lookup, Viewer
from gateway.upstream.listing import Item

DEFAULT_LIMIT: Final = 5
MAX_LIMIT: Final = 20
MAX_FOUND: Final = 100
"""Tools that a session has found and that stay in its list; the one found longest ago goes first."""
MAX_SEARCHED: Final = 64
"""Catalogues whose index is made anew beside all else when tools change: those that were searched last."""
MAX_SHOWN: Final = 1_000
"""Characters of the arguments that are shown to who is asked."""
FACT: Final = "found "
"""What the names of facts of a session begin with that are tools it has found."""

_INDEX: Final = "index"
_WORDS: Final = "words"
_SHOWN: Final = ("name", "title", "description", "inputSchema", "annotations")
"""What of a tool a model is told."""

Key = tuple[View, Grant, Selection]


class ToolSearch:
    """
    Args:
        note: notes facts of a session, by name.
    """

    def __init__(self, lookup: Lookup, library: CatalogueViews) -> None:
        self._lookup = lookup
        self._library = library
        self.note: Callable[[Any, Mapping[str, str | None]], None] = lambda agent, changes: None
        self._found: dict[str, OrderedDict[str, None]] = {}
        """Agent's id → names."""
        self._searched: OrderedDict[Key, None] = OrderedDict()
        self._indexing = anyio.Lock()
        self._due = anyio.Event()

    async def run(self) -> None:
        """Make indexes anew when tools have changed, until cancelled."""
        while True:
            await self._due.wait()
            self._due = anyio.Event()
            for key in list(self._searched):
                catalogue = self._library.view(*key)
                if catalogue.searched:
                    await self._index(catalogue)

    def changed(self) -> None:
        """Somebody may see other tools now."""
        if self._searched:
            self._due.set()

    # --- find_tools ---------------------------------------------------------------------------------------------------

    async def find(self, call: Call) -> dict[str, Any]:
        """The result of `find_tools`.

        Raises:
            InvalidParams: the arguments are not what its schema says.
        """
        wish, limit = _wish(call)
        await self._lookup.settle(call)
        catalogue = self._lookup.catalogue(call)
        self._remember((call.view, self._lookup.grant(call), self._lookup.selection(call)))
        names = (await self._index(catalogue)).search(wish, limit)
        tools = {tool["name"]: tool for tool in catalogue.searched}
        shown = await adapted.shown_in_steps(catalogue, (tools[name] for name in names))
        found = [{key: tool[key] for key in _SHOWN if key in tool} for tool in shown]
        self._keep(call.agent, catalogue, [tool["name"] for tool in shown])
        text = jsonrpc.dumps({"tools": found}).decode() if found else "No tool fits that. Try other words."
        return {"content": [{"type": "text", "text": text}], "isError": False}

    async def _index(self, catalogue: Catalogue) -> ToolIndex:
        """Made in short steps; whoever comes meanwhile waits for the same one."""
        index: ToolIndex | None = catalogue.pages.get(_INDEX)
        if index is not None:
            return index
        async with self._indexing:
            if (index := catalogue.pages.get(_INDEX)) is None:
                pause, some = Pause(), list[tuple[str, ToolWords]]()
                for tool in catalogue.searched:
                    await pause.if_due()
                    some.append((tool["name"], _words(tool, catalogue.tool_owners[tool["name"]])))
                index = catalogue.pages[_INDEX] = ToolIndex(some)
            return index

    def _remember(self, key: Key) -> None:
        self._searched[key] = None
        self._searched.move_to_end(key)
        if len(self._searched) > MAX_SEARCHED:
            self._searched.popitem(last=False)

    # --- call_tool ----------------------------------------------------------------------------------------------------

    def unwrap(self, call: Call) -> str:
        """Make of a call of `call_tool` one of the tool that it names; returns that name.

        Raises:
            InvalidParams: the arguments are not what its schema says.
        """
        jsonrpc.opened(call.params)
        given = as_object(call.params.get("arguments"))
        name, arguments = string(given, "name"), given.get("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            raise InvalidParams("arguments.arguments must be an object")
        rest = {key: value for key, value in call.params.items() if key not in ("name", "arguments")}
        call.params = {**rest, "name": name, "arguments": cast("dict[str, Any]", arguments or {})}
        call.agent_headers = None  # what the agent has mirrored are the arguments of `call_tool`
        return name

    def question(self, call: Call, owner: Owner) -> dict[str, Any] | None:
        """What the agent's user is asked before it is called, if anything."""
        if (
            not self._lookup.catalogue(call).confirms
            or as_object(owner.item.get("annotations")).get("readOnlyHint") is True
        ):
            return None
        arguments = harmless(jsonrpc.dumps(call.params["arguments"]).decode())
        shown = arguments if len(arguments) <= MAX_SHOWN else arguments[:MAX_SHOWN] + "…"
        message = f"Call the tool {harmless(call.params['name'])} of {harmless(owner.upstream)} with {shown}?"
        return {"message": message, "requestedSchema": {"type": "object", "properties": {}}}

    # --- What a session has found -------------------------------------------------------------------------------------

    def _keep(self, agent: Agent, catalogue: Catalogue, names: list[str]) -> None:
        """They join the list of a session of the handshake era: its client calls only what is listed."""
        if catalogue.discovery != "search" or agent.era is not Era.HANDSHAKE or not agent.lasting:
            return
        found = self._found.setdefault(agent.id, OrderedDict())
        listed = {tool["name"] for tool in catalogue.tools}
        fresh = [name for name in names if name not in found and name not in listed]
        for name in names:
            if name in found:
                found.move_to_end(name)
        if not fresh:
            return
        facts: dict[str, str | None] = {FACT + name: "" for name in fresh}
        found |= dict.fromkeys(fresh)
        while len(found) > MAX_FOUND:
            facts[FACT + found.popitem(last=False)[0]] = None
        self.note(agent, facts)
        agent.notify(CHANGE_NOTIFICATIONS["tools"], None)

    def restore(self, agent: Agent, facts: Mapping[str, str | None]) -> None:
        """What a session has found, here before or at another node."""
        found = self._found.setdefault(agent.id, OrderedDict())
        for fact, value in facts.items():
            if fact.startswith(FACT):
                name = fact.removeprefix(FACT)
                if value is None:
                    found.pop(name, None)
                else:
                    found[name] = None
        if not found:
            del self._found[agent.id]

    def close(self, agent: Agent) -> None:
        """It has gone."""
        self._found.pop(agent.id, None)

    def found(self, viewer: Viewer, catalogue: Catalogue) -> list[Item]:
        """What a session sees in its list besides what all see."""
        names = self._found.get(viewer.agent.id) if catalogue.discovery == "search" and viewer.agent.lasting else None
        if not names:
            return []
        listed = {tool["name"] for tool in catalogue.tools}
        tools = [tool for tool in catalogue.searched if tool["name"] in names and tool["name"] not in listed]
        return [for_handshake(tool) for tool in adapted.all_shown(catalogue, tools)]


def is_ours(name: object, catalogue: Catalogue) -> bool:
    """Whether the gateway answers a call of that tool itself."""
    return name == catalogue.reader or (catalogue.discovery != "list" and name in (FIND_TOOLS, CALL_TOOL))


def _wish(call: Call) -> tuple[str, int]:
    jsonrpc.opened(call.params)
    given = as_object(call.params.get("arguments"))
    limit = given.get("limit", DEFAULT_LIMIT)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidParams(f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return string(given, "query"), min(limit, MAX_LIMIT)


def _words(tool: Item, owner: Owner) -> ToolWords:
    """Those of a tool by its name and description here. Worked out once."""
    known: dict[tuple[str, object], ToolWords] = owner.memo.setdefault(_WORDS, {})
    key = tool["name"], tool.get("description")
    if (words := known.get(key)) is None:
        public = tool["name"].removeprefix(public_prefix(owner.upstream) + SEPARATOR)
        words = known[key] = words_of_tool(Described.of(tool, [owner.original, public], owner.upstream))
    return words
