"""The JSON Schema: current, true to the loader in both directions, and with a word on everything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.config.reading import entries
from gateway.config.reading.schema import json_schema, render

from .conftest import Complain, Load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    schema = json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def mistakes(validator: jsonschema.Draft7Validator, document: Any) -> list[str]:
    return [error.message for error in validator.iter_errors(document)]  # pyright: ignore[reportUnknownMemberType]


def test_the_file_is_current() -> None:
    assert (ROOT / "docs" / "servers.schema.json").read_text("utf-8") == render(), (
        "write it anew: mcp-gateway schema > docs/servers.schema.json"
    )


def test_the_shipped_file_is_valid(validator: jsonschema.Draft7Validator) -> None:
    text = (ROOT / "servers.yaml").read_text("utf-8")
    assert mistakes(validator, yaml.safe_load(text)) == []
    assert text.startswith("# yaml-language-server: $schema=docs/servers.schema.json\n")


RIGHT: list[Any] = [
    {"servers": {}},
    {"servers": None},
    {"mcpServers": {"a": {"command": "x", "args": ["-p", 8080], "env": {"A": 1, "B": True}}}, "globalShortcut": "x"},
    {"servers": {"a": {"url": "http://x", "type": "streamableHttp", "timeout": "30s", "headers": {"A": "b"}}}},
    {"servers": {"a": {"command": "x", "timeout": 30, "grace": "1.5 h", "max_response_bytes": "16MiB"}}},
    {
        "servers": {
            "a": {"command": "x", "lazy": "${LAZY:-true}", "breaker": {"failures": "${N:-3}"}, "timeout": "${T:-1s}"}
        }
    },
    {"servers": {"a": {"command": "x", "tools": ["a"]}, "b": {"command": "x", "tools": {"deny": ["a"]}}}},
    {"servers": {"a": {"httpUrl": "http://x", "includeTools": ["a"], "trust": True}}},
    {"servers": {"a": {"serverUrl": "http://x", "disabledTools": ["a"], "autoApprove": []}}},
    {"servers": {"a": {"disabled": True}, "b": {"enabled": False}}},
    {"servers": [{"name": "a", "command": "x"}]},
    [{"name": "a", "url": "http://x", "upstream_token": "t", "timeout_seconds": 5, "tags": ["a"]}],
    {"gateway": {"port": "${PORT:-8080}", "host": "::1", "log_level": "debug", "startup_wait": 0}, "servers": {}},
    {
        "gateway": {"auth": {"enabled": True, "api_keys_file": "k.json"}, "rate_limit": {"default_rpm": 5}},
        "servers": {},
    },
]

WRONG: list[Any] = [
    {"servers": {"a": {"commnd": "x"}}},
    {"servers": {"a": {}}},
    {"servers": {"a": {"command": "x", "args": "-y"}}},
    {"servers": {"a": {"command": "x", "timeout": "30q"}}},
    {"servers": {"a": {"command": "x", "type": "htp"}}},
    {"servers": {"a": {"command": "x", "lazy": "perhaps"}}},
    {"servers": {"a": {"command": "x", "breaker": {"failures": 0}}}},
    {"servers": {"a": {"command": "x", "tools": {"alow": []}}}},
    {"servers": {"a": {"command": "x", "max_response_bytes": 1}}},
    {"servers": {"a": "npx"}},
    {"servers": [{"command": "x"}]},
    {"gateway": {"prot": 1}, "servers": {}},
    {"gateway": {"port": 99999}, "servers": {}},
    {"gateway": {"log_level": "loud"}, "servers": {}},
    {"gateway": {"auth": True}, "servers": {}},
    {"gateway": {"port": 1}},
    {"server": {}},
    "text",
]


@pytest.mark.parametrize("document", RIGHT)
def test_it_accepts_what_the_loader_accepts(validator: jsonschema.Draft7Validator, config: Load, document: Any) -> None:
    config(json.dumps(document))
    assert mistakes(validator, document) == []


@pytest.mark.parametrize("document", WRONG)
def test_it_rejects_what_the_loader_rejects(
    validator: jsonschema.Draft7Validator, complaints: Complain, document: Any
) -> None:
    assert complaints(json.dumps(document))
    assert mistakes(validator, document)


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    yield from schema.get("properties", {}).items()
    for definition in schema.get("definitions", {}).values():
        yield from properties(definition)


def test_everything_is_described() -> None:
    schema = json_schema()
    named = dict(properties(schema))
    assert {*entries.ALIASES, *entries.FOREIGN, "cooldown", "default_rpm", "api_keys_file"} <= named.keys()
    undescribed = [name for name, part in properties(schema) if "description" not in part and name not in ("gateway",)]
    assert undescribed == []
