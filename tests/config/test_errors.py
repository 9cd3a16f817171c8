"""What is refused, in which words, with which line; and that all of it is said at once, without a secret in it."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.errors import ConfigError

from .conftest import Complain


def server(body: str) -> str:
    """An entry on lines 2 and 3."""
    return f"servers:\n  it:\n    {body}\n"


def program(body: str) -> str:
    """An entry with a command on line 3 and `body` from line 4."""
    return f"servers:\n  it:\n    command: x\n    {body}\n"


IN_A_SERVER: list[tuple[str, str]] = [
    (server("commnd: x"), "3: server 'it': commnd: unknown key; did you mean 'command'?"),
    (server("type: stdio"), "2: server 'it': needs `command` (a program to start) or `url` (a server to reach)"),
    (server("command:"), "2: server 'it': needs `command` (a program to start) or `url` (a server to reach)"),
    (server('command: ""'), "2: server 'it': needs `command` (a program to start) or `url` (a server to reach)"),
    (server("{type: stdio, url: 'http://x'}"), "2: server 'it': type stdio starts a program; name it in `command`"),
    (server("{type: http, command: x}"), "2: server 'it': type http reaches a server; give its `url`"),
    (server("{type: sse}"), "2: server 'it': type sse reaches a server; give its `url`"),
    (server("{command: x, url: 'http://x'}"), "2: server 'it': has both `command` and `url`; keep the one to use"),
    (program("type: htp"), "4: server 'it': type: must be 'stdio', 'http', 'sse' or 'openapi', not 'htp'"),
    (program("transport: ws"), "4: server 'it': transport: must be 'stdio', 'http', 'sse' or 'openapi', not 'ws'"),
    (program("type: stdio\n    transport: stdio"), "5: server 'it': transport: says the same as `type`; keep one"),
    (program("disabled: no\n    enabled: yes"), "5: server 'it': enabled: says the same as `disabled`; keep one"),
    (program("disabled: perhaps"), "4: server 'it': disabled: must be true or false, not 'perhaps'"),
    (program("enabled: perhaps"), "4: server 'it': enabled: must be true or false, not 'perhaps'"),
    (program("lazy: 7"), "4: server 'it': lazy: must be true or false, not '7'"),
    (program("args: -y"), "4: server 'it': args: must be a list, such as [a, b]"),
    (program("args:\n      - a\n      - [b]"), "6: server 'it': args[1]: must be text; for an empty value write \"\""),
    (program("args: [a, null]"), "4: server 'it': args[1]: must be text; for an empty value write \"\""),
    (program('args: ["a\\0"]'), "4: server 'it': args[0]: must not contain NUL; no process can be given that"),
    (program("env: [A=b]"), "4: server 'it': env: must be a mapping of names to values"),
    (program("env:\n      A: b\n      C:"), "6: server 'it': env.C: must be text; for an empty value write \"\""),
    (program("env: {A=B: c}"), "4: server 'it': env.A=B: is not a name for an environment variable; use letters"),
    (program('env: {A: "b\\0"}'), "4: server 'it': env.A: must not contain NUL"),
    (program("env_file: missing.env"), "4: server 'it': env_file: {folder}/missing.env: there is no such file"),
    (program("timeout: 30q"), "4: server 'it': timeout: must be a duration such as 500ms, 30s, 5m or 1h"),
    (program("timeout: 0"), "4: server 'it': timeout: must be more than 0, not '0'"),
    (program("timeout_seconds: x"), "4: server 'it': timeout_seconds: must be a duration such as"),
    (program("max_timeout: 1s"), "4: server 'it': max_timeout: must not be less than timeout"),
    (
        program("timeouts: {long: 20m}\n    max_timeout: 15m"),
        "5: server 'it': max_timeout: must not be less than one of timeouts",
    ),
    (program("timeouts: {a: soon}"), "4: server 'it': timeouts.a: must be a duration such as 500ms, 30s, 5m or 1h"),
    (program("grace: -1"), "4: server 'it': grace: must be a duration such as"),
    (program("max_response_bytes: 16M"), "4: server 'it': max_response_bytes: must be a size such as 16MiB"),
    (program("max_response_bytes: 1"), "4: server 'it': max_response_bytes: must be at least 1024, not '1'"),
    (program("isolation: some"), "4: server 'it': isolation: must be 'shared', 'identity' or 'session', not 'some'"),
    (program("breaker: {failures: 0}"), "4: server 'it': breaker.failures: must be at least 1, not '0'"),
    (program("breaker: {failures: 1.5}"), "4: server 'it': breaker.failures: must be a whole number, not '1.5'"),
    (program("breaker: {cooldwn: 1s}"), "4: server 'it': breaker.cooldwn: unknown key; did you mean 'cooldown'?"),
    (program("tools: all"), "4: server 'it': tools: must be a mapping of keys to values"),
    (program("tools: {alow: [a]}"), "4: server 'it': tools.alow: unknown key; did you mean 'allow'?"),
    (program("tools: {x: [a]}"), "4: server 'it': tools.x: unknown key; known are allow, deny, describe, rename"),
    (program("tools: {allow: a}"), "4: server 'it': tools.allow: must be a list, such as [a, b]"),
    (program("disabledTools: a"), "4: server 'it': disabledTools: must be a list, such as [a, b]"),
    (program("tools: {deny: a}\n    disabledTools: [b]"), "4: server 'it': tools.deny: must be a list, such as [a, b]"),
    (
        program("tools: {deny: [a]}\n    disabledTools: b"),
        "5: server 'it': disabledTools: must be a list, such as [a, b]",
    ),
    (
        program("maxResponseBytes: 1"),
        "4: server 'it': maxResponseBytes: unknown key; did you mean 'max_response_bytes'?",
    ),
    (program("description: [a]"), "4: server 'it': description: must be text"),
    (server("url: example.com/mcp"), "3: server 'it': url: must be a URL such as https://example.com/mcp"),
    (server("httpUrl: ftp://x"), "3: server 'it': httpUrl: must be a URL such as"),
    (server("url: http://"), "3: server 'it': url: must be a URL such as"),
    (server("url: http://[::1"), "3: server 'it': url: must be a URL such as"),
    (server("url: http://x:99999/"), "3: server 'it': url: must be a URL such as"),
    (server("url: http://x/a b"), "3: server 'it': url: must be a URL such as"),
    (server('url: "http://x/\\r\\nHost: y"'), "3: server 'it': url: must not contain a line break or NUL"),
    (server('command: "x\\ny"'), "3: server 'it': command: must not contain a line break or NUL"),
    (server("url: http://x\n    httpUrl: http://y"), "4: server 'it': httpUrl: says the same as `url`; keep one"),
    (
        server('url: http://x\n    headers: {A: "b\\r\\nc"}'),
        "4: server 'it': headers.A: must not contain a line break or NUL",
    ),
    (
        server('url: http://x\n    headers: {A: "b\\0"}'),
        "4: server 'it': headers.A: must not contain a line break or NUL",
    ),
    (server('url: http://x\n    headers: {"A\\nB": c}'), "4: server 'it': headers.A\\nB: is not a header name; use"),
    (server("url: http://x\n    headers: {A b: c}"), "4: server 'it': headers.A b: is not a header name; use"),
    (server("url: http://x\n    headers: {A: b, a: c}"), "4: server 'it': headers: names a header twice"),
    (
        server("url: http://x\n    headers: {authorization: b}\n    upstream_token: c"),
        "5: server 'it': upstream_token: says the same as `headers.authorization`; keep one",
    ),
    (
        server("url: ${NOPE}/mcp"),
        "3: server 'it': url: the environment variable NOPE is not set; set it, or give a default",
    ),
    (program("env:\n      A: ${input:a}"), "5: server 'it': env.A: ${input:…} asks a person, and nobody is there"),
    (
        program("disabledTools: ['${NOPE}']"),
        "4: server 'it': disabledTools[0]: the environment variable NOPE is not set",
    ),
    ("servers:\n  it: npx", "2: server 'it': must be a mapping with `command` or `url`"),
    ("servers:\n  it:", "2: server 'it': must be a mapping with `command` or `url`"),
    ('servers:\n  "": {command: x}', "2: server '': a name must not be empty"),
    ('servers:\n  "a\\nb": {command: x}', "2: server 'a\\nb': a name must not be empty"),
    ("servers: [{command: x}]", "1: servers[0]: must be a mapping with a `name`"),
    ("servers: [x]", "1: servers[0]: must be a mapping with a `name`"),
    ("servers: x", "1: servers: must be a mapping of names to servers"),
    (
        "servers:\n  a: {command: x}\nmcpServers:\n  a: {command: y}",
        "4: server 'a': is already at servers.yaml:2; rename one of the two",
    ),
    (
        "servers:\n- {name: a, command: x}\n- {name: a, command: y}",
        "3: server 'a': is already at servers.yaml:2; rename",
    ),
    (
        "servers:\n  a: {command: x}\n  b: {command: x}\ngateway:\n  prefix: none",
        "5: gateway.prefix: none allows one enabled server, and there are 2",
    ),
]

IN_THE_GATEWAY: list[tuple[str, str]] = [
    ("prot: 1", "2: gateway.prot: unknown key; did you mean 'port'?"),
    ("port: 80800", "2: gateway.port: must be at most 65535, not '80800'"),
    ("port: -1", "2: gateway.port: must be at least 0, not '-1'"),
    ("port: http", "2: gateway.port: must be a whole number, not 'http'"),
    ("page_size: 0", "2: gateway.page_size: must be at least 1, not '0'"),
    ("prefix: all", "2: gateway.prefix: must be 'upstream' or 'none', not 'all'"),
    ("log_level: loud", "2: gateway.log_level: must be 'debug', 'info', 'warning', 'error' or 'critical', not 'loud'"),
    ("log_format: xml", "2: gateway.log_format: must be 'auto', 'json' or 'console', not 'xml'"),
    ("keepalive: 0s", "2: gateway.keepalive: must be more than 0, not '0s'"),
    ("auth: true", "2: gateway.auth: must be a mapping of keys to values"),
    ("auth:\n    enabld: true", "3: gateway.auth.enabld: unknown key; did you mean 'enabled'?"),
    ("rate_limit:\n    default_rpm: lots", "3: gateway.rate_limit.default_rpm: must be a whole number, not 'lots'"),
    ("allowed_hosts: a", "2: gateway.allowed_hosts: must be a list, such as [a, b]"),
    (
        "host: 0.0.0.0",
        "2: gateway.host: other machines could use every server here without a key; keep 127.0.0.1, or set gateway",
    ),
    ("state_dir: [a]", "2: gateway.state_dir: must be a path"),
    ('state_dir: "a\\0b"', "2: gateway.state_dir: must not contain a line break or NUL"),
    ("port: ${NOPE}", "2: gateway.port: the environment variable NOPE is not set"),
    (
        "upstream_config_file: missing.json",
        "{folder}/missing.json: there is no such file; check the path (named by gateway.upstream_config_file)",
    ),
]

IN_THE_FILE: list[tuple[str, str]] = [
    ("", "servers.yaml:1: is empty; begin with `servers:`"),
    ("just text", "servers.yaml:1: is not a mapping; begin with `servers:`"),
    ("gateway: {port: 1}", "servers.yaml:1: has neither `servers` nor `mcpServers`"),
    ("a: 1\nserver: {}", "servers.yaml:2: server: unknown key; did you mean 'servers'?"),
    ("mcp_servers: {}", "servers.yaml:1: mcp_servers: unknown key; did you mean 'mcpServers'?"),
    ("mcp: {servers: {}}", "servers.yaml:1: has neither `servers` nor `mcpServers`; it has mcp"),
    ("gateway: 1\nservers: {}", "servers.yaml:1: gateway: must be a mapping of settings to values"),
    ("servers: {a: {command: [}}", "servers.yaml:1: expected the node content, but found '}'"),
    ("servers: {}\nservers: {}", "servers.yaml:2: the key 'servers' is already on line 1; keep one"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), IN_A_SERVER)
def test_in_a_server(complaints: Complain, folder: Path, text: str, said: str) -> None:
    (line,) = complaints(text)
    assert line.startswith(f"servers.yaml:{said.format(folder=folder) if '{folder}' in said else said}")


@pytest.mark.parametrize(("body", "said"), IN_THE_GATEWAY)
def test_in_the_gateway_block(complaints: Complain, folder: Path, body: str, said: str) -> None:
    (line,) = complaints(f"gateway:\n  {body}\nservers: {{a: {{command: x}}}}")
    assert line.startswith(said.format(folder=folder) if "{folder}" in said else f"servers.yaml:{said}")


@pytest.mark.parametrize(("text", "said"), IN_THE_FILE)
def test_in_the_file(complaints: Complain, text: str, said: str) -> None:
    (line,) = complaints(text)
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"GATEWAY_PORT": "http"}, "GATEWAY_PORT (environment): must be a whole number, not 'http'"),
        ({"gateway_port": "http"}, "gateway_port (environment): must be a whole number, not 'http'"),
        ({"GATEWAY_AUTH_ENABLED": "si"}, "GATEWAY_AUTH_ENABLED (environment): must be true or false, not 'si'"),
        ({"GATEWAY_RATE_LIMIT__DEFAULT_RPM": "0"}, "GATEWAY_RATE_LIMIT__DEFAULT_RPM (environment): must be at least 1"),
        ({"GATEWAY_AUTH__ENABLD": "1"}, "GATEWAY_AUTH__ENABLD (environment): unknown key; did you mean 'enabled'?"),
        ({"GATEWAY_ALLOWED_HOSTS": "[a"}, "GATEWAY_ALLOWED_HOSTS (environment): must be a list, such as [a, b]"),
        ({"GATEWAY_AUTH": "yes"}, "GATEWAY_AUTH (environment): must be a mapping of keys to values"),
        ({"GATEWAY_HOST": "0.0.0.0"}, "GATEWAY_HOST (environment): other machines could use every server"),
    ],
)
def test_in_the_environment(complaints: Complain, environ: dict[str, str], said: str) -> None:
    (line,) = complaints("gateway: {port: 1}\nservers: {a: {command: x}}", environ=environ)
    assert line.startswith(said)


def test_in_dotenv(complaints: Complain, folder: Path) -> None:
    (folder / ".env").write_text("GATEWAY_PORT=http")
    assert complaints("servers: {}") == ["GATEWAY_PORT (.env): must be a whole number, not 'http'"]


def test_on_the_command_line(complaints: Complain) -> None:
    overrides: dict[str, Any] = {"port": 70_000, "auth.enabled": "maybe", "prot": 1}
    assert complaints("servers: {}", overrides=overrides) == [
        "command line: auth.enabled: must be true or false, not 'maybe'",
        "command line: port: must be at most 65535, not 70000",
        "command line: prot: unknown key; did you mean 'port'?",
    ]


def test_everything_at_once_in_the_order_of_the_file(complaints: Complain, folder: Path) -> None:
    (folder / "more.json").write_text('[\n{"name": "a", "url": "http://x"},\n{"name": "d", "url": "x"}]')
    lines = complaints("""\
        servers:
          a: {commnd: x}
          b: {url: "${NOPE}", timeout: never}
          c: {command: "${NOPE}", args: x}
        gateway:
          port: x
          upstream_config_file: more.json
        """)
    assert [line.partition(": ")[0] for line in lines] == [
        *(f"servers.yaml:{number}" for number in (2, 3, 3, 4, 4, 6)),
        f"{folder / 'more.json'}:2",
        f"{folder / 'more.json'}:3",
    ]


def test_json_has_lines_too(complaints: Complain) -> None:
    text = '{\n  // a comment\n  "mcpServers": {\n    "it": {\n      "command": "x",\n      "timeout": "soon"\n}}}'
    (line,) = complaints(text, "mcp.json")
    assert line.startswith("mcp.json:6: server 'it': timeout: must be a duration")


def test_an_inherited_value_has_the_line_it_was_written_on(complaints: Complain) -> None:
    (line,) = complaints("x-d: &d\n  timeout: soon\nservers:\n  it:\n    <<: *d\n    command: x")
    assert line.startswith("servers.yaml:2: server 'it': timeout:")


def test_broken_env_file(complaints: Complain, folder: Path) -> None:
    (folder / "x.env").write_text("A=1\nnot a variable\n")
    (line,) = complaints("servers: {a: {command: x, env_file: x.env}}")
    assert (
        line == f"servers.yaml:1: server 'a': env_file: {folder}/x.env:2: is not NAME=value; correct or remove the line"
    )


def test_a_missing_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^nowhere\.yaml: there is no such file; check the path$"):
        load(Path("nowhere.yaml"), environ={})


CANARY = "canary-5f2c91"


@pytest.mark.parametrize(
    "body",
    [
        'env: {A: "%s\\0"}',
        "env: {A: [%s]}",
        "timeout: %s",
        "lazy: %s",
        "type: ${SECRET}",
        "lazy: ${SECRET}",
        "breaker: {failures: '${SECRET}'}",
        "isolation: ${SECRET}",
        "args: '${SECRET}'",
        'headers: {A: "%s\\n"}',
        "env: {A: '${NOPE}%s'}",
        "env: {A: '${NOPE:%s'}",
        "env: {A: '${B:-%s${NOPE}}'}",
        "env_file: x.env",
    ],
)
def test_no_secret_in_a_message(complaints: Complain, folder: Path, body: str) -> None:
    (folder / "x.env").write_text(f"{CANARY} is no assignment")
    shown = body in ("lazy: %s",)  # as it was written into a field that takes no secret
    lines = complaints(program(body.replace("%s", CANARY)), environ={"SECRET": CANARY})
    assert (CANARY in "\n".join(lines)) is shown


@pytest.mark.parametrize("text", ['{"a": {"token" "%s"}}', '{"token": "%s" "x"}', '["%s', '{"a": "%s\\x"}', "{'%s'}"])
def test_no_secret_in_a_syntax_error(complaints: Complain, text: str) -> None:
    for name in ("x.json", "x.yaml"):
        if not (name == "x.yaml" and text.startswith("{'")):  # which is a key to YAML, and valid
            assert CANARY not in "\n".join(complaints(text.replace("%s", CANARY), name))
