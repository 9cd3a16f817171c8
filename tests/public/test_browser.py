"""Logins in a real browser: to the login page, the consent, and back to `mcp-gateway login` or the gateway's page."""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.interaction._gateway import http_gateway
from tests.logins.test_desk import Desk
from tests.public.browser import Chromium, chromium
from tests.public.packages import OutOfReach, Packages
from tests.public.test_logins import ANSWERS, STATE_KEYS, example_runs, fastmcp, gateway_before
from tests.public.test_logins import example as example  # a fixture

KEY: Final = f"mcp-{'k' * 40}"


@pytest.fixture(scope="module")
def browser(packages: Packages) -> Chromium:
    try:
        return chromium(packages)
    except OutOfReach as error:
        pytest.skip(f"needs a browser: {error}")


def wrong_at(url: str, errors: list[str]) -> list[str]:
    """What went wrong on pages of ours."""
    origin = "/".join(url.split("/")[:3])
    return [each for each in errors if each.startswith(origin)]


@pytest.mark.parametrize("kind", ["remote", "proxy"])
def test_back_to_the_command(browser: Chromium, packages: Packages, tmp_path: Path, kind: str) -> None:
    path: list[str] = []

    def walk(link: str) -> str:
        visited = browser.visit(link, ANSWERS)
        path.extend(visited.path)
        assert wrong_at(path[-1], visited.errors) == []
        return visited.text

    with fastmcp(packages, kind) as (url, issuer), gateway_before(tmp_path, url) as here:
        here.enter(walk)
        here.until("ready")
        assert here.call().startswith("alice with")
    assert path[-1].startswith("http://127.0.0.1:")
    assert path[-1].endswith("/callback")
    assert sum(each.startswith(f"{issuer.url}/interaction/") for each in path) == 2
    assert any(each.endswith("/consent") for each in path) == (kind == "proxy")


def test_back_from_the_sdks_example(browser: Chromium, packages: Packages, example: Path, tmp_path: Path) -> None:
    with example_runs(packages, example) as url, gateway_before(tmp_path, url) as here:
        here.enter(lambda link: browser.visit(link, {}).text)
        here.until("ready")


def test_back_to_the_page_of_the_gateway(browser: Chromium, packages: Packages, tmp_path: Path) -> None:
    """Where each principal logs in for themselves: they show who they are, and go on."""
    (keys := tmp_path / "keys.json").write_text(json.dumps([{"key": KEY, "owner": "ann", "scopes": ["read", "write"]}]))
    auth = {"enabled": True, "api_keys_file": str(keys)}
    with fastmcp(packages, "remote") as (url, issuer):
        entry = {"url": url, "auth": {"login": "each"}}
        with http_gateway(tmp_path, {"notes": entry}, state_keys=STATE_KEYS, auth=auth) as gateway:
            visited = browser.visit(f"{gateway.base}/connect/notes", {**ANSWERS, "key": KEY})
            kept = json.loads(Desk(tmp_path, gateway.base, "").verb("logins", "--json").stdout)
    assert "You are logged in to notes" in visited.text
    assert wrong_at(gateway.base, visited.errors) == []
    assert visited.path[0] == f"{gateway.base}/connect/notes"
    assert sum(each.startswith(f"{issuer.url}/interaction/") for each in visited.path) == 2
    assert visited.path[-1] == f"{gateway.base}/oauth/callback"
    assert [each["principal"] is not None for each in kept] == [True]
