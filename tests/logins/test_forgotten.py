"""An authorization server that does not know the gateway any more, or never did.

Who registered by itself registers anew, once; who was registered by hand is told which setting is wrong, and loses
nothing.
"""

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from gateway.config.models import AuthConfig
from gateway.errors import LoginNeeded, UpstreamUnavailable
from gateway.logins import kept_client
from gateway.logins.failures import Denied
from gateway.logins.flow import Begun, Flow
from gateway.logins.record import Login, LoginKey
from gateway.logins.timing import USUAL, LoginTiming
from gateway.logins.vault import FileVault
from tests.logins.authority import Authority, authority
from tests.logins.team import query_of
from tests.logins.test_person import desk

pytestmark = pytest.mark.anyio

BACK = "https://gateway.example.com/oauth/callback"
SOON = LoginTiming(registered_seconds=0.0)
"""A registration is tried each time."""


@pytest.fixture
def vault(tmp_path: Path) -> FileVault:
    return FileVault(tmp_path / "logins", ["k" * 32])


def key(server: Authority, who: str = "ann") -> LoginKey:
    return LoginKey(who, "up", server.url)


async def begin(
    vault: FileVault, server: Authority, who: str = "ann", timing: LoginTiming = USUAL, **auth: Any
) -> Begun:
    return await Flow(vault, None, timing).begin(key(server, who), who, AuthConfig(**auth), BACK)


async def complete(vault: FileVault, begun: Begun, query: dict[str, str], **auth: Any) -> Login:
    return await Flow(vault, None).complete(begun.pending, query, AuthConfig(**auth))


def client_of(begun: Begun) -> str:
    return query_of(begun.link)["client_id"]


async def test_a_registration_that_was_forgotten_is_renewed_before_anybody_is_sent_there(vault: FileVault) -> None:
    async with authority() as (server, _):
        assert [client_of(await begin(vault, server, timing=SOON)) for _ in range(2)] == ["client-1", "client-1"]
        server.forgotten.add("client-1")
        assert [client_of(await begin(vault, server, timing=SOON)) for _ in range(2)] == ["client-2", "client-2"]
        begun = await begin(vault, server, timing=SOON)
        await complete(vault, begun, server.approve(begun.link))
        assert len(server.registered) == 2


async def test_many_at_once_renew_it_once(vault: FileVault) -> None:
    async with authority() as (server, _):
        await begin(vault, server)
        server.forgotten.add("client-1")
        name = kept_client._name(server.origin, BACK)  # pyright: ignore[reportPrivateUsage]
        kept = await vault.client(name)
        assert kept is not None
        await vault.put_client(name, msgspec.structs.replace(kept, looked=0.0))
        clients: list[str] = []

        async def one(who: str) -> None:
            clients.append(client_of(await begin(vault, server, who)))

        async with anyio.create_task_group() as tg:
            for number in range(20):
                tg.start_soon(one, f"user {number}")
        assert clients == ["client-2"] * 20
        assert (len(server.registered), len(server.forms)) == (2, 1)


async def test_one_that_knows_nobody_makes_no_loop(vault: FileVault) -> None:
    async with authority() as (server, _):
        server.forgotten |= {f"client-{number}" for number in range(1, 20)}
        assert {client_of(await begin(vault, server)) for _ in range(10)} == {"client-1"}
        assert server.forms == [], "nor is one tried that was made a moment ago"


@pytest.mark.parametrize(
    "answer", [("503 Busy", {}), ("400 Bad Request", {"error": "invalid_request"}), ("200 OK", [])]
)
async def test_a_registration_is_not_given_up_for_anything_else(vault: FileVault, answer: Any) -> None:
    async with authority() as (server, _):
        await begin(vault, server, timing=SOON)
        server.on["/token"] = lambda got: answer
        assert client_of(await begin(vault, server, timing=SOON)) == "client-1"


async def test_one_that_is_forgotten_while_somebody_logs_in(vault: FileVault) -> None:
    async with authority() as (server, _):
        begun = await begin(vault, server)
        other = await begin(vault, server, "bob")
        server.forgotten.add("client-1")
        with pytest.raises(Denied, match=r"does not know the gateway any more.* log in again"):
            await complete(vault, begun, server.approve(begun.link))
        again = await begin(vault, server)
        assert client_of(again) == "client-2"
        with pytest.raises(Denied):
            await complete(vault, other, server.approve(other.link))
        assert client_of(await begin(vault, server)) == "client-2", "which nobody has refused"
        await complete(vault, again, server.approve(again.link))


async def test_what_a_browser_says_drops_no_registration(vault: FileVault) -> None:
    async with authority() as (server, _):
        begun = await begin(vault, server)
        with pytest.raises(Denied, match="unauthorized_client"):
            await complete(vault, begun, {"state": begun.pending.state, "error": "unauthorized_client"})
        assert client_of(await begin(vault, server)) == "client-1"


async def test_a_login_that_was_made_with_one_is_lost_once_and_made_anew(tmp_path: Path) -> None:
    async with authority() as (server, _), desk(tmp_path, server) as here:
        flow = Flow(here.vault, None)
        begun = await flow.begin(here.key, "somebody", AuthConfig(), BACK)
        await flow.complete(begun.pending, server.approve(begun.link), AuthConfig())
        await here.ready()
        server.forgotten.add("client-1")
        server.good.clear()
        for _ in range(3):
            with pytest.raises(LoginNeeded, match="registers anew"):
                await here.call()
        assert here.refreshes() == 1
        begun = await flow.begin(here.key, "somebody", AuthConfig(), BACK)
        assert client_of(begun) == "client-2"
        await flow.complete(begun.pending, server.approve(begun.link), AuthConfig())
        await here.ready()
        assert await here.call() == "a"


# --- By hand -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "fault"),
    [
        ({"client_id": "gw"}, "check `client_id` in the `auth` of 'up'.*, and whether"),
        (
            {"client_id": "gw", "client_secret": "canary-s"},
            "check `client_id` and `client_secret` in the `auth` of 'up'",
        ),
    ],
)
async def test_who_is_registered_by_hand_is_told_which_setting_is_wrong(
    vault: FileVault, auth: Any, fault: str
) -> None:
    async with authority() as (server, _):
        server.forgotten.add("gw")
        begun = await begin(vault, server, **auth)
        with pytest.raises(Denied, match=fault) as caught:
            await complete(vault, begun, server.approve(begun.link), **auth)
        assert "canary" not in str(caught.value)
        with pytest.raises(Denied, match=fault):
            await complete(vault, begun, {"state": begun.pending.state, "error": "unauthorized_client"}, **auth)
        assert server.registered == []


async def test_an_answer_that_says_no_with_200(vault: FileVault) -> None:
    """As GitHub does."""
    async with authority() as (server, _):
        begun = await begin(vault, server, client_id="gw", client_secret="wrong")
        server.on["/token"] = lambda got: ("200 OK", {"error": "incorrect_client_credentials"})
        with pytest.raises(Denied, match="check `client_id` and `client_secret`"):
            await complete(vault, begun, server.approve(begun.link), client_id="gw", client_secret="wrong")


async def test_a_login_outlives_a_client_that_is_wrong_for_a_while(tmp_path: Path) -> None:
    """Its secret is replaced at the authorization server first, and then in the file."""
    old, new = ({"login": "shared", "client_id": "gw", "client_secret": secret} for secret in ("old", "new"))
    async with authority() as (server, _):
        async with desk(tmp_path, server, old) as here:
            await here.log_in(client_id="gw", client_secret="old")
            await here.ready()
            server.forgotten.add("gw")
            server.good.clear()
            for _ in range(3):
                with pytest.raises(UpstreamUnavailable, match="check `client_id` and `client_secret`"):
                    await here.call()
            assert here.refreshes() == 1, "and nobody hammers"
        server.forgotten.clear()
        async with desk(tmp_path, server, new) as here:
            await here.ready()
            assert await here.call() == "a"
            assert server.forms[-1]["client"] == "gw:new"
