"""Registered agents that survive a restart: what one file of `state_dir` says, which several gateways may share.

The file decides. Whoever adds or removes applies that to what the file says by then, and everybody follows it; nothing
is ever written back from memory, so what one gateway has revoked no other brings to life again. What is removed and
cannot be written (a full disk) counts here at once, is noted in a journal that takes no more room and that every
gateway reads with the file, and is tried again, once more at the end.
"""

import errno
import os
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import structlog

from gateway import blocking, jsonrpc
from gateway.blocking import in_thread, within
from gateway.errors import NotSaved
from gateway.store import files, journal
from gateway.store.agents import AgentSession, MemoryAgentStore, as_json, from_json

log = structlog.stdlib.get_logger("gateway.store")

_FORMAT: Final = "mcp-gateway agents"
_VERSION: Final = 1

Sessions = dict[str, AgentSession]


@dataclass(slots=True)
class _Changes:
    """What was asked for and is not in the file yet."""

    added: dict[str, tuple[AgentSession, int]] = field(default_factory=dict[str, tuple[AgentSession, int]])
    """With the cap that counts for its root."""
    removed: dict[str, AgentSession | None] = field(default_factory=dict[str, AgentSession | None])

    def copy(self) -> "_Changes":
        return _Changes(dict(self.added), dict(self.removed))

    def forget(self, saved: "_Changes") -> None:
        for id in saved.added:
            self.added.pop(id, None)
        for id in saved.removed:
            self.removed.pop(id, None)


class FileAgentStore(MemoryAgentStore):
    """Reads the file when constructed. A file that cannot be used is logged and counts as empty.

    Args:
        clock: seconds since 1970.
        save_seconds: how long the file may take to be written, before that counts as failed.
        last_seconds: the same, once the gateway stops.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        *,
        save_seconds: float = blocking.SAVE_SECONDS,
        last_seconds: float = blocking.LAST_SECONDS,
    ) -> None:
        super().__init__(clock)
        self._path = path
        self._save_seconds = save_seconds
        self._last_seconds = last_seconds
        self._journal = path.with_suffix(".revoked")
        self._lock = anyio.Lock()
        self._pending = _Changes()
        self._asked = 0
        self._done = 0
        self._trouble = ""
        self._gone: list[str] = []
        """Those that others have removed, and `follow` has not told of yet."""
        self._seen = self._signature()
        self._sessions = self._load()

    async def add(self, session: AgentSession, cap: int) -> bool:
        """
        Raises:
            NotSaved: it cannot be written, and was not added.
        """
        self._pending.added[session.id] = session, cap
        try:
            await self._save("The agent was not registered")
        except BaseException:
            self._pending.added.pop(session.id, None)
            raise
        return session.id in self._sessions or session.id in self._pending.removed

    async def remove(self, ids: Collection[str]) -> None:
        for id in ids:
            self._pending.removed[id] = self._sessions.pop(id, None) or self._pending.removed.get(id)
        await self._save("Revoked in this gateway, but not in its state directory: a restart would undo it")

    async def unsaved(self, id: str) -> AgentSession | None:
        return self._pending.removed.get(id)

    async def follow(self) -> Collection[str]:
        if self._pending.removed:
            with suppress(NotSaved):  # it is logged
                await self._save("")
        signature = await in_thread(self._signature)
        if signature != self._seen:
            async with self._lock:
                try:
                    self._use(await in_thread(self._read), _Changes())
                    self._seen = signature
                except OSError as error:
                    self._log_once("agent sessions cannot be read; those from before stay", error)
        gone, self._gone = self._gone, []
        return gone

    async def aclose(self) -> None:
        if self._pending.removed:
            try:
                await within(self._last_seconds, self._write, self._pending.copy(), True)
            except OSError as error:
                self._log_once("agents that were revoked are back after a restart", error)

    async def _save(self, otherwise: str) -> None:
        """Returns when the file has the change just made. Changes that come during a write share the next.

        Args:
            otherwise: what it means that it has not.

        Raises:
            NotSaved: the changes are kept, to be tried again.
        """
        self._asked += 1
        mine = self._asked
        with anyio.CancelScope(shield=True):  # whoever revokes and hangs up has still revoked
            async with self._lock:
                if self._done >= mine:
                    return
                upto, changes = self._asked, self._pending.copy()
                try:
                    sessions = await within(self._save_seconds, self._write, changes, False)
                    self._seen = None  # so that it is looked at once more: somebody may have written since
                    self._use(sessions, changes)
                except OSError as error:
                    if error.errno == errno.ETIMEDOUT:
                        self._pending.removed |= dict.fromkeys(changes.added)  # they may be written yet
                    elif not changes.added and await self._note(changes.removed):
                        self._log_once("agent sessions not saved; what was revoked is noted beside them", error)
                        self._done = upto
                        return
                    raise self._not_saved(otherwise, error) from None
                if self._trouble:
                    log.info("agent sessions saved", path=str(self._path))
                self._done, self._trouble = upto, ""

    async def _note(self, ids: Collection[str]) -> bool:
        """Have these outlive a restart although the file cannot be written. Returns whether they do."""
        try:
            await within(self._save_seconds, journal.note, self._journal, ids)
        except OSError:
            return False
        return True

    def _not_saved(self, otherwise: str, error: OSError) -> NotSaved:
        self._log_once("agent sessions not saved", error)
        return NotSaved(otherwise, _reason(error))

    def _log_once(self, event: str, error: OSError) -> None:
        trouble = f"{event}: {_reason(error)}"
        if trouble != self._trouble:
            log.error(event, path=str(self._path), reason=_reason(error), revoked=[*self._pending.removed] or None)
        self._trouble = trouble

    def _use(self, sessions: Sessions, saved: _Changes) -> None:
        """Go by what the file says, and by what was removed since."""
        self._pending.forget(saved)
        before, self._sessions = self._sessions, _without(sessions, self._pending.removed)
        now = self._clock()
        self._gone += [id for id, each in before.items() if id not in self._sessions and each.expires > now]

    def _write(self, changes: _Changes, in_place: bool) -> Sessions:
        """Blocks. Returns what the file says now.

        Args:
            in_place: whether to write over the file where there is no room for another.
        """
        sessions: Sessions = {}
        noted = set[str]()

        def change(data: bytes | None) -> bytes:
            nonlocal sessions, noted
            noted = journal.read(self._journal)
            sessions = _changed(_without(_decode(self._path, data), noted), changes, self._clock())
            return _encode(sessions.values())

        try:
            files.update(self._path, change)
        except OSError as error:
            if not in_place or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            files.update(self._path, change, files.overwrite)
        with suppress(OSError):  # the next write does it
            if sessions:
                journal.make(self._journal)  # while there is room
            if noted:
                journal.clear(self._journal, noted)
        return sessions

    def _signature(self) -> object:
        return files.signature(self._path), files.signature(self._journal)

    def _read(self) -> Sessions:
        """
        Raises:
            OSError: it is there and cannot be read.
        """
        noted = journal.read(self._journal)
        with suppress(FileNotFoundError):
            return _without(_decode(self._path, blocking.read(self._path)), noted)
        return {}

    def _load(self) -> Sessions:
        try:
            sessions = self._read()
            self._pending.removed = dict.fromkeys(journal.read(self._journal))
            with suppress(FileNotFoundError):
                os.chmod(self._path, 0o600)
        except OSError as error:
            return _unusable(self._path, _reason(error))
        return sessions


def _changed(sessions: Sessions, changes: _Changes, now: float) -> Sessions:
    """What is to be in the file."""
    sessions = {id: each for id, each in _without(sessions, changes.removed).items() if each.expires > now}
    for session, cap in changes.added.values():
        if session.id not in changes.removed and sum(each.root == session.root for each in sessions.values()) < cap:
            sessions[session.id] = session
    return sessions


def _without(sessions: Sessions, removed: Collection[str]) -> Sessions:
    return {id: session for id, session in sessions.items() if id not in removed}


def _decode(path: Path, data: bytes | None) -> Sessions:
    if data is None:
        return {}
    try:
        document = jsonrpc.loads(data, len(data))
        if document["format"] != _FORMAT or document["version"] != _VERSION:
            raise ValueError("foreign, or of another version")
        sessions = [from_json(**entry) for entry in document["sessions"]]
    except (ValueError, TypeError, KeyError):
        return _unusable(path, "it is not what was saved")
    return {session.id: session for session in sessions}


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _unusable(path: Path, reason: str) -> Sessions:
    log.warning("agent sessions cannot be read; agents have to register again", path=str(path), reason=reason)
    return {}


def _encode(sessions: Iterable[AgentSession]) -> bytes:
    return jsonrpc.dumps({"format": _FORMAT, "version": _VERSION, "sessions": [as_json(each) for each in sessions]})
