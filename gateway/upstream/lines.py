"""Splits a byte stream into lines, linear in its length and bounded. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

KEPT_OF_OVERLONG: Final = 4096
"""How much of a line over the cap is kept: enough to find the request id in."""


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line over the cap, of which only the head was kept."""

    head: bytes


class LineSplitter:
    """Feed it chunks; it yields lines without their ends. The pieces of a line are joined once, when it ends."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes | Overlong]:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._push(chunk[start:end])
            yield self._take()
            start = end + 1
        if start < len(chunk):
            self._push(chunk[start:] if start else chunk)

    def rest(self) -> bytes:
        """What stood after the last line end, when the stream is over."""
        line = self._take()
        return line.head if isinstance(line, Overlong) else line

    def _push(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._cap:
            self._pieces.append(piece)
        elif self._head is None:
            self._head = b"".join([*self._pieces, piece[:KEPT_OF_OVERLONG]])[:KEPT_OF_OVERLONG]
            self._pieces = []

    def _take(self) -> bytes | Overlong:
        line = b"".join(self._pieces) if self._head is None else Overlong(self._head)
        self._pieces, self._size, self._head = [], 0, None
        return line
