"""Which server an entry is of: its command or its URL, and no secret."""

from typing import Any

import pytest

from gateway.catalogue.identity import definition_hash
from gateway.config.models import ServerConfig

STDIO: dict[str, Any] = {"command": "npx", "args": ["-y", "server", "--token", "hunter2hunter2", "/data"]}
HTTP: dict[str, Any] = {"type": "http", "url": "https://u:passw0rd@mcp.example/mcp?profile=one&api_key=123456789"}


def of(entry: dict[str, Any], **changes: Any) -> str:
    return definition_hash(ServerConfig(**{**entry, **changes}))


@pytest.mark.parametrize(
    ("entry", "changes"),
    [
        (STDIO, {"command": "uvx"}),
        (STDIO, {"args": ["-y", "other"]}),
        (STDIO, {"cwd": "/elsewhere"}),
        (HTTP, {"url": "https://other.example/mcp"}),
        (HTTP, {"url": "https://u:passw0rd@mcp.example/mcp?profile=two&api_key=123456789"}),
    ],
)
def test_another_command_or_url_is_another_server(entry: dict[str, Any], changes: dict[str, Any]) -> None:
    assert of(entry, **changes) != of(entry)


@pytest.mark.parametrize(
    ("entry", "changes"),
    [
        (STDIO, {"env": {"API_TOKEN": "secret-of-today"}, "pin": "block", "lazy": True, "timeout": 5}),
        (STDIO, {"args": ["-y", "server", "--token", "another-secret", "/data"]}),
        (HTTP, {"headers": {"Authorization": "Bearer secret"}, "type": "sse"}),
        (HTTP, {"url": "https://u:0therpass@mcp.example/mcp?profile=one&api_key=987654321"}),
    ],
)
def test_a_new_secret_or_another_rule_makes_no_other_server(entry: dict[str, Any], changes: dict[str, Any]) -> None:
    assert of(entry, **changes) == of(entry)


def test_what_a_variable_brings_into_an_argument_is_no_part_of_it() -> None:
    entries = [
        {"command": "x", "args": [f"--dsn=pg://{secret}@db"], "env": {"DSN": secret}} for secret in ("a" * 9, "b" * 9)
    ]
    assert of(entries[0]) == of(entries[1])
