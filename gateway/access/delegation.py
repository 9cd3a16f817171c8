"""What somebody may hand on: never more than they have. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from gateway.request import ADMIN, Principal


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a principal's grant."""

    upstreams: frozenset[str] | None
    """None means all, empty means none."""
    scopes: frozenset[str]
    profiles: frozenset[str] | None = None
    """None means that none limits it, empty means none is left."""


def share(
    principal: Principal, upstreams: Collection[str], scopes: Collection[str], profiles: Collection[str] = ()
) -> Share:
    """What of the wishes the principal has. An empty wish means all it has, short of `admin`, which must be named."""
    wished = frozenset(scopes) or principal.scopes - {ADMIN}
    return Share(
        narrow(principal.upstreams, frozenset(upstreams) or None),
        principal.scopes & wished,
        narrow(principal.profiles, frozenset(profiles) or None),
    )


def within(principal: Principal, bound: Principal) -> Principal:
    """`principal`, without what `bound` does not have (any more)."""
    left: dict[str, Any] = {}
    if not principal.scopes <= bound.scopes:
        left["scopes"] = principal.scopes & bound.scopes
    if bound.upstreams is not None and principal.upstreams != bound.upstreams:
        left["upstreams"] = narrow(principal.upstreams, bound.upstreams)
    if bound.profiles is not None and principal.profiles != bound.profiles:
        left["profiles"] = narrow(principal.profiles, bound.profiles)
    return replace(principal, **left) if left else principal


def heir(agent: Principal, root: Principal) -> Principal:
    """An agent as whoever is behind it has it now: never more than they have, and for the same owner."""
    return replace(within(agent, root), owner=root.owner, ancestors=((root.id, root.rate_limit_rpm),))


def covers(one: Principal, other: Principal) -> bool:
    """Whether `one`, who is the same person, may do whatever `other` may."""
    same = one.owner == other.owner and one.groups == other.groups
    return same and within(other, one) == other


def narrow(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """The names in both; None stands for all."""
    if one is None or other is None:
        return other if one is None else one
    return one & other
