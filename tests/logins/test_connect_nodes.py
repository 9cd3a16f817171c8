"""Two nodes of one gateway, and a server that everybody logs in to for themselves."""

import json
import re
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from valkey import Valkey

from tests.interaction._http import messages, post, posted
from tests.interaction._wire import request
from tests.logins.authority import authority
from tests.logins.team import Team, team_of
from tests.logins.test_subscribed import UPDATED, URI, Rooms
from tests.servers.wire import encode
from tests.store.nodes import gateways
from tests.store.servers import ValkeyServer, valkey
from tests.support import wait_until
from tests.upstream.ends import Got, reply_to, response

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


async def test_two_people_at_two_nodes_have_nothing_of_each_others(store: ValkeyServer, tmp_path: Path) -> None:
    async with authority() as (server, wire):
        tokens: dict[str, str] = {}
        """Whose each access token is."""

        def whose(got: Got) -> str:
            return tokens.get(got.headers.get("authorization", "").removeprefix("Bearer "), "nobody")

        async def listed(got: Got) -> None:
            tools = [{"name": each, "inputSchema": {"type": "object"}} for each in ("a", f"secret-of-{whose(got)}")]
            result = {"tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
            await got.send(response(encode({"jsonrpc": "2.0", "id": got.json()["id"], "result": result})))

        async def called(got: Got) -> None:
            await got.send(response(encode(reply_to(got, f"secret-of-{whose(got)}"))))

        server.mcp.on |= {"tools/list": listed, "a": called}
        servers = {"up": {"url": server.url, "auth": "each"}}
        settings: dict[str, Any] = {"public_url": PUBLIC, "log_level": "debug", "log_file": str(tmp_path / "log")}
        with gateways(tmp_path, servers, store.url, KEYS, **settings) as doors:
            nodes = [team_of(door.base, tmp_path, KEYS) for door in doors]
            said: list[tuple[str, str]] = []

            async def ask(who: str, node: Team, method: str, **params: Any) -> str:
                headers = {"X-Api-Key": node.keys[who]}
                body = request(method, params)
                status, answer = await anyio.to_thread.run_sync(post, f"{node.base}/mcp", body, headers)
                text = json.dumps([status, answer])
                said.append((who, text))
                return text

            for who, node in zip(("ann", "bob"), nodes, strict=True):
                first = await ask(who, nodes[0], "tools/call", name="up__login", arguments={})
                link = re.search(rf"{PUBLIC}/connect/up\?for=\w+", first)
                assert link, first
                before = set(server.good)
                async with node:
                    browser = await node.browser()
                    done = await browser.log_in(server, link[0].replace(PUBLIC, node.base), node.keys[who])
                    assert done.status_code == 200, done.text
                    said.append((who, done.text))
                tokens |= dict.fromkeys(server.good - before, who)

            async def call(who: str, node: Team) -> None:
                assert f'"secret-of-{who}"' in await ask(who, node, "tools/call", name="up__a", arguments={})
                assert f'"up__secret-of-{who}"' in await ask(who, node, "tools/list")

            async with anyio.create_task_group() as tg:
                for _ in range(6):
                    for node in nodes:
                        for who in ("ann", "bob"):
                            tg.start_soon(call, who, node)
            for who, text in said:
                assert f"secret-of-{'bob' if who == 'ann' else 'ann'}" not in text
                assert "secret-of-nobody" not in text
            assert len(server.registered) == 1
            for who, node in zip(("ann", "bob"), nodes, strict=True):
                said.append((who, (await node.rest(who, "GET", "/connections")).text))
                said.append((who, (await node.rest(who, "GET", "/upstreams")).text))
            with Valkey(port=store.port) as client:
                library: Any = client  # whose types are partly unknown
                kept = [library.dump(key) or b"" for key in library.keys("*")]
            everything = json.dumps(said).encode() + b"".join(kept) + nodes[0].files()
            for secret in (b"canary-", b"secret-of-nobody"):
                assert secret not in everything
            sent = {got.target.partition("?")[0] for got in wire.got if "canary-" in f"{got.headers}"}
            assert sent == {"/mcp"}


async def test_each_hears_of_their_own_at_whichever_node(store: ValkeyServer, tmp_path: Path) -> None:
    """What each listens to at a node is asked for by that node, with their login."""
    rooms = Rooms("modern")
    async with authority(mcp=rooms) as (server, _):
        tokens: dict[str, str] = {}

        def whose(token: str) -> str:
            return tokens.get(token, "nobody")

        rooms.whose = whose
        servers = {"up": {"url": server.url, "auth": "each"}}
        with gateways(tmp_path, servers, store.url, KEYS, public_url=PUBLIC) as doors, ExitStack() as open_streams:
            one, two = (team_of(door.base, tmp_path, KEYS) for door in doors)
            heard: dict[str, Any] = {}
            for who, node in (("ann", one), ("bob", two)):
                before = set(server.good)
                async with node:
                    assert (await (await node.browser()).log_in(server, node.link(), node.keys[who])).status_code == 200
                tokens |= dict.fromkeys(server.good - before, who)
            for who in ("ann", "bob"):

                async def is_there(who: str = who) -> bool:
                    headers = {"X-Api-Key": two.keys[who]}
                    _, answer = await anyio.to_thread.run_sync(
                        post, f"{two.base}/mcp", request("resources/list"), headers
                    )
                    return URI in json.dumps(answer)

                await wait_until(is_there, 30)
                asked = request(
                    "subscriptions/listen", {"notifications": {"resourceSubscriptions": [URI]}}, modern=True
                )
                headers = {"X-Api-Key": two.keys[who]}
                stream = posted(f"{two.base}/mcp", asked, headers)
                heard[who] = messages(await anyio.to_thread.run_sync(open_streams.enter_context, stream))
                first = await anyio.to_thread.run_sync(next, heard[who])
                assert first["params"]["notifications"] == {"resourceSubscriptions": [URI]}
            for who in ("bob", "ann"):  # had either heard of the other's, it would be told twice
                for number in range(2):
                    await rooms.update(who, f"{URI}/{who}/{number}")
                    said = await anyio.to_thread.run_sync(next, heard[who])
                    assert (said["method"], said["params"]["uri"]) == (UPDATED, f"{URI}/{who}/{number}")
            assert "nobody" not in rooms.of or rooms.asked("nobody") == []
