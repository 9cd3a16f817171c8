"""Keeps the snapshot on disk as what the upstreams offer changes, and knows what it said at the start."""

import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import structlog

from gateway import blocking
from gateway.blocking import within
from gateway.catalogue import snapshot
from gateway.catalogue.shared_snapshot import SharedSnapshot
from gateway.catalogue.timing import USUAL, CatalogueTiming
from gateway.config.models import ServerConfig
from gateway.upstream.listing import Listing
from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway")


def fingerprint(server: ServerConfig) -> str:
    """`snapshot.fingerprint` of a server's entry."""
    return snapshot.fingerprint(server.model_dump(mode="json"))


class SnapshotWriter:
    """Constructing it reads the file, and blocks.

    Args:
        upstreams: those that serve now, at any time.
        shared: where it is saved besides, for other nodes.
    """

    def __init__(
        self,
        path: Path,
        upstreams: Mapping[str, Upstream],
        shared: SharedSnapshot | None = None,
        timing: CatalogueTiming = USUAL,
    ) -> None:
        self._path = path
        self._timing = timing
        self._shared = shared
        self._upstreams = upstreams
        self._outdated = anyio.Event()
        self._stored, warning = snapshot.load(path)
        self._warning: str | None = None
        self._is_usable = warning is None
        if warning:
            log.warning("snapshot ignored", reason=warning)

    def listing(self, name: str, server: ServerConfig) -> Listing | None:
        """What a server offered when last seen, if it still is the same server."""
        known = snapshot.known(self._stored, name, fingerprint(server))
        return known.listing if known is not None else None

    def was_away(self, name: str, server: ServerConfig) -> bool:
        """Whether it did not come up when it was last tried."""
        known = snapshot.known(self._stored, name, fingerprint(server))
        return known is not None and known.listing is None

    def mark_outdated(self) -> None:
        """Something changed: write it soon."""
        self._outdated.set()

    async def run(self) -> None:
        """Write what changes, until cancelled."""
        while True:
            await self._outdated.wait()
            await anyio.sleep(self._timing.snapshot_seconds)
            await self._save(blocking.SAVE_SECONDS)
            if self._outdated.is_set():
                await anyio.sleep(self._timing.retry_seconds)

    async def aclose(self) -> None:
        """Write what is not written yet."""
        if self._outdated.is_set():
            await self._save(blocking.LAST_SECONDS)

    async def _save(self, seconds: float) -> None:
        """What cannot be written stays to be written."""
        self._outdated = anyio.Event()
        own = {
            name: snapshot.Stored(fingerprint(upstream.config), upstream.known)
            for name, upstream in self._upstreams.items()
            if upstream.known is not None or upstream.settled.is_set()
        }
        try:
            warning = await within(seconds, self._update, own)
            self._is_usable = True
        except OSError as error:
            warning = snapshot.unwritable(self._path, error)
            self._outdated.set()
        if warning and warning != self._warning:
            log.warning("snapshot not saved", reason=warning)
        self._warning = warning
        if self._shared is not None:
            upstreams = self._upstreams.values()
            await self._shared.save([(each.config, each.known) for each in upstreams if each.known is not None])

    def _update(self, own: Mapping[str, snapshot.Stored]) -> str | None:
        return snapshot.update(self._path, own, time.time(), alone=not self._is_usable)
