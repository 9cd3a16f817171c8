"""A gateway is killed while it renews a login, at each point of that, and what becomes of the login then.

The authorization server gives a new refresh token with each answer. One that has been used is taken again for as long
as the server's reuse interval lasts, as many have one (Okta's grace period, Auth0's rotation overlap, Supabase's reuse
interval); after that it refuses, and the whole login with it.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

import anyio
import anyio.to_thread
import pytest

from gateway.config.models import AuthConfig
from gateway.errors import StoreUnavailable
from gateway.logins.failures import NoLogin
from gateway.logins.flow import Flow
from gateway.logins.person import PersonGrant
from gateway.logins.record import SHARED, Login, LoginKey
from gateway.logins.vault import FileVault
from tests.interaction._gateway import http_gateway
from tests.logins.refresher import KEYS
from tests.logins.rotating import Rotating
from tests.support import command, run_process, run_program, wait_until
from tests.upstream.ends import Got, byte_server

pytestmark = pytest.mark.anyio

LONG = 600.0


@dataclass
class Desk:
    server: Rotating
    vault: FileVault
    folder: Path

    @property
    def key(self) -> LoginKey:
        return LoginKey(SHARED, "up", self.server.url)

    @property
    def grant(self) -> PersonGrant:
        return PersonGrant(self.vault, self.key, AuthConfig(), is_wanted=True)

    async def log_in(self, **fields: Any) -> Login:
        flow = Flow(self.vault, None)
        begun = await flow.begin(self.key, "somebody", AuthConfig(), "http://127.0.0.1:1/callback")
        await flow.complete(begun.pending, self.server.approve(begun.link), AuthConfig())
        return await self.kept()

    async def kept(self) -> Login:
        login = await self.vault.get(self.key)
        assert login is not None
        return login

    async def renew(self) -> str:
        """In a process of its own; what it says."""
        args = command("tests.logins.refresher", str(self.folder), self.server.url)
        return (await anyio.to_thread.run_sync(lambda: run_program(args))).stdout.rstrip()

    async def is_killed(self, point: str) -> None:
        """A process that renews is killed there."""
        reached = anyio.Event()

        async def stop(got: Got) -> None:
            reached.set()
            await anyio.sleep_forever()

        if point == "asked":
            self.server.before["/token"] = stop
        elif point == "rotated":
            self.server.after = stop
        args = command("tests.logins.refresher", str(self.folder), self.server.url, *point.split())
        with run_process(args if " " in point else args[:-1], piped=True) as process:
            if " " in point:
                assert process.stdout is not None
                assert await anyio.to_thread.run_sync(process.stdout.readline) == b"here\n"
            else:
                with anyio.fail_after(60):
                    await reached.wait()
            process.send_signal(SIGKILL)
            assert await anyio.to_thread.run_sync(process.wait) == -SIGKILL
        self.server.before.clear()
        self.server.after = None


@asynccontextmanager
async def desk(folder: Path, **settings: Any) -> AsyncGenerator[Desk]:
    server = Rotating(**settings)
    async with byte_server(server) as wire:
        server.url, server.origin = wire.url, wire.url.removesuffix("/mcp")
        yield Desk(server, FileVault(folder, KEYS), folder)


NOT_ROTATED = ("before 1", "after 1", "asked")
"""Before it is noted that the token is about to be used; after that; the request has arrived, and was not read."""
ROTATED = ("rotated", "before 2")
"""The server has a new token, and has not answered; it has answered, and that is not written."""
WRITTEN = ("after 2",)
"""It is, and nobody has used it."""


@pytest.mark.parametrize("point", [*NOT_ROTATED, *ROTATED, *WRITTEN])
async def test_a_process_killed_while_it_renews_loses_no_login_where_a_used_token_is_taken_again(
    tmp_path: Path, point: str
) -> None:
    async with desk(tmp_path, reuse_interval=LONG) as here:
        await here.log_in()
        here.server.good.clear()
        await here.is_killed(point)
        assert await here.renew() == "renewed"
        login = await here.kept()
        assert login.access in here.server.good
        assert login.refresh in here.server.refresh
        assert (login.renewing, login.ending, login.lost) == (0.0, "", "")


@pytest.mark.parametrize("point", [*NOT_ROTATED, *WRITTEN])
async def test_nor_where_it_is_not_and_nobody_had_used_it(tmp_path: Path, point: str) -> None:
    async with desk(tmp_path) as here:
        await here.log_in()
        await here.is_killed(point)
        assert await here.renew() == "renewed"


@pytest.mark.parametrize("point", ROTATED)
async def test_where_it_is_not_the_login_ends_and_says_why(tmp_path: Path, point: str) -> None:
    async with desk(tmp_path, revokes_access=True) as here:
        await here.log_in()
        await here.is_killed(point)
        said = await here.renew()
        assert "refused (invalid_grant" in said
        assert "an earlier renewal was cut off before its answer was kept" in said
        assert (await here.kept()).lost == said


async def test_a_renewal_that_was_cut_off_is_finished_by_the_next_start_unasked(tmp_path: Path) -> None:
    """Of a server that nobody calls meanwhile: a reuse interval is short."""
    async with desk(tmp_path / "state" / "logins", reuse_interval=LONG) as here:
        before = await here.log_in()
        await here.is_killed("rotated")
        with http_gateway(tmp_path, {"up": {"url": here.server.url, "lazy": True}}, state_keys=KEYS):

            async def is_renewed() -> bool:
                login = await here.kept()
                return not login.renewing and login.access != before.access

            await wait_until(is_renewed, 30)
        login = await here.kept()
        assert login.access in here.server.good - {before.access}
        assert login.refresh in here.server.refresh


async def test_an_access_token_that_nobody_refuses_is_used_until_its_end(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        login = await here.log_in()
        await here.is_killed("rotated")
        with pytest.raises(NoLogin, match="the login has ended") as ended:
            await here.grant.finish()
        assert ended.value.is_usable
        kept = await here.kept()
        assert (kept.access, kept.refresh, kept.lost) == (login.access, None, "")
        assert kept.ending == str(ended.value)
        tokens = kept.tokens
        assert tokens is not None
        assert tokens.renew_at == float("inf")
        with pytest.raises(NoLogin, match="was cut off") as lost:
            await here.grant.obtain(tokens, (), "")
        assert not lost.value.is_usable
        assert (await here.kept()).lost == kept.ending


class FailingVault(FileVault):
    """One that fails to write."""

    fails_after: float = float("inf")
    """Writes."""

    async def put(self, login: Login) -> None:
        self.fails_after -= 1
        if self.fails_after < 0:
            raise StoreUnavailable("the store is away")
        await super().put(login)


async def test_what_cannot_be_kept_is_not_asked_for(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.log_in()
        vault = FailingVault(tmp_path, KEYS)
        vault.fails_after = 0
        with pytest.raises(Exception, match="cannot be kept"):
            await PersonGrant(vault, here.key, AuthConfig(), is_wanted=True).obtain(None, (), "")
        assert here.server.used.keys() <= {""}


async def test_what_came_back_while_nothing_could_be_written_is_written_later(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.log_in()
        vault = FailingVault(tmp_path, KEYS)
        vault.fails_after = 1
        grant = PersonGrant(vault, here.key, AuthConfig(), is_wanted=True)
        tokens = await grant.obtain(None, (), "")
        assert tokens is not None
        assert tokens.access in here.server.good
        assert tokens.renew_at <= time.time()
        assert (await here.kept()).access != tokens.access
        vault.fails_after = LONG
        known = await grant.known()
        assert known is not None
        assert known.access == (await here.kept()).access == tokens.access


async def test_what_came_back_is_not_written_over_another_login(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.log_in()
        vault = FailingVault(tmp_path, KEYS)
        vault.fails_after = 1
        grant = PersonGrant(vault, here.key, AuthConfig(), is_wanted=True)
        await grant.obtain(None, (), "")
        another = await here.log_in()
        vault.fails_after = LONG
        known = await grant.known()
        assert known is not None
        assert known.access == (await here.kept()).access == another.access
