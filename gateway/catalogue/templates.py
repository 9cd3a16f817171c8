"""Which resource templates a URI nobody listed may come from, at a bounded cost.

Templates are the upstreams', URIs the agents'; neither may hold up the event loop.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.catalogue.naming import unprefixed
from gateway.catalogue.patterns import Pattern, pattern
from gateway.upstream.listing import Item

BUDGET: Final = 2_000_000
"""Characters of URI × characters of template to compare for one upstream in one lookup: 30 ms at the very worst."""


@dataclass(frozen=True, slots=True)
class Template:
    """One published resource template."""

    upstream: str
    original: str
    """The upstream's own `uriTemplate` (RFC 6570)."""
    prefix: str
    """What its public form has in front of `original`; empty unless an earlier upstream could own some of its URIs."""
    item: Item

    @property
    def pattern(self) -> Pattern:
        return pattern(self.original)


def specificity(template: Template) -> tuple[int, str]:
    """Sort key: those with the most literal text first."""
    literal = sum(len(part.rpartition("}")[2]) for part in template.original.split("{"))
    return (-literal, template.original)


def matching(templates: Iterable[Template], uri: str, *, public: bool = True) -> list[tuple[Template, str]]:
    """The templates that `uri` may come from, each with the upstream's own form of the URI, in the given order.

    With `public=False`, `uri` is in an upstream's own form already. A template whose comparison would exceed its
    upstream's `BUDGET` does not match.
    """
    spent = Counter[str]()
    found: list[tuple[Template, str]] = []
    for template in templates:
        own = unprefixed(template.prefix, uri) if public else uri
        if own is None or not own.startswith(template.pattern.head):
            continue
        cost = len(own) * len(template.original)
        if spent[template.upstream] + cost > BUDGET:
            continue
        spent[template.upstream] += cost
        if template.pattern.match(own):
            found.append((template, own))
    return found
