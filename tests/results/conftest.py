"""One gateway for all tests of results that fit, and agents that read on."""

import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.access.door import Door
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import HttpChannel, posted
from tests.interaction._wire import Message, Wire, request
from tests.servers.large import text_of
from tests.support import http_server

LARGE: Final = "tests.servers.large"
TOKENS: Final = 500
LINES: Final = text_of(1000)
"""What the tool `lines` answers."""
RESULTS: Final[dict[str, Any]] = {"max_tokens": TOKENS, "tools": {"read_result": "whole"}}
PROFILES: Final[dict[str, Any]] = {
    "part": {"servers": ["large"], "tools": ["large__lines"]},
    "found": {"servers": ["large", "plain"], "discovery": "search"},
    "none": {"servers": ["large", "plain"], "tools": ["plain__*"]},
}
POLICY: Final = [{"who": ["owner:narrow"], "deny": ["large__*", "old__*", "all__*"]}]
NOTE: Final = re.compile(
    r"\[Cut by the gateway: given are characters 0 to (?P<end>\d+) of (?P<total>\d+); about (?P<left>\d+) tokens are"
    r" left\. To read on, call (?P<tool>\w+) with (?P<arguments>\{.*?\}), or read the resource (?P<resource>\S+)\."
    r" It is kept for (?P<lifetime>[^.]+)\.\]"
)


def key(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "key": f"key-{name}", "owner": name, "rate_limit_rpm": -1, **more}


KEYS: Final = [
    key("ann", scopes=["read", "write", "admin"]),
    key("bob"),
    key("narrow"),
    key("bound", profiles=["part"]),
]


@pytest.fixture(scope="package")
def door(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    folder: Path = tmp_path_factory.mktemp("results")
    (folder / "keys.json").write_text(json.dumps(KEYS))
    auth = {"enabled": True, "api_keys_file": str(folder / "keys.json")}
    settings: dict[str, Any] = {"auth": auth, "policy": POLICY, "profiles": PROFILES, **PATIENT}
    with http_server(LARGE, "--era", "handshake") as old:
        servers = {
            "large": child(LARGE, results=RESULTS),
            "old": {"type": "http", "url": old, "results": RESULTS},
            "plain": child(LARGE),
            "all": child("tests.servers.everything", results=256),
        }
        with http_gateway(folder, servers, **settings) as gateway:
            yield Door(gateway.base, folder)


def agent(door: Door, name: str, *, modern: bool, path: str = "/mcp") -> Wire:
    """Who comes with the key of that name."""
    headers = {"X-Api-Key": f"key-{name}"}
    if modern:
        return Wire(HttpChannel(door.base + path, headers), modern=True)
    return Wire(HttpChannel(door.base + path, headers | _session(door.base + path, headers)), modern=False)


def _session(url: str, headers: dict[str, str]) -> dict[str, str]:
    opening: Message = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "a", "version": "1"},
    }
    with posted(url, request("initialize", opening), headers) as response:
        assert response.status == 200, response.read()
        return {"Mcp-Session-Id": response.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}


@dataclass
class Cut:
    """A result of which the head was given."""

    result: Message

    @property
    def texts(self) -> list[str]:
        return [each["text"] for each in self.result["content"] if each["type"] == "text"]

    @property
    def note(self) -> "re.Match[str]":
        found = NOTE.fullmatch(self.texts[-1])
        assert found is not None, self.texts[-1]
        return found

    @property
    def head(self) -> str:
        return "\n".join(self.texts[:-1])

    @property
    def uri(self) -> str:
        return json.loads(self.note["arguments"])["uri"]


def cut(wire: Wire, tool: str, /, **arguments: Any) -> Cut:
    """Call a tool whose result does not fit."""
    return Cut(wire.call(tool, **arguments).result)


def read_all(wire: Wire, made: Cut) -> str:
    """The text from where it was cut to its end, as the notes say how to."""
    tool, arguments, read = made.note["tool"], json.loads(made.note["arguments"]), ""
    while True:
        result = wire.call(tool, **arguments).result
        text, note = (each["text"] for each in result["content"])
        assert len(text.encode()) + len(note) <= TOKENS * 4
        read += text
        if note.endswith("this is the end.]"):
            return read
        arguments["start"] = int(note.rpartition(" ")[2].rstrip(".]"))


def contents(wire: Wire, uri: str) -> Message:
    (content,) = wire.ask("resources/read", {"uri": uri}).result["contents"]
    return content
