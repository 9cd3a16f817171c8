"""Where logins are kept: the same in a folder and in a store; one at a time."""

from pathlib import Path

import anyio
import pytest

from gateway.logins.record import SHARED, Login, LoginKey, RegisteredClient
from gateway.logins.vault import FileVault, Vault
from gateway.logins.vault_store import StoreVault
from gateway.store.memory import Memory, MemoryStore
from tests.logins.refresher import KEYS

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
