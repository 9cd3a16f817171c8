"""Lists that change have one budget, whoever they are of; who listens is told in short steps, and follows its URIs."""

from collections.abc import AsyncGenerator, Collection, Set
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from gateway.access.places import SessionQuota
from gateway.access.policy import Grant, Policy, Rule
from gateway.bridge.tasks import TaskHandles
from gateway.call import Call
from gateway.catalogue.library import CatalogueViews
from gateway.config.models import ServerConfig
from gateway.errors import UpstreamError
from gateway.request import ANONYMOUS, Agent
from gateway.server import listening, reconciling
from gateway.server.agents import ConnectedAgent
from gateway.server.listening import Listening
from gateway.server.lookup import Lookup
from gateway.server.results import BoundedResults
from gateway.upstream.audience import Audience
from gateway.upstream.listing import Listing
from gateway.upstream.upstream import Upstream

pytestmark = pytest.mark.anyio


def offering(*tools: str) -> Listing:
    return Listing(tools=tuple({"name": name, "inputSchema": {"type": "object"}} for name in tools))


async def test_what_is_new_counts_at_once_and_what_changes_has_a_share_of_the_time() -> None:
    servers = {
        name: SimpleNamespace(name=name, own_subscriptions=None, listing=offering("first"))
        for name in ("one", "two", "three")
    }
    upstreams = {name: cast(Upstream, server) for name, server in servers.items()}
    library = CatalogueViews(dict.fromkeys(upstreams, ServerConfig(command="x")), "upstream")
    listens = Listening(
        cast(Lookup, None),
        library,
        upstreams,
        cast(SessionQuota, None),
        TaskHandles(["key"]),
        cast(BoundedResults, None),
        rest=1e9,
    )

    def tools() -> list[str]:
        return [tool["name"] for tool in library.view(None, Grant()).tools]

    for upstream in upstreams.values():
        await listens.on_listing(upstream, ())
    assert tools() == ["one__first", "three__first", "two__first"]
    servers["one"].listing = offering("second")
    await listens.on_listing(upstreams["one"], ())
    assert "one__second" in tools()
    async with anyio.create_task_group() as tg:
        for name in ("one", "two"):
            servers[name].listing = offering("third")
            tg.start_soon(listens.on_listing, upstreams[name], ())
        await anyio.wait_all_tasks_blocked()
        assert tools() == ["one__second", "three__first", "two__first"]
        tg.cancel_scope.cancel()


class Up:
    """An upstream that remembers what is wanted of it, and refuses some."""

    def __init__(self, name: str, listing: Listing) -> None:
        self.name, self.listing = name, listing
        self.config = ServerConfig(command="x")
        self.wanted: Set[str] = frozenset()
        self.refused: set[str] = set()
        self.settled = anyio.Event()
        self.settled.set()

    own_subscriptions = None

    def label(self, agent: Agent) -> None: ...

    async def want(self, uris: Set[str], todo: set[str] | None, roots: Collection[str]) -> None:
        self.wanted = uris
        if todo is not None:
            todo &= self.refused
            if todo:
                raise UpstreamError(-32002, "no")


class House:
    """A `Listening` with upstreams that are none, for agents that remember what they hear."""

    def __init__(self, **listings: Listing) -> None:
        self.ups = {name: Up(name, listing) for name, listing in listings.items()}
        self.upstreams = cast("dict[str, Upstream]", self.ups)
        self.servers = {name: up.config for name, up in self.ups.items()}
        self.policy = Policy([])
        self.library = CatalogueViews(self.servers, "upstream")
        self.library.update((name, up.listing) for name, up in self.ups.items())
        self.lookup = Lookup(self.policy, self.library, self.upstreams, 0)
        quota = SessionQuota(1_000, 1_000)
        self.listening = Listening(
            self.lookup, self.library, self.upstreams, quota, TaskHandles(["key"]), cast(BoundedResults, None)
        )

    def agent(self, heard: list[Any]) -> ConnectedAgent:
        def hear(method: str, params: dict[str, Any] | None) -> None:
            heard.append((method.removeprefix("notifications/"), (params or {}).get("uri")))

        agent = ConnectedAgent(ANONYMOUS, None, "2025-11-25", outlet=hear)
        self.listening.open(agent)
        return agent

    async def subscribe(self, agent: ConnectedAgent, uri: str) -> None:
        request = Call(1, "resources/subscribe", {"uri": uri}, agent, agent.opener, agent.notify)
        await self.listening.subscribe(request)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tg:
            tg.start_soon(self.listening.run)
            yield
            tg.cancel_scope.cancel()


def holding(*uris: str) -> Listing:
    return Listing(resources=tuple({"name": uri, "uri": uri} for uri in uris))


class Counted:
    """A pause that is always due."""

    taken = 0

    def __init__(self, turn: anyio.Lock | None = None) -> None: ...

    async def if_due(self) -> None:
        Counted.taken += 1
        await checkpoint()


async def test_others_have_their_turn_between_any_two_who_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (listening, reconciling):
        monkeypatch.setattr(module, "Pause", Counted)
    house, heard = House(up=offering("first")), list[Any]()
    for _ in range(20):
        house.agent(heard)
    Counted.taken = 0
    house.ups["up"].listing = offering("second")
    await house.listening.on_listing(house.upstreams["up"], ())
    assert heard == [("tools/list_changed", None)] * 20
    assert Counted.taken >= 20
    Counted.taken = 0
    async with house.running():
        with house.listening.reconciler.through_change():
            house.library.update([("up", offering("third"))])
        assert len(heard) == 20
        await anyio.wait_all_tasks_blocked()
    assert heard == [("tools/list_changed", None)] * 40
    assert Counted.taken >= 20


async def test_who_may_no_longer_hear_of_something_does_not_even_before_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house, heard = House(up=holding("a:1", "a:2")), list[Any]()
    agent = house.agent(heard)
    await house.subscribe(agent, "a:1")
    await house.subscribe(agent, "a:2")
    async with house.running():
        with house.listening.reconciler.through_change():
            house.policy.use([Rule(("*",), deny=("a:1",))])
        for uri in ("a:1", "a:2"):
            house.listening.on_resource_updated("up", uri, Audience())
        assert heard == [("resources/updated", "a:2")]
        await anyio.wait_all_tasks_blocked()
    assert house.ups["up"].wanted == {"a:2"}
    assert heard[1:] == [("resources/list_changed", None)]


async def test_a_subscription_follows_its_uri_to_another_server() -> None:
    house, heard = House(first=holding(), second=holding("a:1", "a:2")), list[Any]()
    agent = house.agent(heard)
    for uri in ("a:1", "a:2"):
        await house.subscribe(agent, uri)
    assert house.ups["second"].wanted == {"a:1", "a:2"}
    async with house.running():
        house.ups["first"].listing = holding("a:1")
        await house.listening.on_listing(house.upstreams["first"], ())
        await anyio.wait_all_tasks_blocked()
        assert (house.ups["first"].wanted, house.ups["second"].wanted) == ({"a:1"}, {"a:2"})
        assert heard.count(("resources/updated", "a:1")) == 1
        house.listening.on_resource_updated("second", "a:1", Audience())
        assert heard.count(("resources/updated", "a:1")) == 1
        house.listening.on_resource_updated("first", "a:1", Audience())
        assert heard.count(("resources/updated", "a:1")) == 2


async def test_of_a_filter_only_what_is_refused_goes() -> None:
    house, heard = House(up=holding("a:1", "a:2", "a:3")), list[Any]()
    house.ups["up"].refused = {"a:2"}
    agent = ConnectedAgent(ANONYMOUS, None, "2026-07-28", lasting=False)
    params = {"notifications": {"resourceSubscriptions": ["a:1", "a:2", "a:3"]}}

    def notify(method: str, params: dict[str, Any] | None) -> None:
        heard.append((params or {}).get("notifications"))

    async with anyio.create_task_group() as tg:
        tg.start_soon(house.listening.listen, Call(1, "subscriptions/listen", params, agent, agent.opener, notify))
        await anyio.wait_all_tasks_blocked()
        assert heard == [{"resourceSubscriptions": ["a:1", "a:3"]}]
        assert house.ups["up"].wanted == {"a:1", "a:3"}
        tg.cancel_scope.cancel()
    assert house.ups["up"].wanted == set()
