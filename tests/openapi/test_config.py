"""An API's entry: what is inferred, and what is wrong with it, where."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.config.models import ServerConfig
from gateway.errors import ConfigError


def entry(**values: Any) -> ServerConfig:
    return ServerConfig.model_validate({"openapi": "api.yaml", "url": "https://api.example", **values})


def test_what_is_inferred() -> None:
    plain = entry()
    assert (plain.type, plain.era, plain.trust_annotations, plain.auth_kind) == ("openapi", "modern", True, "none")
    assert entry(trust_annotations=False).trust_annotations is False
    assert entry(auth="each").auth_kind == "login"
    assert entry(openapi={"document": "https://x.example/a"}).openapi == entry(openapi="https://x.example/a").openapi


def test_globs_match_names_in_words() -> None:
    own = entry(tools={"allow": ["get_*"], "deny": ["*_secret"]})
    assert [name for name in ("getPet", "get_pet", "findPet", "getSecret") if own.offers(name)] == ["getPet", "get_pet"]
    other = ServerConfig.model_validate({"url": "https://x.example", "tools": {"allow": ["get_*"]}})
    assert not other.offers("getPet"), "an MCP server's names are its own"


def test_a_file_is_relative_to_the_one_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "servers.yaml"
    path.parent.mkdir()
    path.write_text(
        "servers:\n"
        "  a: {openapi: ../a.yaml, url: 'http://x'}\n"
        "  b: {openapi: {document: '${NAME:-b.json}'}, url: 'http://x'}\n"
        "  c: {openapi: 'https://c.example/c.json', url: 'http://x'}\n"
    )
    servers = load(path, environ={}, dotenv=None).servers
    found = [server.openapi.document for server in servers.values() if server.openapi is not None]
    assert found == [str(tmp_path / "deep/../a.yaml"), str(tmp_path / "deep/b.json"), "https://c.example/c.json"]


def test_secrets_are_known_as_such(tmp_path: Path) -> None:
    path = tmp_path / "servers.yaml"
    path.write_text(
        "servers:\n  a:\n    url: http://x\n    openapi:\n      document: http://x/d?token=tok-canary\n"
        "      credentials: {k: key-canary, b: 'user:pass-canary'}\n"
        "      query: {api_key: query-canary, v: '2026-01'}\n"
    )
    secrets = load(path, environ={}, dotenv=None).secrets
    assert {"tok-canary", "key-canary", "pass-canary", "query-canary"} <= secrets
    assert "2026-01" not in secrets


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{openapi: a.yaml}", "2: server 'it': needs `url`, where the API is; or `openapi: {use_servers: true}`"),
        ("{type: openapi, url: 'http://x'}", "2: server 'it': type openapi is an HTTP API; give its document"),
        ("{openapi: a.yaml, command: x}", "2: server 'it': has `openapi`, and `command`; keep one"),
        ("{openapi: a.yaml, url: 'http://x', type: http}", "2: server 'it': has `openapi`, and type http; keep one"),
        ("{openapi: a.yaml, url: 'http://x?a=1'}", "2: server 'it': has a `url` with a query"),
        ("{openapi: {documnt: a}, url: 'http://x'}", "documnt"),
        ("{openapi: 'http://', url: 'http://x'}", "must be a URL such as https://example.com/openapi.json, or a file"),
        ("{openapi: a.yaml, url: 'http://x', auth: each, headers: {authorization: x}}", "has both `auth` and"),
    ],
)
def test_what_is_wrong_says_where(tmp_path: Path, body: str, reason: str) -> None:
    path = tmp_path / "servers.yaml"
    path.write_text(f"servers:\n  it: {body}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, dotenv=None)
    assert reason in caught.value.message
