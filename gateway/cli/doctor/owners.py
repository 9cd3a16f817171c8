"""Whose each URI is by what servers offer, or offered when last seen, and by what the gateway remembers of it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from gateway.catalogue.intake import CompiledToolRules, UpstreamItems
from gateway.catalogue.merge import claims
from gateway.catalogue.owners import Owners
from gateway.config.models import Config
from gateway.errors import ConfigError
from gateway.store import owners as owners_file
from gateway.store.owners import Records
from gateway.upstream.listing import Listing


@dataclass(frozen=True, slots=True)
class UriTakeover:
    """What of a server's takes URIs from another, once somebody has approved it."""

    kind: str
    """`resources` or `templates`."""
    name: str
    """The URI or template."""
    owner: str
    """The server whose they are, and stay until then."""


def owners(config: Config, listings: Mapping[str, Listing], records: Records | None = None) -> Owners:
    """
    Args:
        records: what is remembered, if not what the file says; of one that cannot be read, nothing is.
    """
    if records is None:
        try:
            records = owners_file.load(config.gateway.state_dir / owners_file.NAME, str(config.path))
        except ConfigError:
            records = {}
    found = Owners(config.enabled, records)
    for name, server in config.enabled.items():
        if name in listings:
            found.update(name, claims(UpstreamItems(name, listings[name], CompiledToolRules.of(server))))
    found.assign()
    return found


def waiting(found: Owners, server: str) -> Iterator[UriTakeover]:
    """What of a server's waits for approval."""
    for (taker, owner), what in found.waits.items():
        if taker == server:
            yield from (UriTakeover(kind, name, owner) for kind, name in sorted(what.items()))


def approve(config: Config, listings: Mapping[str, Listing], server: str, names: Collection[str]) -> None:
    """Approve these takeovers of a server's.

    Raises:
        ConfigError: the file cannot be used, or not be written.
    """

    def change(stored: Records) -> Records:
        found = owners(config, listings, stored)
        found.approve(server, names)
        return found.records

    owners_file.update(config.gateway.state_dir / owners_file.NAME, str(config.path), change)
