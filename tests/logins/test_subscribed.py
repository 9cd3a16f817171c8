"""Resources of a server that each logs in to for themselves: who subscribed hears of theirs, by their own login, and of
nobody else's."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.app import Gateway
from gateway.errors import LoginNeeded, UnknownResource, UpstreamError
from gateway.logins.links import ConnectLinks
from gateway.logins.record import SHARED
from tests.bridge.house import Somebody, gateway_of
from tests.bridge.requests import HANDSHAKE, MODERN
from tests.logins.authority import authority
from tests.logins.test_each import HERE, House
from tests.servers.wire import Method, Refusal
from tests.support import wait_until
from tests.upstream.ends import Got
from tests.upstream.test_watch import Changing

pytestmark = pytest.mark.anyio

URI = "note://one"
UPDATED = "notifications/resources/updated"
ERAS = pytest.mark.parametrize("era", ["handshake", "modern"])


@dataclass
class Rooms:
    """A server that is another for each: the same names, and sessions of their own."""

    era: str
    whose: Any = None
    of: dict[str, Changing] = field(default_factory=dict[str, Changing])

    async def __call__(self, got: Got) -> None:
        await self.room(self.whose(got.headers.get("authorization", "").removeprefix("Bearer ")))(got)

    def room(self, who: str) -> Changing:
        if who not in self.of:
            listed = {"resources": [{"uri": URI, "name": "one"}], "ttlMs": 60_000}
            tools = {"tools": [{"name": "a", "inputSchema": {"type": "object"}}], "ttlMs": 60_000}
            answers: dict[str, Method] = {"resources/list": lambda params: listed, "tools/list": lambda params: tools}
            self.of[who] = Changing(self.era, answers)
        return self.of[who]

    async def update(self, who: str, uri: str = URI) -> None:
        await self.room(who).say({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": uri}})

    def asked(self, who: str) -> list[list[str]]:
        """What somebody's room was asked for, so often."""
        room = self.room(who)
        if self.era == "handshake":
            return [[params["uri"]] for params in room.params_of("resources/subscribe")]
        wanted = [params["notifications"] for params in room.params_of("subscriptions/listen")]
        return [each["resourceSubscriptions"] for each in wanted if "resourceSubscriptions" in each]


@dataclass
class Place:
    house: House
    rooms: Rooms

    @property
    def gateway(self) -> Gateway:
        return self.house.gateway

    async def somebody(self, who: str) -> Somebody:
        """Who has a session, and has logged in."""
        one = Somebody(self.gateway, HANDSHAKE, who, capabilities={}).open()
        await self.house.log_in(who)
        await one.send("resources/list")
        return one


@asynccontextmanager
async def place(folder: Path, era: str, **entry: Any) -> AsyncGenerator[Place]:
    rooms = Rooms(era)
    async with authority(mcp=rooms) as (server, _):
        settings: dict[str, Any] = {"auth": {"enabled": True}, "state_keys": ["k" * 32]}
        servers = {"up": {"url": server.url, "auth": "each", **entry}}
        async with gateway_of(folder, servers, **settings) as gateway:
            here = Place(House(gateway, server), rooms)
            rooms.whose = here.house.whose
            gateway.logins.links = ConnectLinks(["k" * 32], HERE)
            yield here


def told(who: Somebody) -> list[str]:
    return [params["uri"] for method, params in who.heard if method == UPDATED]


@ERAS
async def test_two_people_each_hear_of_their_own(tmp_path: Path, era: str) -> None:
    async with place(tmp_path, era) as here:
        ann, bob = [await here.somebody(who) for who in ("ann", "bob")]
        for each in (ann, bob):
            await each.send("resources/subscribe", uri=URI)
        assert [here.rooms.asked(who) for who in ("ann", "bob")] == [[[URI]], [[URI]]]
        assert here.rooms.asked("nobody") == []
        await here.rooms.update("ann")
        await wait_until(lambda: told(ann) == [URI], 20)
        await here.rooms.update("bob")
        await wait_until(lambda: told(bob) == [URI], 20)
        assert (told(ann), told(bob)) == ([URI], [URI])
        await ann.send("resources/unsubscribe", uri=URI)
        await here.rooms.update("bob")
        await wait_until(lambda: told(bob) == [URI, URI], 20)
        if era == "handshake":
            assert here.rooms.room("ann").params_of("resources/unsubscribe") == [{"uri": URI}]
            await here.rooms.update("ann")
        assert told(ann) == [URI]


@ERAS
async def test_a_stream_of_the_modern_era_is_acknowledged_and_told(tmp_path: Path, era: str) -> None:
    async with place(tmp_path, era) as here:
        await here.somebody("ann")
        bob = await here.somebody("bob")
        await bob.send("resources/subscribe", uri=URI)
        ann = Somebody(here.gateway, MODERN, "ann", capabilities={})
        wanted = {"resourceSubscriptions": [URI, "note://none"]}
        async with anyio.create_task_group() as tg:

            async def listen() -> None:
                with anyio.move_on_after(60):
                    await ann.send("subscriptions/listen", notifications=wanted)

            tg.start_soon(listen)
            await wait_until(lambda: ann.heard != [], 20)
            method, params = ann.heard[0]
            assert method == "notifications/subscriptions/acknowledged"
            assert params["notifications"] == {"resourceSubscriptions": [URI]}
            await here.rooms.update("ann")
            await wait_until(lambda: told(ann) == [URI], 20)
            assert told(bob) == []
            tg.cancel_scope.cancel()


async def test_who_has_no_login_subscribes_to_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, "modern") as here:
        ann = await here.somebody("ann")
        bob = Somebody(here.gateway, HANDSHAKE, "bob", capabilities={}).open()
        with pytest.raises((LoginNeeded, UnknownResource)):
            await bob.send("resources/subscribe", uri=URI)
        await ann.send("resources/subscribe", uri=URI)
        await here.rooms.update("ann")
        await wait_until(lambda: told(ann) == [URI], 20)
        assert told(bob) == []


@ERAS
async def test_a_connection_that_broke_is_made_anew_and_what_was_missed_is_told(tmp_path: Path, era: str) -> None:
    async with place(tmp_path, era) as here:
        ann = await here.somebody("ann")
        await ann.send("resources/subscribe", uri=URI)
        assert told(ann) == []
        here.gateway.upstreams["up"].restart()
        await wait_until(lambda: here.rooms.asked("ann") == [[URI], [URI]], 20)
        await wait_until(lambda: told(ann) == [URI], 20)
        await here.rooms.update("ann")
        await wait_until(lambda: told(ann) == [URI, URI], 20)


@ERAS
async def test_who_has_logged_out_hears_nothing_until_they_are_back(tmp_path: Path, era: str) -> None:
    async with place(tmp_path, era) as here:
        ann = await here.somebody("ann")
        await ann.send("resources/subscribe", uri=URI)
        (subscribed,) = _subscriptions(here)
        await here.house.log_out("ann")
        await wait_until(lambda: not subscribed.is_connected, 20)
        await here.house.log_in("ann")
        await wait_until(lambda: len(here.rooms.asked("ann")) == 2, 20)
        await wait_until(lambda: told(ann) == [URI], 20)


async def test_where_the_server_decides_what_was_wanted_before_is_asked_for_by_each(tmp_path: Path) -> None:
    """With `auto`, nobody knows at first that each logs in for themselves; and somebody may log in for all."""
    async with place(tmp_path, "modern", auth="auto") as here:
        await wait_until(lambda: here.gateway.upstreams["up"].own_subscriptions is not None, 20)
        ann = await here.somebody("ann")
        await ann.send("resources/subscribe", uri=URI)
        await here.house.log_in(SHARED)
        await wait_until(lambda: here.rooms.asked(SHARED) != [], 20)
        await here.rooms.update(SHARED)
        await wait_until(lambda: URI in told(ann), 20)
        assert here.gateway.upstreams["up"].own_subscriptions is None


async def test_nothing_is_left_when_the_last_has_left(tmp_path: Path) -> None:
    async with place(tmp_path, "modern") as here:
        ann = await here.somebody("ann")
        await ann.send("resources/subscribe", uri=URI)
        private = here.gateway.upstreams["up"].links.private
        assert len(_subscriptions(here)) == 1
        await ann.close()
        await wait_until(lambda: not _subscriptions(here), 20)
        links = private._links  # pyright: ignore[reportPrivateUsage]
        await wait_until(lambda: not any(each.holders for some in links.values() for each in some), 20)


async def test_connections_that_only_listen_make_room_for_calls(tmp_path: Path) -> None:
    async with place(tmp_path, "modern", max_sessions=2) as here:
        for who in ("ann", "bob"):
            await (await here.somebody(who)).send("resources/subscribe", uri=URI)
        assert await (await here.somebody("eve")).call("up__a")


ODD: list[dict[str, Any]] = [{}, {"uri": None}, {"uri": [URI]}, {"uri": {"a": 1}}, {"uri": "\ud800"}, {"uri": 5}]


@ERAS
async def test_what_a_server_says_that_means_nothing_ends_nothing(tmp_path: Path, era: str) -> None:
    async with place(tmp_path, era) as here:
        ann, bob = [await here.somebody(who) for who in ("ann", "bob")]
        for each in (ann, bob):
            await each.send("resources/subscribe", uri=URI)
        room = here.rooms.room("ann")
        for method in (UPDATED, "notifications/progress", "notifications/tasks/status", "notifications/cancelled", "x"):
            for params in ODD:
                await room.say({"jsonrpc": "2.0", "method": method, "params": params})
        await here.rooms.update("ann")
        await here.rooms.update("bob")
        await wait_until(lambda: told(ann)[-1:] == [URI] and told(bob) == [URI], 20)
        assert [method for method, _ in bob.heard if not method.endswith("list_changed")] == [UPDATED]


def refuse(params: dict[str, Any]) -> dict[str, Any]:
    raise Refusal(-32002, "not you")


async def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    async with place(tmp_path, "handshake") as here:
        ann = await here.somebody("ann")
        room = here.rooms.room("ann")
        room.service = replace(room.service, methods={**room.service.methods, "resources/subscribe": refuse})
        for _ in range(3):
            with pytest.raises(UpstreamError, match="not you"):
                await ann.send("resources/subscribe", uri=URI)
        await wait_until(lambda: not _subscriptions(here), 20)


def _subscriptions(here: Place) -> list[Any]:
    own = here.gateway.upstreams["up"].own_subscriptions
    assert own is not None
    return list(own._of.values())  # pyright: ignore[reportPrivateUsage]
