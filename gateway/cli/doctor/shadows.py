"""Which servers have URIs that others own, for `check` and `doctor`: by what they offer, or offered when last seen."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.cli.doctor.owners import owners
from gateway.cli.ui.terminal import plural
from gateway.config.models import Config
from gateway.upstream.listing import Listing

NAMED: Final = 3
"""URIs that are named; of more, their number is said."""


def shadows(config: Config, listings: Mapping[str, Listing]) -> Iterator[tuple[str, str]]:
    """Server, and what to say of it."""
    found = owners(config, listings)
    ownership = found.ownership
    for server, shadowed in ownership.shadows.items():
        by: defaultdict[str, list[str]] = defaultdict(list)
        for (_, uri), owner in shadowed.items():
            by[owner].append(uri)
        for owner, uris in by.items():
            if (server, owner) in found.waits:
                continue  # that is a matter of its pins
            some = ", ".join([*sorted(uris)[:NAMED], *(["…"] if len(uris) > NAMED else [])])
            yield (
                server,
                f"{plural(len(uris), 'URI')} could be {owner!r}'s too, which comes first in the file and owns "
                f"them ({some}); agents see these with {ownership.prefixes[server]!r} in front",
            )
