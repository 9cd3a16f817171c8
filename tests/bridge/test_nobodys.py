"""What an upstream says that belongs to no request: whose it is, and when it is nobody's."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.app import Gateway
from tests.bridge.house import Somebody, gateway_of
from tests.bridge.requests import HANDSHAKE
from tests.interaction._gateway import child

pytestmark = pytest.mark.anyio

LOG: Final = "notifications/message"
UPDATED: Final = "notifications/resources/updated"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[Gateway]:
    async with gateway_of(tmp_path, {"up": child("tests.servers.afterwards")}) as gateway:
        yield gateway


def session(house: Gateway, principal: str, *, askable: bool = False) -> Somebody:
    capabilities: dict[str, Any] = {"sampling": {}} if askable else {}
    return Somebody(house, HANDSHAKE, principal, capabilities=capabilities).open()


def log(text: str) -> dict[str, Any]:
    return {"method": LOG, "params": {"level": "error", "data": text}}


def updated(uri: str, **more: Any) -> dict[str, Any]:
    return {"method": UPDATED, "params": {"uri": uri, **more}}


async def say(who: Somebody, *messages: dict[str, Any]) -> None:
    """Have the upstream say something after its answer. Returns when it has been heard: what comes by one connection
    is heard in order."""
    await who.call("up__say", {"messages": list(messages)})
    await who.call("up__say")


def logged(who: Somebody) -> list[Any]:
    return [params["data"] for method, params in who.heard if method == LOG]


async def test_a_late_message_is_for_whoever_alone_has_used_the_connection(house: Gateway) -> None:
    ann, bob = session(house, "ann"), session(house, "bob")
    await say(ann, log("about ann"))
    assert (logged(ann), logged(bob)) == (["about ann"], [])


async def test_once_two_have_used_a_connection_a_late_message_is_nobodys_for_good(house: Gateway) -> None:
    ann, bob = session(house, "ann"), session(house, "bob")
    await bob.call("up__say")
    await bob.close()
    await say(ann, log("about bob, or about ann"))
    cara = session(house, "ann")
    await say(cara, log("or about both"))
    await ann.close()
    await say(cara, log("still"))
    assert [logged(who) for who in (ann, bob, cara)] == [[], [], []]


async def test_who_subscribes_has_used_the_connection(house: Gateway) -> None:
    ann, bob = session(house, "ann"), session(house, "bob")
    await bob.send("resources/subscribe", uri="memo://1")
    await say(ann, log("of memo://1"))
    assert (logged(ann), logged(bob)) == ([], [])


async def test_a_message_after_the_end_of_a_modern_request_is_not_for_the_next_ones(house: Gateway) -> None:
    ann, bob = Somebody(house, principal="ann", capabilities={}), session(house, "bob")
    await ann.call("up__say", {"messages": [log("about ann")]})
    await bob.call("up__say")
    assert logged(bob) == []


async def test_what_one_agents_own_connection_says_is_for_that_agent_alone(house: Gateway) -> None:
    ann, bob = session(house, "ann"), session(house, "bob", askable=True)
    for who in (ann, bob):
        await who.send("resources/subscribe", uri="memo://1")
    await say(bob, log("about bob"), updated("memo://1"), updated("memo://2"))
    assert (logged(ann), logged(bob)) == ([], ["about bob"])
    assert ann.heard == []
    assert [params for method, params in bob.heard if method == UPDATED] == [{"uri": "memo://1"}]


async def test_what_a_principals_own_connection_says_is_for_nobody_else(house: Gateway) -> None:
    """A modern agent over HTTP has no session; its principal's connection must not speak to another's."""
    ann, bob = session(house, "ann"), Somebody(house, principal="bob", capabilities={"sampling": {}})
    await ann.send("resources/subscribe", uri="memo://1")
    await say(bob, log("about bob"), updated("memo://1"))
    assert ann.heard == []


async def test_of_an_update_only_the_uri_is_passed_on(house: Gateway) -> None:
    ann, bob = session(house, "ann"), session(house, "bob")
    await ann.send("resources/subscribe", uri="memo://1")
    nonsense = {"method": UPDATED, "params": {"uri": 7}}
    await say(bob, nonsense, updated("memo://1", note="about bob", _meta={"of": "bob"}))
    assert ann.heard == [(UPDATED, {"uri": "memo://1"})]
    assert bob.heard == []
