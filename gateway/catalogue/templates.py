"""Which resource templates a URI nobody listed may come from, at a bounded cost.

Templates are the upstreams', URIs the agents'; neither may hold up the event loop.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from gateway import sdk
from gateway.catalogue.naming import unprefixed
from gateway.upstream.listing import Item

if TYPE_CHECKING:
    from mcp.shared.uri_template import UriTemplate

BUDGET: Final = 2_000_000
"""Characters of URI × characters of template to compare for one upstream in one lookup: 30 ms at the very worst."""


@dataclass(frozen=True)
class Template:
    """One published resource template."""

    upstream: str
    original: str
    """The upstream's own `uriTemplate` (RFC 6570)."""
    prefix: str
    """What its public form has in front of `original`; empty unless several upstreams publish the same template."""
    item: Item

    @cached_property
    def head(self) -> str:
        """The literal text that every matching URI starts with."""
        return self.original.partition("{")[0]

    @cached_property
    def parsed(self) -> "UriTemplate | None":
        """None when the SDK cannot match such a template (two adjacent variables, `{var:3}`, …)."""
        sdk.load()
        from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

        try:
            return UriTemplate.parse(self.original)
        except InvalidUriTemplate:
            return None


def specificity(template: Template) -> tuple[bool, int, str, str]:
    """Sort key: public forms that name their upstream first, then those with the most literal text."""
    literal = sum(len(part.rpartition("}")[2]) for part in template.original.split("{"))
    return (not template.prefix, -literal, template.original, template.upstream)


def matching(templates: Iterable[Template], uri: str, *, public: bool = True) -> list[tuple[Template, str]]:
    """The templates that `uri` may come from, each with the upstream's own form of the URI.

    In the given order, those whose literal head is all that can be compared last. With `public=False`, `uri` is in an
    upstream's own form already. A template whose comparison would exceed its upstream's `BUDGET` does not match.
    """
    spent = Counter[str]()
    certain: list[tuple[Template, str]] = []
    likely: list[tuple[Template, str]] = []
    for template in templates:
        own = unprefixed(template.prefix, uri) if public else uri
        if own is None or not own.startswith(template.head):
            continue
        cost = len(own) * len(template.original)
        if spent[template.upstream] + cost > BUDGET:
            continue
        spent[template.upstream] += cost
        if template.parsed is None:
            if template.head:
                likely.append((template, own))
        elif template.parsed.match(own) is not None:
            certain.append((template, own))
    return certain + likely
