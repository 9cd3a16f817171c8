"""The catalogue in the store, so that a node with an empty folder can answer lists before any upstream is up. A cache.

Each server stands under a hash of what makes it that server, with a key that is not in the store.
"""

import hmac
import time
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import anyio
import anyio.to_thread
import structlog

from gateway.catalogue import snapshot
from gateway.catalogue.snapshot import KEPT_SECONDS, Stored
from gateway.config.models import ServerConfig
from gateway.errors import StoreUnavailable
from gateway.store.shared import Store
from gateway.store.table import Table
from gateway.upstream.listing import Listing

log = structlog.stdlib.get_logger("gateway")

TABLE: Final = "catalogue"
START_SECONDS: Final = 1.0
"""How long the first upstream waits for it."""
MAX_BYTES: Final = 8 * 2**20
"""Of one server's."""
MAX_SERVERS: Final = 500
"""Most that are kept; those saved longest ago go first."""


class SharedSnapshot:
    """
    Args:
        key: of `state_keys`.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._table = Table(store, TABLE)
        self._key = hmac.digest(b"mcp-gateway catalogue", key.encode(), "sha256")
        self._saved: dict[str, bytes] = {}
        """Field → a hash of what it says."""

    async def load(self, servers: Mapping[str, ServerConfig]) -> dict[str, Listing]:
        """What others have seen of these servers, as far as that can be known soon."""
        fields = {self._field(server): name for name, server in servers.items()}
        with anyio.move_on_after(START_SECONDS):
            try:
                stored = await anyio.to_thread.run_sync(_decoded, await self._table.load())
            except StoreUnavailable as error:
                log.debug("catalogue not read from the store", reason=error.message)
                return {}
            await self._forget(stored)
            found = {fields[field]: each.listing for field, each in stored.items() if field in fields}
            return {name: listing for name, listing in found.items() if listing is not None}
        return {}

    async def save(self, servers: Sequence[tuple[ServerConfig, Listing]]) -> None:
        """What is known of servers, where it is another than was saved last. It is no loss if that cannot be."""
        now, entries = int(time.time()), dict[str, bytes]()
        for server, listing in servers:
            field = self._field(server)
            known = blake2b(snapshot.encode(Stored("", listing)) or b"", digest_size=16).digest()
            entry = snapshot.encode(Stored(field, listing, now))
            if entry is not None and len(entry) <= MAX_BYTES and self._saved.get(field) != known:
                entries[field], self._saved[field] = entry, known
        if not entries:
            return
        try:
            await self._table.put(entries)
        except StoreUnavailable as error:
            log.debug("catalogue not saved in the store", reason=error.message)
            for field in entries:
                self._saved.pop(field, None)

    async def _forget(self, stored: Mapping[str, Stored]) -> None:
        latest = sorted(stored, key=lambda field: -stored[field].seen)
        old = [field for field in latest if stored[field].seen < time.time() - KEPT_SECONDS]
        if gone := [*dict.fromkeys([*old, *latest[MAX_SERVERS:]])]:
            await self._table.remove(gone)

    def _field(self, server: ServerConfig) -> str:
        return snapshot.fingerprint(server.model_dump(mode="json"), self._key)


def _decoded(fields: Mapping[str, bytes]) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for field, value in fields.items():
        try:
            stored[field] = snapshot.decode(value)
        except (ValueError, RecursionError):
            log.warning("a catalogue in the store is of another version; it is ignored")
    return stored
