"""How what an upstream offers differs from what was pinned of it, and what of it may then be published. Pure.

Pinned is everything that agents and models act on: tools, prompts and resource templates with all their fields, and
instructions. Which resources there are is data, not definition: one that was there at pinning is held to its
definition, but that others come and go is no change.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, Literal

from gateway import jsonrpc
from gateway.catalogue.intake import KEYS, Kind, UpstreamItems, admit
from gateway.catalogue.suspicious import Suspicion, scan
from gateway.jsonrpc import as_object
from gateway.store.pins import Definitions, Pins
from gateway.upstream.listing import Listing

INSTRUCTIONS: Final = "instructions"
"""The kind and the name of an upstream's instructions."""

What = Literal["changed", "new", "removed"]


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between an item and its pin that nobody has approved."""

    kind: str
    """`tools`, `prompts`, `templates`, `resources` or `instructions`."""
    name: str
    """The upstream's own name or URI."""
    what: What
    old: Any
    """The pinned definition; None if it is new."""
    new: Any
    """The definition it has now; None if it is removed."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """The same for the same change seen again."""
        return self.kind, self.name, digest(self.kind, self.new)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a listing."""

    listing: Listing
    """What may be published."""
    changes: tuple[Change, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    blocked: Mapping[tuple[str, str], Change] = field(default_factory=dict[tuple[str, str], Change])
    """`(kind, own name or URI)` → the change because of which it must not be used."""
    held_back: Listing = field(default_factory=Listing)
    """Items that are not published at all: those that are new, and blocked."""


def definitions(listing: Listing) -> dict[Kind, Definitions]:
    """The items that could be published, as the upstream defines them; without lists nothing is known of."""
    everything = UpstreamItems("", listing)
    return {
        kind: {entry.original: entry.raw for entry in admit(everything, kind, [])}
        for kind in KEYS
        if kind not in listing.unknown
    }


def pins_of(listing: Listing) -> Pins:
    """The pins of a listing as it is."""
    return Pins({**definitions(listing)}, listing.instructions or None)


def digest(kind: str, definition: Any) -> str:
    """Hash of a definition that is the same for the same content, 32 hexadecimal digits. Of a resource, its size and
    the time of its last change do not count."""
    item = as_object(definition) if kind == "resources" else {}
    if item:
        annotations = as_object(item.get("annotations"))
        definition = {
            **{key: value for key, value in item.items() if key not in ("size", "annotations")},
            "annotations": {key: value for key, value in annotations.items() if key != "lastModified"},
        }
    return blake2b(jsonrpc.dumps(definition, sort_keys=True), digest_size=16).hexdigest()


def judge(pins: Pins, listing: Listing, offers: Callable[[str], bool], *, block: bool) -> Verdict:
    """Compare a listing with its pins.

    Args:
        offers: whether a tool is offered to agents at all; what becomes of others does not matter.
        block: whether what is changed is to be published as it was pinned, and what is new not at all.
    """
    now = definitions(listing)
    changes = _compare(pins, now, listing.instructions or None, offers)
    suspicions = _suspicions(now, listing.instructions, offers)
    if not block:
        return Verdict(listing, changes, suspicions)
    blocked = {(each.kind, each.name): each for each in changes if each.what != "removed"}
    published, held_back = _divided(listing, now, blocked)
    return Verdict(published, changes, suspicions, blocked, held_back)


def approved(pins: Pins, changes: Iterable[Change]) -> Pins:
    """The pins after these changes were approved."""
    items = {kind: dict(some) for kind, some in pins.items.items()}
    instructions = pins.instructions
    for change in changes:
        if change.kind == INSTRUCTIONS:
            instructions = change.new
        elif change.what == "removed":
            items.get(change.kind, {}).pop(change.name, None)
        else:
            items.setdefault(change.kind, {})[change.name] = change.new
    return Pins(items, instructions)


def _compare(
    pins: Pins, now: Mapping[Kind, Definitions], instructions: str | None, offers: Callable[[str], bool]
) -> tuple[Change, ...]:
    changes: list[Change] = []
    for kind, items in now.items():
        pinned = pins.items.get(kind, items)
        for name in dict.fromkeys([*pinned, *items]):
            old, new = pinned.get(name), items.get(name)
            if kind == "resources" and (old is None or new is None):
                continue
            if kind == "tools" and not offers(name):
                continue
            changes += _change(kind, name, old, new)
    return (*changes, *_change(INSTRUCTIONS, INSTRUCTIONS, pins.instructions, instructions))


def _change(kind: str, name: str, old: Any, new: Any) -> list[Change]:
    if digest(kind, old) == digest(kind, new):
        return []
    return [Change(kind, name, "new" if old is None else "removed" if new is None else "changed", old, new)]


def _divided(
    listing: Listing, now: Mapping[Kind, Definitions], blocked: Mapping[tuple[str, str], Change]
) -> tuple[Listing, Listing]:
    """A listing as it may be published, and what is held back of it."""
    held_back = Listing(version=listing.version)
    for kind in now.keys() & {kind for kind, _ in blocked}:
        changes = {name: blocked.get((kind, name)) for name in now[kind]}
        shown = [item if (change := changes[name]) is None else change.old for name, item in now[kind].items()]
        new = [item for name, item in now[kind].items() if (change := changes[name]) and change.what == "new"]
        listing = replace(listing, **{kind: tuple(item for item in shown if item is not None)})
        held_back = replace(held_back, **{kind: tuple(new)})
    instructions = blocked.get((INSTRUCTIONS, INSTRUCTIONS))
    if instructions is not None:
        listing = replace(listing, instructions=instructions.old)
    return listing, held_back


def _suspicions(
    now: Mapping[Kind, Definitions], instructions: str | None, offers: Callable[[str], bool]
) -> tuple[Suspicion, ...]:
    found = [
        suspicion
        for kind, items in now.items()
        for name, item in items.items()
        if kind != "tools" or offers(name)
        for suspicion in scan(kind, name, item)
    ]
    return (*found, *scan(INSTRUCTIONS, INSTRUCTIONS, instructions))
