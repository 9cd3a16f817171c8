"""A call that finds no login asks for one in the way of its agent's era, and goes on when it is there."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.app import Gateway
from gateway.bridge.timing import BridgeTiming
from gateway.config.models import AuthConfig
from gateway.errors import LoginNeeded, UrlElicitationRequired
from gateway.logins.flow import Flow
from gateway.logins.links import ConnectLinks
from gateway.logins.record import SHARED, LoginKey
from gateway.timing import USUAL, Timing
from tests.bridge.house import Somebody, gateway_of, questions, text_of
from tests.bridge.requests import HANDSHAKE, MODERN
from tests.logins.authority import Authority, authority
from tests.support import wait_until
from tests.upstream.ends import Mcp, service

pytestmark = pytest.mark.anyio

PAGES: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}}
HERE = "http://127.0.0.1:1"
IMPATIENT = Timing(bridge=BridgeTiming(login_patience_seconds=0.05))
YES, NO = {"action": "accept"}, {"action": "decline"}


@dataclass
class Desk:
    gateway: Gateway
    server: Authority

    @property
    def flow(self) -> Flow:
        return self.gateway.logins.flow

    async def log_in(self, **more: Any) -> None:
        key = LoginKey(SHARED, "up", self.server.url)
        begun = await self.flow.begin(key, "somebody", AuthConfig(), f"{HERE}/oauth/callback", **more)
        await self.flow.complete(begun.pending, self.server.approve(begun.link), AuthConfig())
        await self.gateway.logins.changed("up")

    def lose(self) -> None:
        """Neither tokens nor refresh tokens are good any more."""
        self.server.good.clear()
        self.server.refresh.clear()

    def calls(self) -> int:
        """How many tool calls the server has acted on."""
        return sum(message.get("method") == "tools/call" for message in self.server.mcp.heard)


def servers_of(server: Authority) -> dict[str, Any]:
    return {"up": {"url": server.url, "isolation": "shared"}}


@asynccontextmanager
async def desk(folder: Path, era: str = "modern", timing: Timing = USUAL) -> AsyncGenerator[Desk]:
    """One login for all, which was made, and which the tools are known from."""
    async with (
        authority(mcp=Mcp(service(era))) as (server, _),
        gateway_of(folder, servers_of(server), timing, state_keys=["k" * 32]) as gateway,
    ):
        logins = gateway.logins
        logins.links = ConnectLinks(["k" * 32], HERE)
        here = Desk(gateway, server)
        await here.log_in()
        await wait_until(lambda: gateway.library.whole(None).tool("up__a") is not None, 30)
        yield here


def asked_of(result: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the one question."""
    (question,) = questions(result).values()
    assert question["method"] == "elicitation/create"
    return question["params"]


async def again(ann: Somebody, result: dict[str, Any], answer: dict[str, Any] = YES) -> dict[str, Any]:
    return await ann.call("up__a", requestState=result["requestState"], inputResponses={"login": answer})


# --- Modern agents --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_a_modern_agent_is_sent_to_the_page_and_its_retry_goes_on(tmp_path: Path, era: str) -> None:
    async with desk(tmp_path, era) as here:
        ann = Somebody(here.gateway, MODERN, capabilities=PAGES)
        assert text_of(await ann.call("up__a")) == "a"
        here.lose()
        result = await ann.call("up__a")
        params = asked_of(result)
        assert (params["mode"], params["url"].startswith(f"{HERE}/connect/up?for=")) == ("url", True)
        assert "elicitationId" not in params, "which is not of its era"
        assert "needs you to log in" in params["message"]
        await here.log_in()
        assert text_of(await again(ann, result)) == "a"
        assert here.calls() == 2, "and nothing was done twice"


async def test_all_calls_that_meet_a_lost_login_ask(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        ann, asked = Somebody(here.gateway, MODERN, capabilities=PAGES), list[str]()
        here.lose()

        async def call() -> None:
            asked.append(asked_of(await ann.call("up__a"))["mode"])

        async with anyio.create_task_group() as tg:
            for _ in range(50):
                tg.start_soon(call)
        assert asked == ["url"] * 50
        assert here.calls() == 0


async def test_accepting_is_no_login_and_the_retry_waits_for_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        ann = Somebody(here.gateway, MODERN, capabilities=PAGES)
        here.lose()
        result = await ann.call("up__a")
        done: list[dict[str, Any]] = []

        async def retry() -> None:
            done.append(await again(ann, result))

        async with anyio.create_task_group() as tg:
            tg.start_soon(retry)
            source = here.gateway.logins.source_of("up")
            assert source is not None
            held = source.of(None)
            await wait_until(lambda: len(held._followers) > 1, 10)  # pyright: ignore[reportPrivateUsage]
            assert done == []
            await here.log_in()
        assert text_of(done[0]) == "a"


async def test_who_comes_back_without_a_login_is_asked_again(tmp_path: Path) -> None:
    async with desk(tmp_path, timing=IMPATIENT) as here:
        ann = Somebody(here.gateway, MODERN, capabilities=PAGES)
        here.lose()
        result = await ann.call("up__a")
        for _ in range(3):
            result = await again(ann, result)
            assert asked_of(result)["mode"] == "url"
        await here.log_in()
        assert text_of(await again(ann, result)) == "a"


async def test_who_says_no_has_an_error_with_the_link(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        ann = Somebody(here.gateway, MODERN, capabilities=PAGES)
        here.lose()
        result = await ann.call("up__a")
        with pytest.raises(LoginNeeded, match=f"did not agree.*Open {HERE}/connect/up"):
            await again(ann, result, NO)


async def test_the_state_is_good_for_nobody_else_and_nothing_else(tmp_path: Path) -> None:
    from gateway.errors import InvalidRequestState

    async with desk(tmp_path) as here:
        ann, bob = (Somebody(here.gateway, MODERN, who, capabilities=PAGES) for who in ("ann", "bob"))
        here.lose()
        result = await ann.call("up__a")
        with pytest.raises(InvalidRequestState):
            await again(bob, result)
        with pytest.raises(InvalidRequestState):
            await ann.call("up__a", {"x": 1}, requestState=result["requestState"], inputResponses={"login": YES})


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {}}, {"elicitation": {"form": {}}, "sampling": {}}])
async def test_who_cannot_visit_a_page_has_the_link_in_the_error(
    tmp_path: Path, version: str, capabilities: dict[str, Any]
) -> None:
    async with desk(tmp_path) as here:
        ann = Somebody(here.gateway, version, capabilities=capabilities)
        if version == HANDSHAKE:
            ann.open()
        here.lose()
        with pytest.raises(LoginNeeded, match=f"Open {HERE}/connect/up") as caught:
            await ann.call("up__a")
        assert caught.value.data is not None
        assert (caught.value.data["reason"], caught.value.data["delivered"]) == ("login_needed", False)
        assert ann.asked == []


async def test_more_scopes_are_asked_for_likewise(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        ann = Somebody(here.gateway, MODERN, capabilities=PAGES)
        here.server.needs = {"write"}
        result = await ann.call("up__a")
        params = asked_of(result)
        assert params["url"].endswith("&scope=write")
        assert "to grant write" in params["message"]
        here.server.needs = set()
        await here.log_in(scopes=["write"])
        assert text_of(await again(ann, result)) == "a"


# --- Agents of the handshake era ------------------------------------------------------------------------------------


async def test_an_agent_of_the_handshake_era_is_asked_while_its_call_waits(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        ann = Somebody(here.gateway, HANDSHAKE, capabilities=PAGES, answers={"elicitation/create": YES}).open()
        here.lose()
        done: list[dict[str, Any]] = []
        params: dict[str, Any] = {}

        async def call() -> None:
            done.append(await ann.call("up__a"))

        async with anyio.create_task_group() as tg:
            tg.start_soon(call)
            await wait_until(lambda: ann.asked, 10)
            ((method, params),) = ann.asked
            assert (method, params["mode"]) == ("elicitation/create", "url")
            assert params["url"].startswith(f"{HERE}/connect/up?for=")
            assert done == []
            await here.log_in()
        assert text_of(done[0]) == "a"
        said = ("notifications/elicitation/complete", {"elicitationId": params["elicitationId"]})
        assert said in ann.heard


async def test_one_that_is_not_done_in_time_comes_back_and_is_told_when_it_is(tmp_path: Path) -> None:
    async with desk(tmp_path, timing=IMPATIENT) as here:
        ann = Somebody(here.gateway, HANDSHAKE, capabilities=PAGES, answers={"elicitation/create": YES}).open()
        here.lose()
        with pytest.raises(UrlElicitationRequired) as caught:
            await ann.call("up__a")
        assert caught.value.code == -32042
        assert caught.value.data is not None
        (elicitation,) = caught.value.data["elicitations"]
        assert elicitation.items() >= {"mode": "url", "url": ann.asked[0][1]["url"]}.items()
        assert ann.heard == []
        await here.log_in()
        said = ("notifications/elicitation/complete", {"elicitationId": elicitation["elicitationId"]})
        await wait_until(lambda: said in ann.heard, 10)
        assert text_of(await ann.call("up__a")) == "a"


@pytest.mark.parametrize("answer", [NO, {"action": "cancel"}])
async def test_one_that_says_no_has_the_error(tmp_path: Path, answer: dict[str, Any]) -> None:
    async with desk(tmp_path) as here:
        ann = Somebody(here.gateway, HANDSHAKE, capabilities=PAGES, answers={"elicitation/create": answer}).open()
        here.lose()
        with pytest.raises(LoginNeeded, match=f"Open {HERE}/connect/up"):
            await ann.call("up__a")
        assert here.calls() == 0
