"""Registered agents that survive a restart: the memory store, written to one file of `state_dir` at every change.

One process owns the file. Several that should know each other's agents need a shared store.
"""

import os
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog

from gateway import jsonrpc
from gateway.errors import InternalError
from gateway.store import files
from gateway.store.agents import AgentSession, MemoryAgentStore

log = structlog.stdlib.get_logger("gateway.store")

_FORMAT: Final = "mcp-gateway agents"
_VERSION: Final = 1


class FileAgentStore(MemoryAgentStore):
    """Reads the file when constructed. A file that cannot be used is logged and counts as empty.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self._path = path
        self._lock = anyio.Lock()
        self._changes = 0
        self._saved = 0
        self._sessions = _load(path)

    async def add(self, session: AgentSession, cap: int) -> bool:
        """
        Raises:
            InternalError: it cannot be written, and was not added.
        """
        if not await super().add(session, cap):
            return False
        try:
            await self._save()
        except BaseException:
            self._sessions.pop(session.id, None)
            raise
        return True

    async def remove(self, ids: Collection[str]) -> None:
        """
        Raises:
            InternalError: they are gone from this process, but would be back after a restart.
        """
        await super().remove(ids)
        await self._save()

    async def _save(self) -> None:
        """Returns when the file has the change just made. Changes that come during a write share the next."""
        self._changes += 1
        mine = self._changes
        with anyio.CancelScope(shield=True):  # whoever revokes and hangs up has still revoked
            async with self._lock:
                if self._saved >= mine:
                    return
                upto, data = self._changes, _encode(self._sessions.values())
                try:
                    await anyio.to_thread.run_sync(files.replace, self._path, data)
                except OSError as error:
                    log.error("agent sessions not saved", path=str(self._path), reason=error.strerror)
                    raise InternalError from None
                self._saved = upto


def _encode(sessions: Collection[AgentSession]) -> bytes:
    return jsonrpc.dumps({"format": _FORMAT, "version": _VERSION, "sessions": [_as_json(each) for each in sessions]})


def _as_json(session: AgentSession) -> dict[str, Any]:
    upstreams = None if session.upstreams is None else sorted(session.upstreams)
    return asdict(session) | {"scopes": sorted(session.scopes), "upstreams": upstreams}


def _load(path: Path) -> dict[str, AgentSession]:
    try:
        data = path.read_bytes()
        document = jsonrpc.loads(data, len(data))
        if document["format"] != _FORMAT or document["version"] != _VERSION:
            raise ValueError("foreign, or of another version")
        sessions = [_session(**entry) for entry in document["sessions"]]
        os.chmod(path, 0o600)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not what was saved"
        log.warning("agent sessions cannot be read; agents have to register again", path=str(path), reason=reason)
        return {}
    return {session.id: session for session in sessions}


def _session(*, upstreams: list[str] | None, scopes: list[str], ancestors: list[str], **rest: Any) -> AgentSession:
    session = AgentSession(
        upstreams=None if upstreams is None else frozenset(upstreams),
        scopes=frozenset(scopes),
        ancestors=tuple(ancestors),
        **rest,
    )
    if not ancestors or not isinstance(session.id, str) or not isinstance(session.expires, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError("not what was saved")
    return session
