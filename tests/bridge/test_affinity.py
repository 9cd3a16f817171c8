"""In which era an upstream that speaks both is spoken to: the agent's own, where the connection is that agent's."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.app import Gateway
from gateway.config.reading.loader import load
from gateway.errors import GatewayError
from gateway.protocol import Era
from gateway.request import ANONYMOUS
from gateway.server.agents import ConnectedAgent
from tests.bridge.house import SECONDS, Somebody, form, gateway_of, questions
from tests.bridge.requests import HANDSHAKE, MODERN
from tests.interaction._gateway import PATIENT, Entry, child, config_file
from tests.support import http_server, wait_until

pytestmark = pytest.mark.anyio

GATE = "tests.servers.gate"
EVERYTHING = "tests.servers.everything"


def house(folder: Path, entry: Entry, **settings: Any) -> AbstractAsyncContextManager[Gateway]:
    return gateway_of(folder, {"up": entry | settings})


def session(gateway: Gateway, principal: str = "ann", **capabilities: Any) -> Somebody:
    who = Somebody(gateway, HANDSHAKE, principal, capabilities=capabilities)
    who.answers["elicitation/create"] = form("x")
    return who.open()


async def pid(who: Somebody) -> int:
    return (await who.call("up__process"))["structuredContent"]["pid"]


async def test_an_upstream_of_both_eras_asks_a_handshake_agent_live(tmp_path: Path) -> None:
    """`gate` asks in the way of the handshake era alone, and ends if it is to do so in the modern one."""
    async with house(tmp_path, child(GATE)) as gateway:
        ann = session(gateway, elicitation={})
        await ann.call("up__ask")
        assert [method for method, _ in ann.asked] == ["elicitation/create"]
        assert (await gateway.upstreams["up"].era()) is Era.MODERN


async def test_over_http_too(tmp_path: Path) -> None:
    """A server of both eras on the SDK: in the modern one it asks by its result, and cannot ask live."""
    with http_server(EVERYTHING) as url:
        async with house(tmp_path, {"url": url}) as gateway:
            ann, bob = session(gateway, elicitation={}), Somebody(gateway)
            await ann.call("up__ask", {"word": "w", "kinds": ["form"]})
            assert [params["message"] for _, params in ann.asked] == ["w-1"]
            assert questions(await bob.call("up__ask", {"word": "w", "kinds": ["form"]}))


async def test_whoever_cannot_be_asked_shares_the_modern_session(tmp_path: Path) -> None:
    async with house(tmp_path, child("tests.servers.raw")) as gateway:
        ann, bob, cara = session(gateway), session(gateway, "bob"), session(gateway, "cara", elicitation={})
        assert await pid(ann) == await pid(bob) == await pid(Somebody(gateway))
        assert await pid(cara) != await pid(ann)


async def test_a_modern_upstream_is_found_out_once(tmp_path: Path) -> None:
    async with house(tmp_path, child("tests.servers.raw", "--era", "modern")) as gateway:
        shared = await pid(session(gateway))
        assert await pid(session(gateway, elicitation={})) != shared
        assert await pid(session(gateway, elicitation={})) == shared


async def test_one_that_knows_the_modern_era_alone_is_asked_in_rounds(tmp_path: Path) -> None:
    async with house(tmp_path, child(EVERYTHING, "--era", "modern")) as gateway:
        for _ in range(2):
            ann = session(gateway, elicitation={})
            await ann.call("up__ask", {"word": "w", "kinds": ["form"]})
            assert [params["message"] for _, params in ann.asked] == ["w-1"]


@pytest.mark.parametrize(("era", "own"), [("modern", False), ("handshake", True)])
async def test_the_configuration_may_leave_no_choice(tmp_path: Path, era: str, own: bool) -> None:
    async with house(tmp_path, child("tests.servers.raw"), era=era) as gateway:
        assert (await gateway.upstreams["up"].era()) is Era(era)
        ann, bob = session(gateway, elicitation={}), Somebody(gateway, MODERN)
        shared = await pid(session(gateway))
        assert [await pid(who) != shared for who in (ann, bob)] == [own, own]


async def test_an_era_that_is_not_spoken_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, child("tests.servers.raw", "--era", "handshake"), era="modern") as gateway:
        with pytest.raises(GatewayError, match="no sign of the modern era"):
            await gateway.upstreams["up"].era()


@pytest.mark.parametrize("upstream", ["both", "handshake", "modern"])
@pytest.mark.parametrize("version", [HANDSHAKE, MODERN])
async def test_the_one_agent_of_a_gateway_is_served_in_its_own_era(tmp_path: Path, upstream: str, version: str) -> None:
    only = ConnectedAgent(ANONYMOUS, None, version, {"elicitation": {}})
    servers = {"up": child("tests.servers.raw", "--era", upstream)}
    gateway = Gateway(load(config_file(tmp_path, servers, **PATIENT), dotenv=None), only)
    async with gateway.running():
        up = gateway.upstreams["up"]
        with anyio.fail_after(SECONDS):
            await wait_until(lambda: up.agreed is not None, SECONDS)
        assert up.agreed is not None
        assert up.agreed.era is (Era.of(version) if upstream == "both" else Era(upstream))
