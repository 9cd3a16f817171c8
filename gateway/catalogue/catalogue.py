"""The catalogue: what agents see, and who owns each of it. Frozen; a change upstream makes a new one.

Built by `merge`. `Catalogue()` is the empty one.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway import jsonrpc
from gateway.catalogue.intake import DroppedItem
from gateway.catalogue.naming import prefixed
from gateway.catalogue.ownership import Ownership
from gateway.catalogue.templates import Template, matching
from gateway.upstream.listing import Item

if TYPE_CHECKING:
    from gateway.dialects.dialect import SchemaDialect

ChangeKind = Literal["tools", "resources", "prompts"]

NOBODYS: Final = Ownership()


@dataclass(frozen=True, slots=True)
class Owner:
    """Where a public name or URI leads."""

    upstream: str
    original: str
    """The name or URI to send to the upstream."""
    item: Item
    """The upstream's item, under its own name."""
    max_tokens: int | None = None
    """Of a tool: most tokens of a result's text that agents are given at once; None: all there are."""
    memo: dict[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)
    """What others have worked out about the item, and need not again."""


@dataclass(frozen=True)
class Catalogue:
    """Everything one view of the gateway offers, and the index back."""

    tools: tuple[Item, ...] = ()
    resources: tuple[Item, ...] = ()
    templates: tuple[Item, ...] = ()
    prompts: tuple[Item, ...] = ()
    skills: tuple[Item, ...] = ()
    capabilities: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`ServerCapabilities` that the upstreams together can honour."""
    instructions: str | None = None
    ttl_ms: int | None = None
    """The smallest of the upstreams'; None when none gave one."""
    private: bool = False
    """Whether any upstream's lists are."""
    dropped: tuple[DroppedItem, ...] = ()
    fingerprints: Mapping[ChangeKind, str] = field(default_factory=dict[ChangeKind, str])
    """Hash of each list as agents see it; templates and skills count as resources. An empty list has none."""
    searched: tuple[Item, ...] = ()
    """All tools, where agents search them instead of being shown them all; `tools` are then those that are listed."""
    discovery: Literal["list", "search", "search-only"] = "list"
    confirms: bool = False
    """Whether somebody is asked before `call_tool` calls a tool that may change something."""
    dialect: "SchemaDialect | None" = None
    """Of which model's API the input schemas are that agents see; `tools` and `searched` have the upstreams' own."""
    keeps_results: bool = False
    """Whether it has a tool of whose results no more than some tokens are given at once."""
    reader: str | None = None
    """The name of the gateway's own tool that reads what was kept of such results, where it is offered."""

    tool_owners: Mapping[str, Owner] = field(default_factory=dict[str, Owner], repr=False)
    prompt_owners: Mapping[str, Owner] = field(default_factory=dict[str, Owner], repr=False)
    resource_owners: Mapping[str, Owner] = field(default_factory=dict[str, Owner], repr=False)
    template_owners: Mapping[str, Owner] = field(default_factory=dict[str, Owner], repr=False)
    skill_owners: Mapping[str, Owner] = field(default_factory=dict[str, Owner], repr=False)
    links: Mapping[str, Owner] = field(default_factory=dict[str, Owner], repr=False)
    """Public URI → owner, of the user interfaces that tools link to, and the files of skills, that nobody lists."""
    matchers: tuple[Template, ...] = field(default=(), repr=False)
    """Every template, most specific first."""
    listed_uris: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str], repr=False)
    """`(upstream, own URI)` → public URI, of the listed resources."""
    ownership: Ownership = field(default=NOBODYS, compare=False, repr=False)
    pages: dict[Hashable, Any] = field(default_factory=dict[Hashable, Any], init=False, compare=False, repr=False)
    """Pages of lists as they are sent, once somebody has asked for them, and the index of `searched`. Not given to
    `__init__`, so that `replace` makes new ones: what is made of a catalogue shows other things."""

    @property
    def size(self) -> int:
        """How many items there are."""
        tools = self.searched or self.tools
        return len(tools) + len(self.resources) + len(self.templates) + len(self.prompts) + len(self.skills)

    def tool(self, public: str) -> Owner | None:
        return self.tool_owners.get(public)

    def prompt(self, public: str) -> Owner | None:
        return self.prompt_owners.get(public)

    def resource(self, uri: str) -> Owner | None:
        """The owner of a listed resource. None: nobody lists it; try `unlisted`."""
        return self.resource_owners.get(uri)

    def template(self, uri_template: str) -> Owner | None:
        """The owner of a template named literally, as `completion/complete` does."""
        return self.template_owners.get(uri_template)

    def unlisted(self, uri: str) -> Owner | None:
        """Who may serve a URI that nobody lists; `original` is the URI to ask for, `item` the template it fits, if any.

        The one whose public form of a template it fits; else the owner of the bare URI, even if others would fit; else
        the upstream whose prefix it has.
        """
        link = self.links.get(uri)
        if link is not None:
            return link
        for template, own in matching((template for template in self.matchers if template.prefix), uri):
            return Owner(template.upstream, own, template.item)
        upstream = self.ownership.owner(uri)
        mine = (template for template in self.matchers if template.upstream == upstream)
        for template, own in matching(mine, uri, public=False):
            return Owner(template.upstream, own, template.item)
        named = self.ownership.named(uri)
        return Owner(*named, {}) if named is not None else None

    def public_uris(self, upstream: str, own: str) -> tuple[str, ...]:
        """Every URI that leads to the upstream's own one, the form that links have first."""
        forms = [self.listed_uris.get((upstream, own)) or self.ownership.public(upstream, own)]
        mine = (template for template in self.matchers if template.upstream == upstream and template.prefix)
        forms += (prefixed(template.prefix, own) for template, _ in matching(mine, own, public=False))
        return tuple(dict.fromkeys(forms))


def fingerprint(shown: Iterable[tuple[str, Owner]]) -> str:
    """Hash of a list as agents see it, by public name or URI."""
    digest = blake2b(digest_size=16)
    for public, owner in shown:
        digest.update(jsonrpc.dumps(public) + jsonrpc.dumps(owner.item))
    return digest.hexdigest()


def changed(old: Catalogue, new: Catalogue) -> set[ChangeKind]:
    """Which lists differ for an agent."""
    kinds: tuple[ChangeKind, ...] = ("tools", "resources", "prompts")
    differ: set[ChangeKind] = {kind for kind in kinds if old.fingerprints.get(kind) != new.fingerprints.get(kind)}
    if old.keeps_results != new.keeps_results:
        differ.update(("tools", "resources"))  # where there is a tool and a template of ours
    return differ
