"""Logins in a real browser: to the login page, the consent, and back to `mcp-gateway login` or the gateway's page."""

import json
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.interaction._gateway import http_gateway
from tests.logins.test_desk import Desk
from tests.oauth.authorization_server import authorization_server
from tests.public.browser import Chromium, chromium
from tests.public.packages import OutOfReach, Packages
from tests.public.test_logins import ANSWERS, STATE_KEYS, example_runs, fastmcp, gateway_before
from tests.public.test_logins import example as example  # a fixture
from tests.support import free_port

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


def test_who_signs_in_at_the_issuer_of_their_tokens(browser: Chromium, packages: Packages, tmp_path: Path) -> None:
    """First there, then at the server's own; two consents of the same person, and no key."""
    port = free_port()
    with fastmcp(packages, "remote") as (url, server_issuer), authorization_server(pages=True) as issuer:
        wanted = {
            "redirect_uris": [f"http://127.0.0.1:{port}/oauth/signed-in"],
            "application_type": "native",
            "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "none",
        }
        client = httpx2.post(f"{issuer.url}/reg", json=wanted, timeout=30).json()["client_id"]
        oauth = {"issuer": issuer.url, "resource": f"http://127.0.0.1:{port}/mcp", "allow_private": True}
        auth = {"enabled": True, "oauth": {**oauth, "sign_in": {"client_id": client}}}
        entry = {"url": url, "auth": {"login": "each"}}
        with http_gateway(tmp_path, {"notes": entry}, state_keys=STATE_KEYS, auth=auth, port=port) as gateway:
            visited = browser.visit(f"{gateway.base}/connect/notes", ANSWERS, press="Sign in with")
            kept = json.loads(Desk(tmp_path, gateway.base, "").verb("logins", "--json").stdout)
    assert "You are logged in to notes" in visited.text, visited.text
    assert wrong_at(gateway.base, visited.errors) == []
    ours = [each.removeprefix(gateway.base) for each in visited.path if each.startswith(gateway.base)]
    assert ours == ["/connect/notes", "/oauth/signed-in", "/oauth/callback"]
    for each in (issuer, server_issuer):
        assert any(page.startswith(f"{each.url}/interaction/") for page in visited.path)
    assert [each["principal"] for each in kept] == [f"oauth:{issuer.url}|alice"]
