"""The bad server's misbehaviours that both transports can carry: wrong replies, deaths, and listings without end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

from tests.servers.wire import Message, Method, encode

Misreply = Callable[[Message, dict[str, Any]], list[bytes]]
"""`(good reply, tool arguments) -> what is sent in its place`: lines on stdio, over HTTP the body or several events."""


def ok(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [encode(reply)]


def noise(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [b"Server ready!", b"", b"   ", b"{not json", b"[1, 2", b"null", b"{}", b"\xff\xfe", encode(reply), b"done."]


def invalid_utf8(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [encode(reply)[:-1] + b',"x":"\xff\xfe\x80"}']


def truncated(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [encode(reply)[:-10]]


def huge(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    """`megabytes` (64) of it."""
    return [encode(padded(reply, arguments.get("megabytes", 64)))]


def nested(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    """`depth` (50,000) levels."""
    depth = arguments.get("depth", 50_000)
    return [encode(reply)[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"]


def many_values(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    """`values` (1,000,000) of them."""
    keys = b",".join(b'"%d":0' % number for number in range(arguments.get("values", 1_000_000)))
    return [encode(reply)[:-1] + b',"x":{' + keys + b"}}"]


def silent(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return []


def twice(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [encode(reply), encode(reply)]


def wrong_id(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [encode(reply | {"id": "nobody asked this"})]


def null_id(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [encode({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}})]


def array(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [encode([reply])]


def no_result(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    return [encode({"jsonrpc": "2.0", "id": reply["id"]})]


def leave(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    os._exit(3)


def kill(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def flood_stderr(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    """`megabytes` (16) of log lines before the reply."""
    lines = b"bad: so much to say, and nobody to say it to\n" * 23302  # 1 MiB
    for _ in range(arguments.get("megabytes", 16)):
        sys.stderr.buffer.write(lines)
    sys.stderr.buffer.flush()
    return [encode(reply)]


def grandchild(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    """Starts a process that lives on, holding stdin, stdout and stderr open; answers with its `pid`."""
    child = subprocess.Popen(["sleep", "600"])
    return [encode(reply | {"result": reply["result"] | {"structuredContent": {"pid": child.pid}}})]


def pid(reply: Message, arguments: dict[str, Any]) -> list[bytes]:
    """Answers with its own `pid`."""
    return [encode(reply | {"result": reply["result"] | {"structuredContent": {"pid": os.getpid()}}})]


MISREPLIES: Final[dict[str, Misreply]] = {
    "ok": ok,
    "noise": noise,
    "invalid_utf8": invalid_utf8,
    "truncated": truncated,
    "huge": huge,
    "nested": nested,
    "many_values": many_values,
    "silent": silent,
    "twice": twice,
    "wrong_id": wrong_id,
    "null_id": null_id,
    "array": array,
    "no_result": no_result,
    "exit": leave,
    "kill": kill,
    "flood_stderr": flood_stderr,
    "grandchild": grandchild,
    "pid": pid,
}


def padded(reply: Message, megabytes: int) -> Message:
    """The reply with a field of that many MiB in its result."""
    return reply | {"result": reply["result"] | {"padding": "x" * (megabytes << 20)}}


# --- What tools/list says ------------------------------------------------------------------------------------------


def _tool(name: str, description: str = "") -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}}


NAMES: Final = (
    "dots.in.it",
    "slash/in/it",
    "space in it",
    "naïve_名前",
    "🙂",
    "a__b",
    "Case",
    "case",
    "x" * 100,
    "x" * 99 + "y",
    "",
)
"""Tool names that no agent accepts as they are, or that tell from another only in what is cut off."""


def listing(*names: str) -> Method:
    """A well-behaved listing of those."""
    return lambda params: {"tools": [_tool(name) for name in names]}


def repeated_cursor(params: dict[str, Any]) -> dict[str, Any]:
    """The second page leads to itself."""
    return {"tools": [_tool("second" if params.get("cursor") else "first")], "nextCursor": "again"}


def endless(params: dict[str, Any]) -> dict[str, Any]:
    """One tool a page, and always another page."""
    page = int(params.get("cursor") or 0)
    return {"tools": [_tool(f"tool_{page}")], "nextCursor": str(page + 1)}


def huge_page(params: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [_tool("big", "x" * (2 << 20)), _tool("small")]}


def duplicates(params: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [_tool("same", "one"), _tool("other"), _tool("same", "two")]}


def misshapen(params: dict[str, Any]) -> dict[str, Any]:
    """One good tool among things that are none."""
    return {"tools": [7, None, [], {}, {"name": 5}, {"name": "no_schema"}, _tool("good")], "nextCursor": None}


def hostile_schemas(params: dict[str, Any]) -> dict[str, Any]:
    """Tools whose schemas take for ever to go by: `pattern`, `chain` and `circle` of `$ref`s, `deep`, `wide`."""
    chain = {f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(60)}
    text = {"type": "string"}
    schemas: dict[str, dict[str, Any]] = {
        "pattern": {"properties": {"text": text | {"pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}}},
        "chain": {"properties": {"text": {"$ref": "#/$defs/d0"}}, "$defs": chain | {"d60": text}},
        "circle": {"properties": {"text": {"$ref": "#"}}, "allOf": [{"$ref": "#"}]},
        "deep": {"properties": {"text": _nested(100)}},
        "wide": {"properties": {f"p{number}": text | {"pattern": "(a+)+$"} for number in range(20_000)}},
    }
    return {"tools": [{"name": name, "inputSchema": {"type": "object"} | each} for name, each in schemas.items()]}


def _nested(levels: int) -> dict[str, Any]:
    return {"allOf": [_nested(levels - 1)]} if levels else {"type": "string"}


LISTINGS: Final[dict[str, Method]] = {
    "repeated_cursor": repeated_cursor,
    "endless": endless,
    "huge_page": huge_page,
    "duplicates": duplicates,
    "names": listing(*NAMES),
    "misshapen": misshapen,
    "hostile_schemas": hostile_schemas,
}
