"""How a view shows what it has: by other names and words, with instructions of its own, and with a short list in place
of a long one.

What there is to show was decided before, by rules over public names; a shape hides nothing from who knows its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from gateway import jsonrpc
from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner
from gateway.catalogue.intake import KEYS, Kind
from gateway.catalogue.naming import unused
from gateway.upstream.listing import Item

if TYPE_CHECKING:
    from gateway.config.models import Config, GatewaySettings, ProfileConfig
    from gateway.config.models.profiles import Discovery
    from gateway.dialects.dialect import SchemaDialect

FIND_TOOLS: Final = "find_tools"
CALL_TOOL: Final = "call_tool"

FINDER: Final[Item] = {
    "name": FIND_TOOLS,
    "title": "Find tools",
    "description": (
        "Search the tools that are not listed here. Say in a few words what is to be done, for example 'reply to a "
        "customer' or 'create a calendar event'. The answer has the best tools with their input schemas; call them by "
        "their names, or with call_tool."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What is to be done, in words."},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 20,
                "default": 5,
                "description": "How many tools to return at most.",
            },
        },
        "required": ["query"],
    },
    "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
}
CALLER: Final[Item] = {
    "name": CALL_TOOL,
    "title": "Call a tool",
    "description": "Call a tool that find_tools has found, by its name, with arguments as its input schema wants them.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "The tool's name, as find_tools has it."},
            "arguments": {"type": "object", "description": "What its input schema describes."},
        },
        "required": ["name"],
    },
    "annotations": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True},
}
OWN_TOOLS: Final = {FIND_TOOLS: FINDER, CALL_TOOL: CALLER}
MORE_TOOLS: Final = f"There are more tools than are listed: describe what you need to `{FIND_TOOLS}`."


@dataclass(eq=False)
class ViewShape:
    """One view's. Equal only to itself: made anew with each configuration."""

    names: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict[Kind, Mapping[str, str]])
    """Kind → public name → the name here."""
    words: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict[Kind, Mapping[str, str]])
    """Kind → public name or URI → the description here."""
    instructions: str | None = None
    discovery: "Discovery" = "list"
    pinned: tuple[str, ...] = ()
    """Globs over the names here."""
    confirm: bool = False
    dialect: "SchemaDialect | None" = None

    @classmethod
    def of(cls, profile: "ProfileConfig") -> "ViewShape":
        rules = profile.tools, profile.prompts, profile.resources
        tools, prompts, resources = (dict(each.describe) for each in rules)
        return cls(
            {"tools": dict(profile.tools.rename), "prompts": dict(profile.prompts.rename)},
            {"tools": tools, "prompts": prompts, "resources": resources, "templates": resources},
            profile.instructions,
            profile.discovery,
            tuple(profile.pinned),
            profile.confirm,
            _dialect(profile.schema_) if profile.schema_ is not None else None,
        )

    @classmethod
    def of_merged(cls, settings: "GatewaySettings") -> "ViewShape | None":
        """That of `/mcp`; None if it shows the merged catalogue as it is."""
        if settings.discovery == "list":
            return None
        return cls(discovery=settings.discovery, pinned=tuple(settings.pinned), confirm=settings.confirm)

    @property
    def searches(self) -> bool:
        return self.discovery != "list"

    def apply(self, catalogue: Catalogue) -> Catalogue:
        """What is shown of a catalogue. The same owners, by the names here."""
        tools, tool_owners = self._named("tools", catalogue.tools, catalogue.tool_owners)
        prompts, prompt_owners = self._named("prompts", catalogue.prompts, catalogue.prompt_owners)
        shown = replace(
            catalogue,
            tools=tools,
            prompts=prompts,
            resources=tuple(self._worded("resources", item) for item in catalogue.resources),
            templates=tuple(self._worded("templates", item) for item in catalogue.templates),
            tool_owners=tool_owners,
            prompt_owners=prompt_owners,
            instructions=catalogue.instructions if self.instructions is None else self.instructions,
            fingerprints=self._fingerprints(catalogue),
            dialect=self.dialect,
        )
        return self._searched(shown) if self.searches else shown

    def pins(self, name: str) -> bool:
        """Whether the tool of that name is listed in any case."""
        return any(fnmatchcase(name, glob) for glob in self.pinned)

    def _searched(self, catalogue: Catalogue) -> Catalogue:
        pinned = [tool for tool in catalogue.tools if self.pins(tool["name"])]
        listed = sorted([*pinned, *OWN_TOOLS.values()], key=lambda tool: tool["name"])
        return replace(
            catalogue,
            tools=tuple(listed),
            searched=catalogue.tools,
            discovery=self.discovery,
            confirms=self.confirm,
            capabilities={**catalogue.capabilities, "tools": {"listChanged": True}},
            instructions="\n\n".join(filter(None, (catalogue.instructions, MORE_TOOLS))),
        )

    def _named(
        self, kind: Kind, items: tuple[Item, ...], owners: Mapping[str, Owner]
    ) -> tuple[tuple[Item, ...], Mapping[str, Owner]]:
        """By their names here. Where two have one, the one that is not called so by the file gets another."""
        renamed = {public: name for public, name in self.names.get(kind, {}).items() if public in owners}
        own = OWN_TOOLS.keys() if kind == "tools" and self.searches else ()
        if not renamed and not self.words.get(kind) and owners.keys().isdisjoint(own):
            return items, owners
        taken = {*own, *renamed.values()}
        shown: dict[str, Owner] = {}
        called: dict[str, str] = {}
        for item in items:
            public: str = item["name"]
            name: str = renamed.get(public) or public
            if public not in renamed and name in taken:
                owner = owners[public]
                name = unused(name, f"{owner.upstream} {owner.original}", {*taken, *owners, *shown})
            called[public] = name
            shown[name] = owners[public]
        words = self.words.get(kind, {})
        made = [_changed(item, name=called[item["name"]], words=words.get(item["name"])) for item in items]
        return tuple(sorted(made, key=lambda item: item["name"])), shown

    def _worded(self, kind: Kind, item: Item) -> Item:
        words = self.words.get(kind, {}).get(item[KEYS[kind]])
        return item if words is None else {**item, "description": words}

    def _fingerprints(self, catalogue: Catalogue) -> dict[ChangeKind, str]:
        """Other ones than those of the same catalogue in another shape."""
        found = dict(catalogue.fingerprints)
        if self.searches:
            found.setdefault("tools", "")
        digests: dict[ChangeKind, str] = {}
        for kind, before in found.items():
            dialect = self.dialect.name if self.dialect is not None else None
            search = [self.discovery, sorted(self.pinned), dialect] if kind == "tools" else []
            shape = jsonrpc.dumps([before, self.names.get(kind, {}), self.words.get(kind, {}), search])
            digests[kind] = blake2b(shape, digest_size=16).hexdigest()
        return digests


def shapes_of(config: "Config") -> dict[str | None, ViewShape]:
    """Those of the configuration: of each profile by its name, and with None of the merged catalogue if it has one."""
    shapes: dict[str | None, ViewShape] = {name: ViewShape.of(profile) for name, profile in config.profiles.items()}
    if (merged := ViewShape.of_merged(config.gateway)) is not None:
        shapes[None] = merged
    return shapes


def _changed(item: Item, *, name: str, words: str | None) -> Item:
    changed: dict[str, Any] = {}
    if name != item["name"]:
        changed["name"] = name
    if words is not None:
        changed["description"] = words
    return {**item, **changed} if changed else item


def _dialect(name: str) -> "SchemaDialect":
    from gateway.dialects.dialect import DIALECTS  # for profiles with `schema` alone, as what `adapted` has of it

    return DIALECTS[name]
