"""Logging in for oneself on the gateway's own pages, and all ways to make somebody do so for others."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.rest.connect import MAX_BEGUN
from tests.logins.authority import Authority, authority
from tests.logins.team import Team, query_of, team

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def place(
    folder: Path, says: dict[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[tuple[Team, Authority, Any]]:
    async with authority(says=says or {}) as (server, wire):
        servers = {
            "up": {"url": server.url, "auth": {"login": "each"}},
            "ours": {"url": server.url, "auth": {"login": "shared"}},
        }
        async with team(folder, servers, **settings) as here:
            yield here, server, wire


async def states(here: Team, who: str) -> dict[str, Any]:
    found = (await here.rest(who, "GET", "/connections")).json()["connections"]
    return {each["server"]: each for each in found}


async def test_a_login_of_ones_own_from_its_link_to_its_end(tmp_path: Path) -> None:
    async with place(tmp_path) as (here, server, wire):
        browser = await here.browser()
        first = await browser.open(here.link())
        assert first.status_code == 200
        assert "script" not in first.text
        policy = first.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        assert first.headers["cache-control"] == "no-store"
        assert server.registered == [], "to open a link changes nothing"
        await browser.post(here.link(), here.keys["ann"])
        onward = browser.onward()
        assert onward.startswith(f"{server.origin}/authorization?")
        assert query_of(onward)["redirect_uri"] == f"{here.base}/oauth/callback"
        done = await browser.come_back(server.approve(onward))
        assert (done.status_code, "You are logged in to up" in done.text) == (200, True)
        mine = (await states(here, "ann"))["up"]
        assert (mine["state"], mine["owner"], mine["issuer"]) == ("logged in", "ann", server.origin)
        assert (mine["scopes"], mine["renews"]) == (["read"], True)
        assert (await states(here, "bob"))["up"]["state"] == "none"
        assert "ours" not in await states(here, "ann")

        assert (await here.rest("bob", "DELETE", "/connections/up")).status_code == 404
        assert (await states(here, "ann"))["up"]["state"] == "logged in"
        ended = await here.rest("ann", "DELETE", "/connections/up")
        assert ended.json() == {"server": "up", "revoked": True}
        assert len(server.revoked) == 1
        assert (await states(here, "ann"))["up"]["state"] == "none"
        assert (await here.rest("ann", "DELETE", "/connections/up")).status_code == 404
        everything = here.files() + json.dumps([got.headers for got in wire.got if got.target == "/mcp"]).encode()
        for secret in ("canary", here.keys["ann"]):
            assert secret.encode() not in everything


async def test_one_registration_for_all(tmp_path: Path) -> None:
    async with place(tmp_path) as (here, server, _):
        for who in ("ann", "bob"):
            await (await here.browser()).log_in(server, here.link(), here.keys[who])
        assert len(server.registered) == 1
        assert {(await states(here, who))["up"]["state"] for who in ("ann", "bob")} == {"logged in"}


# --- Who may not ---------------------------------------------------------------------------------------------------


async def test_who_has_no_key_gets_no_further_and_learns_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as (here, server, _):
        browser = await here.browser()
        there, not_there = [(await browser.open(here.link(name))).text for name in ("ours", "none")]
        assert there.replace("ours", "none") == not_there
        for key in ("", "wrong"):
            await browser.open(here.link())
            refused = await browser.post(here.link(), key)
            assert (refused.status_code, "Nobody" in refused.text) == (401, False)
            assert 'type="password"' in refused.text
        assert server.registered == []


async def test_a_server_that_is_not_there_or_not_for_oneself(tmp_path: Path) -> None:
    async with place(tmp_path) as (here, server, _):
        browser = await here.browser()
        for name, status, word in (("no", 404, "no server"), ("ours", 403, "scope `admin`")):
            await browser.open(here.link(name))
            refused = await browser.post(here.link(name), here.keys["ann"])
            assert (refused.status_code, word in refused.text) == (status, True)
        assert server.registered == []


async def test_another_page_cannot_post(tmp_path: Path) -> None:
    """CSRF: another origin, another browser's token, none, or no cookie."""
    async with place(tmp_path) as (here, server, _):
        browser, other = await here.browser(), await here.browser()
        await browser.open(here.link())
        key = here.keys["ann"]
        foreign = await browser.client.post(here.link(), data={"key": key}, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403
        crossed = await browser.client.post(here.link(), data={"key": key}, headers={"sec-fetch-site": "cross-site"})
        assert crossed.status_code == 403
        assert (await browser.client.post(here.link(), data={"key": key})).status_code == 403
        await other.open(here.link())
        assert (await browser.post(here.link(), key, token="0" * 64)).status_code == 403
        browser.shown = other.shown
        assert (await browser.post(here.link(), key)).status_code == 403
        other.client.cookies.clear()
        assert (await other.post(here.link(), key)).status_code == 403
        assert server.registered == []


async def test_a_link_for_one_is_of_no_use_to_another(tmp_path: Path) -> None:
    """Phishing: whoever opens somebody else's link logs in neither for them nor for themselves."""
    async with place(tmp_path) as (here, server, _):
        for_ann = (await states(here, "ann"))["up"]["connect"]
        assert here.keys["ann"] not in for_ann
        bob = await here.browser()
        await bob.open(for_ann)
        refused = await bob.post(for_ann, here.keys["bob"])
        assert (refused.status_code, "made for somebody else" in refused.text) == (403, True)
        more = f"{for_ann}&scope=everything"
        await bob.open(more)
        assert (await bob.post(more, here.keys["ann"])).status_code == 403, "nobody adds to what it asks for"
        assert server.registered == []
        unmarked = f"{here.link()}?scope=everything&next=https://evil.example&url=https://evil.example"
        await bob.open(unmarked)
        await bob.post(unmarked, here.keys["bob"])
        onward = bob.onward()
        assert onward.startswith(f"{server.origin}/authorization?"), "and nobody says where it goes on"
        assert "scope" not in query_of(onward)
        done = await (await here.browser()).log_in(server, for_ann, here.keys["ann"])
        assert done.status_code == 200


async def test_a_login_ends_only_in_the_browser_that_began_it(tmp_path: Path) -> None:
    """A link to the authorization server that was begun for one and is followed by another, and state that is fixed."""
    async with place(tmp_path) as (here, server, _):
        ann, bob = await here.browser(), await here.browser()
        await ann.open(here.link())
        await ann.post(here.link(), here.keys["ann"])
        answer = server.approve(ann.onward())
        refused = await bob.come_back(answer)
        assert (refused.status_code, "another browser" in refused.text) == (403, True)
        await bob.open(here.link())
        await bob.post(here.link(), here.keys["bob"])
        assert (await bob.come_back(answer)).status_code == 403
        assert server.forms == []
        assert (await states(here, "ann"))["up"]["state"] == "none"
        assert (await ann.come_back(answer)).status_code == 200


async def test_a_state_is_good_once(tmp_path: Path) -> None:
    async with place(tmp_path) as (here, server, _):
        browser = await here.browser()
        await browser.open(here.link())
        await browser.post(here.link(), here.keys["ann"])
        answer = server.approve(browser.onward())
        kept = dict(browser.client.cookies)
        assert (await browser.come_back(answer)).status_code == 200
        browser.client.cookies.update(kept)
        again = await browser.come_back(answer)
        assert (again.status_code, "used already" in again.text) == (400, True)
        assert (await browser.come_back({"state": "made up", "code": "x"})).status_code == 400
        assert len(server.forms) == 1


async def test_an_answer_of_another_issuer_or_with_another_code(tmp_path: Path) -> None:
    """Mix-up, and code injection."""
    async with place(tmp_path) as (here, server, _):
        browser, other = await here.browser(), await here.browser()
        await browser.open(here.link())
        await browser.post(here.link(), here.keys["ann"])
        answer = server.approve(browser.onward())
        mixed = await browser.come_back({**answer, "iss": "https://evil.example"})
        assert (mixed.status_code, "evil.example" in mixed.text) == (502, True)
        assert server.forms == []
        assert (await browser.come_back(answer)).status_code == 400, "that login is over"
        await other.open(here.link())
        await other.post(here.link(), here.keys["bob"])
        await browser.open(here.link())
        await browser.post(here.link(), here.keys["ann"])
        injected = server.approve(browser.onward()) | {"code": server.approve(other.onward())["code"]}
        assert "invalid_grant" in (await browser.come_back(injected)).text
        assert (await states(here, "ann"))["up"]["state"] == "none"


async def test_who_begins_again_and_again_is_held_to_their_limit_and_goes_on_with_the_latest(tmp_path: Path) -> None:
    async with place(tmp_path, rate_limit={"default_rpm": 12, "burst_allowance": 0}) as (here, server, _):
        browser = await here.browser()
        statuses, onward = list[int](), ""
        while 429 not in statuses:
            await browser.open(here.link())
            statuses.append((await browser.post(here.link(), here.keys["ann"])).status_code)
            if statuses[-1] == 200:
                onward = browser.onward()
            assert sum("-login-" in each.name for each in browser.client.cookies.jar) <= MAX_BEGUN
            assert len(statuses) < 60
        assert statuses.count(200) >= MAX_BEGUN
        assert len(server.registered) == 1
        assert (await browser.come_back(server.approve(onward))).status_code == 200


async def test_to_look_at_a_link_beforehand_changes_nothing(tmp_path: Path) -> None:
    """What mail programs, chat programs and browsers do with links before anybody clicks."""
    async with place(tmp_path) as (here, server, _):
        browser = await here.browser()
        for method in ("GET", "HEAD"):
            for header in ({"sec-purpose": "prefetch"}, {"user-agent": "link checker"}):
                assert (await browser.client.request(method, here.link(), headers=header)).status_code == 200
        await browser.open(here.link())
        await browser.post(here.link(), here.keys["ann"])
        answer = server.approve(browser.onward())
        back = f"{here.base}/oauth/callback?{urlencode(answer)}"
        assert (await browser.client.head(back)).status_code == 405
        stranger = await here.browser()
        assert (await stranger.client.get(back)).status_code == 403, "without the cookie it ends nothing"
        assert server.forms == []
        assert (await browser.come_back(answer)).status_code == 200


async def test_what_the_authorization_server_says_is_shown_as_text(tmp_path: Path) -> None:
    async with place(tmp_path) as (here, server, _):
        browser = await here.browser()
        await browser.open(here.link())
        await browser.post(here.link(), here.keys["ann"])
        state = server.approve(browser.onward())["state"]
        no = await browser.come_back({"state": state, "error": "no", "error_description": "<b>go away</b>"})
        assert (no.status_code, "&lt;b&gt;go away" in no.text) == (400, True)


async def test_an_https_address_makes_cookies_that_only_it_can_set(tmp_path: Path) -> None:
    async with place(tmp_path, public_url="https://gateway.example.com") as (here, _, _):
        browser = await here.browser()
        shown = await browser.open(here.link())
        cookie = shown.headers["set-cookie"]
        assert cookie.startswith("__Host-mcp-gateway-form=")
        assert all(f"; {each}" in cookie for each in ("Path=/", "HttpOnly", "SameSite=Lax", "Secure"))
        assert (await browser.client.get(f"{here.base}/client-metadata-web.json")).json()["redirect_uris"] == [
            "https://gateway.example.com/oauth/callback"
        ]
        link = (await states(here, "ann"))["up"]["connect"]
        assert link.startswith("https://gateway.example.com/connect/up?for=")
