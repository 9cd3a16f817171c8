"""How servers compare with their pins, for `mcp-gateway pins`: asked now or last seen; for people, and for programs."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

import click

from gateway.catalogue.difference import differences
from gateway.catalogue.identity import definition_hash
from gateway.catalogue.pins import INSTRUCTIONS, Change, approved, definitions, digest, judge, pins_of
from gateway.catalogue.suspicious import Suspicion
from gateway.cli.agent import awake, visiting
from gateway.cli.doctor.memory import remembered
from gateway.cli.doctor.owners import UriTakeover, owners, waiting
from gateway.cli.ui.terminal import bold, dim, harmless, mark, plural
from gateway.config.models import Config
from gateway.store import pins as pin_file
from gateway.store.pins import Pins
from gateway.upstream.listing import Listing

_NOUNS: Final = {
    "tools": "tool",
    "prompts": "prompt",
    "templates": "resource template",
    "resources": "resource",
    "skills": "skill",
}
_COLOURS: Final = {"- ": "red", "+ ": "green"}
_INDENT: Final = " " * 4


@dataclass(frozen=True, slots=True)
class Compared:
    """One server."""

    server: str
    pin: str
    """The setting."""
    definition: str
    """Hash of it, to which pins belong."""
    pins: Pins | None
    """None: nothing is pinned yet, and everything is new."""
    listing: Listing | None
    """None: it was never seen."""
    reason: str = ""
    """Why it could not be asked, or not for all of its lists."""
    changes: tuple[Change, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    takeovers: tuple[UriTakeover, ...] = ()

    @property
    def is_as_pinned(self) -> bool:
        return self.pins is not None and self.listing is not None and not (self.reason or self.unapproved)

    @property
    def unapproved(self) -> int:
        """How much of it somebody has to approve."""
        return len(self.changes) + len(self.takeovers)


# --- Comparing ----------------------------------------------------------------------------------------------------


def last_seen(config: Config, names: Collection[str], pins: Mapping[str, Pins]) -> list[Compared]:
    """What the gateway, or a verb, saw last."""
    known = remembered(config)
    return with_takeovers(config, known, [compare(config, name, pins, known.get(name)) for name in names])


async def ask(config: Config, names: Collection[str], pins: Mapping[str, Pins]) -> list[Compared]:
    """Start the servers, and take what they offer now. Nothing is pinned by that."""
    asked_for, config = config, awake(config, names)
    servers = {
        name: server.model_copy(update={"pin": "off", "lazy": name not in names})
        for name, server in config.enabled.items()
    }
    compared: list[Compared] = []
    async with visiting(config.model_copy(update={"servers": servers})) as visit:
        await visit.meet()
        for name in names:
            met = visit.contacts[name]
            listing = visit.gateway.upstreams[name].known if met.works else None
            compared.append(compare(config, name, pins, listing, met.reason))
    return with_takeovers(asked_for, {}, compared)


def with_takeovers(config: Config, known: Mapping[str, Listing], compared: Iterable[Compared]) -> list[Compared]:
    """The same, with the URIs that these servers would take from others.

    Args:
        known: what others offer; what they offered when last seen, if it is not there.
    """
    some = list(compared)
    listings = {
        **remembered(config),
        **known,
        **{each.server: each.listing for each in some if each.listing is not None},
    }
    found = owners(config, listings)
    return [replace(each, takeovers=tuple(waiting(found, each.server))) for each in some]


def compare(
    config: Config, name: str, stored: Mapping[str, Pins], listing: Listing | None, reason: str = ""
) -> Compared:
    """How a server differs from what is pinned of it.

    Args:
        stored: all pins.
        listing: what it offers; None if that is not known.
        reason: why not, or not all of it.
    """
    server = config.enabled[name]
    definition = definition_hash(server)
    pins = pin_file.find(stored, name, definition, config.enabled)
    if listing is None:
        return Compared(name, server.pin, definition, pins, None, reason)
    against = pins or Pins({kind: {} for kind in definitions(listing)})
    verdict = judge(against, listing, server.offers, block=False)
    return Compared(name, server.pin, definition, pins, listing, reason, verdict.changes, verdict.suspicions)


# --- Approving ----------------------------------------------------------------------------------------------------


def only(compared: Compared, names: Collection[str]) -> Compared:
    """What of it is about these items; all of it without names."""
    if not names:
        return compared
    return replace(
        compared,
        changes=tuple(change for change in compared.changes if change.name in names),
        suspicions=tuple(suspicion for suspicion in compared.suspicions if suspicion.name in names),
        takeovers=tuple(takeover for takeover in compared.takeovers if takeover.name in names),
    )


def approve(stored: Mapping[str, Pins], wanted: Compared) -> dict[str, Pins]:
    """The pins once what differs is approved. Where nothing was pinned yet, that is everything there is."""
    assert wanted.listing is not None
    key = pin_file.key(stored, wanted.server, wanted.definition)
    pins = stored.get(key) or wanted.pins
    accepted = approved(pins, wanted.changes) if pins is not None else pins_of(wanted.listing)
    return {**stored, key: replace(accepted, server=wanted.definition)}


# --- Showing ------------------------------------------------------------------------------------------------------


def in_words(compared: Compared, redact: Callable[[str], str]) -> Iterator[str]:
    """Lines for people."""
    name = bold(harmless(compared.server))
    if compared.is_as_pinned:
        yield f"{mark('ok')} {name}: as pinned"
    if compared.reason:
        yield f"{mark('problem')} {name}: could not be compared: {redact(harmless(compared.reason))}"
    if compared.pins is None and compared.listing is not None:
        yield f"{mark('note')} {name}: nothing is pinned yet"
    for change in compared.changes:
        whose = f" {dim('for clients of')} {harmless(change.variant)}" if change.variant else ""
        yield f"{mark('problem')} {name}: {noun(change.kind, change.name)} {change.what}{whose}"
        if compared.pins is not None and change.what != "removed":
            for line in differences(change.old, change.new):
                yield _INDENT + click.style(redact(line), fg=_COLOURS.get(line[:2]))
    for owner, several in groupby(compared.takeovers, lambda each: each.owner):
        yield f"{mark('problem')} {name}: takes over what is {harmless(owner)}'s until somebody approves it:"
        yield from (f"{_INDENT}{noun(each.kind, each.name)}" for each in several)
    for suspicion in compared.suspicions:
        place = f" {dim('in')} {suspicion.place}" if suspicion.place else ""
        yield f"{mark('note')} {name}: {noun(suspicion.kind, suspicion.name)} has {suspicion.what}{place}"


def summed_up(compared: Compared) -> tuple[str, ...]:
    """A row of `mcp-gateway pins list`."""
    pins = compared.pins or Pins()
    counts = [str(len(pins.items[kind])) if kind in pins.items else "-" for kind in _NOUNS]
    return harmless(compared.server), compared.pin, *counts, _state(compared)


def as_json(compared: Compared) -> dict[str, Any]:
    """For programs. Hashes are those of whole definitions."""
    pins = compared.pins
    fields: dict[str, Any] = {"server": compared.server, "pin": compared.pin, "as_pinned": compared.is_as_pinned}
    if compared.reason:
        fields["reason"] = compared.reason
    fields["changes"] = [
        {"kind": each.kind, "name": each.name, "change": each.what, "pinned": each.old, "now": each.new}
        for each in compared.changes
    ]
    fields["takeovers"] = [{"kind": each.kind, "name": each.name, "of": each.owner} for each in compared.takeovers]
    fields["suspicious"] = [
        {"kind": each.kind, "name": each.name, "place": each.place, "what": each.what} for each in compared.suspicions
    ]
    if pins is not None:
        fields["pins"] = {
            **{kind: {name: digest(kind, item) for name, item in some.items()} for kind, some in pins.items.items()},
            INSTRUCTIONS: digest(INSTRUCTIONS, pins.instructions),
        }
    return fields


def noun(kind: str, name: str) -> str:
    """What an item is called for people, such as `tool add`."""
    return f"{_NOUNS[kind]} {harmless(name)}" if kind in _NOUNS else kind


def _state(compared: Compared) -> str:
    if compared.pins is None:
        return "not pinned yet"
    if compared.listing is None:
        return "not seen yet"
    parts = [plural(len(compared.changes), "change") if compared.changes else "as pinned"]
    if compared.takeovers:
        parts.append(f"takes over {plural(len(compared.takeovers), 'URI')}")
    if compared.suspicions:
        parts.append(plural(len(compared.suspicions), "suspicious text"))
    return ", ".join(parts)
