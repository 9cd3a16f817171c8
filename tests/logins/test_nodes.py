"""Two gateways on a real store: a login is of all nodes and of the commands, and outlives the node that renews it."""

import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client
from valkey import Valkey

from gateway.config.models import AuthConfig
from gateway.logins.flow import Flow
from gateway.logins.record import SHARED, Login, LoginKey
from gateway.logins.vault_store import StoreVault
from gateway.store.valkey_store import ValkeyStore
from tests.interaction._gateway import config_file
from tests.logins.rotating import Rotating
from tests.nodes import STATE_KEYS, RunningNode, nodes
from tests.store.servers import ValkeyServer, valkey
from tests.support import command, run_program, wait_until
from tests.upstream.ends import Got, byte_server

pytestmark = pytest.mark.anyio

CANARY: Final = re.compile(rb"canary-[a-z0-9-]+")


@pytest.fixture(scope="module")
def store() -> Generator[ValkeyServer]:
    with valkey() as running:
        yield running


def kept_in_folders(folder: Path) -> list[Path]:
    return list(folder.rglob("*.login"))


def kept_in_store(store: ValkeyServer) -> list[bytes]:
    """All that the tables of logins have."""
    with Valkey(port=store.port) as client:
        library: Any = client  # whose types are partly unknown
        return [repr(library.hgetall(key)).encode() for key in library.keys("*:logins")]


@dataclass
class Team:
    """Two nodes before a server that wants a login."""

    server: Rotating
    vault: StoreVault
    nodes: list[RunningNode]
    folder: Path
    store: ValkeyServer

    async def log_in(self) -> Login:
        key = LoginKey(SHARED, "up", self.server.url)
        flow = Flow(self.vault, None)
        begun = await flow.begin(key, "somebody", AuthConfig(), "http://127.0.0.1:1/callback")
        return await flow.complete(begun.pending, self.server.approve(begun.link), AuthConfig())

    async def reach(self, state: str) -> None:
        """Wait until all nodes that run say so."""
        async with httpx2.AsyncClient(timeout=30) as http:

            async def is_said() -> bool:
                said = [(await http.get(f"{node.base}/upstreams")).json()["upstreams"] for node in self.nodes]
                return all(found[0]["state"] == state for found in said)

            await wait_until(is_said, 60)

    async def verb(self, *arguments: str) -> Any:
        """A command on a machine that has never seen a login."""
        (place := self.folder / "elsewhere").mkdir(exist_ok=True)
        settings = {"store": self.store.url, "state_keys": STATE_KEYS}
        path = config_file(place, {"up": {"url": self.server.url}}, **settings)
        args = command("gateway", *arguments, "-c", str(path))
        return await anyio.to_thread.run_sync(lambda: run_program(args))

    def refreshes(self) -> int:
        return sum(form["grant_type"] == "refresh_token" for form in self.server.forms)


@asynccontextmanager
async def team(folder: Path, store: ValkeyServer, **settings: Any) -> AsyncGenerator[Team]:
    server = Rotating(**settings)
    async with byte_server(server) as wire, anyio.create_task_group() as tg:
        server.url, server.origin = wire.url, wire.url.removesuffix("/mcp")
        own = ValkeyStore(store.url, STATE_KEYS)
        await tg.start(own.run)
        with nodes(folder, {"up": {"url": server.url}}, store=store.url) as pair:
            here = Team(server, StoreVault(own), pair, folder, store)
            await here.reach("login needed")
            yield here
        await here.vault.drop(LoginKey(SHARED, "up", server.url))
        tg.cancel_scope.cancel()


async def call(node: RunningNode) -> str:
    async with Client(node.url, mode="auto") as client:
        answer = await client.call_tool("up__a", {})
    return str(getattr(answer.content[0], "text", ""))


async def test_a_login_is_of_all_nodes_and_of_the_commands(tmp_path: Path, store: ValkeyServer) -> None:
    async with team(tmp_path, store) as here:
        assert "needs a login" in (await here.verb("doctor")).stdout
        assert "needs a login" not in (await here.verb("tools")).stdout
        await here.log_in()
        await here.reach("ready")
        assert [await call(node) for node in here.nodes] == ["a", "a"]
        assert "up__a" in (await here.verb("tools")).stdout
        assert (await here.verb("call", "up__a")).stdout == "a\n"
        found = await here.verb("doctor")
        assert "problem" not in found.stdout, found.stdout
        assert "somebody" in (await here.verb("logins")).stdout
        assert kept_in_folders(tmp_path) == []
        assert kept_in_store(store)
        assert not any(CANARY.search(each) for each in kept_in_store(store))
        assert (await here.verb("logout", "up")).returncode == 0
        await here.reach("login needed")
        assert "needs a login" in (await here.verb("doctor")).stdout


async def test_an_old_token_is_renewed_once_for_all_nodes(tmp_path: Path, store: ValkeyServer) -> None:
    async with team(tmp_path, store) as here:
        await here.log_in()
        await here.reach("ready")
        here.server.good.clear()
        answers: list[str] = []

        async def one(node: RunningNode) -> None:
            answers.append(await call(node))

        async with anyio.create_task_group() as tg:
            for node in here.nodes * 10:
                tg.start_soon(one, node)
        assert answers == ["a"] * 20
        assert here.refreshes() == 1


async def test_a_node_killed_while_it_renews_loses_no_login(tmp_path: Path, store: ValkeyServer) -> None:
    async with team(tmp_path, store, reuse_interval=600) as here:
        await here.log_in()
        await here.reach("ready")
        rotated, go = anyio.Event(), anyio.Event()

        async def stop(got: Got) -> None:
            rotated.set()
            await go.wait()
            here.server.after = None

        here.server.after = stop
        here.server.good.clear()
        dying, other = here.nodes

        async def call_in_vain() -> None:
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever a client says of a node that is gone
                await call(dying)

        async with anyio.create_task_group() as tg:
            tg.start_soon(call_in_vain)
            with anyio.fail_after(60):
                await rotated.wait()
            dying.kill()
        here.server.after = None
        with anyio.fail_after(60):
            assert await call(other) == "a"
        go.set()
        assert here.refreshes() == 2
        (login,) = await here.vault.all()
        assert login.access in here.server.good
        assert login.refresh in here.server.refresh


async def test_a_store_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    with valkey() as away:
        pass
    path = config_file(tmp_path, {"up": {"url": "https://x.example/mcp"}}, store=away.url, state_keys=STATE_KEYS)
    for verb in ("logins", "logout up"):
        args = command("gateway", *verb.split(), "-c", str(path))
        done = await anyio.to_thread.run_sync(lambda args=args: run_program(args))
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "store" in done.stderr, done.stderr
