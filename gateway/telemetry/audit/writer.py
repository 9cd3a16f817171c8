"""Writes the audit log, in a thread: seals lines in their order, appends them, and then notes where they end."""

import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from gateway import __version__
from gateway.telemetry.access_log import iso
from gateway.telemetry.audit.chain import Chain, Keys
from gateway.telemetry.audit.heads import HeadFile

log = structlog.stdlib.get_logger("gateway.audit")

RETRY_SECONDS: Final = 1.0
"""How soon it is tried again to write what could not be written."""
STALL_SECONDS: Final = 5.0
"""How long lines may wait to be written before that counts as failed."""
SYNC_SECONDS: Final = 1.0
"""How often what was written is made to survive a power cut."""
LAST_SECONDS: Final = 3.0
"""How long the end waits for what is not written yet."""
MAX_WAITING: Final = 32 * 1024 * 1024
"""Bytes that may wait to be written, by and large."""

Encode = Callable[[Any], dict[str, Any]]
"""From what was put to the members of a record."""


def now() -> str:
    return iso(time.time())


class AuditSink(Protocol):
    """Where lines go. All of it blocks."""

    def append(self, lines: bytes) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class Stream:
    """A standard stream, which somebody else keeps."""

    def __init__(self, name: str) -> None:
        self._descriptor = (sys.stdout if name == "stdout" else sys.stderr).fileno()

    def append(self, lines: bytes) -> None:
        left = memoryview(lines)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                select.select((), (self._descriptor,), ())

    def sync(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """It is not ours."""


class AuditWriter:
    """Writes from its construction to `close`.

    Args:
        encode: called in the writer's thread.
        environment: which deployment it is.

    Raises:
        OSError: nothing can be written.
    """

    def __init__(self, sink: AuditSink, head: HeadFile, keys: Keys, encode: Encode, environment: str) -> None:
        self._sink = sink
        self._head = head
        self._encode = encode
        self._chain = Chain(keys.chain)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, Sequence[Any]]] = deque()
        """(when, items)"""
        self._size = self._held = 0
        """Bytes of them, and of the lines that could not be written."""
        self._lost = 0
        self._oldest = float("inf")
        """Since when the oldest line that is not written waits."""
        self._is_closing = self._is_over = False
        self._trouble = ""
        self._is_head_due = False
        after = None if head.found is None else {"chain": head.found.chain, "n": head.found.n, "mac": head.found.mac}
        begin = {
            "at": now(),
            "event": "begin",
            "version": __version__,
            "environment": environment,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "key": keys.id,
            "after": after,
            **({"head_trouble": head.trouble} if head.trouble else {}),
        }
        self._lines = self._chain.seal(begin)
        """Sealed, and not written yet."""
        self._write()  # raises OSError: what cannot be written at all is said at once
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why lines cannot be written; empty while they can."""
        if self._trouble:
            return self._trouble
        return "it takes too long" if time.monotonic() - self._oldest > STALL_SECONDS else ""

    def put(self, items: Sequence[Any], size: int) -> None:
        """Have lines written; never waits. When too many wait already, they are lost, which a later line says.

        Args:
            size: bytes, by and large.
        """
        with self._changed:
            if self._size + self._held > MAX_WAITING:
                self._lost += len(items)
                return
            at = time.monotonic()
            self._oldest = min(self._oldest, at)
            self._waiting.append((at, items))
            self._size += size
            self._changed.notify_all()

    def close(self) -> None:
        """Write what there is, and the end of the chain. Waits, but not for ever."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_over, LAST_SECONDS)

    def _run(self) -> None:
        synced, is_dirty, is_closing = time.monotonic(), True, False
        while not is_closing:
            with self._changed:
                self._changed.wait_for(
                    lambda: bool(self._waiting or self._lines or self._is_head_due) or self._is_closing,
                    SYNC_SECONDS if is_dirty else None,
                )
                batches, self._waiting = self._waiting, deque()
                self._size = 0
                lost, self._lost = self._lost, 0
                is_closing = self._is_closing
            self._seal([item for _, items in batches for item in items], lost)
            if is_closing:
                self._lines += self._chain.seal({"at": now(), "event": "end"})
            is_dirty = is_dirty or bool(self._lines)
            is_written = self._try(self._write)
            with self._changed:
                self._held = len(self._lines)
                if is_written:
                    self._oldest = self._waiting[0][0] if self._waiting else float("inf")
                elif not is_closing:
                    self._changed.wait_for(lambda: self._is_closing, RETRY_SECONDS)
            if is_written and is_dirty and (is_closing or time.monotonic() - synced >= SYNC_SECONDS):
                is_dirty, synced = not self._try(self._sync), time.monotonic()
        self._try(self._sink.close)
        self._head.close()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _seal(self, items: Sequence[Any], lost: int) -> None:
        sealed = [self._lines]
        if lost:
            sealed.append(self._chain.seal({"at": now(), "event": "lost", "lines": lost}))
        for item in items:
            try:
                fields = self._encode(item)
            except Exception as error:
                log.exception("audit record not understood")
                fields = {"at": now(), "event": "defect", "error": type(error).__name__}
            sealed.append(self._chain.seal(fields))
        self._lines = b"".join(sealed)

    def _write(self) -> None:
        if self._lines:
            self._sink.append(self._lines)
            self._lines, self._is_head_due = b"", True
        if self._is_head_due:
            self._head.write(self._chain.head)
            self._is_head_due = False

    def _sync(self) -> None:
        self._sink.sync()
        self._head.sync()

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except OSError as error:
            if not self._trouble:
                log.error("the audit log cannot be written", reason=error.strerror or str(error))
            self._trouble = error.strerror or str(error)
            return False
        if self._trouble:
            log.warning("the audit log can be written again")
            self._trouble = ""
        return True
