"""What an upstream lists for clients that declare other capabilities than its main connection does. Pure.

Such lists are known by a label: the era that is spoken, and what the client declares, by name. Kept is only what
differs from the main connection's lists; of a label whose lists are the same, that they are.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final

from gateway.jsonrpc import as_object
from gateway.protocol import Era
from gateway.request import QUESTIONS
from gateway.upstream.listing import Item, Listing, Variation

MAX_VARIANTS: Final = 4
"""Most labels of one upstream whose lists differ. Who would be the next has the place of the one that was filled, or
used, the longest ago."""
MAX_LABELS: Final = 16
"""Most labels of one upstream that are remembered at all."""
MAX_LABEL: Final = 200
"""Characters; a longer label is a hash."""

KEYS: Final = {"tools": "name", "resources": "uri", "templates": "uriTemplate", "prompts": "name", "skills": "uri"}
"""List → what identifies an item of it."""
_PARTS: Final = {"sampling": ("context", "tools"), "elicitation": ("form", "url"), "roots": ()}
_EVERYBODYS: Final = frozenset({"io.modelcontextprotocol/ui"})
"""Extensions that are declared on behalf of all clients."""


def names_of(capabilities: Mapping[str, Any]) -> list[str]:
    """What a client declares, as far as servers list by it: what it can be asked, and the extensions it knows."""
    names: list[str] = []
    if not capabilities:
        return names
    for capability in QUESTIONS.values():
        if (declared := capabilities.get(capability)) is not None:
            parts = as_object(declared)
            names.append(capability)
            names += (f"{capability}.{part}" for part in _PARTS[capability] if parts.get(part) is not None)
    if "elicitation" in names and "elicitation.url" not in names and "elicitation.form" not in names:
        names.append("elicitation.form")  # which is what an empty one means
    for family in ("extensions", "experimental"):
        names += (f"{family}.{name}" for name in as_object(capabilities.get(family)) if name not in _EVERYBODYS)
    return sorted(names)


def label_of(era: Era, capabilities: Mapping[str, Any]) -> str:
    """The label of the lists of a client that declares these."""
    names = " ".join([era.value, *names_of(capabilities)])
    if len(names) <= MAX_LABEL:
        return names
    return f"{era.value} {blake2b(names.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def names_in(label: str) -> str:
    """What clients of a label declare; empty if nothing that matters."""
    return label.partition(" ")[2]


def era_of(label: str) -> Era:
    return Era(label.partition(" ")[0])


def alone(listing: Listing) -> Listing:
    """What the upstream lists for clients of its main connection's label."""
    return replace(listing, variants={}) if listing.variants else listing


def listing_for(listing: Listing, label: str) -> Listing:
    """What the upstream lists for clients of that label."""
    return replace(listing, **listing.variants.get(label, {}), variants={})


def varied(listing: Listing, label: str, other: Listing) -> Listing:
    """The listing with what `other` lists instead for clients of a label, which is the latest to be filled."""
    return replace(listing, variants=bounded({**_without(listing.variants, label), label: _against(listing, other)}))


def _against(listing: Listing, other: Listing) -> Variation:
    """What differs."""
    return {kind: getattr(other, kind) for kind in KEYS if getattr(other, kind) != getattr(listing, kind)}


def used(listing: Listing, label: str) -> Listing:
    """The listing with that label the last to give its place up; itself, if it is already."""
    if label not in listing.variants or list(listing.variants)[-1] == label:
        return listing
    return replace(listing, variants={**_without(listing.variants, label), label: listing.variants[label]})


def bounded(variants: Mapping[str, Variation]) -> dict[str, Variation]:
    """The latest of them, as many as are kept."""
    kept: dict[str, Variation] = {}
    room = MAX_VARIANTS
    for label in list(variants)[::-1][:MAX_LABELS]:
        if variants[label] and not room:
            continue
        room -= bool(variants[label])
        kept[label] = variants[label]
    return dict(list(kept.items())[::-1])


def rebased(old: Listing, new: Listing) -> dict[str, Variation]:
    """The variants of `old`, whose main lists have become those of `new` meanwhile: what was the same for all clients
    still is. Main lists for clients of another label stay, as a variant."""
    if old.label != new.label:
        variants = {label: _against(new, listing_for(old, label)) for label in old.variants if label != new.label}
        return bounded({**variants, old.label: _against(new, old)} if old.label else variants)
    return {
        label: {
            kind: items
            for kind, before in variation.items()
            if (items := _rebased(before, getattr(old, kind), getattr(new, kind), KEYS[kind])) != getattr(new, kind)
        }
        for label, variation in old.variants.items()
    }


def _rebased(items: tuple[Item, ...], old: tuple[Item, ...], new: tuple[Item, ...], key: str) -> tuple[Item, ...]:
    if old == new:
        return items
    # What has no usable name has none here either; it is never published.
    before, now = _by_name(old, key), _by_name(new, key)
    kept: list[Item] = []
    for item in items:
        name = _name(item, key)
        if name not in before or before[name] != item:
            kept.append(item)
        elif name in now:
            kept.append(now[name])
    there = {_name(item, key) for item in items}
    return (*kept, *(item for name, item in now.items() if name not in before and name not in there))


def _by_name(items: tuple[Item, ...], key: str) -> dict[str, Item]:
    return {_name(item, key): item for item in items}


def _name(item: Item, key: str) -> str:
    name = item.get(key)
    return name if isinstance(name, str) else ""


def _without(variants: Mapping[str, Variation], label: str) -> dict[str, Variation]:
    return {other: variation for other, variation in variants.items() if other != label}
