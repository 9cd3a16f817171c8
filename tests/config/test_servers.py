"""What a server entry may say, in every client's spelling, and what becomes of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config import BreakerConfig, Config, ServerConfig, ToolRules

from .conftest import Load


def one(config: Config) -> ServerConfig:
    (server,) = config.servers.values()
    return server


def entry(config: Load, values: dict[str, Any], **kwargs: Any) -> ServerConfig:
    """The entry, loaded from YAML and from JSON alike."""
    text = json.dumps({"servers": {"it": values}})
    server, other = one(config(text, "servers.yaml", **kwargs)), one(config(text, "servers.json", **kwargs))
    assert server == other
    return server


@pytest.mark.parametrize(
    ("values", "kind", "fallback"),
    [
        ({"command": "x"}, "stdio", False),
        ({"url": "http://x"}, "http", True),
        ({"httpUrl": "http://x"}, "http", True),
        ({"serverUrl": "http://x"}, "http", True),
        ({"command": "x", "type": "stdio"}, "stdio", False),
        ({"command": "x", "type": "local"}, "stdio", False),
        ({"url": "http://x", "type": "http"}, "http", True),
        ({"url": "http://x", "type": "streamable-http"}, "http", True),
        ({"url": "http://x", "type": "streamable_http"}, "http", True),
        ({"url": "http://x", "type": "streamableHttp"}, "http", True),
        ({"url": "http://x", "type": "STREAMABLEHTTP"}, "http", True),
        ({"url": "http://x", "type": "sse"}, "sse", False),
        ({"url": "http://x", "type": "SSE"}, "sse", False),
        ({"url": "http://x", "transport": "sse"}, "sse", False),
        ({"url": "http://x", "transportType": "sse"}, "sse", False),
        ({"url": "http://x", "type": "${KIND:-sse}"}, "sse", False),
        ({"url": "http://x", "fallback_sse": False}, "http", False),
    ],
)
def test_transports(config: Load, values: dict[str, Any], kind: str, fallback: bool) -> None:
    server = entry(config, values)
    assert (server.type, server.fallback_sse) == (kind, fallback)
    assert server.command == values.get("command")
    assert server.url == (None if kind == "stdio" else "http://x")


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ({}, ToolRules()),
        ({"tools": {"allow": ["a"], "deny": ["b"]}}, ToolRules(allow=["a"], deny=["b"])),
        ({"tools": ["a", "b"]}, ToolRules(allow=["a", "b"])),
        ({"tools": []}, ToolRules(allow=[])),
        ({"tools": None}, ToolRules()),
        ({"includeTools": ["a"]}, ToolRules(allow=["a"])),
        ({"excludeTools": ["a"]}, ToolRules(deny=["a"])),
        ({"disabledTools": ["a"]}, ToolRules(deny=["a"])),
        ({"disabledTools": ["a"], "excludeTools": ["b"]}, ToolRules(deny=["b", "a"])),
        ({"disabledTools": ["a"], "tools": {"deny": ["b"]}}, ToolRules(deny=["b", "a"])),
        ({"includeTools": ["a"], "tools": ["b"]}, ToolRules(allow=["b", "a"])),
        (
            {"tools": {"rename": {"a": "b"}, "describe": {"a": "Does ${WHAT:-b}."}}},
            ToolRules(rename={"a": "b"}, describe={"a": "Does b."}),
        ),
    ],
)
def test_tool_rules(config: Load, values: dict[str, Any], rules: ToolRules) -> None:
    assert entry(config, {"command": "x", **values}).tools == rules


@pytest.mark.parametrize(
    ("rules", "offered"),
    [
        (ToolRules(), ["issue_get", "issue_delete", "Issue_get", "search"]),
        (ToolRules(allow=["issue_*"]), ["issue_get", "issue_delete"]),
        (ToolRules(deny=["*_delete"]), ["issue_get", "Issue_get", "search"]),
        (ToolRules(allow=["issue_*", "search"], deny=["issue_d*"]), ["issue_get", "search"]),
        (ToolRules(allow=[]), []),
        (ToolRules(deny=["*"]), []),
    ],
)
def test_which_tools_are_offered(rules: ToolRules, offered: list[str]) -> None:
    assert [name for name in ("issue_get", "issue_delete", "Issue_get", "search") if rules.offers(name)] == offered


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"args": ["-p", 8080, True, 1.5]}, "args", ["-p", "8080", "true", "1.5"]),
        (
            {"env": {"A": 1, "B": False, "C": 1.5, "D": "x", "E": ""}},
            "env",
            {"A": "1", "B": "false", "C": "1.5", "D": "x", "E": ""},
        ),
        ({"tags": ["a", 1]}, "tags", ["a", "1"]),
        ({"description": "What it is for"}, "description", "What it is for"),
        ({"timeout": "5m"}, "timeout", 300.0),
        ({"timeout": 5}, "timeout", 5.0),
        ({"timeout_seconds": 7}, "timeout", 7.0),
        ({"timeout": "${T:-2s}"}, "timeout", 2.0),
        ({}, "timeout", 60.0),
        ({}, "max_timeout", 900.0),
        ({"timeout": "1h"}, "max_timeout", 3600.0),
        ({"max_timeout": "2m"}, "max_timeout", 120.0),
        ({"timeouts": {"render_*": "20m", "*": 5}}, "timeouts", {"render_*": 1200.0, "*": 5.0}),
        ({"timeouts": {"render_*": "20m"}}, "max_timeout", 1200.0),
        ({}, "connect_timeout", 30.0),
        ({"connect_timeout": "500ms"}, "connect_timeout", 0.5),
        ({}, "grace", 60.0),
        ({"grace": 0}, "grace", 0.0),
        ({}, "max_response_bytes", 16 * 2**20),
        ({"max_response_bytes": "1MiB"}, "max_response_bytes", 2**20),
        ({"max_response_bytes": 4096}, "max_response_bytes", 4096),
        ({}, "lazy", False),
        ({"lazy": True}, "lazy", True),
        ({"lazy": "yes"}, "lazy", True),
        ({}, "isolation", None),
        ({"isolation": "identity"}, "isolation", "identity"),
        ({"trust_annotations": True}, "trust_annotations", True),
        ({}, "breaker", BreakerConfig(failures=5, window=600.0, cooldown=30.0)),
        ({"breaker": {"failures": 2, "cooldown": "1m"}}, "breaker", BreakerConfig(failures=2, cooldown=60.0)),
        ({"breaker": {"window": "30s"}}, "breaker", BreakerConfig(window=30.0)),
        ({"prefix": "none"}, "prefix", "none"),
        ({"env_file": "${NOPE:-}", "cwd": ""}, "env_file", None),
        ({"env": None, "args": None, "timeout": None}, "env", {}),
    ],
)
def test_fields_of_a_program(config: Load, values: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(entry(config, {"command": "x", **values}), field) == expected


@pytest.mark.parametrize(
    ("tool", "seconds"),
    [(None, 60.0), ("render_page", 300.0), ("render_all", 300.0), ("all", 10.0), ("Render_x", 60.0)],
)
def test_the_first_timeout_that_matches_counts(config: Load, tool: str | None, seconds: float) -> None:
    server = entry(config, {"command": "x", "timeouts": {"render_*": "5m", "*all": 10}})
    assert server.timeout_of(tool) == seconds


@pytest.mark.parametrize(
    ("values", "disabled"),
    [
        ({"disabled": True}, True),
        ({"disabled": False}, False),
        ({"enabled": False}, True),
        ({"enabled": True}, False),
        ({"enabled": "no"}, True),
        ({"disabled": "${OFF:-true}"}, True),
        ({"enabled": "${ON:-false}"}, True),
    ],
)
def test_disabled(config: Load, values: dict[str, Any], disabled: bool) -> None:
    server = entry(config, {"command": "x", **values})
    assert server.disabled is disabled


def test_what_a_disabled_server_lacks_is_no_error(config: Load) -> None:
    loaded = config("""
        servers:
          off:
            disabled: true
            url: https://${NOPE}/mcp
            headers: {Authorization: "Bearer ${NOPE}", Accept: text/plain}
            timeout: ${NOPE}
            env_file: ${NOPE}
            args: [a, "${input:b}"]
          empty: {disabled: true, env_file: missing.env}
          on: {command: x}
        """)
    off = loaded.servers["off"]
    assert off.url == "https://${NOPE}/mcp"
    assert type(off.url) is str
    assert off.headers == {"Accept": "text/plain"}
    assert (off.timeout, off.args, off.env_file) == (60.0, ["a"], None)
    assert list(loaded.enabled) == ["on"]
    assert list(loaded.servers) == ["off", "empty", "on"]


def test_paths_are_relative_to_their_file(config: Load, folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "x.env").write_text("A=1")
    server = one(config("servers: {a: {command: ~/bin/x, cwd: work, env_file: x.env}}", "etc/servers.yaml"))
    assert server.cwd == folder / "etc" / "work"
    assert server.env_file == folder / "etc" / "x.env"
    assert server.command == str(Path.home() / "bin" / "x")
    assert one(config("servers: {a: {command: x, cwd: ~/work}}")).cwd == Path.home() / "work"


def test_env_file(config: Load, folder: Path) -> None:
    (folder / "x.env").write_text(
        "# comment\nA=from file\nexport B='quoted ${A} # kept'\nC=\"two\\nlines\"\nD=\nE=${A}\nMENTIONED\n"
    )
    text = '{"servers": {"a": {"command": "x", "envFile": "x.env", "env": {"A": "from env", "F": 1}}}}'
    loaded = config(text, "mcp.json")
    assert one(loaded).env == {
        "A": "from env",
        "B": "quoted ${A} # kept",
        "C": "two\nlines",
        "D": "",
        "E": "${A}",
        "F": "1",
    }
    assert loaded.files == [folder / "mcp.json", folder / "x.env"]
    assert "quoted ${A} # kept" in loaded.secrets


@pytest.mark.parametrize("root", ["servers", "mcpServers"])
def test_roots(config: Load, root: str) -> None:
    assert list(config(f"{root}: {{b: {{command: x}}, a: {{command: y}}}}").servers) == ["b", "a"]
    assert list(config(f"{root}: [{{name: b, command: x}}, {{name: a, command: y}}]").servers) == ["b", "a"]
    assert config(f"{root}:").servers == {}


def test_both_roots_are_merged(config: Load) -> None:
    loaded = config("mcpServers: {b: {command: x}}\nservers: {a: {command: y}}")
    assert list(loaded.servers) == ["b", "a"]


def test_list_of_upstreams(config: Load) -> None:
    loaded = config(
        """
        [{"name": "crm", "url": "https://crm.example/mcp", "description": "Customers", "upstream_token": "${T}",
          "timeout_seconds": 12.5, "tags": ["sales"]},
         {"name": "open", "url": "https://open.example/mcp", "upstream_token": null}]
        """,
        "upstreams.json",
        environ={"T": "tok-123456"},
    )
    crm, public = loaded.servers["crm"], loaded.servers["open"]
    assert crm.headers == {"Authorization": "Bearer tok-123456"}
    assert (crm.type, crm.timeout, crm.tags, crm.description) == ("http", 12.5, ["sales"], "Customers")
    assert public.headers == {}


def test_claude_desktops_whole_file(config: Load) -> None:
    loaded = config(
        """
        {
          // what Claude Desktop keeps in the same file
          "globalShortcut": "Ctrl+Space",
          "$schema": "https://example.com/x.json",
          "mcpServers": {"fs": {"command": "npx", "args": ["-y", "pkg"], "autoApprove": ["a"], "favourite": 1},},
        }
        """,
        "claude_desktop_config.json",
    )
    assert one(loaded).args == ["-y", "pkg"]
    assert loaded.warnings == [
        "claude_desktop_config.json:4: globalShortcut: ignored, not a key of ours",
        "claude_desktop_config.json:6: server 'fs': autoApprove: ignored, another client's key",
        "claude_desktop_config.json:6: server 'fs': favourite: ignored, not a key of ours",
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("servers: {a: {command: x, trust: true}}", "servers.yaml:1: server 'a': trust: ignored, another client's key"),
        ("severs: 1\nservers: {a: {command: x}}", "servers.yaml:1: severs: ignored, not a key of ours; did you mean"),
        ("servers: {a: {command: x, headers: {A: b}}}", "headers: ignored, a stdio server has no headers"),
        (
            "servers: {a: {url: http://x, env: {A: b}}}",
            "env: ignored, the gateway does not start a server of type http",
        ),
        ("servers: {a: {command: npx -y pkg}}", "command: has spaces, but is no shell line; put arguments into args"),
        ("servers: {a: {command: x, timeout: 30000}}", "timeout: is 30000 seconds; for milliseconds write 30000ms"),
        (
            "servers: {a: {command: x, env: {A: $TOKEN}}}",
            "env.A: is passed on as it stands; to expand the variable write ${TOKEN}",
        ),
        ("servers: {a: {command: x, disabled: true}}", "servers.yaml: has no enabled server"),
        ("servers: {}", "servers.yaml: has no enabled server"),
    ],
)
def test_warnings(config: Load, text: str, warning: str) -> None:
    (said,) = config(text).warnings
    assert warning in said


def test_a_misspelt_key_in_json_is_a_warning_with_a_suggestion(config: Load) -> None:
    (said,) = config('{"servers": {"a": {"command": "x", "dissabled": true}}}', "mcp.json").warnings
    assert said == "mcp.json:1: server 'a': dissabled: ignored, not a key of ours; did you mean 'disabled'?"


def test_extension_keys_at_the_root_are_silent(config: Load) -> None:
    loaded = config("x-d: &d {timeout: 5s}\n$schema: x\nservers: {a: {<<: *d, command: x}}")
    assert (loaded.warnings, one(loaded).timeout) == ([], 5.0)


@pytest.mark.parametrize("name", ["a", "My Server", "io.github.x", "ünï", "on", "1", "a__b", "--x"])
def test_names(config: Load, name: str) -> None:
    assert list(config(json.dumps({"servers": {name: {"command": "x"}}})).servers) == [name]


def test_a_config_cannot_be_changed() -> None:
    server = ServerConfig(command="x", env={"KEY": "hidden-value"})
    with pytest.raises(ValidationError):
        server.command = "y"  # pyright: ignore[reportAttributeAccessIssue]
    assert "hidden-value" not in repr(server)


def test_equal_texts_make_equal_servers(config: Load) -> None:
    text = "servers: {a: {command: x, env: {A: b}, timeout: %s}}"
    assert config(text % "60s").servers == config(text % "1m").servers
    assert config(text % "60s").servers != config(text % "61s").servers


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("servers: {a: {command: x}}", "upstream"),
        ("servers: {a: {command: x, prefix: none}}", "none"),
        ("gateway: {prefix: none}\nservers: {a: {command: x}, b: {command: x, disabled: true}}", "none"),
    ],
)
def test_prefix(config: Load, text: str, prefix: str) -> None:
    assert config(text).prefix == prefix


def test_no_error_message_of_the_model_itself_has_a_value() -> None:
    with pytest.raises(ValidationError) as caught:
        ServerConfig.model_validate({"command": "x", "headers": {"Authorization": "Bearer canary\n"}})
    assert "canary" not in str(caught.value)
