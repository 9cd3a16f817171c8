"""Tokens of a login that somebody made: renewed once, whoever asks; never lost to a network; lost once, with a word."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from gateway.config.models import AuthConfig, Config, GatewaySettings
from gateway.errors import GatewayError, LoginNeeded, UpstreamUnavailable
from gateway.logins.flow import Flow
from gateway.logins.logins import Logins
from gateway.logins.record import SHARED, Login, LoginKey
from gateway.logins.vault import FileVault
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import State
from gateway.upstream.upstream import Upstream
from tests.logins.authority import Authority, authority
from tests.support import wait_until
from tests.upstream.ends import Got, Hears, ask, config, supervised, text_of

pytestmark = pytest.mark.anyio

BACK = "http://127.0.0.1:1/callback"


@dataclass
class Desk:
    """A server that wants a login, and a gateway's upstream before it."""

    server: Authority
    vault: FileVault
    up: Upstream

    @property
    def key(self) -> LoginKey:
        return LoginKey(SHARED, "up", self.server.url)

    async def log_in(self, **auth: Any) -> Login:
        """As the CLI does it, in a process of its own."""
        flow = Flow(self.vault, None)
        begun = await flow.begin(self.key, "somebody", AuthConfig(**auth), BACK)
        return await flow.complete(begun.pending, self.server.approve(begun.link), AuthConfig(**auth))

    async def change(self, **fields: Any) -> None:
        login = await self.vault.get(self.key)
        assert login is not None
        await self.vault.put(msgspec.structs.replace(login, **fields))

    async def call(self) -> str:
        return text_of(await ask(self.up, "tools/call", {"name": "a", "arguments": {}}))

    async def ready(self) -> None:
        await wait_until(lambda: self.up.is_ready, 30)

    async def needed(self) -> str:
        await wait_until(lambda: self.up.status.state is State.LOGIN_NEEDED, 30)
        return self.up.status.reason

    def refreshes(self) -> int:
        return sum(form["grant_type"] == "refresh_token" for form in self.server.forms)


@asynccontextmanager
async def desk(folder: Path, server: Authority, auth: Any = None) -> AsyncGenerator[Desk]:
    entry = config(server.url, **({"auth": auth} if auth else {}), connect_timeout=5)
    settings = GatewaySettings(state_dir=folder, state_keys=["k" * 32])
    vault = FileVault(folder / "logins", settings.state_keys)
    logins = Logins(Config(gateway=settings, servers={"up": entry}, path=folder / "servers.yaml"), lambda: vault)
    guardian = Guardian()
    up = Upstream("up", entry, Hears(), guardian, credentials=logins.source("up", entry))
    async with supervised(up) as tasks:
        tasks.start_soon(logins.run)
        yield Desk(server, vault, up)
    await guardian.aclose()


@pytest.mark.parametrize("auth", [None, "shared"])
async def test_a_login_made_elsewhere_is_seen(tmp_path: Path, auth: Any) -> None:
    async with authority() as (server, _), desk(tmp_path, server, auth) as here:
        assert await here.needed() == "nobody has logged in yet; run `mcp-gateway login up`"
        with pytest.raises(LoginNeeded, match="Run `mcp-gateway login up`") as caught:
            await here.call()
        assert caught.value.data is not None
        assert caught.value.data["reason"] == "login_needed"
        assert caught.value.data["delivered"] is False
        await here.log_in()
        await here.ready()
        assert await here.call() == "a"
        await here.vault.drop(here.key)
        await here.needed()


async def test_a_server_that_wants_no_login_is_asked_for_none(tmp_path: Path) -> None:
    async with authority() as (server, wire):
        server.good.add("")
        server.scopes[""] = set()
        async with desk(tmp_path, server) as here:
            await here.ready()
            assert await here.call() == "a"
            assert {got.target for got in wire.got} == {"/mcp"}


async def test_a_server_that_refuses_without_metadata_wants_something_else(tmp_path: Path) -> None:
    async with authority() as (server, _):
        for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"):
            server.on[path] = lambda got: ("404 Not Found", [])
        server.is_silent = True
        async with desk(tmp_path, server) as here:
            await wait_until(lambda: here.up.status.state is State.BACKING_OFF, 30)
            assert "check the credentials in its `headers`" in here.up.status.reason


async def test_a_token_that_has_ended_is_renewed_once_whoever_asks(tmp_path: Path) -> None:
    async with authority() as (server, _), desk(tmp_path, server) as one, desk(tmp_path, server) as other:
        await one.log_in()
        await one.ready()
        await other.ready()
        server.good.clear()
        answers: list[str] = []

        async def call(here: Desk) -> None:
            answers.append(await here.call())

        async with anyio.create_task_group() as tg:
            for here in (one, other) * 25:
                tg.start_soon(call, here)
        assert answers == ["a"] * 50
        assert one.refreshes() == 1


async def test_it_is_renewed_before_it_ends(tmp_path: Path) -> None:
    async with authority(lifetime=4) as (server, wire), desk(tmp_path, server) as here:
        await here.log_in()
        await here.ready()
        before = len(wire.got)
        await wait_until(lambda: here.refreshes() >= 2, 25)
        assert await here.call() == "a"
        refused = [got for got in wire.got[before:] if got.target == "/mcp" and "authorization" not in got.headers]
        assert refused == []


async def test_a_network_that_fails_loses_no_login(tmp_path: Path) -> None:
    async with authority() as (server, _), desk(tmp_path, server) as here:
        await here.log_in()
        await here.ready()
        server.on["/token"] = lambda got: ("502 Bad Gateway", [])
        server.good.clear()
        with pytest.raises(UpstreamUnavailable, match="HTTP 502"):
            await here.call()
        del server.on["/token"]
        here.up.wake()
        await here.ready()
        assert await here.call() == "a"
        assert here.refreshes() == 1


async def test_a_refused_refresh_is_the_end_and_is_not_tried_again(tmp_path: Path) -> None:
    async with authority() as (server, _), desk(tmp_path, server) as here:
        await here.log_in()
        await here.ready()
        server.good.clear()
        server.refresh.clear()
        with pytest.raises(LoginNeeded, match="the login has ended: the authorization server refused"):
            await here.call()
        assert "the login has ended" in await here.needed()
        for _ in range(3):
            with pytest.raises(LoginNeeded):
                await here.call()
        assert here.refreshes() == 1
        await here.log_in()
        await here.ready()
        assert await here.call() == "a"


async def test_more_scopes_are_asked_of_somebody_and_not_for_ever(tmp_path: Path) -> None:
    async with authority() as (server, _), desk(tmp_path, server) as here:
        await here.log_in()
        await here.ready()
        server.needs = {"write"}
        with pytest.raises(LoginNeeded, match="this takes more than was granted: write") as caught:
            await here.call()
        assert caught.value.command == "mcp-gateway login up --scope write"
        assert here.up.is_ready
        await here.log_in(scopes=["write"])  # and it is not granted
        with pytest.raises(GatewayError, match="403") as refused:
            await here.call()
        assert not isinstance(refused.value, LoginNeeded)


async def test_what_is_renewed_is_kept_before_it_is_used(tmp_path: Path) -> None:
    async with authority() as (server, _), desk(tmp_path, server) as here:
        await here.log_in()
        await here.ready()
        server.good.clear()
        await here.call()
        login = await here.vault.get(here.key)
        assert login is not None
        assert login.access in server.good
        assert login.refresh in server.refresh


async def test_a_call_that_is_given_up_loses_no_refresh(tmp_path: Path) -> None:
    """Whoever waits for the answer goes away in the middle of it: it is written down all the same."""
    asked, go = anyio.Event(), anyio.Event()
    async with authority() as (server, _), desk(tmp_path, server) as here:
        await here.log_in()
        await here.ready()

        async def slow(got: Got) -> None:
            asked.set()
            await go.wait()

        server.before["/token"] = slow
        server.good.clear()

        async def call() -> None:
            with suppress(GatewayError):
                await here.call()

        async with anyio.create_task_group() as tg:
            tg.start_soon(call)
            await asked.wait()
            here.up.restart()
        go.set()
        await here.ready()
        assert await here.call() == "a"
        assert here.refreshes() == 1


async def test_a_login_that_has_ended_meanwhile_is_renewed_before_the_first_request(tmp_path: Path) -> None:
    async with authority() as (server, wire), desk(tmp_path, server, "shared") as here:
        login = await here.log_in()
        await here.change(expires=time.time() - 1)
        await here.ready()
        used = {got.headers.get("authorization") for got in wire.got if got.target == "/mcp"}
        assert f"Bearer {login.access}" not in used
