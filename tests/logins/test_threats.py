"""What must not happen to whoever logs in through a gateway: that metadata leads it to a network of somebody else's
choice, that an authorization server gets what is another's, that a token is seen by anybody but its own server."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
import httpx2
import pytest
from anyio.abc import SocketAttribute, SocketStream

from gateway.config.models import AuthConfig
from gateway.logins.failures import AuthFailure, Distrusted
from gateway.logins.flow import Flow, revoke
from gateway.logins.person import PersonGrant
from gateway.logins.record import SHARED, LoginKey
from gateway.logins.vault import FileVault
from tests.interaction._http import post, request
from tests.logins.authority import Answer, Authority, authority
from tests.logins.team import PATIENCE, Team, team
from tests.support import command, run_program, wait_until
from tests.telemetry.collector import collector
from tests.upstream.ends import ByteServer, Got

pytestmark = pytest.mark.anyio

BACK: Final = "http://127.0.0.1:1/callback"
TRAP: Final = "127.0.0.2"
"""An address of this machine that no file names. The servers of these tests are at another."""


@asynccontextmanager
async def trap() -> AsyncGenerator[tuple[int, list[SocketStream]]]:
    """A port there, and who connected to it."""
    connected: list[SocketStream] = []

    async def note(stream: SocketStream) -> None:
        connected.append(stream)
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host=TRAP)
    async with listener, anyio.create_task_group() as tg:
        tg.start_soon(listener.serve, note)
        yield listener.extra(SocketAttribute.local_port), connected
        tg.cancel_scope.cancel()


SPELLINGS: Final = (
    "http://127.0.0.2",
    "https://127.0.0.2",
    "http://[::ffff:127.0.0.2]",
    "http://2130706434",
    "http://0x7f.0.0.2",
    "http://0177.0.0.2",
    "http://127.2",
    "http://127.0.0.1@127.0.0.2",
)
PLACES: Final = ("resource_metadata", "issuer", "token", "registration", "revocation")


@pytest.mark.parametrize("place", PLACES)
async def test_metadata_leads_to_no_network_that_the_file_does_not_name(tmp_path: Path, place: str) -> None:
    """At the first login, at a renewal, and at its end: what was written down is no more believed than what is read."""
    async with trap() as (port, connected), authority() as (server, _):
        for spelling in SPELLINGS:
            vault = FileVault(tmp_path / spelling.replace("/", "_"), ["k" * 32])
            at = f"{spelling}:{port}/x"
            header = ""
            if place == "resource_metadata":
                header = f'Bearer resource_metadata="{at}"'
            elif place == "issuer":
                led: Answer = "200 OK", {"resource": server.url, "authorization_servers": [at]}
                server.on["/.well-known/oauth-protected-resource/mcp"] = lambda got, led=led: led
            else:
                server.says[f"{place}_endpoint"] = at
            try:
                flow, key = Flow(vault, None), LoginKey(SHARED, "up", server.url)
                begun = await flow.begin(key, "somebody", AuthConfig(), BACK, header=header)
                login = await flow.complete(begun.pending, server.approve(begun.link), AuthConfig())
                await PersonGrant(vault, key, AuthConfig(), is_wanted=True).obtain(login.tokens, (), "")
                assert not await revoke(login, AuthConfig()) or place == "resource_metadata"
            except AuthFailure:
                pass
        assert connected == []


async def test_what_is_another_authorization_servers_is_not_sent_to_one_that_poses_as_it(tmp_path: Path) -> None:
    """Mix-up: a server of the attacker's sends people to log in at an honest authorization server, as a client that it
    has registered there, and wants the code that comes back."""
    async with authority(says={"authorization_response_iss_parameter_supported": True}) as (honest, wire):
        evil_says = {"authorization_endpoint": f"{honest.origin}/authorization"}
        async with authority(says=evil_says) as (evil, _):
            vault = FileVault(tmp_path, ["k" * 32])
            flow, key = Flow(vault, None), LoginKey(SHARED, "evil", evil.url)
            begun = await flow.begin(key, "somebody", AuthConfig(), BACK)
            assert begun.link.startswith(f"{honest.origin}/authorization?")
            came_back = {**honest.approve(begun.link), "iss": honest.origin}
            with pytest.raises(Distrusted, match=re.escape(honest.origin)):
                await flow.complete(begun.pending, came_back, AuthConfig())
            assert evil.forms == honest.forms == []
            assert await vault.all() == []
            assert [got.target for got in wire.got] == []


async def test_metadata_of_another_issuer_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    """Mix-up the other way round: the attacker's metadata says that it is the honest issuer."""
    async with authority() as (honest, _), authority() as (evil, wire):
        evil.says["issuer"] = honest.origin
        flow, key = Flow(FileVault(tmp_path, ["k" * 32]), None), LoginKey(SHARED, "evil", evil.url)
        with pytest.raises(Distrusted, match="is the metadata of the issuer"):
            await flow.begin(key, "somebody", AuthConfig(), BACK)
        assert "/register" not in {got.target for got in wire.got}


# --- Canaries --------------------------------------------------------------------------------------------------------

CANARY: Final = re.compile(r"canary-(?:refresh-|code-)?\d+")
STATE_KEYS: Final = ["a key that seals logins, long enough"]
KEPT_OUT: Final = "canary-of-an-agent"
"""In headers of agents that are none of a server's business."""


def canaries(text: str) -> set[str]:
    return set(CANARY.findall(text))


def captured(got: Got) -> str:
    return f"{got.target}\n{got.headers}\n{got.body.decode('latin-1')}"


async def call(here: Team, who: str, server: str) -> dict[str, Any]:
    """A call by an agent that brings along what it should not."""
    extra = {"x-api-key": here.keys[who], "cookie": f"session={KEPT_OUT}", "proxy-authorization": f"Basic {KEPT_OUT}"}
    message = request("tools/call", {"name": f"{server}__a", "arguments": {}}, modern=True)
    _, answer = await anyio.to_thread.run_sync(post, f"{here.base}/mcp", message, extra)
    return answer


async def works(here: Team, who: str, server: str) -> None:
    async def is_answered() -> bool:
        answer = await call(here, who, server)
        return "result" in answer

    await wait_until(is_answered, PATIENCE)


def echoing(got: Got) -> Answer:
    """An authorization server that repeats what it was sent."""
    form = {name: values[0] for name, values in parse_qs(got.body.decode()).items()}
    said = f"{form['refresh_token']} is not a good token"
    return "400 Bad Request", {"error": "invalid_grant", "error_description": said}


async def test_a_token_is_seen_by_its_own_server_and_by_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as traces:
        for name, value in traces.variables().items():
            monkeypatch.setenv(name, value)
        async with (
            authority(_numbers=count(10_000)) as (one, at_one),
            authority(_numbers=count(20_000)) as (two, at_two),
        ):
            servers = {
                name: {"url": each.url, "auth": {"login": "shared"}} for name, each in (("one", one), ("two", two))
            }
            settings: dict[str, Any] = {
                "state_keys": STATE_KEYS,
                "audit": {"file": str(tmp_path / "audit"), "key": "a key of the audit log, long enough"},
                "access_log": {"file": str(tmp_path / "access")},
                "metrics": {"tools": True},
                "tracing": {"enabled": True},
            }
            async with team(tmp_path, servers, **settings) as here:
                shown = await _everything(here, one, two)
                files = here.files().decode("latin-1")
            assert traces.of()
            sinks = {"files": files, "traces": traces.received.decode("latin-1"), "answers": shown}
    issued = canaries(" ".join(map(captured, [*at_one.got, *at_two.got])))
    assert len(issued) >= 7
    for name, sink in sinks.items():
        assert canaries(sink) == set(), name
        assert KEPT_OUT not in sink, name
        assert not any(key in sink for key in here.keys.values()), name
    for its, other in ((at_one, "canary-2"), (at_two, "canary-1")):
        _goes_nowhere_else(its, other, here)


async def _everything(here: Team, one: Authority, two: Authority) -> str:
    """Somebody logs in to two servers, two people call, tokens are renewed, a login is lost, and one is ended. What
    people are shown meanwhile, and those who are nobody."""
    shown: list[str] = []
    vault = FileVault(here.folder / "state" / "logins", STATE_KEYS)
    for name, server in (("one", one), ("two", two)):
        key, flow = LoginKey(SHARED, name, server.url), Flow(vault, None)
        begun = await flow.begin(key, "somebody", AuthConfig(), BACK)
        await flow.complete(begun.pending, server.approve(begun.link), AuthConfig())
        await works(here, "ann", name)
        await works(here, "bob", name)
    one.good.clear()  # and so it is renewed
    await works(here, "ann", "one")
    shown += await _told(here)
    two.good.clear()
    two.on["/token"] = echoing
    shown.append(str(await call(here, "bob", "two")))
    assert "is not a good token" in shown[-1], shown[-1]
    one.on["/mcp"] = lambda got: ("403 Forbidden", {"error": got.headers["authorization"]})
    shown.append(str(await call(here, "bob", "one")))
    for verb in ("logins", "doctor", "logout one"):
        args = command("gateway", *verb.split(), "-c", str(here.folder / "servers.json"))
        done = await anyio.to_thread.run_sync(lambda args=args: run_program(args))
        shown += [done.stdout, done.stderr]
    assert one.revoked
    shown += await _told(here)
    return "\n".join(shown)


async def _told(here: Team) -> list[str]:
    paths = ("/upstreams", "/upstreams/one", "/status", "/metrics", "/connections", "/info", "/readyz", "/health")
    told = [(await here.rest("ann", "GET", path)).text for path in paths]
    async with httpx2.AsyncClient(timeout=PATIENCE) as nobody:
        return told + [(await nobody.get(f"{here.base}{path}")).text for path in paths]


def _goes_nowhere_else(server: ByteServer, other: str, here: Team) -> None:
    """
    Args:
        other: what the tokens of the other server begin with.
    """
    for got in server.got:
        text, path = captured(got), got.target.partition("?")[0]
        assert KEPT_OUT not in text
        assert not any(key in text for key in here.keys.values())
        found = canaries(text)
        assert not any(
            each.removeprefix("canary-").removeprefix("refresh-").removeprefix("code-").startswith(other[7:])
            for each in found
        ), found
        access = {each for each in found if each[7].isdigit()}
        if path == "/mcp":
            assert canaries(got.headers.get("authorization", "")) == found
            assert access == found
        elif found:
            assert path in ("/token", "/revocation")
            assert canaries(got.body.decode()) == found
            assert not access or path == "/revocation"
