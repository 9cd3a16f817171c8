"""The gateway's own credential at a server: had when it is needed, renewed when refused, and sent nowhere else."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.config.models import Config
from gateway.errors import GatewayError, UpstreamUnavailable
from gateway.logins.logins import Logins
from gateway.logins.vault import Vault
from gateway.upstream.guardian import Guardian
from gateway.upstream.upstream import Upstream
from tests.logins.authority import Authority, authority
from tests.support import wait_until
from tests.upstream.ends import Got, Hears, ask, config, supervised, text_of

pytestmark = pytest.mark.anyio

CREDENTIALS = {"client_id": "gw:1", "client_secret": "secret of ours"}


def no_vault() -> Vault:
    raise AssertionError("a machine has no login to keep")


@asynccontextmanager
async def upstream(server: Authority, guardian: Guardian, **auth: Any) -> AsyncGenerator[Upstream]:
    entry = config(server.url, auth={"client_credentials": {**CREDENTIALS, **auth}}, connect_timeout=5)
    logins = Logins(Config(servers={"up": entry}, path=Path("servers.yaml")), no_vault)
    up = Upstream("up", entry, Hears(), guardian, credentials=logins.source("up", entry))
    async with supervised(up) as tasks:
        tasks.start_soon(logins.run)
        yield up


@pytest.fixture
async def guardian(anyio_backend: object) -> AsyncGenerator[Guardian]:
    guardian = Guardian()
    yield guardian
    await guardian.aclose()


async def call(up: Upstream) -> str:
    return text_of(await ask(up, "tools/call", {"name": "a", "arguments": {}}))


async def test_a_call_with_our_own_credential(guardian: Guardian) -> None:
    async with authority() as (server, wire), upstream(server, guardian) as up:
        assert await call(up) == "a"
        assert server.forms == [
            {
                "grant_type": "client_credentials",
                "resource": server.url,
                "client_id": "gw:1",
                "client": "gw:1:secret of ours",
            }
        ]
        sent = [got for got in wire.got if "canary" in str(got.headers) + str(got.body)]
        assert {got.target for got in sent} == {"/mcp"}


async def test_what_is_refused_is_renewed_and_sent_once_more(guardian: Guardian) -> None:
    async with authority() as (server, wire), upstream(server, guardian) as up:
        assert await call(up) == "a"
        server.good.clear()
        before = len(wire.got)
        assert await call(up) == "a"
        calls = [got.headers["authorization"] for got in wire.got[before:] if b"tools/call" in got.body]
        assert calls == ["Bearer canary-1", "Bearer canary-2"]
        assert len(server.forms) == 2


async def test_what_is_refused_again_is_an_error(guardian: Guardian) -> None:
    async with authority() as (server, _), upstream(server, guardian) as up:
        assert await call(up) == "a"
        server.good = Nothing()
        with pytest.raises(GatewayError, match="401"):
            await call(up)


class Nothing(set[str]):
    """Whatever is added."""

    def add(self, element: str) -> None: ...


async def test_more_scopes_are_asked_for_besides_those_there_were(guardian: Guardian) -> None:
    async with authority() as (server, _), upstream(server, guardian, scopes=["one"]) as up:
        assert await call(up) == "a"
        server.needs = {"two"}
        assert await call(up) == "a"
        assert [form.get("scope") for form in server.forms] == ["one", "one two"]


async def test_it_is_renewed_before_it_ends(guardian: Guardian) -> None:
    async with authority(lifetime=3) as (server, wire), upstream(server, guardian) as up:
        assert await call(up) == "a"
        await wait_until(lambda: len(server.forms) >= 2, 30)
        refused = [got for got in wire.got if got.target == "/mcp" and "authorization" not in got.headers]
        assert refused == []


async def test_an_authorization_server_that_is_down_loses_nothing(guardian: Guardian) -> None:
    async with authority() as (server, _):
        server.on["/token"] = lambda got: ("503 Service Unavailable", {})
        async with upstream(server, guardian) as up:
            with pytest.raises(UpstreamUnavailable, match="HTTP 503"):
                await call(up)
            del server.on["/token"]
            up.wake()
            await wait_until(lambda: up.is_ready, 30)
            assert await call(up) == "a"


@pytest.mark.parametrize(
    "path", ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"]
)
async def test_metadata_of_another_is_not_followed(guardian: Guardian, path: str) -> None:
    async with authority() as (server, _):

        def forged(got: Got) -> tuple[str, Any]:
            others = {"resource": "https://other.example/mcp", "issuer": "https://other.example"}
            honest = server.resource(got)[1] | server.metadata(got)[1]
            return "200 OK", honest | others

        server.on[path] = forged
        async with upstream(server, guardian) as up:
            with pytest.raises(UpstreamUnavailable, match=r"other\.example"):
                await call(up)
        assert server.forms == []
