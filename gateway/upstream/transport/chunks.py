"""Bodies in chunks, as far as nearly all are written alike: what is read of those needs no parser.

What else may stand in such a body (extensions, trailers, leading zeros, half a chunk) is left to the parser. Source:
RFC 9112, 7.1.
"""

import re
from typing import Final

from gateway.last_head import LONGEST

_SIZE: Final = re.compile(rb"([1-9a-fA-F][0-9a-fA-F]{0,6})\r\n")
_LAST: Final = b"0\r\n\r\n"


def whole_chunks(data: bytes, at: int) -> tuple[bytes, bool] | None:
    """What is in the chunks of which `data` is made from `at` on, and whether the last one is among them; None if there
    is anything else than whole chunks."""
    found: list[bytes] = []
    size = len(data)
    while at < size:
        if data.startswith(_LAST, at):
            return (b"".join(found), True) if at + len(_LAST) == size else None
        begin = _SIZE.match(data, at)
        if begin is None:
            return None
        at = begin.end()
        end = at + int(begin[1], 16)
        if not data.startswith(b"\r\n", end):
            return None
        found.append(data[at:end])
        at = end + 2
    return b"".join(found), False


def head_of(data: bytes) -> bytes:
    """The head with which `data` begins, if it is one that can be known again by its bytes: of a final response with
    status 200, and with line ends about which no two parsers disagree. Else nothing."""
    end = data.find(b"\r\n\r\n", 0, LONGEST) + 4
    head = data[:end] if end >= 4 else b""
    if not head.startswith(b"HTTP/1.1 200 "):
        return b""
    return head if head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") else b""
