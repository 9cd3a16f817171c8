"""What of an upstream's listing may be published: the owner's rules applied, the unusable left out and reported.

One upstream's broken item must not break the list it would stand in, for it would break it for all upstreams.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast

from gateway import jsonrpc, sdk
from gateway.catalogue.repairs import Unfit, repaired, without_task_support
from gateway.protocol import MODERN_VERSIONS
from gateway.spelling import offers
from gateway.upstream.listing import Item, Listing, is_login_tool, offers_tasks

if TYPE_CHECKING:
    from gateway.config.models import ResultsConfig, ServerConfig

Kind = Literal["tools", "resources", "templates", "prompts", "skills"]

KEYS: Final[Mapping[Kind, str]] = {
    "tools": "name",
    "resources": "uri",
    "templates": "uriTemplate",
    "prompts": "name",
    "skills": "uri",
}
"""Kind → what identifies an item of it."""

MAX_DEPTH: Final = 256
"""Levels an item may nest. The standard library's encoder gives up at about 1,000, less its caller's own depth."""

_LONGEST_REPORTED: Final = 200


@dataclass(frozen=True, slots=True)
class CompiledToolRules:
    """What the owner of the gateway wants of one upstream's tools. All names are the upstream's own."""

    allow: tuple[str, ...] = ("*",)
    """Globs (case-sensitive) of the tools to offer. An empty tuple offers none."""
    deny: tuple[str, ...] = ()
    """Globs of the tools not to offer. Wins over `allow`."""
    rename: Mapping[str, str] = field(default_factory=dict[str, str])
    """Own name → what to call it instead, before prefixing."""
    describe: Mapping[str, str] = field(default_factory=dict[str, str])
    """Own name → the description agents see."""
    in_words: bool = False
    """Whether globs match names in words, too: an API's document writes them as it likes."""
    results: "ResultsConfig | None" = None
    """How much of a result's text agents are given at once."""

    @classmethod
    def of(cls, server: "ServerConfig") -> "CompiledToolRules":
        """Those of the configuration."""
        rules = server.tools
        in_words = server.openapi is not None
        globs = tuple(rules.allow), tuple(rules.deny)
        return cls(*globs, dict(rules.rename), dict(rules.describe), in_words, server.results)

    def offers(self, tool: str) -> bool:
        """Whether agents may see and call it."""
        return offers(tool, self.allow, self.deny, words=self.in_words)

    def limit_of(self, tool: str) -> int | None:
        """Most tokens of a result's text that agents are given at once; None: all there are."""
        return self.results.limit_of(tool, words=self.in_words) if self.results is not None else None


@dataclass(frozen=True, slots=True)
class UpstreamItems:
    """One upstream as the catalogue sees it."""

    name: str
    listing: Listing
    rules: CompiledToolRules = field(default_factory=CompiledToolRules)


@dataclass(frozen=True, slots=True)
class DroppedItem:
    """An item left out because it cannot be served. What the owner's rules hide is not reported."""

    upstream: str
    kind: Kind
    name: str
    """The upstream's own name or URI; `#n`, counted from 0, when it has none."""
    reason: str


@dataclass(frozen=True, slots=True)
class ListedItem:
    """One item that may be published."""

    upstream: str
    original: str
    item: Item
    """The upstream's item under its own name, repaired, with the owner's description if there is one."""
    encoded: bytes
    """`item` as JSON."""
    raw: Item
    """The item as the upstream sent it."""
    max_tokens: int | None = None
    """Of a tool: most tokens of a result's text that agents are given at once."""


def admit(upstream: UpstreamItems, kind: Kind, dropped: list[DroppedItem]) -> list[ListedItem]:
    """The items of `kind` that may be published, in the upstream's own order. Appends the others to `dropped`."""
    items: tuple[object, ...] = getattr(upstream.listing, kind)
    entries: dict[str, ListedItem] = {}
    for position, item in enumerate(items):
        name = _identity(item, KEYS[kind])
        if name is None:
            dropped.append(
                DroppedItem(upstream.name, kind, f"#{position}", f"not an object with a string {KEYS[kind]!r}")
            )
            continue
        if kind == "tools" and not upstream.rules.offers(name) and not is_login_tool(name, cast("Item", item)):
            continue
        entry = "listed more than once" if name in entries else _entry(upstream, kind, name, cast("Item", item))
        if isinstance(entry, ListedItem):
            entries[name] = entry
        else:
            dropped.append(DroppedItem(upstream.name, kind, name[:_LONGEST_REPORTED], entry))
    return list(entries.values())


def encode(value: object) -> bytes | None:
    """`value` as JSON; None when it could not be part of an answer."""
    try:
        encoded = jsonrpc.dumps_to_keep(value)
    except (ValueError, RecursionError):
        return None
    brackets = encoded.count(b"{") + encoded.count(b"[")
    return encoded if brackets <= MAX_DEPTH or jsonrpc.depth(value) <= MAX_DEPTH else None


def _identity(item: object, key: str) -> str | None:
    name = cast("Item", item).get(key) if isinstance(item, dict) else None
    return name if isinstance(name, str) and name else None


def _entry(upstream: UpstreamItems, kind: Kind, name: str, raw: Item) -> ListedItem | str:
    """The entry, or why there is none."""
    try:
        item = repaired(kind, raw, modern=upstream.listing.version in MODERN_VERSIONS)
    except Unfit as unfit:
        return str(unfit)
    if kind == "tools" and "execution" in item and not offers_tasks(upstream.listing):
        item = without_task_support(item)
    if kind == "tools" and name in upstream.rules.describe:
        item = {**item, "description": upstream.rules.describe[name]}
    is_its_tool = kind == "tools" and not is_login_tool(name, raw)
    max_tokens = upstream.rules.limit_of(name) if is_its_tool else None
    if max_tokens is not None and "outputSchema" in item:  # structured content, which it describes, may be left out
        item = {key: value for key, value in item.items() if key != "outputSchema"}
    encoded = encode(item)
    if encoded is None:
        return f"cannot be written as JSON of at most {MAX_DEPTH} levels"
    if kind == "tools" and upstream.listing.version in MODERN_VERSIONS and b'"x-mcp-header"' in encoded:
        sdk.load()
        from mcp.shared.inbound import find_invalid_x_mcp_header

        if reason := find_invalid_x_mcp_header(item["inputSchema"]):
            return reason
    return ListedItem(upstream.name, name, item, encoded, raw, max_tokens)
