"""A host of skills (SEP-2640), for the suite's client scenarios: it lists them, and loads those it is to load.

The SDK's client knows no skills, so requests are plain messages. What a host must verify it verifies here, whoever is
between it and the server: the size, the digest and the frontmatter of `SKILL.md`, before anything else is read.
"""

import hashlib
from typing import Any, Final

import yaml

from tests.interaction._http import HttpChannel, messages, posted
from tests.interaction._wire import Wire, request
from tests.servers.peers import OPENING

SCENARIOS: Final = (
    "sep-2640-client-no-prefetch",
    *(f"sep-2640-client-verify-{what}" for what in ("digest", "size", "frontmatter")),
)
_ONLY_LISTS: Final = SCENARIOS[0]


def use(url: str, *, modern: bool, scenario: str) -> None:
    """List the skills of a server, and load each, unless the scenario is about who does not."""
    agent = Wire(HttpChannel(url, {} if modern else _session(url)), modern)
    listed = agent.listed("skills/list", "skills")
    assert listed
    for skill in listed if scenario != _ONLY_LISTS else ():
        _load(agent, skill)


def _session(url: str) -> dict[str, str]:
    """The headers of a new session, as far as the server has such a thing."""
    with posted(url, request("initialize", OPENING)) as response:
        id = response.headers.get("Mcp-Session-Id")
        version = list(messages(response))[-1]["result"]["protocolVersion"]
    headers = {"MCP-Protocol-Version": version} | ({"Mcp-Session-Id": id} if id else {})
    with posted(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers) as response:
        assert response.status == 202
    return headers


def _load(agent: Wire, skill: dict[str, Any]) -> bool:
    """Read the files of a skill, `SKILL.md` first, as long as they are what the entry says. Returns whether all are."""
    files = sorted(skill["resources"], key=lambda file: file["uri"] != skill["uri"])
    for file in files:
        (content,) = agent.ask("resources/read", {"uri": file["uri"]}).result["contents"]
        text: str = content["text"]
        data = text.encode()
        if (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) != (file["size"], file["digest"]):
            return False
        if file["uri"] == skill["uri"] and yaml.safe_load(text.split("---")[1]) != skill["frontmatter"]:
            return False
    return True
