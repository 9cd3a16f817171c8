"""A server's `auth`: our words, other clients' words, and what is wrong with either."""

from typing import Any

import pytest

from gateway.config import ServerConfig

from .conftest import Load

MACHINE = "client_credentials: {client_id: gw, client_secret: abcdefgh}"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("auth: each", {"login": "each"}),
        ("auth: {login: shared, scopes: [a, b]}", {"login": "shared", "scopes": ["a", "b"]}),
        ("auth: oauth", {"login": "auto"}),
        ("oauth: false", {"login": "none"}),
        ("oauth: {enabled: true, clientId: x, scope: a b}", {"login": "auto", "client_id": "x", "scopes": ["a", "b"]}),
        ("auth: {CLIENT_ID: x, CLIENT_SECRET: y}", {"client_id": "x", "client_secret": "y"}),
        ("oauth: {clientId: x, callbackPort: 8123, tokenUrl: z}", {"client_id": "x", "callback_port": 8123}),
    ],
)
def test_words(config: Load, written: str, meant: dict[str, Any]) -> None:
    server = config(f"servers: {{a: {{url: https://a.example/mcp, {written}}}}}").servers["a"]
    expected = ServerConfig.model_validate({"url": "https://a.example/mcp", "auth": meant})
    assert server.auth == expected.auth


def test_what_another_client_means_by_it_is_ignored_aloud(config: Load) -> None:
    loaded = config("servers: {a: {url: https://a.example/mcp, oauth: {clientId: x, tokenUrl: z}}}")
    assert any("oauth.tokenUrl: ignored, another client's key" in warning for warning in loaded.warnings)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (f"auth: {{{MACHINE}, login: each}}", "auth: has `client_credentials`, with which nobody logs in"),
        ("auth: {client_credentials: {client_id: gw}}", "needs one of `client_secret` and `private_key_file`"),
        ("auth: {client_secret: abcdefgh}", "auth: has `client_secret`, but no `client_id`"),
        ("auth: {logn: each}", "auth.logn: unknown key; did you mean 'login'?"),
        ("auth: {issuer: 'http://idp.example'}", "auth.issuer: must be an https:// URL"),
        ("auth: sometimes", "auth.login: must be 'auto', 'none', 'shared' or 'each'"),
        (f"headers: {{authorization: x}}, auth: {{{MACHINE}}}", "has both `auth` and an `Authorization`"),
    ],
)
def test_faults(complaints: Any, written: str, fault: str) -> None:
    (line,) = complaints(f"servers: {{a: {{url: 'https://a.example/mcp', {written}}}}}")
    assert "servers.yaml:1: server 'a': " in line
    assert fault in line
    assert "abcdefgh" not in line


def test_files_are_beside_the_one_that_names_them(config: Load) -> None:
    loaded = config(
        "servers: {a: {url: https://a.example/mcp, "
        "auth: {client_credentials: {client_id: x, private_key_file: keys/k.pem}}}}"
    )
    machine = loaded.servers["a"].auth.client_credentials
    assert machine is not None
    assert machine.private_key_file == loaded.path.parent / "keys" / "k.pem"


def test_secrets_are_known(config: Load) -> None:
    assert "abcdefgh" in config(f"servers: {{a: {{url: https://a.example/mcp, auth: {{{MACHINE}}}}}}}").secrets


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"url": "https://a.example/mcp"}, "auto"),
        ({"url": "https://a.example/mcp", "headers": {"AUTHORIZATION": "x"}}, "none"),
        ({"command": "x"}, "none"),
        ({"url": "https://a.example/mcp", "auth": "each"}, "login"),
    ],
)
def test_kinds(entry: dict[str, Any], kind: str) -> None:
    assert ServerConfig.model_validate(entry).auth_kind == kind
