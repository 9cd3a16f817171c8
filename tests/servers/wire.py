"""What the hand-written servers share: MCP as plain dicts, no SDK, and so quick to start. Here: answers, and stdio.

A `Service` says what each method answers. Both eras are spoken as far as a client can tell the difference: handshake or
discovery, the envelope, `resultType` and the caching hints.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Message = dict[str, Any]
Method = Callable[[dict[str, Any]], dict[str, Any]]
"""`params -> result`; raises `Refusal`."""

MODERN: Final = "2026-07-28"
HANDSHAKE: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
ERAS: Final = ("both", "handshake", "modern")
_META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
_META_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
_CACHEABLE: Final = frozenset(
    {
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "skills/list",
        "skills/get",
    }
)


class Refusal(Exception):
    """Becomes a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    @property
    def error(self) -> dict[str, Any]:
        body = {"code": self.code, "message": self.message}
        return body if self.data is None else body | {"data": self.data}


def number(text: str) -> float | str:
    """A number; what Python would write in another way is kept as text that `encode` writes as it is."""
    value = float(text)
    return value if repr(value) == text else f"\ue000{text}\ue000"


def decode(data: bytes | str) -> Any:
    """JSON in which every number keeps its text."""
    return json.loads(data, parse_float=number)


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON; integers of any size, and whatever `number` made."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub('"\ue000([^"]*)\ue000"', r"\1", text).encode(errors="backslashreplace")  # half a surrogate pair


MESSAGE: Final[Message] = {"jsonrpc": "2.0", "id": 1, "result": {"forged": True}}
"""Looks like an answer, and may stand in anything that is sent."""


def on_lines(data: bytes) -> bytes:
    """The same JSON, but for line ends around each `MESSAGE` in it: where lines are messages, it would be one."""
    return data.replace(encode(MESSAGE), b"\r\n%s\n" % encode(MESSAGE))


def error_body(refusal: Refusal, id: Any = None) -> bytes:
    return encode({"jsonrpc": "2.0", "id": id, "error": refusal.error})


def unsupported(requested: str) -> Refusal:
    return Refusal(-32022, "Unsupported protocol version", {"supported": [MODERN], "requested": requested})


@dataclass
class Service:
    """An MCP server as a table of methods."""

    name: str
    methods: Mapping[str, Method]
    era: str = "both"
    """One of `ERAS`."""
    extensions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """As declared."""

    def answer(self, message: Message) -> Message | None:
        """The reply to one message; None when none is owed."""
        if "method" not in message or "id" not in message:
            return None
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            return reply | {"result": self._result(message["method"], params_of(message))}
        except Refusal as refusal:
            return reply | {"error": refusal.error}

    def _result(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        modern = is_enveloped(params)
        if self.era == "handshake" and (modern or method == "server/discover"):
            raise Refusal(-32601, "Method not found")
        if self.era == "modern" and not modern:
            raise unsupported(params.get("protocolVersion", HANDSHAKE[-1]))
        if method == "initialize" and not modern:
            return self._initialize(params)
        if method == "ping" and not modern:
            return {}
        result = self._discover() if method == "server/discover" else self._call(method, params)
        return self._stamped(method, result) if modern else result

    def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method not in self.methods:
            raise Refusal(-32601, "Method not found")
        return self.methods[method](params)

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = params.get("protocolVersion")
        return {
            "protocolVersion": asked if asked in HANDSHAKE else HANDSHAKE[-1],
            "capabilities": self._capabilities(),
            "serverInfo": {"name": self.name, "version": "1"},
        }

    def _discover(self) -> dict[str, Any]:
        return {"supportedVersions": [MODERN], "capabilities": self._capabilities()}

    def _capabilities(self) -> dict[str, Any]:
        kinds: Message = {kind: {} for kind in ("tools", "resources", "prompts") if f"{kind}/list" in self.methods}
        return kinds | ({"extensions": self.extensions} if self.extensions else {})

    def _stamped(self, method: str, result: dict[str, Any]) -> dict[str, Any]:
        hints = {"ttlMs": 60_000, "cacheScope": "public"} if method in _CACHEABLE else {}
        meta = {_META_SERVER_INFO: {"name": self.name, "version": "1"}} | result.get("_meta", {})
        return {"resultType": "complete"} | hints | result | {"_meta": meta}


def params_of(message: Message) -> dict[str, Any]:
    params: dict[str, Any] | None = message.get("params")
    return params or {}


def is_enveloped(params: dict[str, Any]) -> bool:
    """Whether a request is of the modern era."""
    meta: dict[str, Any] | None = params.get("_meta")
    return meta is not None and _META_VERSION in meta


# --- stdio ---------------------------------------------------------------------------------------------------------


def lines(answer: Callable[[Message], Message | None]) -> Callable[[Message], list[bytes]]:
    """The lines of a server that says nothing but its answers."""

    def written(message: Message) -> list[bytes]:
        reply = answer(message)
        return [] if reply is None else [encode(reply)]

    return written


def serve_stdio(answer: Callable[[Message], list[bytes]]) -> None:
    """Answer stdin's lines one by one until it closes. `answer` gives the lines to write, without their line ends."""
    for line in sys.stdin.buffer:
        for out in answer(decode(line)):
            sys.stdout.buffer.write(out + b"\n")
            sys.stdout.buffer.flush()
