"""A log in a file: a thread writes to it, so that a disk that hangs or is full holds nobody up."""

import atexit
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.telemetry.append_file import AppendFile
from gateway.telemetry.log_stream import MAX_KEPT

RETRY_SECONDS: Final = 1.0
"""How soon it is tried again to write what could not be written."""
LAST_SECONDS: Final = 3.0
"""How long the end of the process waits for what is not written yet."""


class LogFile:
    """Takes lines as a `LogStream` does.

    Args:
        on_lost: told how many lines were lost, once lines can be written again.
        on_trouble: told why they cannot be written, once.
    """

    def __init__(
        self,
        path: Path,
        on_lost: Callable[[int], None],
        on_trouble: Callable[[str], None],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._file = AppendFile(path)
        self._on_lost = on_lost
        self._retry_seconds = retry_seconds
        self._on_trouble = on_trouble
        self._kept = bytearray()
        self._lost = 0
        self.dropped = 0
        """Lines that were lost, ever."""
        self._changed = threading.Condition()
        self._is_closing = self._is_writing = False
        self._is_to_reopen = False
        self._is_in_trouble = False
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """
        Raises:
            OSError: it cannot be written to.
        """
        self._file.open()

    def write(self, text: str) -> None:
        with self._changed:
            if len(self._kept) > MAX_KEPT:
                lines = text.count("\n")
                self._lost += lines
                self.dropped += lines
                return
            self._kept += text.encode("utf-8", "backslashreplace")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify_all()

    def flush(self) -> None:
        """Lines are written as soon as they can be."""

    def reopen(self) -> None:
        """Somebody has put another file in its place."""
        with self._changed:
            self._is_to_reopen = True

    def close(self) -> None:
        """Write what there is; no more comes. Waits, but not for ever."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._kept or self._is_writing), LAST_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._kept) or self._is_closing)
                if not self._kept:
                    return
                lines, self._kept = bytes(self._kept), bytearray()
                self._is_writing = True
                if self._is_to_reopen:
                    self._is_to_reopen = False
                    self._file.close()
            is_written = self._write(lines)
            with self._changed:
                self._is_writing = False
                lost = 0
                if is_written:
                    lost, self._lost = self._lost, 0
                else:
                    self._kept[:0] = lines
                self._changed.notify_all()
                if not is_written and self._is_closing:
                    return
            if lost:
                self._on_lost(lost)
            if not is_written:
                time.sleep(self._retry_seconds)

    def _write(self, lines: bytes) -> bool:
        try:
            self._file.append(lines)
        except OSError as error:
            self._file.close()
            if not self._is_in_trouble:
                self._is_in_trouble = True
                self._on_trouble(f"{self._file.path}: {error.strerror}")
            return False
        self._is_in_trouble = False
        return True
