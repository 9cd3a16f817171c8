"""What is asked of the servers in `more_servers.yaml`, without any SDK, since every byte of a list is to be compared.

Directly, most are started over stdio as their authors say, also those that are behind something else for the gateway.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.servers.peers import ENVELOPE, OPENING, Pipe, post, request
from tests.support import run_process

MORE_SERVERS: Final = Path(__file__).with_name("more_servers.yaml")

LISTS: Final = {
    "tools": "tools/list",
    "resources": "resources/list",
    "resourceTemplates": "resources/templates/list",
    "prompts": "prompts/list",
}
"""By the key of the list in the answer."""

Call = tuple[str, dict[str, Any]]
"""A tool and its arguments."""

CALLS: Final[Mapping[str, list[Call]]] = {
    "fetch": [("fetch", {"url": "{page}"}), ("fetch", {"url": "http://localhost/", "max_length": 0})],
    "excel": [("list_workbooks", {}), ("describe_workbook", {"path": "{files}/none.xlsx"})],
    "calculator": [("calculate", {"expression": "2 + 5 * 8"}), ("calculate", {"expression": "1 / 0"})],
    "sqlite": [("read_query", {"query": "SELECT 1 AS one, 'ü' AS two"}), ("read_query", {"query": "DROP TABLE one"})],
    "text-editor": [
        ("get_text_file_contents", {"files": [{"file_path": "{files}/letter.txt", "ranges": [{"start": 2}]}]})
    ],
    "shell": [
        ("shell_execute", {"command": ["cat", "letter.txt"], "directory": "{files}"}),
        ("shell_execute", {"command": ["ls"], "directory": "{files}"}),
    ],
    "command-line": [("run_command", {"command": "cat letter.txt"}), ("show_security_rules", {})],
    "thinking": [
        ("sequentialthinking", {"thought": "…", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1})
    ],
    "hello": [("echo", {"message": "Grüße, 世界 🎉"}), ("add", {"a": 0.1, "b": 0.2}), ("add", {"a": "one"})],
    "monitor": [("get-system-info", {})],
    "documentation": [("query-docs", {})],
    "drawings": [("list_pages", {"path": "{files}/none.drawio"})],
    "clock": [("get-time", {})],
    "budget": [("get-budget-data", {})],
    "scenario": [("get-scenario-data", {})],
}
"""For each server some whose answer is always the same, refusals among them; but for what `comparable` leaves out."""


def comparable(text: bytes) -> str:
    """A result without the hour, how often it was asked, and what a modern server says of itself in each."""
    result = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "…", text.decode())
    result = re.sub(r'(thoughtHistoryLength\\?": ?)\d+', r"\g<1>0", result)
    answer: dict[str, Any] = json.loads(result)
    for envelope in ("resultType", "ttlMs", "cacheScope"):
        answer.pop(envelope, None)
    meta = answer.get("_meta", {})
    meta.pop("io.modelcontextprotocol/serverInfo", None)
    if not meta:
        answer.pop("_meta", None)
    return json.dumps(answer)


@dataclass(frozen=True, slots=True)
class Said:
    """What a server said."""

    lists: Mapping[str, bytes]
    """By their key in the answer, as they were written."""
    answers: Sequence[str]
    """To its `CALLS`."""

    def names(self, kind: str = "tools") -> list[str]:
        return [item["name"] for item in json.loads(self.lists[kind])]


Ask = Callable[[str, dict[str, Any]], bytes]
"""Method and parameters to the answer's bytes: a whole JSON-RPC message."""


def interview(ask: Ask, server: str, kinds: Sequence[str], words: Mapping[str, str]) -> Said:
    """Ask a server for its lists and for all its calls. `words` are filled into the arguments."""

    def call(tool: str, arguments: dict[str, Any]) -> str:
        text = json.dumps(arguments)
        for word, meant in words.items():
            text = text.replace(f"{{{word}}}", meant)
        return outcome(ask("tools/call", {"name": tool, "arguments": json.loads(text)}))

    lists = {kind: msgspec.json.decode(_result(ask(LISTS[kind], {})), type=dict[str, msgspec.Raw]) for kind in kinds}
    return Said(
        {kind: bytes(listed[kind]) for kind, listed in lists.items()},
        [call(tool, arguments) for tool, arguments in CALLS[server]],
    )


def _result(message: bytes) -> msgspec.Raw:
    answer = msgspec.json.decode(message, type=dict[str, msgspec.Raw])
    assert "result" in answer, message
    return answer["result"]


def outcome(message: bytes) -> str:
    """A result or an error, comparable."""
    answer = msgspec.json.decode(message, type=dict[str, msgspec.Raw])
    return comparable(bytes(answer.get("result") or answer["error"]))


def ask_directly(server: str, command: Sequence[str], env: Mapping[str, str], words: Mapping[str, str]) -> Said:
    """Without the gateway, but as it does: in the modern era if the server knows that, else after a handshake."""
    with run_process(command, env=env, piped=True) as process:
        pipe = Pipe(process)

        def ask(method: str, params: dict[str, Any]) -> bytes:
            pipe.send(request(method, params))
            while True:
                for line in pipe.receive().splitlines():
                    # Some write to stdout what is no message.
                    if line.startswith(b"{") and json.loads(line).get("id") == method:
                        return line

        def ask_modern(method: str, params: dict[str, Any]) -> bytes:
            return ask(method, {**ENVELOPE, **params})

        opened = json.loads(ask_modern("server/discover", {}))
        if "result" in opened:
            return interview(ask_modern, server, _kinds(ask_modern, opened), words)
        opened = json.loads(ask("initialize", OPENING))
        pipe.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return interview(ask, server, _kinds(ask, opened), words)


def _kinds(ask: Ask, opened: dict[str, Any]) -> list[str]:
    """The lists a server has."""
    offered = opened["result"]["capabilities"]
    # Some have resources, and know no templates.
    return [
        kind for kind, method in LISTS.items() if method.split("/")[0] in offered and b'"result"' in ask(method, {})
    ]


def ask_over_http(server: str, url: str, words: Mapping[str, str], **headers: str) -> Said:
    """Without the gateway, in the modern era."""

    def ask(method: str, params: dict[str, Any]) -> bytes:
        status, body = post(url, request(method, {**ENVELOPE, **params}), **headers)
        assert status == 200, body
        # An answer may come as the one event of a stream.
        return (
            body
            if body.startswith(b"{")
            else next(line.removeprefix(b"data:").strip() for line in body.splitlines() if line.startswith(b"data:"))
        )

    return interview(ask, server, _kinds(ask, json.loads(ask("server/discover", {}))), words)
