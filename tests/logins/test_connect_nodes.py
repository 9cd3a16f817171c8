"""Two nodes of one gateway, and a server that everybody logs in to for themselves."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.logins.authority import authority
from tests.logins.team import Team, team_of
from tests.store.nodes import gateways
from tests.store.servers import ValkeyServer, valkey
from tests.support import wait_until

pytestmark = pytest.mark.anyio

KEYS: list[dict[str, Any]] = [{"id": name, "key": f"key-of-{name}", "owner": name} for name in ("ann", "bob")]
PUBLIC = "http://gateway.localhost"


@pytest.fixture(scope="module")
def store() -> Generator[ValkeyServer]:
    with valkey() as running:
        yield running


async def test_a_login_begins_at_one_node_and_ends_at_the_other(store: ValkeyServer, tmp_path: Path) -> None:
    async with authority() as (server, _):
        servers = {"up": {"url": server.url, "auth": "each"}}
        with gateways(tmp_path, servers, store.url, KEYS, public_url=PUBLIC) as doors:
            one, two = (team_of(door.base, tmp_path, KEYS) for door in doors)
            async with one, two:
                browser = await one.browser()
                await browser.open(one.link())
                await browser.post(one.link(), one.keys["ann"])
                answer = server.approve(browser.onward())
                browser.base = two.base
                assert (await browser.come_back(answer)).status_code == 200
                browser.base = one.base
                assert (await browser.come_back(answer)).status_code == 400, "a state is good once, wherever"
                for node in (one, two):

                    async def is_known(node: Team = node) -> bool:
                        (found,) = (await node.rest("ann", "GET", "/connections")).json()["connections"]
                        return found["state"] == "logged in" and found["connect"].startswith(f"{PUBLIC}/connect/up?")

                    await wait_until(is_known, 10)
                assert (await two.rest("bob", "GET", "/connections")).json()["connections"][0]["state"] == "none"
