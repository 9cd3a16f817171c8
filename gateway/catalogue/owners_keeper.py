"""Keeps what is remembered of URIs and their owners on disk, and follows it, so that an approval counts at once."""

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import structlog

from gateway import blocking
from gateway.blocking import in_thread, within
from gateway.catalogue.owners import Owners
from gateway.catalogue.timing import USUAL, CatalogueTiming
from gateway.config.models import ServerConfig
from gateway.errors import ConfigError
from gateway.store import files
from gateway.store import owners as owners_file
from gateway.store.owners import Records, approved

log = structlog.stdlib.get_logger("gateway.catalogue")


class OwnersKeeper:
    """Constructing it reads the file, and blocks. A file that cannot be read is left alone.

    Args:
        configuration: the file of servers.

    Raises:
        ConfigError: the file cannot be read, and what a server takes over is to wait for approval.
    """

    def __init__(
        self,
        path: Path,
        configuration: Path,
        servers: Mapping[str, ServerConfig],
        timing: CatalogueTiming = USUAL,
    ) -> None:
        self._path = path
        self._timing = timing
        self._configuration = str(configuration)
        self._signature = files.signature(path)
        self._trouble = ""
        stored: Records = {}
        try:
            stored = owners_file.load(path, self._configuration)
        except ConfigError as error:
            if any(server.pin == "block" for server in servers.values()):
                raise
            self._say(error.message)
        self.owners = Owners(servers, stored)
        self._saved = self.owners.records

    async def run(self, on_approved: Callable[[], None]) -> None:
        """Keep the file, until cancelled.

        Args:
            on_approved: told when somebody approved a takeover.
        """
        while True:
            await anyio.sleep(self._timing.poll_seconds)
            if await in_thread(files.signature, self._path) != self._signature:
                await self._reload(on_approved)
            if await self.save(blocking.SAVE_SECONDS):
                on_approved()

    async def save(self, seconds: float = blocking.LAST_SECONDS) -> bool:
        """Write what is not written yet. Returns whether somebody had approved something meanwhile.

        Args:
            seconds: how long it may take.
        """
        own = self.owners.records
        if own is self._saved or self.owners.is_off:
            return False
        if own == self._saved:
            self._saved = own
            return False
        waiting = self.owners.waiting()

        def merged(stored: Records) -> Records:
            return approved(own, stored, waiting)

        try:
            stored = await within(seconds, owners_file.update, self._path, self._configuration, merged)
        except (ConfigError, OSError) as error:
            self._say(error.message if isinstance(error, ConfigError) else f"{self._path}: {error.strerror}")
            return False
        self._trouble = ""
        self._signature = files.signature(self._path)
        was_approved = self.owners.accept(stored)
        if self.owners.records == {**self.owners.records, **stored}:
            self._saved = self.owners.records
        return was_approved

    async def _reload(self, on_approved: Callable[[], None]) -> None:
        self._signature = await in_thread(files.signature, self._path)
        try:
            stored = await in_thread(owners_file.load, self._path, self._configuration)
        except ConfigError as error:
            self._say(error.message)
            return
        if self.owners.accept(stored):
            on_approved()

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("who owns which URI is not remembered", reason=trouble)
        self._trouble = trouble
