"""Tells the log who shadows whom, and above all when a URI that was one upstream's becomes another's."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import structlog

from gateway.catalogue.owners import Owners
from gateway.catalogue.ownership import NOTHING
from gateway.harmless import harmless
from gateway.store.owners import OwnershipRecord, name_of

log = structlog.stdlib.get_logger("gateway.catalogue")

TAKEN: Final = "URIs taken over"
WAITS: Final = "takeover of URIs waits for approval"
SHADOWED: Final = "URIs shadowed"
PASSED_ON: Final = "URIs passed on"

MAX_NAMED: Final = 5
"""URIs of two upstreams that are named; the rest is counted."""
_MAX_CHARACTERS: Final = 200


def tell(before: Mapping[str, OwnershipRecord], owners: Owners) -> None:
    """Say what is another's now and was not before.

    Args:
        before: what was remembered.
    """
    said: set[tuple[str, str]] = set()
    for upstream, shadows in owners.ownership.shadows.items():
        record = before.get(owners.keys[upstream], OwnershipRecord())
        new: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for item, owner in shadows.items():
            key = owners.keys[owner]
            if record.shadowed.get(item) != key and (upstream, owner) not in owners.waits:
                is_taken = item in record.owned and key not in record.awaited
                new[TAKEN if is_taken else SHADOWED, owner].append(item[1])
        for (event, owner), uris in new.items():
            said.add((owner, upstream))
            (log.warning if event == TAKEN else log.info)(event, upstream=upstream, by=owner, **_named(uris))
    for pair, what in owners.takeovers.items():
        more = {*what.items()} - {*owners.takeovers_before.get(pair, NOTHING).items()}
        if more and (pair in owners.waits or pair not in said):  # what was shadowed in part may be so in more parts
            event = WAITS if pair in owners.waits else TAKEN
            log.warning(event, upstream=pair[1], by=pair[0], **_named(text for _, text in more))
    _tell_of_heirs(before, owners)


def _tell_of_heirs(before: Mapping[str, OwnershipRecord], owners: Owners) -> None:
    """Say what is an upstream's own now because its owner lists it no more, or is gone."""
    for upstream, key in owners.keys.items():
        now = owners.records.get(key, OwnershipRecord())
        lost: defaultdict[str, list[str]] = defaultdict(list)
        for item, owner in before.get(key, OwnershipRecord()).shadowed.items():
            if item in now.owned and item not in now.shadowed:
                lost[owner].append(item[1])
        for owner, uris in lost.items():
            if key not in owners.records.get(owner, OwnershipRecord()).shadowed.values():  # else it took them
                log.warning(PASSED_ON, upstream=name_of(owner), to=upstream, **_named(uris))


def _named(uris: Iterable[str]) -> dict[str, object]:
    ordered = sorted(uris)
    return {"count": len(ordered), "uris": [harmless(uri[:_MAX_CHARACTERS]) for uri in ordered[:MAX_NAMED]]}
