"""How what an upstream offers differs from what was pinned of it, and what of it may then be published. Pure.

Pinned is everything that agents and models act on: tools, prompts, resource templates and the entries of skills with
all their fields (digests of their files among them), and instructions. Which resources there are is data, not
definition: one that was there at pinning is held to its definition, but that others come and go is no change.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, Literal

from gateway import jsonrpc
from gateway.catalogue.intake import KEYS, Kind, UpstreamItems, admit
from gateway.catalogue.suspicious import Suspicion, scan
from gateway.jsonrpc import as_object
from gateway.store.pins import Definitions, Pins
from gateway.upstream.listing import Listing, LoginListing
from gateway.upstream.variants import alone, listing_for, names_in

INSTRUCTIONS: Final = "instructions"
"""The kind and the name of an upstream's instructions."""

MAX_PINNED_VARIANTS: Final = 32
"""Most labels of one server's clients whose first sight is trusted; what later ones alone get is a change."""

What = Literal["changed", "new", "removed"]


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between an item and its pin that nobody has approved."""

    kind: str
    """`tools`, `prompts`, `templates`, `resources`, `skills` or `instructions`."""
    name: str
    """The upstream's own name or URI."""
    what: What
    old: Any
    """The pinned definition; None if it is new."""
    new: Any
    """The definition it has now; None if it is removed."""
    variant: str = ""
    """The label of the clients for which it is so, if it is not so for all."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """The same for the same change seen again."""
        return self.kind, self.name, digest(self.kind, self.new)


@dataclass(frozen=True, slots=True)
class PinVerdict:
    """What becomes of a listing."""

    listing: Listing
    """What may be published."""
    changes: tuple[Change, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    blocked: Mapping[tuple[str, str], Change] = field(default_factory=dict[tuple[str, str], Change])
    """`(kind, own name or URI)` → the change because of which it must not be used."""
    held_back: Listing = field(default_factory=Listing)
    """Items that are not published at all: those that are new, and blocked."""
    variants: Mapping[str, "PinVerdict"] = field(default_factory=dict[str, "PinVerdict"])
    """Label → what becomes of what is listed for clients of that label instead. `changes` and `suspicions` above have
    theirs, too."""


def unjudged(listing: Listing) -> PinVerdict:
    """All of a listing may be published."""
    if isinstance(listing, LoginListing):
        return PinVerdict(listing, variants={label: PinVerdict(own) for label, own in listing.own.items()})
    different = [label for label, variation in listing.variants.items() if variation]
    variants = {label: PinVerdict(listing_for(listing, label)) for label in different}
    return PinVerdict(alone(listing), variants=variants)


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
    pins = Pins({**definitions(listing)}, listing.instructions or None, label=pin_label(listing))
    return first_seen(pins, listing)


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


def judge(pins: Pins, listing: Listing, offers: Callable[[str], bool], *, block: bool) -> PinVerdict:
    """Compare a listing with its pins.

    Args:
        offers: whether a tool is offered to agents at all; what becomes of others does not matter.
        block: whether what is changed is to be published as it was pinned, and what is new not at all.
    """
    whole, main = listing, alone(listing)
    label = pin_label(main)
    own: Mapping[str, Definitions] = pins.variants.get(label, {}) if label != pins.label else {}
    changes = _compare(_overlaid(pins, own), definitions(main), main.instructions or None, offers)
    if label != pins.label:
        # Others saw more, or less.
        changes = tuple(each for each in changes if each.what != "removed" or each.name in own.get(each.kind, {}))
    verdict = _verdict(main, changes, _suspicions(definitions(main), main.instructions, offers), block=block)
    variants = {
        other: _judge_variant(pins, listing_for(whole, other), other, verdict, offers, block=block)
        for other, variation in whole.variants.items()
        if variation
    }
    known = {change.identity for change in changes}
    more = [each for variant in variants.values() for each in variant.changes if each.identity not in known]
    suspicions = dict.fromkeys(chain(verdict.suspicions, *(each.suspicions for each in variants.values())))
    return replace(verdict, changes=(*changes, *more), suspicions=tuple(suspicions), variants=variants)


def _judge_variant(
    pins: Pins, listing: Listing, label: str, main: PinVerdict, offers: Callable[[str], bool], *, block: bool
) -> PinVerdict:
    """An item that is pinned for these clients is compared with that; any other with the pin that all share. What they
    do not get is no change."""
    own, now = pins.variants.get(label, {}), definitions(listing)
    compared = _compare(_overlaid(pins, own), now, listing.instructions or None, offers)
    shared = {change.identity: change for change in main.changes}
    changes = [shared.get(each.identity) or replace(each, variant=label) for each in compared if each.what != "removed"]
    return _verdict(listing, tuple(changes), _suspicions(now, listing.instructions, offers), block=block)


def _verdict(
    listing: Listing, changes: tuple[Change, ...], suspicions: tuple[Suspicion, ...], *, block: bool
) -> PinVerdict:
    if not block:
        return PinVerdict(listing, changes, suspicions)
    blocked = {(each.kind, each.name): each for each in changes if each.what != "removed"}
    published, held_back = _divided(listing, definitions(listing), blocked)
    return PinVerdict(published, changes, suspicions, blocked, held_back)


def _overlaid(pins: Pins, own: Mapping[str, Definitions]) -> Pins:
    """The pins that apply where some items have pins of their own."""
    if not own:
        return pins
    return replace(pins, items={kind: {**some, **own.get(kind, {})} for kind, some in pins.items.items()})


def first_seen(pins: Pins, listing: Listing) -> Pins:
    """The pins with what clients of other labels are seen to get for the first time: items that nobody was seen to get
    before. One that is pinned for all, and another for them, is a change."""
    variants = dict(pins.variants)
    main = pin_label(listing)
    for label in [*listing.variants, *([main] if main != pins.label else [])]:
        if label not in variants and label != pins.label and len(variants) < MAX_PINNED_VARIANTS:
            now = definitions(listing_for(listing, label))
            shared = definitions(listing) if label in listing.variants else {}
            variants[label] = {
                kind: new
                for kind, items in now.items()
                if (new := _unseen(items, pins.items.get(kind, items), shared.get(kind, {})))
            }
    return pins if len(variants) == len(pins.variants) else replace(pins, variants=variants)


def pin_label(listing: Listing) -> str:
    """For whom the main lists are: empty if for those who declare nothing that matters, in either era."""
    return listing.label if names_in(listing.label) else ""


def _unseen(items: Definitions, *others: Definitions) -> Definitions:
    return {name: item for name, item in items.items() if not any(name in known for known in others)}


def approved(pins: Pins, changes: Iterable[Change]) -> Pins:
    """The pins after these changes were approved."""
    items = {kind: dict(some) for kind, some in pins.items.items()}
    variants = {label: {kind: dict(some) for kind, some in each.items()} for label, each in pins.variants.items()}
    instructions = pins.instructions
    for change in changes:
        if change.variant:
            variants.setdefault(change.variant, {}).setdefault(change.kind, {})[change.name] = change.new
        elif change.kind == INSTRUCTIONS:
            instructions = change.new
        elif change.what == "removed":
            items.get(change.kind, {}).pop(change.name, None)
        else:
            items.setdefault(change.kind, {})[change.name] = change.new
    return replace(pins, items=items, instructions=instructions, variants=variants)


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
