"""The heads of HTTP/1.1 messages: what a request's says, read so that nobody could read it in another way, and how an
answer's is written.
"""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from gateway.errors import InvalidRequest

Fields = Iterable[tuple[str, str]]
"""Headers as `(name, value)`; names in lower case."""

JSON: Final = "application/json"
STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_USUAL: Final = (
    *("Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Connection", "Content-Type"),
    *("Content-Length", "Authorization", "X-Api-Key", "X-Agent-Token", "Origin", "Transfer-Encoding", "Last-Event-ID"),
    *("MCP-Protocol-Version", "Mcp-Protocol-Version", "Mcp-Session-Id", "Mcp-Method", "Mcp-Name", "X-Forwarded-For"),
)
NAMES: Final = {spelled.encode(): name.lower() for name in _USUAL for spelled in (name, name.lower())}
"""Most names that come, in lower case."""
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SCHEME: Final = re.compile(rb"https?://", re.IGNORECASE)


class RequestHead:
    """What stands before the body of a request. What it says is never changed: the next one on the connection may have
    the same head.

    Args:
        url: the target as it came.
        version: of HTTP, `1.1` or `1.0`.
        headers: by lower-case name; those that came more than once are joined by a comma (RFC 9110, 5.3).
        repeated: the names of those that did.
        keep_alive: whether the connection is to go on after the answer.

    Raises:
        InvalidRequest: the target is not ours.
    """

    __slots__ = ("form", "headers", "keep_alive", "method", "path", "query", "raw_path", "repeated", "route", "version")

    def __init__(
        self,
        method: str,
        url: bytes,
        version: str,
        headers: dict[str, str],
        repeated: Sequence[str],
        *,
        keep_alive: bool,
    ) -> None:
        self.method = method
        self.version = version
        self.headers = headers
        self.repeated = repeated
        self.raw_path, self.path, self.query = read_target(url, headers.get("host"))
        self.keep_alive = keep_alive
        self.route: Any = None
        """What follows from it for the front (`http._Route`), worked out once for all requests that have it."""
        self.form: Any = None
        """The same for the endpoint (`post_head.Form`)."""


def read_target(url: bytes, host: str | None) -> tuple[bytes, str, bytes]:
    """The path, the path without escapes, and the query.

    Raises:
        InvalidRequest: it is none, or names another host than the one that the request is checked by.
    """
    rest = url
    if not url.startswith(b"/") and url != b"*":
        scheme = _SCHEME.match(url)
        if scheme is None:
            raise InvalidRequest("The request's target is no path.")
        rest = url[scheme.end() :]
        end = min((at for at in map(rest.find, (b"/", b"?", b"#")) if at >= 0), default=len(rest))
        if rest[:end].decode("latin-1") != host:
            raise InvalidRequest("The request's target names another host than its Host header.")
        rest = rest[end:] if rest.startswith(b"/", end) else b"/" + rest[end:]
    if b"#" in rest:
        rest = rest.partition(b"#")[0]
    raw_path, _, query = rest.partition(b"?")
    try:
        path = raw_path.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidRequest("The request's target is no path.") from None
    return raw_path, unquote(path) if "%" in path else path, query


def field_lines(fields: Fields) -> str:
    """
    Raises:
        ValueError: a value would end its header, and begin something else.
    """
    lines = ""
    for name, value in fields:
        if not value.isprintable() and _CONTROLS.search(value):
            raise ValueError(f"The header {name} has control characters.")
        lines += f"{name}: {value}\r\n"
    return lines


def whole(status: int, body: bytes, headers: Fields) -> bytes:
    """An answer of JSON that is its connection's last."""
    fields = field_lines(headers)
    head = f"{STATUS_LINES[status]}content-type: {JSON}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
    return f"{head}{fields}\r\n".encode("latin-1", "replace") + body
