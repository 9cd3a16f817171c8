"""What a worker and the host of programs say to each other over a socket: frames of a kind and a length."""

import struct
from collections.abc import Iterator
from typing import Final

PROGRAM: Final = b"p"
"""From a worker, first: what to run, in JSON."""
INPUT: Final = b"i"
"""From a worker: a line for the program's stdin."""
RESTART: Final = b"r"
"""From a worker: end the program, whoever uses it."""
STARTED: Final = b"k"
"""To a worker, first: it runs; with the number that its requests' ids begin with."""
NOT_STARTED: Final = b"s"
"""Instead of it: why not."""
OUTPUT: Final = b"o"
"""To a worker: a line of the program's stdout that concerns it."""
OVERLONG: Final = b"v"
"""To a worker: both ends of a line that was too long, behind the length of the first."""
STDERR: Final = b"e"
EXIT: Final = b"x"
"""To a worker, last: why there will be no more."""

ID_BITS: Final = 32
"""The ids of a worker's requests are its number, followed by so many bits of its own: JSON numbers are exact to 53."""

_HEAD: Final = struct.Struct(">cI")
MAX_FRAME: Final = 512 * 2**20
"""Bytes; what is longer is no frame."""


def frame(kind: bytes, data: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(data)) + data


class FrameSplitter:
    """Feed it bytes; it yields frames.

    Raises:
        ValueError: these are no frames.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= _HEAD.size:
                kind, length = _HEAD.unpack_from(self._buffer, at)
                if length > MAX_FRAME:
                    raise ValueError("no frame")
                end = at + _HEAD.size + length
                if len(self._buffer) < end:
                    break
                yield kind, bytes(self._buffer[at + _HEAD.size : end])
                at = end
        finally:
            del self._buffer[:at]
