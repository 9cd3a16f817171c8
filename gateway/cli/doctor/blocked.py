"""What is wrong with servers that are not as they were pinned, for `doctor` and `tools`. Pins and approves nothing."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Final

from gateway.catalogue.pins import Change
from gateway.cli.doctor.findings import Finding
from gateway.cli.doctor.memory import remembered
from gateway.cli.doctor.owners import owners, waiting
from gateway.cli.doctor.pin_state import compare, noun
from gateway.cli.ui.terminal import plural
from gateway.errors import ConfigError
from gateway.store import pins as pin_file

if TYPE_CHECKING:
    from gateway.cli.doctor.probe import ServerProbe
    from gateway.config.models import Config

NAMED: Final = 5
"""Items that are named; of more, their number is said."""


def named(changes: Iterable[Change]) -> str:
    """Items that are blocked, in words."""
    nouns = [noun(change.kind, change.name) for change in changes]
    more = [f"{len(nouns) - NAMED} more"] if len(nouns) > NAMED else []
    return ", ".join([*nouns[:NAMED], *more])


def findings(config: "Config", probes: "Mapping[str, ServerProbe]") -> Iterator[Finding]:
    """How the servers that were tried differ from their pins, and what of theirs waits for approval."""
    yield from _changes(config, probes)
    seen = {name: tried.listing for name, tried in probes.items() if tried.listing is not None}
    found = owners(config, {**remembered(config), **seen})
    for name in config.enabled:
        for owner, several in groupby(waiting(found, name), lambda each: each.owner):
            uris = [each.name for each in several]
            some = ", ".join([*uris[:NAMED], *([f"{len(uris) - NAMED} more"] if len(uris) > NAMED else [])])
            text = f"would take over what stays {owner!r}'s until somebody approves it: {some}"
            yield Finding("problem", text, _remedy(name), name)


def _remedy(name: str) -> str:
    return f"see `mcp-gateway pins diff {name}`; `mcp-gateway pins approve {name}` accepts it"


def _changes(config: "Config", probes: "Mapping[str, ServerProbe]") -> Iterator[Finding]:
    try:
        stored = pin_file.load(config.gateway.state_dir / pin_file.NAME)
    except ConfigError as error:
        blocks = any(server.pin == "block" for server in config.enabled.values())
        yield Finding("problem" if blocks else "note", error.message)
        return
    for name, tried in probes.items():
        if tried.listing is None or config.enabled[name].pin == "off":
            continue
        compared = compare(config, name, stored, tried.listing)
        if compared.pins is None or not compared.changes:
            continue
        remedy = _remedy(name)
        blocked = [change for change in compared.changes if change.what != "removed"]
        if compared.pin == "block" and blocked:
            yield Finding("problem", f"blocked until somebody approves it: {named(blocked)}", remedy, name)
        else:
            yield Finding("note", f"{plural(len(compared.changes), 'unapproved change')} of definitions", remedy, name)
