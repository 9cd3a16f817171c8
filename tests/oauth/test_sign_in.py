"""Signing in on the gateway's own pages at the authorization server whose tokens it takes, and all that must not let
anybody in."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest

from gateway.rest.connect import MAX_BEGUN
from tests.interaction._gateway import http_gateway
from tests.logins.authority import Authority, authority
from tests.logins.team import Browser, query_of
from tests.oauth.authorization_server import MAX_REDIRECTS, AuthorizationServer
from tests.support import free_port

pytestmark = pytest.mark.anyio


@dataclass
class Office:
    base: str
    issuer: AuthorizationServer
    server: Authority
    folder: Path
    client: dict[str, Any]

    @property
    def link(self) -> str:
        return f"{self.base}/connect/up"

    @asynccontextmanager
    async def browser(self) -> AsyncGenerator[Browser]:
        async with httpx2.AsyncClient(timeout=30) as client:
            yield Browser(self.base, client)

    async def to_issuer(self, browser: Browser, link: str = "") -> str:
        """Click on *Sign in*; where that leads."""
        await browser.open(link or self.link)
        await browser.post(link or self.link, "", sign_in="1")
        return browser.onward()

    async def back(self, link: str, person: str = "alice") -> dict[str, str]:
        """What the issuer gives somebody who logs in there."""
        url = str(httpx2.URL(link).copy_merge_params({"login_hint": person}))
        async with httpx2.AsyncClient(timeout=30) as client:
            for _ in range(MAX_REDIRECTS):
                response = await client.get(url)
                assert response.is_redirect, response.text
                url = str(response.url.join(response.headers["location"]))
                if url.startswith(self.base):
                    return query_of(url)
        raise AssertionError(f"still redirected: {url}")

    async def arrive(self, browser: Browser, answer: Mapping[str, str]) -> httpx2.Response:
        return await browser.open(f"{self.base}/oauth/signed-in?{urlencode(answer)}")

    async def states(self, person: str) -> dict[str, Any]:
        token = await self.issuer.token(f"{self.base}/mcp", person)
        async with httpx2.AsyncClient(timeout=30) as client:
            headers = {"authorization": f"Bearer {token}"}
            found = (await client.get(f"{self.base}/connections", headers=headers)).json()
        return found["connections"][0]


@asynccontextmanager
async def office(
    issuer: AuthorizationServer, folder: Path, secret: bool = False, **auth: Any
) -> AsyncGenerator[Office]:
    port = free_port()
    wanted = {
        "redirect_uris": [f"http://127.0.0.1:{port}/oauth/signed-in"],
        "application_type": "native",
        "grant_types": ["authorization_code"],
        "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
    }
    client = httpx2.post(f"{issuer.url}/reg", json=wanted, timeout=30).json()
    assert "client_id" in client, client
    given = {name: client[name] for name in ("client_id", "client_secret") if name in client}
    resource = f"http://127.0.0.1:{port}/mcp"
    oauth = {"issuer": issuer.url, "resource": resource, "allow_private": True, "sign_in": given}
    settings: dict[str, Any] = {"auth": {"enabled": True, "oauth": {**oauth, **auth}}, "port": port}
    settings |= {"log_level": "debug", "log_file": str(folder / "log"), "state_keys": ["k" * 32]}
    async with authority() as (server, _):
        with http_gateway(folder, {"up": {"url": server.url, "auth": "each"}}, **settings) as gateway:
            yield Office(gateway.base, issuer, server, folder, client)


@pytest.mark.parametrize("secret", [False, True])
async def test_who_signs_in_goes_on_and_is_logged_in(issuer: AuthorizationServer, tmp_path: Path, secret: bool) -> None:
    async with office(issuer, tmp_path, secret) as here, here.browser() as browser:
        first = await browser.open(here.link)
        assert f"Sign in with {urlsplit(issuer.url).hostname}" in first.text
        link = await here.to_issuer(browser)
        asked = query_of(link)
        assert link.startswith(f"{issuer.url}/auth?")
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert asked["redirect_uri"] == f"{here.base}/oauth/signed-in"
        assert {asked["state"], asked["nonce"], asked["scope"]} >= {"openid"}
        answer = await here.back(link)
        assert (await here.arrive(browser, answer)).status_code == 200
        onward = browser.onward()
        assert onward.startswith(f"{here.server.origin}/authorization?")
        done = await browser.come_back(here.server.approve(onward))
        assert "You are logged in to up" in done.text
        assert (await here.states("alice"))["state"] == "logged in"
        assert (await here.states("bob"))["state"] == "none"
        written = b"".join(path.read_bytes() for path in tmp_path.glob("log*"))  # noqa: ASYNC240
        for canary in (answer["code"], asked["state"], asked["nonce"], here.client.get("client_secret") or "canary"):
            assert canary.encode() not in written


async def test_a_link_for_one_is_of_no_use_to_who_signs_in_as_another(
    issuer: AuthorizationServer, tmp_path: Path
) -> None:
    async with office(issuer, tmp_path) as here, here.browser() as browser:
        for_alice = (await here.states("alice"))["connect"]
        answer = await here.back(await here.to_issuer(browser, for_alice), "bob")
        refused = await here.arrive(browser, answer)
        assert (refused.status_code, "made for somebody else" in refused.text) == (403, True)
        assert here.server.registered == []
        answer = await here.back(await here.to_issuer(browser, for_alice), "alice")
        assert (await here.arrive(browser, answer)).status_code == 200


async def test_it_ends_only_in_the_browser_that_began_it(issuer: AuthorizationServer, tmp_path: Path) -> None:
    """State is bound to the browser; a cookie is good for its own state, and for nobody who made it up."""
    async with office(issuer, tmp_path) as here, here.browser() as browser, here.browser() as other:
        answer = await here.back(await here.to_issuer(browser))
        refused = await here.arrive(other, answer)
        assert (refused.status_code, "another browser" in refused.text) == (401, True)
        await here.to_issuer(other)
        assert (await here.arrive(other, answer)).status_code == 401
        (cookie,) = [each for each in other.client.cookies.jar if "-sign-in-" in each.name]
        (mine,) = [each for each in browser.client.cookies.jar if "-sign-in-" in each.name]
        for forged in (cookie.value or "", urlsafe_b64encode(b"\x01" * 200).decode(), "%%%", ""):
            other.client.cookies.set(mine.name, forged, domain="127.0.0.1")
            assert (await here.arrive(other, answer)).status_code == 401
        assert here.server.registered == []
        assert (await here.arrive(browser, answer)).status_code == 200
        assert (await here.arrive(browser, answer)).status_code == 401, "once"


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"iss": "https://evil.example"}, "evil.example"),
        ({"iss": ""}, "the answer is that of"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"code": ""}, "no code"),
        ({"error": "access_denied", "error_description": "<b>no</b>"}, "&lt;b&gt;no"),
    ],
)
async def test_an_answer_that_is_not_the_issuers(
    issuer: AuthorizationServer, tmp_path: Path, changed: dict[str, str], word: str
) -> None:
    async with office(issuer, tmp_path) as here, here.browser() as browser:
        answer = await here.back(await here.to_issuer(browser))
        refused = await here.arrive(browser, answer | changed)
        assert (refused.status_code, word in refused.text) == (401, True), refused.text
        assert here.server.registered == []


async def test_a_code_that_was_given_to_another_browser_is_worth_nothing(
    issuer: AuthorizationServer, tmp_path: Path
) -> None:
    """Code injection: PKCE and the nonce belong to the browser."""
    async with office(issuer, tmp_path) as here, here.browser() as browser, here.browser() as other:
        mine, theirs = [await here.back(await here.to_issuer(each)) for each in (browser, other)]
        refused = await here.arrive(browser, mine | {"code": theirs["code"]})
        assert refused.status_code == 401


async def test_nothing_that_a_link_says_decides_where_anybody_goes(issuer: AuthorizationServer, tmp_path: Path) -> None:
    async with office(issuer, tmp_path) as here, here.browser() as browser:
        evil = f"{here.link}?next=https://evil.example&redirect_uri=https://evil.example&server=other"
        link = await here.to_issuer(browser, evil)
        assert query_of(link)["redirect_uri"] == f"{here.base}/oauth/signed-in"
        answer = await here.back(link)
        arrived = await here.arrive(browser, {**answer, "server": "other", "next": "https://evil.example"})
        assert "evil.example" not in arrived.text
        assert browser.onward().startswith(f"{here.server.origin}/authorization?")
        long = f"{here.link}?scope={'x' * 4000}"
        await browser.open(long)
        assert (await browser.post(long, "", sign_in="1")).status_code == 400


async def test_many_that_are_begun_or_made_up_cost_nobody_anything(issuer: AuthorizationServer, tmp_path: Path) -> None:
    """They are kept nowhere; and whoever fails again and again is not heard for a while."""
    async with office(issuer, tmp_path) as here, here.browser() as browser:
        link = ""
        for _ in range(40):
            link = await here.to_issuer(browser)
            kept = [each for each in browser.client.cookies.jar if "-sign-in-" in each.name]
            assert len(kept) <= MAX_BEGUN
        assert (await here.arrive(browser, await here.back(link))).status_code == 200, "the latest counts"
        statuses = [(await here.arrive(browser, {"state": "x", "code": f"{n}"})).status_code for n in range(90)]
        assert set(statuses) == {401, 429}


async def test_without_the_setting_there_is_no_such_page(issuer: AuthorizationServer, tmp_path: Path) -> None:
    async with office(issuer, tmp_path, sign_in=None) as here, here.browser() as browser:
        assert "Sign in with" not in (await browser.open(here.link)).text
        assert (await here.arrive(browser, {"state": "x"})).status_code in (401, 404)
        refused = await browser.client.post(here.link, data={"sign_in": "1", "key": ""})
        assert refused.status_code in (401, 403)
        assert re.search(r'name="sign_in"', refused.text) is None
        assert json.dumps(await here.states("alice"))
