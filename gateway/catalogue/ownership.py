"""Who owns which URI. Pure.

URIs stay as they are, so several upstreams may mean different things by one. The first in the order of the
configuration that lists a URI, or has a template that matches it, owns the bare one; the later ones are published with
a prefix. So whatever a later upstream comes to list, no route of an earlier one changes, and routes are the same for
everybody, whoever may see which upstream.

Claims are made anew when their upstream lists anew, and compared in pairs; one update compares one upstream with the
others.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, takewhile
from typing import Final, Literal

from gateway.catalogue import patterns
from gateway.catalogue.naming import UI_SCHEME, prefixed, unprefixed, uri_prefixes
from gateway.catalogue.patterns import Pattern, pattern
from gateway.catalogue.templates import BUDGET

UriKind = Literal["resources", "templates"]
Item = tuple[UriKind, str]
"""A URI or a template."""

MAX_STEPS: Final = 50_000
"""What comparing the claims of two upstreams may cost, about 10 ms. If that is not enough, all of the later one counts
as shadowed, which is always safe: a URI with a prefix has one owner, whatever others list."""
_MAX_TREES: Final = 100
_MATCH: Final = 25
"""Steps that matching a URI costs, and one more for each so many of its characters."""


@dataclass(frozen=True)
class Claims:
    """The URIs that one upstream can serve."""

    uris: frozenset[str] = frozenset()
    """What it lists, and what its tools link to as their user interface."""
    templates: tuple[Pattern, ...] = ()

    @staticmethod
    def of(uris: Iterable[str], templates: Iterable[str]) -> "Claims":
        return Claims(frozenset(uris), tuple(pattern(each) for each in dict.fromkeys(templates)))

    def __bool__(self) -> bool:
        return bool(self.uris or self.templates)

    @cached_property
    def in_order(self) -> list[str]:
        return sorted(self.uris)

    def items(self) -> Iterator[Item]:
        return _items(self.uris, (each.text for each in self.templates))

    def and_(self, more: "Claims") -> "Claims":
        return Claims(self.uris | more.uris, self.templates + more.templates)

    def cover(self, uri: str) -> bool:
        """Whether it lists the URI or has a template that matches it."""
        if uri in self.uris:
            return True
        left = BUDGET
        for each in self.templates:
            cost = len(uri) * len(each.text)
            if uri.startswith(each.head) and cost <= left:
                left -= cost
                if each.match(uri):
                    return True
        return False

    @cached_property
    def prefixes(self) -> frozenset[str]:
        """What stands before the first `+` of its URIs and templates, with it: what could be taken for a prefix."""
        texts = (text.removeprefix(UI_SCHEME) for text in (*self.uris, *(each.head for each in self.templates)))
        return frozenset(text[: text.index("+") + 1] for text in texts if "+" in text)

    def without(self, some: "Shadowed") -> "Claims":
        return Claims(self.uris - some.uris, tuple(each for each in self.templates if each.text not in some.templates))

    def contain(self, template: Pattern) -> bool:
        """Whether all URIs of a template are surely among these. False does not say that some are not."""
        return template.shape in self._shapes or any(template.head.startswith(head) for head in self._whole_trees)

    @cached_property
    def _shapes(self) -> frozenset[object]:
        return frozenset(each.shape for each in self.templates)

    @cached_property
    def _whole_trees(self) -> list[str]:
        trees = (each.head for each in self.templates if each.is_whole_tree)
        return list(islice(dict.fromkeys(trees), _MAX_TREES))

    def under(self, prefix: str) -> Iterator[Item]:
        """Its URIs and templates that look as if they had that prefix."""
        if prefix not in self.prefixes:
            return
        for start in (prefix, UI_SCHEME + prefix):
            for uri in _starting_with(self.in_order, start):
                yield "resources", uri
            for each in self.templates:
                if each.text.startswith(start):
                    yield "templates", each.text


def _items(uris: Iterable[str], templates: Iterable[str]) -> Iterator[Item]:
    for uri in uris:
        yield "resources", uri
    for template in templates:
        yield "templates", template


NONE: Final = Claims()


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What of an upstream's an earlier one could own."""

    uris: frozenset[str] = frozenset()
    templates: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.uris or self.templates)

    def items(self) -> Iterator[Item]:
        return _items(self.uris, self.templates)


NOTHING: Final = Shadowed()


def shadowed(own: Claims, earlier: Claims) -> Shadowed:
    """Compare the claims of two upstreams."""
    if not own.templates and not earlier.templates:
        return Shadowed(own.uris & earlier.uris)
    try:
        left = _Allowance(MAX_STEPS)
        uris = _matched(own, earlier.templates, left)
        templates = [each.text for each in own.templates if _is_covered(each, earlier, left)]
    except _UsedUpError:
        return Shadowed(own.uris, frozenset(each.text for each in own.templates))
    return Shadowed(own.uris & earlier.uris | uris, frozenset(templates))


def _matched(own: Claims, templates: Iterable[Pattern], left: "_Allowance") -> set[str]:
    uris: set[str] = set()
    for template in templates:
        left.spend(1)
        for uri in _starting_with(own.in_order, template.head):
            left.spend(_MATCH + len(uri) // _MATCH)
            if template.match(uri):
                uris.add(uri)
    return uris


def _is_covered(template: Pattern, earlier: Claims, left: "_Allowance") -> bool:
    """Whether a URI of the template could be an earlier upstream's."""
    for other in earlier.templates:
        left.spend(1)
        if template.head.startswith(other.head) or other.head.startswith(template.head):
            left.spend(min(template.steps(other), patterns.MAX_STEPS))
            if other == template or template.overlaps(other):
                return True
    return bool(_matched(earlier, [template], left))


class _UsedUpError(Exception):
    pass


class _Allowance:
    """Steps that may still be made."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _UsedUpError


def _starting_with(ordered: Sequence[str], head: str) -> Iterable[str]:
    at = bisect_left(ordered, head)
    return takewhile(lambda uri: uri.startswith(head), (ordered[index] for index in range(at, len(ordered))))


Waits = Mapping[tuple[str, str], Shadowed]
"""`(upstream, later one)` → what of the former's yields to the latter, whose the URIs were, until somebody approves."""


@dataclass(frozen=True)
class Ownership:
    """Whose each URI is, and what the others' are called instead. Make it with `Claimants`."""

    claims: Mapping[str, Claims] = field(default_factory=dict[str, Claims])
    """By upstream, in the order of the configuration."""
    prefixes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Upstream → what stands before a URI of its that is not its own to use bare."""
    shadows: Mapping[str, Mapping[Item, str]] = field(default_factory=dict[str, Mapping[Item, str]])
    """Upstream → its URI or template → whose the bare one is. Only of upstreams that have such."""
    waits: Waits = field(default_factory=dict[tuple[str, str], Shadowed])

    def owner(self, uri: str) -> str | None:
        """The upstream that a bare URI leads to."""
        owner: str | None = None
        for upstream, claims in self.claims.items():
            if claims.cover(uri) and (owner is None or self._yields(owner, upstream, uri)):
                owner = upstream
                if not self.waits:
                    break
        return owner and self.shadows.get(owner, {}).get(("resources", uri), owner)

    def _yields(self, earlier: str, later: str, uri: str) -> bool:
        what = self.waits.get((earlier, later))
        return what is not None and not self.claims[earlier].without(what).cover(uri)

    def differs(self, other: "Ownership", upstream: str) -> bool:
        """Whether the URIs of an upstream are called something else than they were by another."""
        mine, theirs = self.shadows.get(upstream), other.shadows.get(upstream)
        return mine != theirs or (bool(mine) and self.prefixes.get(upstream) != other.prefixes.get(upstream))

    def prefix(self, kind: UriKind, upstream: str, own: str) -> str:
        """What its public form has in front of a URI or template of an upstream's; mostly nothing."""
        return self.prefixes[upstream] if (kind, own) in self.shadows.get(upstream, {}) else ""

    def public(self, upstream: str, own: str) -> str:
        """The URI that leads to an upstream's own one, listed or not. A URI that nobody claims stays as it is."""
        if ("resources", own) in self.shadows.get(upstream, {}) or self.owner(own) not in (None, upstream):
            return prefixed(self.prefixes[upstream], own)
        return own

    def named(self, uri: str) -> tuple[str, str] | None:
        """`(upstream, its own URI)` of a URI that has the prefix of an upstream because the bare one is another's. Not
        of one that the upstream lists, or has a template for."""
        for upstream, prefix in self.prefixes.items():
            own = unprefixed(prefix, uri)
            if own is not None and self.public(upstream, own) == uri and not self.claims[upstream].cover(own):
                return upstream, own
        return None


class Claimants:
    """All upstreams' claims, and how each pair of them compares."""

    def __init__(self) -> None:
        self._claims: dict[str, Claims] = {}
        self._pairs: dict[tuple[str, str], tuple[Shadowed | None, Shadowed]] = {}

    def __contains__(self, upstream: str) -> bool:
        """Whether it is known what an upstream claims."""
        return upstream in self._claims

    def __getitem__(self, upstream: str) -> Claims:
        return self._claims.get(upstream, NONE)

    def update(self, upstream: str, claims: Claims | None) -> bool:
        """One upstream claims these now; None: that is not known. Returns whether that is another thing than before."""
        is_new = self[upstream] != (claims or NONE)
        if is_new:
            self._pairs = {pair: each for pair, each in self._pairs.items() if upstream not in pair}
        is_new |= (claims is None) is (upstream in self._claims)
        if claims is None:
            self._claims.pop(upstream, None)
        elif is_new:
            self._claims[upstream] = claims
        return is_new

    def ownership(self, order: Iterable[str], waits: Waits | None = None) -> Ownership:
        """Whose each URI is if the upstreams stand in that order. Those that are not in it do not count."""
        waits = waits or {}
        names = list(order)
        claims = {name: self._claims.get(name, NONE) for name in names}
        prefixes: dict[str, str] = {}
        shadows: dict[str, Mapping[Item, str]] = {}
        taken: set[str] = set()
        earlier: list[str] = []
        for name in names:
            mine = self._shadows(name, earlier, waits) if claims[name] else {}
            for other in shadows:  # whose public forms are not for this one to list
                mine |= dict.fromkeys(claims[name].under(prefixes[other]), other)
            taken |= claims[name].prefixes
            prefixes[name] = next(form for form in uri_prefixes(name) if form not in taken)
            taken.add(prefixes[name])
            if claims[name]:
                earlier.append(name)
            if mine:
                shadows[name] = mine
        return Ownership(claims, prefixes, shadows, waits)

    def _shadows(self, name: str, earlier: Sequence[str], waits: Waits) -> dict[Item, str]:
        found: dict[Item, str] = {}
        for other in earlier:
            waiting = waits.get((other, name))
            known = self._pairs.get((name, other))
            if known is None or known[0] != waiting:
                theirs = self[other] if waiting is None else self[other].without(waiting)
                known = self._pairs[name, other] = waiting, shadowed(self[name], theirs)
            for each in known[1].items() if known[1] else ():
                found.setdefault(each, other)
        for (taker, owner), waiting in waits.items():
            for each in waiting.items() if taker == name else ():
                found.setdefault(each, owner)
        return found
