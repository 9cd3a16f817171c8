"""What other clients' words mean, put into ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.importer.foreign import Foreign, read_servers, variable
from gateway.cli.importer.takeover import is_own
from gateway.cli.importer.withhold import SecretExtractor, exposed, is_secret
from gateway.errors import ConfigError
from tests.cli.conftest import Write


@pytest.fixture
def read(write: Write) -> Any:
    """`read(data, name)`: the servers in a client's file, by name."""

    def servers(data: object, name: str = "client.json") -> dict[str, Foreign]:
        text = data if isinstance(data, str) else json.dumps(data)
        return {server.name: server for server in read_servers(write(text, name))}

    return servers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"command": "c", "args": ["a", 1], "env": {"N": 1, "B": True, "X": None}}, None),
        ({"command": "c", "args": [], "env": {}}, {"command": "c"}),
        ({"type": "stdio", "command": "c"}, {"command": "c"}),
        ({"type": "streamableHttp", "url": "http://x"}, {"url": "http://x"}),
        ({"transport": "sse", "url": "http://x"}, {"type": "sse", "url": "http://x"}),
        ({"serverUrl": "http://x"}, {"url": "http://x"}),
        ({"command": "c", "alwaysAllow": ["x"], "autoApprove": []}, {"command": "c"}),
        ({"command": "c", "disabledTools": ["t"]}, {"command": "c", "tools": {"deny": ["t"]}}),
        ({"command": "c", "tools": ["*"]}, {"command": "c"}),
        ({"command": "c", "tools": ["a"]}, {"command": "c", "tools": {"allow": ["a"]}}),
        ({"command": "c", "disabled": False}, {"command": "c"}),
        ({"command": "c", "enabled": False}, {"command": "c", "disabled": True}),
        ({"command": "c", "timeout": 30}, {"command": "c", "timeout": "30"}),
        ({"command": "c", "timeout": 30000}, {"command": "c", "timeout": "30s"}),
        ({"command": "c", "timeout": 1500}, {"command": "c", "timeout": "1500ms"}),
        ({"command": "${env:HOME}/x", "args": ["${A:-b}"]}, {"command": "${env:HOME}/x", "args": ["${A:-b}"]}),
        ({"command": "${userHome}/x"}, {"command": "${HOME}/x"}),
    ],
)
def test_an_entry(read: Any, given: dict[str, Any], expected: dict[str, Any] | None) -> None:
    server = read({"mcpServers": {"s": given}})["s"]
    assert not server.fault
    assert server.values == (expected or {"command": "c", "args": ["a", "1"], "env": {"N": "1", "B": True}})


@pytest.mark.parametrize(
    "data",
    [
        {"mcpServers": {"s": {"command": "c"}}},
        {"servers": {"s": {"command": "c"}}},
        {"mcp": {"servers": {"s": {"command": "c"}}}, "editor.fontSize": 12},
        {"mcp.servers": {"s": {"command": "c"}}},
        {"projects": {"/a": {"mcpServers": {"s": {"command": "c"}}}, "/b": {}}},
        {"mcpServers": [{"name": "s", "command": "c"}]},
        '// mine\n{"mcpServers": {"s": {"command": "c",},},}',
        "mcpServers:\n  s:\n    command: c\n",
    ],
)
def test_where_clients_keep_their_servers(read: Any, data: object) -> None:
    name = "client.yaml" if str(data).startswith("mcpServers:") else "client.json"
    assert {name: server.values for name, server in read(data, name).items()} == {"s": {"command": "c"}}


@pytest.mark.parametrize("text", ["{}", '{"a": 1}', '{"mcpServers": {}}', "[1]", "{", ""])
def test_what_holds_no_servers(write: Write, text: str) -> None:
    with pytest.raises(ConfigError):
        read_servers(write(text, "client.json"))


def test_gemini(read: Any, folder: Path) -> None:
    data = {
        "mcpServers": {
            "h": {"httpUrl": "https://h/mcp", "url": "https://h/sse", "timeout": 500, "trust": True},
            "l": {"command": "c", "env": {"K": "$KEY", "L": "a$OTHER-b"}, "cwd": "./sub", "includeTools": ["t"]},
        }
    }
    servers = read(data, ".gemini/settings.json")
    assert servers["h"].values == {"url": "https://h/mcp", "timeout": "500ms"}
    assert servers["l"].values == {
        "command": "c",
        "env": {"K": "${KEY}", "L": "a${OTHER}-b"},
        "cwd": str(folder / "sub"),
        "tools": {"allow": ["t"]},
    }


def test_vs_code(read: Any, folder: Path, write: Write) -> None:
    write("A=1\n", "local.env")
    data = {
        "inputs": [{"id": "gh-pat", "type": "promptString", "description": "A token", "password": True}],
        "servers": {
            "hub": {"type": "http", "url": "https://h", "headers": {"Authorization": "Bearer ${input:gh-pat}"}},
            "here": {"command": "c", "args": ["${workspaceFolder}/x"], "envFile": "${workspaceFolder}/local.env"},
            "gone": {"command": "c", "envFile": "gone.env"},
            "this": {"command": "c", "args": ["${file}"]},
            "io.github.me/mine": {"command": "c"},
        },
    }
    servers = read(data, ".vscode/mcp.json")
    assert servers["hub"].values["headers"] == {"Authorization": "Bearer ${GH_PAT}"}
    assert servers["hub"].prompts == {"GH_PAT": "A token"}
    assert any("${input:gh-pat} became ${GH_PAT}" in note for note in servers["hub"].notes)
    assert servers["here"].values["args"] == [f"{folder}/x"]
    assert servers["here"].values["env_file"] == f"{folder}/local.env"
    assert "env_file" not in servers["gone"].values
    assert servers["this"].values["disabled"] is True
    assert any("only editors know ${file}" in note for note in servers["this"].notes)
    assert servers["io.github.me-mine"].notes == ["was called 'io.github.me/mine', which cannot be a name here"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"foo": 1}, "needs `command`"),
        ({"type": "ws", "url": "ws://x"}, "type: must be"),
        ({"url": "ftp://x"}, "url: must be a URL"),
        ({"command": "c", "env": "no"}, "env: must be a mapping"),
        ({"command": "c", "transport": "stdio", "type": "stdio"}, "says the same"),
    ],
)
def test_what_nothing_can_be_made_of(read: Any, given: dict[str, Any], fault: str) -> None:
    assert fault in read({"mcpServers": {"s": given}})["s"].fault


@pytest.mark.parametrize(
    ("parts", "expected"),
    [(("gh-pat",), "GH_PAT"), (("a b", "TOKEN"), "A_B_TOKEN"), (("3d",), "_3D"), (("ключ",), "VALUE")],
)
def test_names_for_variables(parts: tuple[str, ...], expected: str) -> None:
    assert variable(*parts) == expected


# --- The gateway itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"command": "/opt/bin/mcp-gateway", "args": ["stdio"]}, True),
        ({"command": "C:\\bin\\mcp-gateway.exe"}, True),
        ({"command": "uvx", "args": ["mcp-gateway"]}, True),
        ({"command": "uvx", "args": ["mcp-gateway@latest", "stdio"]}, True),
        ({"command": "python", "args": ["-m", "gateway", "stdio"]}, True),
        ({"url": "http://127.0.0.1:8080/mcp"}, True),
        ({"url": "http://localhost:8080/mcp/time"}, True),
        ({"command": "npx", "args": ["mcp-remote", "http://localhost:8080/mcp"]}, True),
        ({"command": "docker", "args": ["run", "docker/mcp-gateway"]}, False),
        ({"command": "uvx", "args": ["mcp-gateway-tools"]}, False),
        ({"command": "python", "args": ["-m", "gateway.demo.time"]}, False),
        ({"url": "http://127.0.0.1:8081/mcp"}, False),
        ({"url": "http://[bad"}, False),
        ({}, False),
    ],
)
def test_the_gateway_itself(values: dict[str, Any], expected: bool) -> None:
    assert is_own(values, 8080) is expected


# --- Secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("GITHUB_TOKEN", "x", True),
        ("Authorization", "Bearer x", True),
        ("X-Api-Key", "x", True),
        ("DB_PASSWORD", "x", True),
        ("GH_PAT", "x", True),
        ("ANYTHING", "ghp_0123456789abcdef", True),
        ("ANYTHING", "sk-proj-0123456789abcdef", True),
        ("GITHUB_TOKEN", "${GITHUB_TOKEN}", False),
        ("GITHUB_TOKEN", "", False),
        ("GOOGLE_CREDENTIALS_FILE", "/x.json", False),
        ("TOKEN_URL", "https://x", False),
        ("PATH", "/bin", False),
        ("PATTERN", "a*", False),
        ("LOG_LEVEL", "debug", False),
    ],
)
def test_what_is_a_secret(key: str, value: str, expected: bool) -> None:
    assert is_secret(key, value) is expected


def test_secrets_become_variables_of_their_own() -> None:
    withholder = SecretExtractor()
    first, listed = withholder.apply("one", {"command": "c", "env": {"API_KEY": "1", "LANG": "de"}})
    assert first == {"command": "c", "env": {"API_KEY": "${API_KEY}", "LANG": "de"}}
    assert [(each.name, each.server, each.place) for each in listed] == [("API_KEY", "one", "env.API_KEY")]
    second, _ = withholder.apply("two", {"env": {"API_KEY": "2"}})
    assert second == {"env": {"API_KEY": "${TWO_API_KEY}"}}
    same, _ = withholder.apply("three", {"env": {"API_KEY": "1"}})
    assert same == {"env": {"API_KEY": "${API_KEY}"}}
    remote, _ = withholder.apply("my hub", {"headers": {"authorization": "Bearer 3", "X-Api-Key": "4", "Accept": "*"}})
    assert remote["headers"] == {
        "authorization": "Bearer ${MY_HUB_TOKEN}",
        "X-Api-Key": "${MY_HUB_API_KEY}",
        "Accept": "*",
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"args": ["--api-key", "abc"]}, ["args"]),
        ({"args": ["--token=abc"]}, ["args"]),
        ({"args": ["ghp_0123456789abcdef"]}, ["args"]),
        ({"args": ["--token=${T}"]}, []),
        ({"args": ["--api-key", "${T}"]}, []),
        ({"args": ["--monkey"]}, []),
        ({"url": "https://x?api_key=abc"}, ["url"]),
        ({"url": "https://x?api_key=${K}&page=2"}, []),
        ({}, []),
    ],
)
def test_secrets_that_stay_are_told_of(values: dict[str, Any], expected: list[str]) -> None:
    assert list(exposed(values)) == expected
