"""The catalogue: what agents see, and who owns each of it. Frozen; a change upstream makes a new one.

Built by `merge`. `Catalogue()` is the empty one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.catalogue.intake import Dropped
from gateway.catalogue.naming import prefixed
from gateway.catalogue.templates import Template, matching
from gateway.upstream.listing import Item

ChangeKind = Literal["tools", "resources", "prompts"]


@dataclass(frozen=True, slots=True)
class Owner:
    """Where a public name or URI leads."""

    upstream: str
    original: str
    """The name or URI to send to the upstream."""
    item: Item
    """The upstream's item, under its own name."""
    memo: dict[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)
    """What others have worked out about the item, and need not again."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A URI that several upstreams publish as their own. It is nobody's; `choices` are the public forms to use."""

    choices: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    """Everything one view of the gateway offers, and the index back."""

    tools: tuple[Item, ...] = ()
    resources: tuple[Item, ...] = ()
    templates: tuple[Item, ...] = ()
    prompts: tuple[Item, ...] = ()
    capabilities: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`ServerCapabilities` that the upstreams together can honour."""
    instructions: str | None = None
    ttl_ms: int | None = None
    """The smallest of the upstreams'; None when none gave one."""
    private: bool = False
    """Whether any upstream's lists are."""
    dropped: tuple[Dropped, ...] = ()
    fingerprints: Mapping[ChangeKind, str] = field(default_factory=dict[ChangeKind, str])
    """Hash of each list as agents see it; templates count as resources. An empty list has none."""

    tool_owners: Mapping[str, Owner] = field(default_factory=dict[str, Owner], repr=False)
    prompt_owners: Mapping[str, Owner] = field(default_factory=dict[str, Owner], repr=False)
    resource_owners: Mapping[str, Owner | Ambiguous] = field(default_factory=dict[str, Owner | Ambiguous], repr=False)
    template_owners: Mapping[str, Owner | Ambiguous] = field(default_factory=dict[str, Owner | Ambiguous], repr=False)
    matchers: tuple[Template, ...] = field(default=(), repr=False)
    """Every template, most specific first."""
    listed_uris: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str], repr=False)
    """`(upstream, own URI)` → public URI, of the listed resources."""

    def tool(self, public: str) -> Owner | None:
        return self.tool_owners.get(public)

    def prompt(self, public: str) -> Owner | None:
        return self.prompt_owners.get(public)

    def resource(self, uri: str) -> Owner | Ambiguous | None:
        """The owner of a listed resource. None: nobody lists it; try `templates_for`. Ambiguous: do not."""
        return self.resource_owners.get(uri)

    def template(self, uri_template: str) -> Owner | Ambiguous | None:
        """The owner of a template named literally, as `completion/complete` does."""
        return self.template_owners.get(uri_template)

    def templates_for(self, uri: str) -> list[Owner] | Ambiguous:
        """Who may serve a URI that nobody listed, best guess first; `original` is the URI to ask for.

        Ambiguous when it fits only templates that several upstreams publish alike: like a listed URI, it then has to be
        asked for in one of its public forms.
        """
        owners: dict[tuple[str, str], Owner] = {}
        for template, own in matching(self.matchers, uri):
            owners.setdefault((template.upstream, own), Owner(template.upstream, own, template.item))
        if owners:
            return list(owners.values())
        contested = matching((template for template in self.matchers if template.prefix), uri, public=False)
        choices = dict.fromkeys(prefixed(template.prefix, uri) for template, _ in contested)
        return Ambiguous(tuple(choices)) if choices else []

    def public_uris(self, upstream: str, own: str) -> tuple[str, ...]:
        """Every URI under which agents may know the upstream's own one, the listed form first. At least one.

        What `notifications/resources/updated` goes out as: an agent may have subscribed to any of them.
        """
        listed = self.listed_uris.get((upstream, own))
        forms = [] if listed is None else [listed]
        templates = (template for template in self.matchers if template.upstream == upstream)
        forms += (prefixed(template.prefix, own) for template, _ in matching(templates, own, public=False))
        reachable = [form for form in forms if not isinstance(self.resource(form), Ambiguous)]
        return tuple(dict.fromkeys(reachable)) or (own,)

    def public_uri(self, upstream: str, own: str) -> str:
        """The first of `public_uris`."""
        return self.public_uris(upstream, own)[0]


def changed(old: Catalogue, new: Catalogue) -> set[ChangeKind]:
    """Which lists differ for an agent."""
    kinds: tuple[ChangeKind, ...] = ("tools", "resources", "prompts")
    return {kind for kind in kinds if old.fingerprints.get(kind) != new.fingerprints.get(kind)}
