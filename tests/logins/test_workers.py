"""Workers that share a store of their own, which ends with them: logins stay where commands and the next start look."""

import json
from pathlib import Path

import httpx2
import pytest

from tests.interaction._gateway import config_file
from tests.interaction._http import fields
from tests.interaction._wire import request
from tests.logins.authority import authority
from tests.logins.team import team_of
from tests.logins.test_desk import Desk, automatic
from tests.servers.wire import encode
from tests.store.servers import STATE_KEYS
from tests.support import http_server, wait_until
from tests.workers.supervised import Supervised, supervised

KEYS = [{"id": name, "key": f"key-of-{name}", "owner": name} for name in ("ann", "bob")]


def test_workers_have_the_logins_that_commands_make(tmp_path: Path) -> None:
    with http_server("tests.servers.guarded") as url:
        servers, origin = {"notes": {"url": url}}, url.removesuffix("/mcp")
        config_file(tmp_path, servers)
        assert Desk(tmp_path, "", origin).log_in(automatic)[0] == 0
        with supervised(tmp_path, servers) as gateway:
            here = Desk(tmp_path, gateway.base, origin)
            assert here.verb("logout", "notes").returncode == 0
            here.until("login needed")
            assert here.log_in(automatic)[0] == 0
            here.until("ready")
        assert list((tmp_path / "state" / "logins").glob("*.login"))


async def worker_of(gateway: Supervised, client: httpx2.AsyncClient) -> int:
    """Which worker has a client's connection, as long as that is kept."""
    before, message = len(gateway.served("tools/list")), request("tools/list")
    headers = {**fields(message), "X-Api-Key": KEYS[0]["key"]}
    answer = await client.post(gateway.url, content=encode(message), headers=headers)
    assert answer.status_code == 200, answer.text
    await wait_until(lambda: len(gateway.served("tools/list")) > before, 30)
    return gateway.served("tools/list")[-1]


@pytest.mark.anyio
async def test_a_login_begins_at_one_worker_and_ends_at_another(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    auth = {"enabled": True, "api_keys_file": str(tmp_path / "keys.json")}
    async with authority() as (server, _):
        servers = {"up": {"url": server.url, "auth": "each"}}
        with supervised(tmp_path, servers, connected=0, auth=auth, state_keys=STATE_KEYS) as gateway:
            async with team_of(gateway.base, tmp_path, KEYS) as here:
                browser = await here.browser()
                await browser.open(here.link())
                await browser.post(here.link(), here.keys["ann"])
                first = await worker_of(gateway, browser.client)
                other = await here.browser()
                while await worker_of(gateway, other.client) == first:
                    other = await here.browser()
                other.client.cookies.update(browser.client.cookies)
                done = await other.come_back(server.approve(browser.onward()))
                assert (done.status_code, "You are logged in to up" in done.text) == (200, True)
                again = await browser.come_back(server.approve(browser.onward()))
                assert again.status_code == 400, "a state is good once, at whichever worker"
                for client in (browser.client, other.client):
                    for who, state in (("ann", "logged in"), ("bob", "none")):

                        async def is_known(
                            client: httpx2.AsyncClient = client, who: str = who, is_: str = state
                        ) -> bool:
                            answer = await client.get(f"{here.base}/connections", headers={"x-api-key": here.keys[who]})
                            return answer.json()["connections"][0]["state"] == is_

                        await wait_until(is_known, 20)
                assert len(server.registered) == 1
