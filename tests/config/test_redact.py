"""Which values count as secret."""

import pytest

from .conftest import Load


@pytest.mark.parametrize(
    ("entry", "secret"),
    [
        ("{command: x, env: {ANYTHING: value-1}}", "value-1"),
        ("{command: x, env: {PIN: 123456}}", "123456"),
        ("{url: 'http://x', headers: {X-Whatever: value-1}}", "value-1"),
        ("{url: 'http://x', headers: {Authorization: Bearer tok-1234}}", "Bearer tok-1234"),
        ("{url: 'http://x', headers: {Authorization: Bearer tok-1234}}", "tok-1234"),
        ("{url: 'http://x', upstream_token: tok-1234}", "tok-1234"),
        ("{url: 'http://user:pass-word@x/'}", "pass-word"),
        ("{url: 'http://x/?api_key=val%2Fue-1&q=2'}", "val%2Fue-1"),
        ("{url: 'http://x/?api_key=val%2Fue-1&q=2'}", "val/ue-1"),
        ("{url: 'http://x/${MY_TOKEN}/mcp'}", "of-the-variable"),
        ("{command: x, args: ['--key=${GH_PAT}']}", "of-the-variable"),
        ("{command: x, args: ['${env:DB_PASSWORD}']}", "of-the-variable"),
        ("{command: x, disabled: true, env: {ANYTHING: value-1}}", "value-1"),
    ],
)
def test_secrets(config: Load, entry: str, secret: str) -> None:
    environ = dict.fromkeys(["MY_TOKEN", "GH_PAT", "DB_PASSWORD"], "of-the-variable")
    assert secret in config(f"servers: {{a: {entry}}}", environ=environ).secrets


@pytest.mark.parametrize(
    "entry",
    [
        "{command: x, env: {ANYTHING: short}}",
        "{command: x, env: {PATH: /usr/bin, LOG_LEVEL: warning, NODE_ENV: production}}",
        "{command: x, args: ['${HOME}/x', '${PATTERN}', plain-argument]}",
        "{url: 'http://x.example/long/path?query=something'}",
        "{url: 'http://x', headers: {Accept: text/plain, User-Agent: something}}",
    ],
)
def test_what_logs_may_show(config: Load, entry: str) -> None:
    environ = {"HOME": "/home/ada", "PATTERN": "a-pattern", "UNUSED_TOKEN": "unused-token"}
    assert config(f"servers: {{a: {entry}}}", environ=environ).secrets == frozenset()


def test_secrets_are_not_shown_with_the_config(config: Load) -> None:
    loaded = config("servers: {a: {url: 'http://x', headers: {A: canary-1}}, b: {command: x, env: {A: canary-2}}}")
    assert loaded.secrets == {"canary-1", "canary-2"}
    assert "canary" not in repr(loaded)


def test_the_password_of_a_store_is_secret(config: Load) -> None:
    loaded = config("servers: {}", overrides={"store": "redis://u:pass%2Fword@h", "state_keys": ["k" * 32]})
    assert {"pass%2Fword", "pass/word"} <= loaded.secrets
    assert "pass" not in repr(loaded.gateway)


def test_the_secret_of_the_client_that_people_sign_in_with(config: Load) -> None:
    sign_in = "{client_id: gateway, client_secret: plainly-here}"
    oauth = f"{{issuer: 'https://id.example', resource: 'https://a.example/mcp', sign_in: {sign_in}}}"
    loaded = config(f"gateway: {{auth: {{enabled: true, oauth: {oauth}}}}}\nservers: {{a: {{command: x}}}}")
    assert "plainly-here" in loaded.secrets
    assert "plainly-here" not in repr(loaded)
