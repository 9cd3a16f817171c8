"""Follows the configuration's files: a valid change is applied, an invalid one is refused, and its reason kept."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
import structlog
from anyio.abc import TaskStatus

from gateway.blocking import in_thread
from gateway.config.models import Config, OutOfOrder
from gateway.config.reload import watch
from gateway.config.reload.diff import diff
from gateway.errors import ConfigError
from gateway.signals import on_hangup

log = structlog.stdlib.get_logger("gateway.config")

DEFECT: Final = "it could not be read or applied, which is a defect of the gateway; its log has the details"

MAX_FORMER_SECRETS: Final = 1000
"""Most secrets of earlier configurations that are still kept out of the log; those given up longest ago go first."""


@dataclass
class Current:
    """The configuration in force, and how far its files agree with it. Reloads change it: ask anew each time."""

    config: Config
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    refused: str = ""
    """Why what the files say now is not in force, a line for each problem; empty when it is."""
    needs_restart: tuple[str, ...] = ()
    """Settings that the files have changed and only a restart would apply, dotted."""


class Reloader:
    """To be constructed right after the configuration was read: what changes from then on is a change. Blocks.

    Args:
        current: changed by each reload.
        reread: reads the files again; called in a thread.
        prepare: does what can be done for a configuration before it is in force, so that `apply` takes no longer than
            it must.
        apply: brings about what `current` says by then. If it fails, it is called again with the next reload.
        on_asked: reads what else a SIGHUP asks to be read.
        observe: told of each file that was read and said something new, and whether it was usable.
        on_change: told `"config"` and, by keyword, what has changed, or why what was to change was refused.
    """

    def __init__(
        self,
        current: Current,
        reread: Callable[[], Config],
        prepare: Callable[[Config], Awaitable[None]],
        apply: Callable[[], None],
        on_asked: Callable[[], Awaitable[None]],
        observe: Callable[[bool], None],
        on_change: Callable[..., None] | None = None,
    ) -> None:
        self._current = current
        self._reread = reread
        self._prepare = prepare
        self._apply = apply
        self._on_asked = on_asked
        self._observe = observe
        self._on_change = on_change
        self._read = current.config
        self._files = current.config.files
        self._seen = watch.look(self._files)
        self._first = current.config.secrets
        self._former: dict[str, None] = {}
        self._lock = anyio.Lock()

    async def run(self, ready: anyio.Event, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow the files, and SIGHUP, until cancelled; started when SIGHUP is heeded.

        Args:
            ready: waited for before anything is applied.
        """

        async def on_asked() -> None:
            await ready.wait()
            await self._on_hangup()

        async with anyio.create_task_group() as tg:
            await tg.start(on_hangup, on_asked)
            task_status.started()
            await ready.wait()
            await watch.watch(lambda: self._files, self.reload, self._seen)

    async def _on_hangup(self) -> None:
        log.info("asked to reload")
        await self.reload(asked=True)
        await self._on_asked()

    async def reload(self, *, asked: bool = False) -> None:
        """Read the files. What can be used is in force when this returns; what cannot has changed nothing.

        Args:
            asked: say what came of it even if that is nothing new.
        """
        async with self._lock:
            try:
                new = await in_thread(self._reread)
                self._files = new.files
                self._keep_in_order(new)
                await self._prepare(new)
                self._take(new, asked=asked)
            except ConfigError as error:
                self._files = self._also(error.files)
                self._refuse(error.message, asked=asked)
            except Exception:
                log.exception("configuration not reloaded")
                self._refuse(DEFECT, asked=asked)

    def _keep_in_order(self, new: Config) -> None:
        """
        Raises:
            ConfigError: a server that is in order would be out of order. At the start the others run without it; here
                what is in force is better.
        """
        before = self._current.config.enabled
        lost = [
            f"server {name!r}: {server.reason}"
            for name, server in new.enabled.items()
            if isinstance(server, OutOfOrder) and name in before and not isinstance(before[name], OutOfOrder)
        ]
        if lost:
            error = ConfigError("\n".join(lost))
            error.files = new.files
            raise error

    def _take(self, new: Config, *, asked: bool) -> None:
        current, before, was_refused = self._current, self._current.config, self._current.refused
        change = diff(before, new)
        for warning in new.warnings:
            if warning not in self._read.warnings:
                log.warning("configuration", warning=warning)
        if change.needs_restart and (asked or change.needs_restart != current.needs_restart):
            log.warning("settings need a restart", settings=change.needs_restart)
        current.config = change.config.model_copy(update={"secrets": self._secrets(new)})
        current.needs_restart, current.refused, self._read = change.needs_restart, "", new
        if change.changes:
            current.loaded_at = datetime.now(UTC)
            try:
                self._apply()
            except Exception:
                current.config = before  # so that the next reload tries again
                raise
            self._observe(True)
            if self._on_change is not None:
                self._on_change("config", outcome="applied", **change.changes)
            log.info("configuration reloaded", **change.changes)
        elif asked or was_refused:
            log.info("configuration is valid, and as it was")

    def _secrets(self, new: Config) -> frozenset[str]:
        """What was secret still is: a connection that a change left alone, or one that waits for its successor, may
        speak of it for as long as it likes; and settings that need a restart keep the values of the start."""
        self._former |= dict.fromkeys(self._read.secrets)
        for secret in new.secrets:
            self._former.pop(secret, None)
        for secret in list(self._former)[:-MAX_FORMER_SECRETS]:
            del self._former[secret]
        return new.secrets.union(self._first, self._former)

    def _refuse(self, reason: str, *, asked: bool) -> None:
        if reason != self._current.refused:
            self._observe(False)
            if self._on_change is not None:
                self._on_change("config", outcome="refused", reason=reason)
        if asked or reason != self._current.refused:
            log.error("configuration refused; the one from before stays", reason=reason)
        self._current.refused = reason

    def _also(self, tried: list[Path]) -> list[Path]:
        """What would be needed for the new files to be right is followed as well as what is in force."""
        return list(dict.fromkeys([*tried, *self._read.files]))
