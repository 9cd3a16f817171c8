"""`${file:…}`, `${keyring:…}`, `${command:…}`: what they become, in whose files, and what is said when they cannot."""

import json
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import keyring
import pytest

from gateway.config import load
from gateway.config.models import OutOfOrder
from gateway.config.reading.expand import Expander
from gateway.config.reading.secret_sources import MAX_BYTES, SecretSources
from gateway.errors import ConfigError
from tests.config.conftest import Complain, Load
from tests.config.keyring_backend import Backend

CANARY = "canary-4711-abcdef"


@pytest.fixture(autouse=True)
def keyring_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """The keyring is the tests' own, and holds one value."""
    path = folder / "keyring.json"
    path.write_text(json.dumps({"hub/me": CANARY, "https://hub.corp/me": "of a URL", "hub/bad": "!", "hub/none": ""}))
    monkeypatch.setenv("TEST_KEYRING", str(path))
    before = keyring.get_keyring()
    keyring.set_keyring(Backend())
    yield path
    keyring.set_keyring(before)


def script(name: str, text: str) -> Path:
    """An executable in the working directory."""
    path = Path(name)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def header(value: str) -> str:
    return f'servers: {{hub: {{url: "https://example.com", headers: {{X: {json.dumps(value)}}}}}}}\n'


def found(config: Load, value: str, **environ: str) -> str:
    return config(header(value), environ={**os.environ, **environ}).servers["hub"].headers["X"]


# --- What they become -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [CANARY, f"{CANARY}\n", f"{CANARY}\r\n"])
def test_a_file(config: Load, folder: Path, content: str) -> None:
    Path("secret").write_bytes(content.encode())
    for named in ("secret", "./secret", f"{folder}/secret", "${D}/secret", "${NOPE:-secret}"):
        assert found(config, f"Bearer ${{file:{named}}}!", D=str(folder)) == f"Bearer {CANARY}!"


def test_a_file_is_relative_to_the_configuration_and_its_own_home(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("secret").write_text(CANARY)
    Path("servers.yaml").write_text(header("${file:secret}"))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load(folder / "servers.yaml", environ={}).servers["hub"].headers["X"] == CANARY
    monkeypatch.setenv("HOME", str(folder))
    (folder / "servers.yaml").write_text(header("${file:~/secret}"))
    assert load(folder / "servers.yaml", environ={}).servers["hub"].headers["X"] == CANARY


def test_what_is_read_is_not_expanded_and_a_pipe_is_not_waited_for(config: Load, complaints: Complain) -> None:
    Path("secret").write_text("${HOME} $${X} ${command:touch pwned}")
    assert found(config, "${file:secret}") == "${HOME} $${X} ${command:touch pwned}"
    assert not Path("pwned").exists()
    os.mkfifo("pipe")
    assert "pipe cannot be read: it is not a regular file" in complaints(header("${file:pipe}"))[0]


def test_the_keyring(config: Load) -> None:
    assert found(config, "Bearer ${keyring:hub/me}") == f"Bearer {CANARY}"
    assert found(config, "${keyring:https://hub.corp/me}") == "of a URL"


def test_a_command_has_words_and_no_shell(config: Load) -> None:
    script("give", 'for word in "$@"; do printf "[%s]" "$word"; done')
    given = found(config, "${command:./give 'a  b' $(id) ;&| * \"${WORDS}\" ${WORDS} '{}'}", WORDS="two words")
    assert given == "[a  b][$(id)][;&|][*][two words][two words][{}]"


def test_a_command_is_given_the_environment_without_the_gateways_own(config: Load) -> None:
    script("give", 'printf "%s|%s|%s" "$VAULT_TOKEN" "$GATEWAY_STATE_KEYS" "$(cat)"')
    assert found(config, "${command:./give}", VAULT_TOKEN="t", GATEWAY_PORT="8080") == "t||"


def test_each_is_read_once_in_a_reading_and_anew_in_the_next(config: Load) -> None:
    script("count", "echo x >> runs; wc -l < runs | tr -d ' '")
    text = 'servers: {a: {command: a, env: {A: "${command:./count}", B: "${command:./count}"}}}'
    assert config(text).servers["a"].env == {"A": "1", "B": "1"}
    assert config(text).servers["a"].env == {"A": "2", "B": "2"}


def test_in_defaults_in_settings_and_not_where_they_are_written_out(config: Load) -> None:
    Path("secret").write_text("a key of the state that is long enough")
    assert found(config, "${NOPE:-${file:secret}}").startswith("a key")
    assert found(config, "$${file:secret}") == "${file:secret}"
    assert found(config, "${file:-plain}") == "plain", "a variable of that name"
    got = config('gateway: {state_keys: ["${file:secret}"]}\nservers: {a: {command: a}}')
    assert got.gateway.state_keys == ["a key of the state that is long enough"]
    assert "a key of the state that is long enough" in got.secrets


def test_they_are_secrets_whatever_the_field_and_files_are_followed(config: Load, folder: Path) -> None:
    Path("secret").write_text(CANARY)
    script("give", "echo command-canary")
    got = config(
        """\
        servers:
          a: {command: a, args: ["--x=${file:secret}", "${command:./give}"]}
          b: {command: "${keyring:https://hub.corp/me}"}
          c: {command: c}
        """
    )
    assert {CANARY, "command-canary", "of a URL"} <= got.secrets
    assert got.refreshable == {"a", "b"}
    assert folder / "secret" in got.files


# --- When they cannot -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("${file:nowhere}", "there is no file nowhere; create it, or correct the path"),
        ("${file:${D}/nowhere}", "there is no file ${D}/nowhere; create it"),
        ("${file:.}", "the file . cannot be read: "),
        ("${file:empty}", "the file empty is empty; put the value there"),
        ("${file:binary}", "the file binary is not UTF-8; correct the path"),
        ("${file:large}", "the file large has more than 64 KiB, which is no secret"),
        ("${file:}", "${file:…} names no file; write ${file:/run/secrets/NAME}"),
        ("${file:${SURELY_NOT_SET}}", "the environment variable SURELY_NOT_SET is not set"),
        ("${file:${file:empty}}", "${file:…} cannot stand inside another; only variables can"),
        ("${keyring:me}", "needs a service and a name; write ${keyring:SERVICE/NAME}"),
        ("${keyring:hub/you}", "the keyring has no hub/you; store it: `keyring set SERVICE NAME`"),
        ("${keyring:hub/bad}", "the keyring failed (RuntimeError); see `keyring diagnose`"),
        ("${command:}", "${command:…} names no program; write ${command:PROGRAM ARGUMENT …}"),
        ("${command:'a}", "cannot be split into words: no closing quotation; close the quotes"),
        ("${command:surely-no-program x}", "the program of `surely-no-program x` is not found; install it"),
        ("${command:./empty}", "`./empty` cannot be started: Permission denied; correct the command"),
        ("${command:./fails}", "`./fails` failed with exit status 3; run it by hand and see what it says"),
        ("${command:./silent}", "the output of `./silent` is empty; put the value there, or correct the command"),
        ("${command:./noisy}", "the output of `./noisy` has more than 64 KiB"),
        ("${command:./fails ${D}}", "`./fails ${D}` failed"),
    ],
)
def test_errors_name_the_place_and_say_what_to_do(complaints: Complain, written: str, what: str) -> None:
    Path("empty").touch()
    Path("binary").write_bytes(b"\xff\xfe")
    Path("large").write_text("x" * (MAX_BYTES + 1))
    script("fails", f"echo {CANARY}; echo {CANARY} >&2; exit 3")
    script("silent", "true")
    script("noisy", "exec cat /dev/zero")
    (line,) = complaints(f"\n{header(written)}", environ={**os.environ, "D": f"/{CANARY}"})
    assert line.startswith("servers.yaml:2: server 'hub': headers.X: ")
    assert what in line
    assert "canary" not in line


def test_a_locked_keyring_and_one_that_does_not_answer(
    keyring_file: Path, complaints: Complain, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring_file.unlink()
    (line,) = complaints(header("${keyring:hub/me}"))
    assert "the keyring is locked; unlock it" in line
    assert "canary" not in line
    gate = threading.Event()
    monkeypatch.setattr(keyring.get_keyring(), "get_password", lambda *_: gate.wait(30) and None)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
    expander = Expander({})
    expander.expand("${keyring:hub/me}", (), SecretSources(Path.cwd(), {}, seconds=0.05))
    gate.set()
    assert "did not answer within 0.05 s; unlock it" in expander.faults[0].what


def test_without_the_library(complaints: Complain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    (line,) = complaints(header("${keyring:hub/me}"))
    assert line.endswith("the keyring needs the library `keyring`; install mcp-gateway[keyring]")


def test_a_command_that_hangs_is_ended_with_what_it_started(folder: Path) -> None:
    script("hangs", 'sleep 600 & echo $! > child; echo "$$" > pid; wait')
    expander = Expander({})
    expander.expand("${command:./hangs}", (), SecretSources(folder, dict(os.environ), seconds=1.0))
    assert "`./hangs` did not end within 1 s; run it by hand and see what it waits for" in expander.faults[0].what
    for name in ("child", "pid"):
        stat = Path(f"/proc/{Path(name).read_text().strip()}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_what_a_command_leaves_running_does_not_hold_it_up(folder: Path) -> None:
    script("daemon", f"sleep 600 & echo $! > child; echo {CANARY}")
    try:
        sources = SecretSources(folder, dict(os.environ), last_seconds=0.2)
        got = sources.get("command", ["./daemon"], "./daemon")
        assert got == CANARY
    finally:
        os.kill(int(Path("child").read_text()), 9)


def test_such_a_server_is_out_of_order_and_others_are_not(config: Load) -> None:
    text = 'servers: {a: {command: "${command:surely-no-program}"}, b: {command: b}}'
    Path("servers.yaml").write_text(text)
    got = load(Path("servers.yaml"), environ={}, strict=False)
    lacking = got.servers["a"]
    assert isinstance(lacking, OutOfOrder)
    assert lacking.reason.startswith("command: the program of `surely-no-program` is not found")
    assert not isinstance(got.servers["b"], OutOfOrder)


def test_what_settings_lack_is_an_error_in_any_case() -> None:
    Path("servers.yaml").write_text('gateway: {state_keys: ["${file:nowhere}"]}\nservers: {a: {command: a}}')
    with pytest.raises(ConfigError, match=r"servers.yaml:1: gateway.state_keys\[0\]: there is no file nowhere"):
        load(Path("servers.yaml"), environ={}, strict=False)


# --- In whose files ---------------------------------------------------------------------------------------------------

RUN = '{"command": "a", "env": {"X": "${command:touch pwned}", "Y": "${file:secret}"}}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mcp.json", f'{{"mcpServers": {{"x": {RUN}}}}}'),  # Claude's, Cursor's
        ("mcp.json", f'{{"servers": {{"x": {RUN}}}, "inputs": []}}'),  # VS Code's
        ("continue.yaml", f"mcpServers: {{x: {RUN}}}"),
        ("list.json", f'[{{"name": "x", {RUN[1:]}]'),
        ("list.yaml", f'- {{"name": "x", {RUN[1:]}'),
    ],
)
def test_never_in_other_clients_files_and_lists(config: Load, complaints: Complain, name: str, text: str) -> None:
    Path("secret").write_text(CANARY)
    lines = complaints(text, name=name)
    assert len(lines) == 2
    assert all("for the gateway's own file alone" in line for line in lines)
    got = load(Path(name), environ={}, strict=False)
    assert isinstance(got.servers["x"], OutOfOrder)
    assert CANARY not in repr(got) + repr(got.servers["x"].env)
    assert not Path("pwned").exists()


def test_a_file_with_settings_is_our_own_in_whatever_form(config: Load) -> None:
    Path("secret").write_text(CANARY)
    got = config('{"gateway": {}, "mcpServers": {"x": {"command": "${file:secret}"}}}', name="servers.json")
    assert got.servers["x"].command == CANARY


def test_never_in_a_list_of_upstreams_that_somebody_else_keeps(folder: Path) -> None:
    Path("secret").write_text(CANARY)
    Path("list.yaml").write_text("gateway: {}\nservers: {x: {command: '${file:secret}'}}")
    Path("servers.yaml").write_text("gateway: {upstream_config_file: list.yaml}\nservers: {}")
    for path, environ in (
        ("servers.yaml", {}),
        ("list.yaml", {"GATEWAY_UPSTREAM_CONFIG_FILE": str(folder / "list.yaml")}),
    ):
        server = load(Path(path), environ=environ, strict=False).servers["x"]
        assert isinstance(server, OutOfOrder)
        assert "for the gateway's own file alone" in server.reason


def test_never_in_the_values_of_variables(config: Load) -> None:
    written = "${command:touch pwned}"
    Path(".env").write_text(f"A={written}\n")
    Path("more.env").write_text(f"C={written}\n")
    got = config(
        'servers: {x: {command: a, env: {A: "${A}", B: "${B}"}, env_file: more.env}}',
        environ={"B": written, "GATEWAY_ENVIRONMENT": written},
    )
    assert got.servers["x"].env == {"A": written, "B": written, "C": written}
    assert got.gateway.environment == written
    assert not Path("pwned").exists()


def test_a_disabled_server_runs_and_lacks_nothing(config: Load) -> None:
    for disabled in ("disabled: true", "enabled: false", "disabled: yes"):
        got = config(f'servers: {{x: {{command: "${{command:touch pwned}}", {disabled}}}}}')
        assert got.servers["x"].disabled
    assert not Path("pwned").exists()


# --- Looking without asking -------------------------------------------------------------------------------------------


def test_nothing_is_run_or_asked_where_nobody_wants_to_know(folder: Path) -> None:
    script("give", "touch pwned; echo 'a key of the state that is long enough'")
    Path("secret").write_text(CANARY)
    Path("servers.yaml").write_text(
        """\
gateway: {state_keys: ["${command:./give key}"]}
servers:
  a: {url: "${command:./give}", timeout: "${command:./give}",
      headers: {X: "${keyring:hub/${NAME}}", Y: "${file:secret}"}}
  b: {command: "${command:surely-no-program x}"}
  c: {url: "https://example.com", auth: {client_credentials: {client_id: a, client_secret: "${command:./give}"}}}
"""
    )
    got = load(Path("servers.yaml"), environ={"NAME": "me"}, ask="none")
    assert not Path("pwned").exists()
    assert got.warnings == [
        "servers.yaml:1: gateway.state_keys[0]: a gateway runs `./give key` for it; it was not run now",
        "servers.yaml:3: server 'a': url: a gateway runs `./give` for it; it was not run now",
        "servers.yaml:3: server 'a': timeout: a gateway runs `./give` for it; it was not run now",
        "servers.yaml:4: server 'a': headers.X: a gateway asks the keyring for hub/${NAME}; it was not asked now",
        "servers.yaml:5: server 'b': command: a gateway runs `surely-no-program x` for it, whose program is not found "
        "here; it was not run now",
        "servers.yaml:6: server 'c': auth.client_credentials.client_secret: a gateway runs `./give` for it; it was not "
        "run now",
    ]
    assert got.servers["a"].headers == {"X": "https://unread.invalid", "Y": CANARY}
    settings_only = load(Path("servers.yaml"), environ={"NAME": "me"}, ask="settings")
    assert Path("pwned").exists()
    assert settings_only.gateway.state_keys == ["a key of the state that is long enough"]
    assert len(settings_only.warnings) == 5
