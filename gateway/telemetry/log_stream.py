"""Where log lines go: to a stream whose reader may have gone, or have stopped reading. Neither stops the gateway."""

import errno
import io
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Final, TextIO

MAX_KEPT: Final = 1024 * 1024
"""Bytes of lines that wait for somebody to read; later ones are lost."""
_PIECE: Final = getattr(select, "PIPE_BUF", 512)
"""Bytes that fit into a pipe that says it can take something."""


class LogStream:
    """A stream's descriptor, written to only when that does not block; without one, the stream itself.

    Args:
        on_lost: told how many lines were lost, once there is somebody to read it.
    """

    def __init__(self, stream: TextIO, on_lost: Callable[[int], None]) -> None:
        self._stream = stream
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._kept = bytearray()
        self._lost = 0
        self.dropped = 0
        """Lines that were lost, ever."""
        try:
            self._descriptor: int | None = _not_blocking(stream.fileno())
        except (AttributeError, io.UnsupportedOperation):
            self._descriptor = None
        self._poll = None
        if self._descriptor is not None and sys.platform != "win32":
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, text: str) -> None:
        if self._descriptor is None:
            self._stream.write(text)
            return
        lost = 0
        with self._lock:
            if len(self._kept) > MAX_KEPT:
                lines = text.count("\n")
                self._lost += lines
                self.dropped += lines
            else:
                self._kept += text.encode("utf-8", "backslashreplace")
            self._drain(self._descriptor)
            if not self._kept:
                lost, self._lost = self._lost, 0
        if lost:
            self._on_lost(lost)

    def flush(self) -> None:
        if self._descriptor is None:
            self._stream.flush()

    def _drain(self, descriptor: int) -> None:
        try:
            while self._kept and (self._poll is None or self._poll.poll(0)):
                end = self._kept.rfind(b"\n", 0, _PIECE) + 1  # whole lines: other processes may write there too
                del self._kept[: os.write(descriptor, self._kept[: end or _PIECE])]
        except BlockingIOError:
            pass
        except OSError as error:
            self._kept.clear()
            if error.errno in (errno.EPIPE, errno.EIO):
                # Nobody will ever read; what Python itself has to say at its end must not fail on that.
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), descriptor)


def _not_blocking(descriptor: int) -> int:
    """A terminal takes part of what is written to it and then blocks, whatever it says before. It is opened anew for
    that, because whoever started us goes on using it as it is."""
    if not os.isatty(descriptor) or sys.platform == "win32":
        return descriptor
    try:
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return descriptor
