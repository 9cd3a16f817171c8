"""Splits a byte stream into lines, linear in its length and bounded. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

KEPT_OF_OVERLONG: Final = 20 * 1024
"""How much of either end of a line over the cap is kept: enough to find the request id in."""


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line over the cap, of which only the ends were kept."""

    head: bytes
    tail: bytes


class LineSplitter:
    """Feed it chunks; it returns lines without their ends. The pieces of a line are joined once, when it ends."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._line = bytearray()
        self._size = 0
        self._tail: bytes | None = None
        """The last bytes of a line over the cap, of which `_line` has the first."""

    def feed(self, chunk: bytes) -> Sequence[bytes | Overlong]:
        if self._size:
            begun, end, chunk = chunk.partition(b"\n")
            self._push(begun)
            return [self._take(), *self.feed(chunk)] if end else ()
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if len(chunk) > self._cap:
            whole = [self._measured(line) for line in lines]
            self._push(rest)
            return whole
        if rest:
            self._push(rest)
        return lines

    def _measured(self, line: bytes) -> bytes | Overlong:
        if len(line) <= self._cap:
            return line
        self._push(line)
        return self._take()

    def rest(self) -> bytes:
        """What stood after the last line end, when the stream is over."""
        line = self._take()
        return line.head if isinstance(line, Overlong) else line

    def _push(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._cap:
            self._line += piece
            return
        if self._tail is None:
            self._tail = bytes(self._line[-KEPT_OF_OVERLONG:])
            del self._line[KEPT_OF_OVERLONG:]
        self._line += piece[: KEPT_OF_OVERLONG - len(self._line)]
        self._tail = (self._tail + piece[-KEPT_OF_OVERLONG:])[-KEPT_OF_OVERLONG:]

    def _take(self) -> bytes | Overlong:
        head, tail = bytes(self._line), self._tail
        self._line, self._size, self._tail = bytearray(), 0, None
        return head if tail is None else Overlong(head, tail)
