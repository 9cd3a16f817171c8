"""`import` understands what each client calls things, and in which unit it counts."""

import json
from typing import Any

import pytest

from gateway.cli.importer.foreign import read_servers
from gateway.config.reading.loader import load
from gateway.errors import ConfigError
from tests.cli.conftest import Invoke, Write

OPENCODE = """{
  "$schema": "https://opencode.ai/config.json", // with comments
  "mcp": {
    "near": {
      "type": "local", "command": ["npx", "-y", "x"], "environment": {"A": "{env:B}"}, "enabled": true, "timeout": 5000,
    },
    "far": {"type": "remote", "url": "https://x.example/mcp", "headers": {"Authorization": "Bearer {env:TOKEN}"}},
    "off": {"type": "local", "command": ["x"], "enabled": false}
  }
}"""
OPENCODE_2 = """{"mcp": {"timeout": {"x": 5}, "servers": {"near": {"type": "local", "command": ["npx", "x"]}}}}"""
ZED = """{
  "theme": "One Dark",
  "context_servers": {
    "near": {"source": "custom", "enabled": true, "command": "npx", "args": ["-y", "x"], "env": {}},
    "older": {"command": {"path": "node", "args": ["x.js"], "env": {"A": "1"}}, "settings": {}},
    "far": {"url": "https://x.example/mcp", "headers": {"X-Team": "a"}},
    "an-extension": {"settings": {"key": "value"}}
  }
}"""
CODEX = """
model = "gpt"
[mcp_servers.near]
command = "npx"
args = ["-y", "x"]
env_vars = ["HOME"]
startup_timeout_sec = 20.5
tool_timeout_sec = 120
enabled_tools = ["read"]
disabled_tools = ["write"]
[mcp_servers.near.env]
A = "1"
[mcp_servers.far]
url = "https://x.example/mcp"
bearer_token_env_var = "TOKEN"
http_headers = { X-Team = "a" }
env_http_headers = { X-Who = "WHO" }
enabled = false
"""
GOOSE = """
GOOSE_PROVIDER: x
extensions:
  developer: {enabled: true, type: builtin, name: developer, bundled: true, timeout: 300}
  near: {enabled: true, type: stdio, name: Near, cmd: uvx, args: [x], envs: {A: "1"}, env_keys: [TOKEN], timeout: 1800}
  far: {enabled: false, type: streamable_http, name: Far, uri: "https://x.example/mcp", headers: {X-Team: a}}
"""
COPILOT = """{"mcpServers": {
  "near": {"type": "local", "command": "npx", "args": ["x"], "tools": ["*"], "timeout": 30000},
  "far": {"type": "http", "url": "https://x.example/mcp", "headers": {}, "tools": ["read"]}
}}"""
CONTINUE = """
name: mine
version: 0.0.1
schema: v1
mcpServers:
  - {name: near, type: stdio, command: npx, args: [x]}
  - {name: far, type: streamable-http, url: "https://x.example/mcp", requestOptions: {headers: {X-Team: a}}}
"""
LM_STUDIO = """{"mcpServers": {"far": {"url": "https://x.example/mcp", "headers": {"Authorization": "Bearer abc"}}}}"""
PROJECT = (
    """{"mcpServers": {"far": {"type": "http", "url": "${URL:-https://x.example/mcp}", "headers": {"A": "${KEY}"}}}}"""
)
PLUGIN = """{"near": {"command": "npx", "args": ["x"]}, "far": {"type": "sse", "url": "https://x.example/sse"}}"""
URL = "https://x.example/mcp"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "opencode.json",
            OPENCODE,
            {
                "near": {"command": "npx", "args": ["-y", "x"], "env": {"A": "${B}"}, "connect_timeout": "5s"},
                "far": {"url": URL, "headers": {"Authorization": "Bearer ${TOKEN}"}},
                "off": {"command": "x", "disabled": True},
            },
        ),
        ("opencode.json", OPENCODE_2, {"near": {"command": "npx", "args": ["x"]}}),
        (
            "settings.json",
            ZED,
            {
                "near": {"command": "npx", "args": ["-y", "x"]},
                "older": {"command": "node", "args": ["x.js"], "env": {"A": "1"}},
                "far": {"url": URL, "headers": {"X-Team": "a"}},
            },
        ),
        (
            "config.toml",
            CODEX,
            {
                "near": {
                    "command": "npx",
                    "args": ["-y", "x"],
                    "env": {"A": "1", "HOME": "${HOME}"},
                    "tools": {"allow": ["read"], "deny": ["write"]},
                    "timeout": "120s",
                    "connect_timeout": "20.5",
                },
                "far": {
                    "url": URL,
                    "headers": {"X-Team": "a", "X-Who": "${WHO}", "Authorization": "Bearer ${TOKEN}"},
                    "disabled": True,
                },
            },
        ),
        (
            "config.yaml",
            GOOSE,
            {
                "near": {"command": "uvx", "args": ["x"], "env": {"A": "1", "TOKEN": "${TOKEN}"}, "timeout": "1800s"},
                "far": {"url": URL, "headers": {"X-Team": "a"}, "disabled": True},
            },
        ),
        (
            "mcp-config.json",
            COPILOT,
            {
                "near": {"command": "npx", "args": ["x"], "timeout": "30s"},
                "far": {"url": URL, "tools": {"allow": ["read"]}},
            },
        ),
        (
            "config.yaml",
            CONTINUE,
            {"near": {"command": "npx", "args": ["x"]}, "far": {"url": URL, "headers": {"X-Team": "a"}}},
        ),
        ("mcp.json", LM_STUDIO, {"far": {"url": URL, "headers": {"Authorization": "Bearer abc"}}}),
        (".mcp.json", PROJECT, {"far": {"url": "${URL:-https://x.example/mcp}", "headers": {"A": "${KEY}"}}}),
        (
            ".mcp.json",
            PLUGIN,
            {"near": {"command": "npx", "args": ["x"]}, "far": {"type": "sse", "url": "https://x.example/sse"}},
        ),
    ],
    ids=["opencode", "opencode 2", "zed", "codex", "goose", "copilot", "continue", "lm studio", "project", "plugin"],
)  # fmt: skip
def test_every_client_in_its_own_words(name: str, text: str, expected: dict[str, Any], write: Write) -> None:
    found = read_servers(write(text, name))
    assert [server.fault for server in found] == [""] * len(found)
    assert {server.name: server.values for server in found} == expected


@pytest.mark.parametrize(
    ("name", "entry", "ours"),
    [
        ("cline_mcp_settings.json", {"timeout": 3600}, "3600"),
        ("mcp_settings.json", {"timeout": 1800, "alwaysAllow": []}, "1800"),
        ("mcp_settings.json", {"timeout": 60000, "autoApprove": []}, "60s"),
        ("settings.json", {"timeout": 500, "trust": True}, "500ms"),
        ("mcp.json", {"timeout": 30}, "30"),
        ("mcp.json", {"timeout": 30000}, "30s"),
    ],
)
def test_the_unit_of_a_timeout(name: str, entry: dict[str, Any], ours: str, write: Write) -> None:
    (server,) = read_servers(write(json.dumps({"mcpServers": {"a": {"command": "x", **entry}}}), name))
    assert server.values["timeout"] == ours


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("e.json", '{"mcpServers": {}}', "its `mcpServers` is empty"),
        ("e.yaml", "servers:\n  {}", "its `servers` is empty"),
        ("e.json", '{"editor": 1}', "neither `mcpServers` nor `servers`; it has editor"),
        ("e.toml", "[mcp_servers\n", "e.toml: "),
    ],
)
def test_why_there_are_none(name: str, text: str, said: str, write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        read_servers(write(text, name))
    assert said in caught.value.message


def test_names_with_a_slash_in_both_ways(invoke: Invoke, write: Write) -> None:
    text = json.dumps({"servers": {"com.example/docs": {"command": "x"}, "com.example-docs": {"command": "y"}}})
    config = load(write(text, "mcp.json"), environ={})
    assert {name: server.command for name, server in config.servers.items()} == {
        "com.example-docs-2": "x",
        "com.example-docs": "y",
    }
    assert "is called 'com.example-docs-2' here" in config.warnings[0]
    assert invoke("import", "mcp.json", "--into", "out.yaml", "--rename").exit_code == 0
    assert len(load(write("", "x").with_name("out.yaml"), environ={}).servers) == 2
