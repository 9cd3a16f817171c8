"""Where logins are kept: the same in a folder and in a store; one at a time; and what a killed process leaves."""

import sys
from pathlib import Path
from signal import SIGKILL

import anyio
import pytest

from gateway.config.models import AuthConfig
from gateway.logins.flow import Flow
from gateway.logins.record import SHARED, Login, LoginKey, RegisteredClient
from gateway.logins.vault import FileVault, Vault
from gateway.logins.vault_store import StoreVault
from gateway.store.memory import Memory, MemoryStore
from tests.logins.authority import authority
from tests.logins.refresher import KEYS
from tests.support import ROOT
from tests.upstream.ends import Got

pytestmark = pytest.mark.anyio

Two = tuple[Vault, Vault]


@pytest.fixture(params=["folder", "store"])
def vaults(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: object) -> Two:
    """Those of two nodes."""
    if request.param == "folder":
        return FileVault(tmp_path / "logins", KEYS), FileVault(tmp_path / "logins", KEYS)
    memory = Memory()
    return StoreVault(MemoryStore(memory)), StoreVault(MemoryStore(memory))


def login(principal: str = SHARED, server: str = "up", url: str = "https://a.example/mcp") -> Login:
    return Login(
        principal=principal,
        owner="somebody",
        server=server,
        url=url,
        issuer="https://idp.example",
        resource=url,
        token_endpoint="https://idp.example/token",
        registered=RegisteredClient("client", "secret", "client_secret_post"),
        access="access",
        scopes=["a"],
    )


async def test_what_one_keeps_the_other_finds(vaults: Two) -> None:
    one, other = vaults
    seen = await other.signature()
    assert await other.get(login().key) is None
    await one.put(login())
    assert await other.get(login().key) == login()
    assert await other.signature() != seen
    await one.put_client("name", RegisteredClient("client", "secret"))
    assert await other.client("name") == RegisteredClient("client", "secret")
    assert await other.client("another") is None
    assert await other.all() == [login()]
    await other.drop(login().key)
    await other.drop(login().key)
    assert await one.get(login().key) is None
    assert await one.all() == []


@pytest.mark.parametrize(
    "key",
    [
        LoginKey("key:other", "up", "https://a.example/mcp"),
        LoginKey(SHARED, "other", "https://a.example/mcp"),
        LoginKey(SHARED, "up", "https://b.example/mcp"),
    ],
)
async def test_a_login_is_one_principals_at_one_server(vaults: Two, key: LoginKey) -> None:
    await vaults[0].put(login())
    assert await vaults[0].get(key) is None


async def test_one_has_the_turn(vaults: Two) -> None:
    order: list[str] = []
    first = anyio.Event()

    async def late() -> None:
        await first.wait()
        async with vaults[1].turn("x"):
            order.append("late")

    async with anyio.create_task_group() as tg:
        tg.start_soon(late)
        async with vaults[0].turn("x"), vaults[0].turn("y"):
            first.set()
            await anyio.sleep(0.2)  # which is no proof, but a chance to be early
            order.append("first")
    assert order == ["first", "late"]


async def test_a_process_killed_in_the_middle_of_a_refresh_loses_no_login(tmp_path: Path) -> None:
    asked, dead = anyio.Event(), anyio.Event()
    async with authority() as (server, _):
        vault = FileVault(tmp_path, KEYS)
        flow, key = Flow(vault, None), LoginKey(SHARED, "up", server.url)
        begun = await flow.begin(key, "somebody", AuthConfig(), "http://127.0.0.1:1/callback")
        await flow.complete(begun.pending, server.approve(begun.link), AuthConfig())
        server.good.clear()

        async def slow(got: Got) -> None:
            asked.set()
            await dead.wait()
            del server.before["/token"]
            await got.drop()
            raise anyio.BrokenResourceError  # and has not looked at the request

        server.before["/token"] = slow
        args = [sys.executable, "-m", "tests.logins.refresher", str(tmp_path), server.url]
        with anyio.fail_after(60):
            async with await anyio.open_process(args, cwd=ROOT) as process:
                await asked.wait()
                process.send_signal(SIGKILL)
                await process.wait()
            dead.set()
            done = await anyio.run_process(args, cwd=ROOT)
        assert done.stdout == b"renewed\n"
        kept = await vault.get(key)
        assert kept is not None
        assert kept.access in server.good
