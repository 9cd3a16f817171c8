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
_DIGITS: Final = 9


class LastHead(Generic[Head]):
    """`content-length` is that of the message whose head was parsed."""

    __slots__ = ("_after", "_before", "_body", "_head", "_size", "_whole")

    def __init__(self) -> None:
        self._before = self._after = b""
        """What stands before and behind the length of the body."""
        self._head: Head | None = None
        self._whole = b""
        """As it was in the last message: the next one often has a body of the same length."""
        self._body = 0
        """Where the body began, …"""
        self._size = -1
        """… and how many bytes that message had."""

    def keep(self, data: bytes, head: Head) -> None:
        """`data` was one whole message, read at once, with that head. It must have no transfer coding, and the
        connection must have been kept alive after it."""
        self._head, self._size = None, -1
        body = data.find(b"\r\n\r\n", 0, LONGEST) + 4
        length = _LENGTH.search(data, 0, body) if body >= 4 else None
        if length is not None and int(length[1]) == len(data) - body:
            self._before, self._after = data[: length.start(1)], data[length.end(1) : body]
            self._head = head
            self._was(data, body)

    def match(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of `data`, if it is one whole message with the same head."""
        head = self._head
        if head is None:
            return None
        if len(data) == self._size and data.startswith(self._whole):
            return head, data[self._body :]
        return self._match_another(data, head)

    def _match_another(self, data: bytes, head: Head) -> tuple[Head, bytes] | None:
        """The same for a body of another length."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        begin = len(before)
        end = data.find(b"\r", begin, begin + _DIGITS + 1)
        body = end + len(after)
        digits = data[begin:end]
        if end < 0 or not data.startswith(after, end) or not digits.isdigit() or digits.startswith(b"0"):
            return None
        if int(digits) != len(data) - body:
            return None
        self._was(data, body)
        return head, data[body:]

    def _was(self, data: bytes, body: int) -> None:
        self._whole, self._body, self._size = data[:body], body, len(data)
