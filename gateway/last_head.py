"""The head of the last HTTP/1.1 message on a connection, as bytes and as what they mean.

Peers send the same head with nearly every message, but for the length of the body. Bytes that were parsed once need not
be parsed again: a message on a connection that is kept alive does not depend on the one before.
"""

import re
from typing import Final, Generic, TypeVar

Head = TypeVar("Head")

LONGEST: Final = 4096
"""Bytes of a head that is kept."""
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength:[ ]?([1-9][0-9]{0,8})\r\n")


class LastHead(Generic[Head]):
    """`content-length` is that of the message whose head was parsed."""

    __slots__ = ("_head", "_text")

    def __init__(self) -> None:
        self._text = b""
        self._head: Head | None = None

    def keep(self, data: bytes, head: Head) -> None:
        """`data` was one whole message, read at once, with that head. It must have no transfer coding, and the
        connection must have been kept alive after it."""
        found = _split(data)
        self._text, self._head = (found[0], head) if found is not None else (b"", None)

    def match(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of `data`, if it is one whole message with the same head."""
        if self._head is None:
            return None
        found = _split(data)
        return (self._head, data[found[1] :]) if found is not None and found[0] == self._text else None


def _split(data: bytes) -> tuple[bytes, int] | None:
    """The head without the length of the body, and where that begins; None if it does not end where `data` does."""
    body = data.find(b"\r\n\r\n", 0, LONGEST) + 4
    length = _LENGTH.search(data, 0, body) if body >= 4 else None
    if length is None or int(length[1]) != len(data) - body:
        return None
    return data[: length.start(1)] + data[length.end(1) : body], body
