"""The gateway's own settings: every one from the file, from the environment, and which of the sources wins."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from gateway.config import Config, GatewaySettings, load
from gateway.config.models import OAuthSettings, RuleSettings, TlsSettings
from gateway.config.models.telemetry import AuditSettings
from gateway.config.reading.environment import known_names

from .conftest import Complain, Load

SERVERS = "\nservers: {a: {command: x}}\n"

TLS = '{"cert": "/etc/gateway.pem", "key": "/etc/gateway.key"}'
AUDIT = '{"key": "' + "a" * 32 + '", "file": "/var/log/audit"}'

OAUTH = '{"issuer": "https://id.example", "resource": "https://mcp.example/mcp"}'

CASES: list[tuple[str, str, Any]] = [
    ("host", "::1", "::1"),
    ("port", "9090", 9090),
    ("public_url", "https://gateway.example.com/", "https://gateway.example.com"),
    ("environment", "production", "production"),
    ("debug", "true", True),
    ("log_level", "WARNING", "warning"),
    ("log_format", "json", "json"),
    ("auth.enabled", "true", True),
    ("auth.api_keys_file", "/etc/keys.json", Path("/etc/keys.json")),
    ("auth.agent_tokens.lifetime", "1h", 3600.0),
    ("auth.agent_tokens.max_per_principal", "7", 7),
    ("auth.agent_tokens.signing_key", "k" * 32, "k" * 32),
    ("auth.agent_tokens.previous_signing_key", "p" * 32, "p" * 32),
    ("auth.oauth", OAUTH, OAuthSettings(issuer="https://id.example", resource="https://mcp.example/mcp")),
    ("policy", '[{"who": ["*"], "deny": ["*_delete"]}]', [RuleSettings(who=["*"], deny=["*_delete"])]),
    ("tls", TLS, TlsSettings(cert=Path("/etc/gateway.pem"), key=Path("/etc/gateway.key"))),
    ("metrics.host", "127.0.0.1", "127.0.0.1"),
    ("metrics.port", "9100", 9100),
    ("metrics.tools", "true", True),
    ("tracing.enabled", "true", True),
    ("tracing.client_share", "0.5", 0.5),
    ("upstream_config_file", "upstreams.json", Path("upstreams.json")),
    ("rate_limit.default_rpm", "7", 7),
    ("rate_limit.burst_allowance", "3", 3),
    ("public_names", "true", True),
    ("prefix", "none", "none"),
    ("discovery", "search-only", "search-only"),
    ("pinned", '["a__*"]', ["a__*"]),
    ("confirm", "true", True),
    ("page_size", "50", 50),
    ("startup_wait", "2s", 2.0),
    ("results.lifetime", "1h", 3600.0),
    ("results.max_bytes_per_principal", "1MiB", 2**20),
    ("results.max_count_per_principal", "7", 7),
    ("results.max_bytes", "16MiB", 2**24),
    ("max_request_bytes", "1MiB", 2**20),
    ("max_header_bytes", "8KiB", 8192),
    ("header_timeout", "2s", 2.0),
    ("read_timeout", "20s", 20.0),
    ("max_backlog", "1MiB", 2**20),
    ("max_backlog_per_principal", "512KiB", 2**19),
    ("max_backlog_per_stream", "256KiB", 2**18),
    ("max_connections", "6", 6),
    ("max_requests", "8", 8),
    ("max_requests_per_principal", "4", 4),
    ("max_lag", "250ms", 0.25),
    ("max_memory", "1GiB", 2**30),
    ("max_sessions", "5", 5),
    ("max_sessions_per_principal", "9", 9),
    ("session_idle_timeout", "1h", 3600.0),
    ("session_lifetime", "24h", 86400.0),
    ("keepalive", "500ms", 0.5),
    ("log_file", "/var/log/gateway", Path("/var/log/gateway")),
    ("audit", AUDIT, AuditSettings(key="a" * 32, file=Path("/var/log/audit"))),
    ("access_log.enabled", "false", False),
    ("access_log.file", "/var/log/access", Path("/var/log/access")),
    ("drain_delay", "5s", 5.0),
    ("drain_timeout", "0", 0.0),
    ("allowed_hosts", "a.example, b.example:8080", ["a.example", "b.example:8080"]),
    ("allowed_origins", '["https://a.example"]', ["https://a.example"]),
    ("state_keys", f"{'n' * 32}, {'o' * 32}", ["n" * 32, "o" * 32]),
    ("store", "redis://user:secret@store.example:6379/2", "redis://user:secret@store.example:6379/2"),
    ("trusted_proxies", '["10.0.0.0/8", "::1"]', ["10.0.0.0/8", "::1"]),
    ("login_key", "keyring", "keyring"),
    ("state_dir", "/var/lib/gateway", Path("/var/lib/gateway")),
]


def leaves(model: type[BaseModel], outer: str = "") -> list[str]:
    found: list[str] = []
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += leaves(inner, f"{outer}{name}.")
        else:
            found.append(outer + name)
    return found


def value_at(config: Config, place: str) -> Any:
    value: Any = config.gateway
    for step in place.split("."):
        value = getattr(value, step)
    return Path(os.path.relpath(str(value))) if place == "upstream_config_file" else value


def variable(place: str) -> str:
    return "GATEWAY_" + place.replace(".", "__").upper()


@pytest.fixture(autouse=True)
def upstreams(folder: Path) -> None:
    (folder / "upstreams.json").write_text("[]")


def test_the_table_has_every_setting() -> None:
    assert sorted(place for place, _, _ in CASES) == sorted(leaves(GatewaySettings))
    assert {variable(place) for place, _, _ in CASES} <= known_names()


@pytest.mark.parametrize(("place", "written", "expected"), CASES)
def test_from_the_environment(config: Load, place: str, written: str, expected: Any) -> None:
    needs = {"GATEWAY_STATE_KEYS": "k" * 32} if place == "store" else {}
    loaded = config(SERVERS, environ={variable(place): written, **needs})
    assert value_at(loaded, place) == expected
    assert loaded.warnings == []


@pytest.mark.parametrize(("place", "written", "expected"), CASES)
def test_from_the_file(config: Load, place: str, written: str, expected: Any) -> None:
    *outer, name = place.split(".")
    text = f"[{written}]" if isinstance(expected, list) else f'"{written}"'
    if written.startswith(("[", "{")):
        text = written
    block = f"{{{name}: {text}}}"
    for step in reversed(outer):
        block = f"{{{step}: {block}}}"
    needs: dict[str, Any] = {"state_keys": ["k" * 32]} if place == "store" else {}
    assert value_at(config(f"gateway: {block}{SERVERS}", overrides=needs), place) == expected


@pytest.mark.parametrize(("place", "written", "expected"), CASES)
def test_from_the_command_line(config: Load, place: str, written: str, expected: Any) -> None:
    value: Any = yaml.safe_load(written) if written.startswith(("[", "{")) else written
    value = expected if place.startswith(("allowed", "state_keys")) else value
    needs: dict[str, Any] = {"state_keys": ["k" * 32]} if place == "store" else {}
    assert value_at(config(SERVERS, overrides={place: value, **needs}), place) == expected


@pytest.mark.parametrize(
    ("name", "value", "place", "expected"),
    [
        ("GATEWAY_PORT", "1", "port", 1),
        ("GATEWAY_ENVIRONMENT", "staging", "environment", "staging"),
        ("GATEWAY_DEBUG", "1", "debug", True),
        ("GATEWAY_AUTH_ENABLED", "true", "auth.enabled", True),
        ("GATEWAY_API_KEYS_FILE", "/k.json", "auth.api_keys_file", Path("/k.json")),
        ("GATEWAY_RATE_LIMIT__DEFAULT_RPM", "600", "rate_limit.default_rpm", 600),
        ("GATEWAY_RATE_LIMIT__BURST_ALLOWANCE", "100", "rate_limit.burst_allowance", 100),
        ("GATEWAY_RATE_LIMIT", '{"default_rpm": 5}', "rate_limit.default_rpm", 5),
        ("gateway_port", "2", "port", 2),
        ("GATEWAY_PORT", "", "port", 8080),
    ],
)
def test_names_that_users_know(config: Load, name: str, value: str, place: str, expected: Any) -> None:
    assert value_at(config(SERVERS, environ={name: value}), place) == expected


def test_defaults(config: Load) -> None:
    gateway = config(SERVERS).gateway
    assert (gateway.host, gateway.port, gateway.environment, gateway.debug) == ("127.0.0.1", 8080, "development", False)
    assert (gateway.log_level, gateway.log_format, gateway.prefix) == ("info", "auto", "upstream")
    assert (gateway.auth.enabled, gateway.auth.api_keys_file) == (False, None)
    assert (gateway.rate_limit.default_rpm, gateway.rate_limit.burst_allowance) == (60, 10)
    assert (gateway.page_size, gateway.max_sessions, gateway.max_request_bytes) == (1000, 10_000, 4 * 2**20)
    assert (gateway.startup_wait, gateway.session_idle_timeout) == (5.0, 1800.0)
    assert (gateway.keepalive, gateway.drain_timeout) == (15.0, 20.0)
    assert (gateway.allowed_hosts, gateway.allowed_origins, gateway.upstream_config_file) == ([], [], None)


def test_precedence(config: Load, folder: Path) -> None:
    text = (
        "gateway: {port: 1, page_size: 1, max_sessions: 1, rate_limit: {default_rpm: 1, burst_allowance: 1}}" + SERVERS
    )
    (folder / ".env").write_text(
        "GATEWAY_PORT=2\nGATEWAY_PAGE_SIZE=2\nGATEWAY_MAX_SESSIONS=2\nGATEWAY_RATE_LIMIT__DEFAULT_RPM=2\n"
    )
    environ = {"GATEWAY_PORT": "3", "GATEWAY_PAGE_SIZE": "3"}
    gateway = config(text, environ=environ, overrides={"port": 4, "page_size": None}).gateway
    assert (gateway.port, gateway.page_size, gateway.max_sessions) == (4, 3, 2)
    assert (gateway.rate_limit.default_rpm, gateway.rate_limit.burst_allowance) == (2, 1)


def test_a_flat_name_in_the_environment_beats_a_nested_one_in_dotenv(config: Load, folder: Path) -> None:
    (folder / ".env").write_text("GATEWAY_AUTH__ENABLED=true")
    assert not config(SERVERS, environ={"GATEWAY_AUTH_ENABLED": "false"}).gateway.auth.enabled


def test_dotenv_fills_variables_below_the_environment(config: Load, folder: Path) -> None:
    (folder / ".env").write_text("A=dotenv\nB=dotenv\n")
    loaded = config("servers: {a: {command: x, env: {A: '${A}', B: '${B}'}}}", environ={"A": "environ"})
    assert loaded.servers["a"].env == {"A": "environ", "B": "dotenv"}
    assert loaded.files == [folder / "servers.yaml", folder / ".env"]


def test_dotenv_can_be_left_alone(folder: Path) -> None:
    (folder / ".env").write_text("GATEWAY_PORT=1")
    (folder / "servers.yaml").write_text(SERVERS)
    assert load(Path("servers.yaml"), environ={}, dotenv=None).gateway.port == 8080


def test_someone_elses_dotenv_does_no_harm(config: Load, folder: Path) -> None:
    (folder / ".env").write_text("what is this\nGATEWAY_PORT=1\n")
    loaded = config(SERVERS)
    assert loaded.gateway.port == 1
    assert loaded.warnings == [".env:1: is not NAME=value; correct or remove the line"]

    (folder / ".env").write_bytes(b"A=\xff")
    assert config(SERVERS).warnings == [".env:1: is not UTF-8; save the file as UTF-8; the file is ignored"]

    (folder / ".env").unlink()
    (folder / ".env").mkdir()
    assert config(SERVERS).warnings == []


def test_paths(config: Load, folder: Path) -> None:
    """From the file, relative to the file; from elsewhere, relative to the working directory."""
    (folder / "etc").mkdir()
    text = "gateway: {auth: {api_keys_file: keys.json}, state_dir: ~/state}" + SERVERS
    gateway = config(text, "etc/servers.yaml").gateway
    assert gateway.auth.api_keys_file == folder / "etc" / "keys.json"
    assert gateway.state_dir == Path.home() / "state"
    environ = {"GATEWAY_API_KEYS_FILE": "keys.json"}
    assert config(text, "etc/servers.yaml", environ).gateway.auth.api_keys_file == folder / "keys.json"
    overrides = {"state_dir": Path("state")}
    assert config(text, "etc/servers.yaml", overrides=overrides).gateway.state_dir == folder / "state"


def test_an_empty_path_is_none(config: Load) -> None:
    gateway = config(
        "gateway: {auth: {api_keys_file: '${A:-}'}, upstream_config_file: '', state_dir:}" + SERVERS,
        environ={"XDG_STATE_HOME": "/state"},
    ).gateway
    assert (gateway.auth.api_keys_file, gateway.upstream_config_file) == (None, None)
    assert gateway.state_dir == Path("/state/mcp-gateway")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/var/state"}, Path("/var/state/mcp-gateway")),
        ({"XDG_STATE_HOME": "relative"}, Path.home() / ".local/state/mcp-gateway"),
        ({}, Path.home() / ".local/state/mcp-gateway"),
    ],
)
def test_state_dir(config: Load, environ: Mapping[str, str], expected: Path) -> None:
    assert config(SERVERS, environ=environ).gateway.state_dir == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "::1", "[::1]"])
def test_loopback_needs_no_auth(config: Load, host: str) -> None:
    assert config(SERVERS, environ={"GATEWAY_HOST": host}).gateway.host == host.strip("[]")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "gateway.example", ""])
def test_other_hosts_need_auth(config: Load, host: str) -> None:
    text = f'gateway: {{host: "{host}", auth: {{enabled: true}}}}{SERVERS}'
    assert config(text).gateway.host == host


def test_a_second_file_of_servers(config: Load, folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "more.json").write_text('[{"name": "b", "url": "http://b", "upstream_token": "tok-12345"}]')
    loaded = config("gateway: {upstream_config_file: more.json}\nservers: {a: {command: x}}", "etc/servers.yaml")
    assert list(loaded.servers) == ["a", "b"]
    assert loaded.files == [folder / "etc" / "servers.yaml", folder / "etc" / "more.json"]
    assert "tok-12345" in loaded.secrets


def test_a_second_file_may_be_all_there_is(config: Load, folder: Path) -> None:
    (folder / "more.yaml").write_text("gateway: {port: 1}\nservers: {b: {command: x}}")
    loaded = config("gateway: {upstream_config_file: more.yaml}")
    assert list(loaded.servers) == ["b"]
    assert loaded.gateway.port == 8080
    assert loaded.warnings == [f"{folder / 'more.yaml'}:1: gateway: ignored; settings belong into servers.yaml"]


def test_a_file_that_names_itself_is_read_once(config: Load) -> None:
    text = '[{"name": "b", "url": "http://b"}]'
    loaded = config(text, "up.json", environ={"GATEWAY_UPSTREAM_CONFIG_FILE": "up.json"})
    assert list(loaded.servers) == ["b"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_PROT", "GATEWAY_PORT"),
        ("GATEWAY_RATE_LIMIT_DEFAULT_RPM", "GATEWAY_RATE_LIMIT__DEFAULT_RPM"),
        ("GATEWAY_API_KEY_FILE", "GATEWAY_API_KEYS_FILE"),
    ],
)
def test_misspelt_variables_are_warned_of(config: Load, name: str, meant: str) -> None:
    (said,) = config(SERVERS, environ={name: "1"}).warnings
    assert said == f"{name} (environment): ignored, not a setting; did you mean {meant}?"


@pytest.mark.parametrize(
    "name", ["GATEWAY_SERVICE_HOST", "GATEWAY_PORT_8080_TCP_ADDR", "GATEWAY_PYTHON", "GATEWAY_CONFIG"]
)
def test_other_peoples_variables_are_not(config: Load, name: str) -> None:
    assert config(SERVERS, environ={name: "1"}).warnings == []


def test_nothing_slow_is_imported(folder: Path) -> None:
    """A stdio client waits for this import: neither the SDK nor, unless it is needed, pydantic-settings."""
    (folder / "servers.yaml").write_text(SERVERS)
    program = (
        "import sys, pathlib, gateway.config as c\n"
        "c.load(pathlib.Path('servers.yaml'), environ={})\n"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'mcp', 'mcp_types', 'pydantic_settings', 'anyio'})"
    )
    root = str(Path(__file__).parents[2])
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    assert run.stdout.split() == []


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p@h:1/3", "valkey://[::1]:6379", "valkeys://h/", "unix:///run/s?db=1"]
)
def test_where_a_store_may_be(config: Load, url: str) -> None:
    assert config(SERVERS, overrides={"store": url, "state_keys": ["k" * 32]}).gateway.store == url


@pytest.mark.parametrize("url", ["http://u:canary@h", "redis:///1", "redis://u:canary@h/name", "unix://", "canary"])
def test_where_a_store_cannot_be(complaints: Complain, url: str) -> None:
    (said,) = complaints(SERVERS, overrides={"store": url, "state_keys": ["k" * 32]})
    assert "store" in said
    assert "redis://" in said
    assert "canary" not in said


def test_a_store_needs_state_keys(complaints: Complain) -> None:
    (said,) = complaints(f"gateway: {{store: 'redis://localhost'}}{SERVERS}")
    assert "servers.yaml:1" in said
    assert "mcp-gateway keys state" in said


def test_paths_of_logs_are_relative_to_the_file(config: Load, folder: Path) -> None:
    audit = f"audit: {{file: a, heads: h, key: {'k' * 32}}}"
    gateway = config(f"gateway: {{log_file: l, access_log: {{file: r}}, {audit}}}\nservers: {{}}").gateway
    assert gateway.audit is not None
    found = gateway.log_file, gateway.access_log.file, gateway.audit.file, gateway.audit.heads
    assert found == tuple(folder / name for name in "lrah")


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example\r\nX: y",
        'https://a.example"><b>',
        "https://a.example;x",
        "https://user@a.example",
        "https://a.example/?q",
        "https://a.example/x;y",
        "https://a.example/<x>",
        "javascript:alert(1)",
        "//a.example",
    ],
)
def test_a_public_url_has_nothing_in_it_that_would_lead_elsewhere(url: str) -> None:
    with pytest.raises(ValueError, match="public_url"):
        GatewaySettings(public_url=url)


def test_id_tokens_let_nobody_in() -> None:
    with pytest.raises(ValueError, match="every ID token would let its bearer in"):
        OAuthSettings.model_validate(
            {**json.loads(OAUTH), "audiences": ["api://x", "pages"], "sign_in": {"client_id": "pages"}}
        )
