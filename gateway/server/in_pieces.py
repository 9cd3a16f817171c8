"""Blocks of content with very long strings, decoded in pieces. Pure.

To decode one string of 16 MiB takes a tenth of a second, in which no other thread of the process goes on: in pieces,
each takes a millisecond, and whoever waits has a turn between them. It comes out as `jsonrpc.loads` would have it.
"""

import re
from typing import Any, Final

import msgspec

from gateway import jsonrpc

PIECE: Final = 256 * 1024
"""Bytes that are decoded at once; what has fewer is decoded whole."""

_PAIR: Final = 12
"""Bytes of the longest that must not be parted: a character in two escapes."""
_NEAR: Final = 64
_ESCAPE: Final = re.compile(rb"(?<!\\)\\(?!u[dD][c-fC-F])")
"""Where an escape begins that is not the second half of a character."""
_blocks: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def blocks_of(data: bytes) -> Any:
    """The value of a member `content`: blocks, whose long strings stand in them or in an object of theirs.

    Raises:
        ValueError, jsonrpc.TooManyValues: as `jsonrpc.loads`.
    """
    if len(data) < PIECE:
        return jsonrpc.loads(data)
    jsonrpc.check_count(data)
    try:
        blocks = _blocks.decode(data)
    except (msgspec.ValidationError, RecursionError):
        return jsonrpc.loads(data)  # no list of objects, or none that is any use
    return [{name: _member(bytes(raw)) for name, raw in block.items()} for block in blocks]


def _member(data: bytes) -> Any:
    if len(data) >= PIECE and data.startswith(b"{"):
        try:
            return {name: _value(bytes(raw)) for name, raw in _members.decode(data).items()}
        except RecursionError:
            pass
    return _value(data)


def _value(data: bytes) -> Any:
    return string_of(data) if len(data) >= PIECE and data.startswith(b'"') else jsonrpc.loads(data)


def string_of(data: bytes, piece: int = PIECE) -> str:
    """A string, from its quote to its quote.

    Raises:
        ValueError: as `jsonrpc.loads`.
    """
    at, end, parts = 1, len(data) - 1, list[str]()
    while at < end:
        after = _boundary(data, at + piece, end) if at + piece < end else end
        parts.append(jsonrpc.loads(b'"%s"' % data[at:after]))
        at = after
    return "".join(parts)


def _boundary(data: bytes, near: int, end: int) -> int:
    """The next place where a string may be parted: neither within a character nor within an escape."""
    for at in range(near, min(near + _NEAR, end)):
        if data[at] & 0xC0 != 0x80 and data.find(b"\\", max(0, at - _PAIR), at) < 0:
            return at
    found = _ESCAPE.search(data, near, end)
    return found.start() if found is not None else end
