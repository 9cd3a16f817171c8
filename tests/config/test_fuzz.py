"""Whatever the file says, the loader answers with a `Config` or a `ConfigError` whose every line names a place."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.config import Config, GatewaySettings, ServerConfig, load
from gateway.config.reading import entries
from gateway.errors import ConfigError

PLACE = re.compile(r"(/.*:\d+|GATEWAY_\w+ \(environment\)|command line|/.*): ")


def outcome(text: bytes, name: str = "servers.yaml", environ: Mapping[str, str] | None = None, **kwargs: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text)
        try:
            assert isinstance(load(path, environ=environ or {}, dotenv=None, **kwargs), Config)
        except ConfigError as error:
            message = error.message
        else:
            return
    lines = message.split("\n")
    assert all(PLACE.match(line) and line.isprintable() for line in lines), message


names = st.sampled_from(["servers.yaml", "mcp.json", "config"])
punctuation = st.sampled_from("{}[]:,-\n\t \"'#|>?*&!%\x85é\\")
scraps = (
    punctuation
    | st.sampled_from(
        ["servers:", "mcpServers", "gateway", "command: x", "url", "a", "true", "null", "//", "/*", "${", "$${A}"]
    )
    | st.sampled_from(["&a ", "*a ", "<<: ", "!!str ", "\\u0000", "\\UFFFFFFFF", "---\n", "...\n", "%YAML 1", "  "])
)


@settings(deadline=None)
@given(names, st.lists(scraps).map("".join))
def test_any_text(name: str, text: str) -> None:
    outcome(text.encode(), name)


@settings(deadline=None)
@given(names, st.binary(max_size=60))
def test_any_bytes(name: str, data: bytes) -> None:
    outcome(data, name)


keys = st.sampled_from(
    [
        *ServerConfig.model_fields,
        *GatewaySettings.model_fields,
        *entries.ALIASES,
        "allow",
        "deny",
        "failures",
        "A",
        "autoApprove",
    ]
)
words = (
    st.sampled_from(
        [
            "x",
            "",
            "http",
            "stdio",
            "sse",
            "http://x",
            "http://[",
            "http://x:y",
            "30s",
            "16MiB",
            "true",
            "no",
            "none",
            "-1",
        ]
    )
    | st.sampled_from(
        [
            "${A}",
            "${NOPE}",
            "${",
            "${input:x}",
            "a\0b",
            "a\nb",
            "~",
            "~nobody\0",
            "~nobody/x",
            "/",
            ".",
            "*",
            "[::1]",
            "0.0.0.0",
        ]
    )
    | st.sampled_from(["9" * 400, "1e999", "nan", "ünï"])
)
scalars = words | st.none() | st.booleans() | st.integers() | st.floats()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | words, inner, max_size=4), max_leaves=8
)
entry = st.dictionaries(keys, anything, max_size=8) | st.fixed_dictionaries({"command": words}) | anything
servers = st.dictionaries(words | st.text(max_size=4), entry, max_size=3) | st.lists(entry, max_size=3) | anything
documents = st.fixed_dictionaries(
    {"servers": servers}, optional={"gateway": st.dictionaries(keys, anything), "x": anything}
)


@settings(deadline=None)
@given(documents, st.booleans())
@example({"servers": {"a": {"disabled": True, "url": "http://["}}}, False)
@example({"servers": {"a": {"command": "x", "env_file": "9" * 400}}}, False)
@example({"servers": {}, "gateway": {"upstream_config_file": "a\0b"}}, False)
@example({"servers": {}, "gateway": {"state_dir": "~nobody\0", "auth": {"api_keys_file": "~nobody/x"}}}, True)
def test_any_document(document: Any, as_json: bool) -> None:
    outcome(
        json.dumps(document, allow_nan=True).encode(), "mcp.json" if as_json else "servers.yaml", environ={"A": "1"}
    )


variables = st.sampled_from([f"GATEWAY_{name.upper()}" for name in GatewaySettings.model_fields]) | st.sampled_from(
    [
        "GATEWAY_",
        "GATEWAY___",
        "GATEWAY_AUTH__",
        "GATEWAY_AUTH__ENABLED",
        "GATEWAY_PORT__X",
        "GATEWAY_RATE_LIMIT__A__B",
        "A",
    ]
)
contents = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6) | words.map(
    lambda word: word.replace("\0", "")
)


@settings(deadline=None)
@given(st.dictionaries(variables, contents | st.sampled_from(["{}", "[]", "[" * 9999, '{"a": 1}', "1,2"]), max_size=4))
def test_any_environment(environ: dict[str, str]) -> None:
    outcome(b"servers: {a: {command: x, env: {A: '${A:-1}'}}}", environ=environ)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*GatewaySettings.model_fields, "auth.enabled", "a.b", ""]), anything, max_size=3)
)
def test_any_overrides(overrides: dict[str, Any]) -> None:
    outcome(b"servers: {}", overrides=overrides)
