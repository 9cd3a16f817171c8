"""Where each principal is to log in and there is no page to do so, nobody is sent where nothing helps."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.models import Config
from gateway.errors import LoginNeeded
from gateway.logins.failures import NoLogin
from gateway.logins.logins import NO_PAGE, Logins
from gateway.request import Principal
from tests.interaction._gateway import config_file
from tests.support import command, run_program

SERVER: dict[str, Any] = {"url": "https://x.example.com/mcp"}
ANN = Principal("key:ann", "api_key")


def needed(login: str, *, asks_for_keys: bool) -> LoginNeeded:
    settings = {"auth": {"enabled": asks_for_keys}}
    entry = {**SERVER, "auth": {"login": login}}
    config = Config.model_validate({"gateway": settings, "servers": {"x": entry}, "path": Path("servers.yaml")})
    logins = Logins(config, lambda: pytest.fail("no vault is needed for that"))
    held = logins._held_by_person("x", config.servers["x"], ANN, is_wanted=True)  # pyright: ignore[reportPrivateUsage]
    return held._needs(NoLogin("nobody is logged in"))  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(("login", "asks_for_keys"), [("shared", True), ("each", False), ("auto", True)])
def test_a_login_that_can_be_made_is_named_with_its_command(login: str, asks_for_keys: bool) -> None:
    error = needed(login, asks_for_keys=asks_for_keys)
    assert error.command == "mcp-gateway login x"
    assert error.again().message == error.message


def test_a_login_that_cannot_be_made_names_what_can() -> None:
    error = needed("each", asks_for_keys=True)
    assert (error.command, error.way) == ("", NO_PAGE)
    assert "command" not in (error.data or {})
    assert error.again().message == error.message


def test_the_command_says_the_same(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("[]")
    auth = {"enabled": True, "api_keys_file": str(keys)}
    file = config_file(tmp_path, {"x": {**SERVER, "auth": {"login": "each"}}}, auth=auth)
    done = run_program(command("gateway", "login", "x", "-c", str(file)))
    assert done.returncode == 2
    assert "login: shared" in done.stderr
