"""Keeping fresh: changes heard in either era's way, time to live, subscriptions that survive, and doubts resolved."""

from collections.abc import Callable, Generator, Iterator, Set
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest

from gateway import jsonrpc
from gateway.errors import UpstreamError
from gateway.upstream import listen
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import State
from gateway.upstream.transport import table
from tests.servers.wire import Message, Method, Refusal, Service
from tests.support import http_server, wait_until
from tests.upstream.ends import (
    DEADLINE,
    LAST_CHUNK,
    STREAM_HEAD,
    Got,
    Mcp,
    ask,
    byte_server,
    call,
    event,
    fixture,
    supervised,
    text_of,
)
from tests.upstream.test_upstream import BRISK, Kept

pytestmark = pytest.mark.anyio

Keep = Callable[..., Kept]
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


@pytest.fixture
def keep(guardian: Guardian) -> Keep:
    return partial(Kept, guardian)


def changed(kind: str = "tools") -> Message:
    return {"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}


class Announcing(Service):
    """Says that it announces its changes."""

    def _capabilities(self) -> dict[str, Any]:
        return {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}}


class Changing(Mcp):
    """A server with lists that change, and one stream on which it says so. Each tools/list has one tool more."""

    def __init__(
        self, era: str, methods: dict[str, Method] | None = None, *, announces: bool = True, ttl_ms: int = 60_000
    ) -> None:
        self.fetched = 0
        self.ttl_ms = ttl_ms
        self.streams: list[Got] = []
        self.fetched_before: list[int] = []
        """How often the tools had been listed when each of the streams was opened."""
        kind = Announcing if announces else Service
        empty: dict[str, Method] = {
            "resources/list": lambda params: {"resources": []},
            "resources/templates/list": lambda params: {"resourceTemplates": []},
            **dict.fromkeys(("resources/subscribe", "resources/unsubscribe", "logging/setLevel"), lambda params: {}),
        }
        answers = {"tools/list": self._list, "tools/call": call, **empty, **(methods or {})}
        super().__init__(kind("up", answers, era))
        self.on["GET" if era == "handshake" else "subscriptions/listen"] = self.listen

    def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        self.fetched += 1
        return {"tools": [{"name": f"t{n}"} for n in range(self.fetched)], "ttlMs": self.ttl_ms}

    async def listen(self, got: Got) -> None:
        self.fetched_before.append(self.fetched)
        await self.acknowledge(got)

    async def acknowledge(self, got: Got) -> None:
        """Open the stream, in the way of its era."""
        await got.send(STREAM_HEAD)
        self.streams.append(got)
        if got.method == "POST":
            await self.say({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged"})

    async def say(self, *messages: Message, stream: int = -1) -> None:
        got = self.streams[stream]
        tag = {"_meta": {SUBSCRIPTION: got.json()["id"]}} if got.method == "POST" else {}
        tagged = [{**message, "params": {**message.get("params", {}), **tag}} for message in messages]
        await got.send(b"".join(map(event, tagged)))

    def params_of(self, method: str) -> list[Any]:
        return [message["params"] for message in self.heard if message.get("method") == method]


async def drop(got: Got) -> None:
    await got.drop()


def no_tools(params: dict[str, Any]) -> dict[str, Any]:
    return {"tools": []}


ERAS = pytest.mark.parametrize("era", ["handshake", "modern"])


# --- Lists that change ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["handshake", "modern"])
def everything(request: pytest.FixtureRequest) -> Generator[str]:
    with http_server("tests.servers.everything", "--era", request.param) as url:
        yield url


async def test_a_change_is_heard(everything: str, keep: Keep) -> None:
    kept = keep(everything)
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        await ask(kept.upstream, "tools/call", {"name": "add_tool", "arguments": {"name": "fresh"}})
        await wait_until(lambda: "fresh" in kept.hears.tools)
        assert kept.hears.announced[-1] == {"tools"}
        await ask(kept.upstream, "tools/call", {"name": "remove_tool", "arguments": {"name": "fresh"}})
        await wait_until(lambda: "fresh" not in kept.hears.tools)


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_change_is_heard_over_stdio(era: str, keep: Keep) -> None:
    kept = keep(fixture("everything", "--era", era))
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        await ask(kept.upstream, "tools/call", {"name": "add_tool", "arguments": {"name": "fresh"}})
        await wait_until(lambda: "fresh" in kept.hears.tools)


@ERAS
async def test_a_burst_of_changes_is_fetched_once(era: str, keep: Keep) -> None:
    mcp = Changing(era)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await mcp.say(*[changed()] * 20)
            await wait_until(lambda: kept.hears.tools == ["t0", "t1"])
            await anyio.sleep(3 * BRISK.debounce_seconds)
            assert mcp.fetched == 2
            assert mcp.methods().count("resources/list") == 1  # the others were not touched
            assert len(kept.hears.listings) == 2


@ERAS
async def test_a_change_while_the_lists_are_fetched_is_not_missed(era: str, keep: Keep) -> None:
    async def change_meanwhile(got: Got) -> None:
        if mcp.fetched == 1:
            await mcp.say(changed())
            await anyio.sleep(0.02)
        await mcp.answer(got)

    mcp = Changing(era)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            mcp.on["tools/list"] = change_meanwhile
            await mcp.say(changed())
            await wait_until(lambda: len(kept.hears.tools) == 3)


async def test_what_was_announced_is_passed_on_even_when_nothing_changed(keep: Keep) -> None:
    mcp = Changing("handshake", {"tools/list": no_tools})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await mcp.say(changed())
            await wait_until(lambda: kept.hears.announced[-1] == {"tools"})


@ERAS
async def test_changes_are_heard_before_the_lists_are_fetched_and_those_are_fetched_once(era: str, keep: Keep) -> None:
    mcp = Changing(era)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await mcp.say(changed())
            await wait_until(lambda: kept.hears.tools == ["t0", "t1"])
            assert mcp.fetched_before == [0]
            assert mcp.methods().count("resources/list") == 1


@ERAS
async def test_one_that_is_slow_to_listen_is_listed_before_and_again_after(era: str, keep: Keep) -> None:
    listed = anyio.Event()

    async def slow(got: Got) -> None:
        await listed.wait()
        await mcp.acknowledge(got)

    mcp = Changing(era)
    mcp.on["GET" if era == "handshake" else "subscriptions/listen"] = slow
    async with byte_server(mcp) as server:
        kept = keep(server.url, timing=replace(BRISK, hearing_seconds=0.01))
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert kept.hears.tools == ["t0"]
            listed.set()
            await wait_until(lambda: kept.hears.tools == ["t0", "t1"])


async def test_a_server_without_a_stream_is_listed_at_once(keep: Keep) -> None:
    mcp = Changing("handshake")
    del mcp.on["GET"]
    async with byte_server(mcp) as server:
        kept = keep(server.url, timing=replace(BRISK, hearing_seconds=float("inf")))
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()


@ERAS
async def test_a_stream_that_broke_is_opened_again_and_then_all_is_fetched(era: str, keep: Keep) -> None:
    mcp = Changing(era)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await mcp.streams[0].drop()
            await wait_until(lambda: kept.hears.tools == ["t0", "t1"])
            assert mcp.fetched_before == [0, 1]
            await mcp.say(changed())
            await wait_until(lambda: kept.hears.tools == ["t0", "t1", "t2"])


async def test_a_stream_that_takes_up_where_it_broke_has_missed_nothing(keep: Keep) -> None:
    mcp = Changing("handshake")
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await mcp.streams[0].send(event(changed("resources"), id="7"))
            await wait_until(lambda: len(kept.hears.listings) == 2)
            await mcp.streams[0].drop()
            await wait_until(lambda: len(mcp.streams) == 2)
            await mcp.say(changed("resources"))
            await wait_until(lambda: len(kept.hears.listings) == 3)
            assert mcp.streams[1].headers["last-event-id"] == "7"
            assert mcp.fetched == 1


@ERAS
async def test_news_that_is_too_large_to_be_any_is_not_decoded(
    era: str, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MAX_NOTIFICATION", 1_000)
    decoded: list[int] = []
    loads = jsonrpc.loads

    def counted(data: bytes, *args: Any) -> Any:
        decoded.append(len(data))
        return loads(data, *args)

    mcp = Changing(era)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            monkeypatch.setattr(jsonrpc, "loads", counted)
            large = {**changed(), "params": {"why": "x" * 1_000}}
            await mcp.say(large, {**large, "params": {**large["params"], "id": 1}}, changed("resources"))
            await wait_until(lambda: len(kept.hears.listings) == 2)
            assert mcp.fetched == 1, "only the resources"
            assert len([size for size in decoded if size > 1_000]) == 1


# --- Time to live --------------------------------------------------------------------------------------------------


async def test_who_announces_never_grows_stale(keep: Keep) -> None:
    timing = replace(BRISK, min_ttl_seconds=0.0)
    mcp = Changing("handshake", ttl_ms=0)
    mcp.service.methods = {"tools/list": mcp.service.methods["tools/list"]}
    async with byte_server(mcp) as server:
        kept = keep(server.url, timing=timing)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert kept.upstream.is_stale()  # resources are offered without announcing them
    loud = Changing("modern", ttl_ms=0)
    loud.service.__class__ = Loud
    async with byte_server(loud) as server:
        kept = keep(server.url, timing=timing)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert not kept.upstream.is_stale()
            loud.on["subscriptions/listen"] = drop
            await loud.streams[0].drop()
            await wait_until(kept.upstream.is_stale)  # while nothing can be heard


class Loud(Announcing):
    def _capabilities(self) -> dict[str, Any]:
        return {"tools": {"listChanged": True}}


async def test_who_refuses_to_tell_is_asked(keep: Keep) -> None:
    def refuse(params: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(-32603, "not today")

    mcp = Changing("modern", {"subscriptions/listen": refuse}, ttl_ms=0)
    mcp.service.__class__ = Loud
    del mcp.on["subscriptions/listen"]
    async with byte_server(mcp) as server:
        kept = keep(server.url, timing=replace(BRISK, min_ttl_seconds=0.0))
        async with supervised(kept.upstream):
            await wait_until(kept.upstream.is_stale)


async def test_lists_live_as_long_as_they_were_given(keep: Keep) -> None:
    for ttl_ms, lives_on in ((0, False), (60_000, True)):
        mcp = Changing("modern", announces=False, ttl_ms=ttl_ms)
        async with byte_server(mcp) as server:
            kept = keep(server.url, timing=replace(BRISK, min_ttl_seconds=0.05))
            async with supervised(kept.upstream):
                await kept.upstream.settled.wait()
                await anyio.sleep(0.06)
                assert kept.upstream.is_stale() != lives_on


async def test_freshening_is_shared_and_bounded(keep: Keep) -> None:
    hold = anyio.Event()

    async def slow(got: Got) -> None:
        await hold.wait()
        await mcp.answer(got)

    mcp = Changing("modern", announces=False)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await kept.upstream.freshen(DEADLINE)
            assert kept.hears.tools == ["t0", "t1"]
            mcp.on["tools/list"] = slow
            with anyio.fail_after(DEADLINE):
                await kept.upstream.freshen(0.1)
            hold.set()
            async with anyio.create_task_group() as tg:
                for _ in range(10):
                    tg.start_soon(kept.upstream.freshen, DEADLINE)
            assert 3 <= mcp.fetched <= 4


async def test_one_that_is_away_is_neither_stale_nor_freshened(keep: Keep) -> None:
    kept = keep("http://127.0.0.1:1/")
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        assert not kept.upstream.is_stale()
        with anyio.fail_after(DEADLINE):
            await kept.upstream.freshen(0.01)


# --- Subscriptions -------------------------------------------------------------------------------------------------


async def test_subscriptions_of_the_handshake_era(keep: Keep) -> None:
    mcp = Changing("handshake")
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await kept.upstream.want(frozenset({"a", "b"}))
            await kept.upstream.want(frozenset({"b", "c"}))
            assert mcp.params_of("resources/subscribe") == [{"uri": "a"}, {"uri": "b"}, {"uri": "c"}]
            assert mcp.params_of("resources/unsubscribe") == [{"uri": "a"}]
            await mcp.say({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "b"}})
            await wait_until(lambda: kept.hears.updated == ["b"])


async def test_subscriptions_of_the_modern_era(keep: Keep) -> None:
    mcp = Changing("modern")
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await kept.upstream.want(frozenset({"a", "b"}))
            wanted = [params["notifications"] for params in mcp.params_of("subscriptions/listen")]
            assert wanted == [
                {"toolsListChanged": True},
                {"toolsListChanged": True, "resourceSubscriptions": ["a", "b"]},
            ]
            await mcp.say({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "a"}})
            await wait_until(lambda: kept.hears.updated == ["a"])
            assert text_of(await kept.call("x")) == "x"
            await wait_until(
                lambda: server.open == 2
            )  # the new stream and the calls' connection: the old one is closed


@ERAS
async def test_what_was_wanted_is_wanted_of_the_next_connection(era: str, keep: Keep) -> None:
    def subscribe(params: dict[str, Any]) -> dict[str, Any]:
        if params["uri"] == "b" and mcp.session > 1:
            raise Refusal(-32002, "Resource not found")
        return {}

    mcp = Changing(era, {"resources/subscribe": subscribe})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await kept.upstream.want(frozenset({"a", "b", "c"}))
            await kept.upstream.links.set_log_level("warning")
            mcp.heard.clear()
            kept.upstream.links.main.drop(UpstreamError(1, "test"))
            if era == "handshake":
                await wait_until(lambda: len(mcp.params_of("resources/subscribe")) == 3)
                assert mcp.params_of("logging/setLevel") == [{"level": "warning"}]
            else:
                await wait_until(lambda: mcp.params_of("subscriptions/listen"))
                [params] = mcp.params_of("subscriptions/listen")
                assert params["notifications"]["resourceSubscriptions"] == ["a", "b", "c"]


async def test_what_was_wanted_while_it_was_away(keep: Keep) -> None:
    mcp = Changing("handshake")
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        await kept.upstream.want(frozenset({"a"}))
        await kept.upstream.links.set_log_level("error")
        async with supervised(kept.upstream):
            await wait_until(lambda: mcp.params_of("resources/subscribe") == [{"uri": "a"}])
            assert mcp.params_of("logging/setLevel") == [{"level": "error"}]


async def test_what_is_wanted_while_it_comes_up_is_asked_for_once(keep: Keep) -> None:
    wanted = anyio.Event()

    async def slow(got: Got) -> None:
        await wanted.wait()
        await mcp.answer(got)

    mcp = Changing("handshake")
    mcp.on["tools/list"] = slow
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await wait_until(lambda: "tools/list" in mcp.methods())
            await kept.upstream.want(frozenset({"a"}))
            wanted.set()
            await kept.upstream.settled.wait()
            await kept.call("x")
            assert mcp.params_of("resources/subscribe") == [{"uri": "a"}]


async def test_a_subscription_that_is_refused_is_told_and_forgotten(keep: Keep) -> None:
    def refuse(params: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(-32002, "Resource not found")

    mcp = Changing("handshake", {"resources/subscribe": refuse})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            with pytest.raises(UpstreamError, match="not found"):
                await kept.upstream.want(frozenset({"a"}))
            await kept.upstream.want(frozenset())
            assert mcp.params_of("resources/unsubscribe") == []


async def test_a_subscription_that_is_refused_keeps_no_other_from_being_made(keep: Keep) -> None:
    def refuse(params: dict[str, Any]) -> dict[str, Any]:
        if params["uri"] == "a":
            raise Refusal(-32002, "Resource not found")
        return {}

    mcp = Changing("handshake", {"resources/subscribe": refuse})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            with pytest.raises(UpstreamError, match="not found"):
                await kept.upstream.want(frozenset({"a", "b"}))
            assert mcp.params_of("resources/subscribe") == [{"uri": "a"}, {"uri": "b"}]


async def test_a_subscription_that_somebody_gave_up_is_made_by_the_next_who_wants_it(keep: Keep) -> None:
    async def hang(got: Got) -> None:
        if mcp.params_of("resources/subscribe") != [{"uri": "a"}]:
            await mcp.answer(got)

    mcp = Changing("handshake")
    mcp.on["resources/subscribe"] = hang
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream), anyio.create_task_group() as tg:
            await kept.upstream.settled.wait()
            given_up = anyio.CancelScope()

            async def give_up() -> None:
                with given_up:
                    await kept.upstream.want(frozenset({"a", "b", "c"}))

            tg.start_soon(give_up)
            await wait_until(lambda: mcp.params_of("resources/subscribe") == [{"uri": "a"}])
            await kept.upstream.want(frozenset({"a", "b", "c"}), {"b"})  # which waits for no other
            given_up.cancel()
            await kept.upstream.want(frozenset({"a", "b", "c"}), {"a", "c"})
            assert [params["uri"] for params in mcp.params_of("resources/subscribe")] == ["a", "b", "a", "c"]


async def test_a_listen_stream_that_is_never_acknowledged(keep: Keep) -> None:
    async def silent(got: Got) -> None:
        await got.send(STREAM_HEAD)
        mcp.streams.append(got)

    mcp = Changing("modern")
    mcp.on["subscriptions/listen"] = silent
    async with byte_server(mcp) as server:
        kept = keep(server.url, timing=replace(BRISK, acknowledge_seconds=0.05))
        async with supervised(kept.upstream):
            await wait_until(lambda: len(mcp.streams) == 1)
            for uri in ("a", "b"):
                with anyio.fail_after(DEADLINE):
                    await kept.upstream.want(frozenset({uri}))

            def asked_for_b() -> bool:
                wanted = mcp.streams[-1].json()["params"]["notifications"]
                return wanted.get("resourceSubscriptions") == ["b"]

            await wait_until(asked_for_b)
            await mcp.say(changed())
            await wait_until(lambda: len(kept.hears.tools) == 2)


class Uncounted(Set[str]):
    """What is wanted, of which it can be asked whether something is, but which is too much to look through."""

    def __init__(self, *uris: str) -> None:
        self._uris = set(uris)

    def __contains__(self, uri: object) -> bool:
        return uri in self._uris

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("looked through")

    def __len__(self) -> int:
        raise AssertionError("counted")

    def __bool__(self) -> bool:
        return True


@ERAS
async def test_who_wants_one_more_does_not_look_through_all_there_are(era: str, keep: Keep) -> None:
    mcp = Changing(era)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            todo = {"a"}
            await kept.upstream.want(Uncounted("a"), todo)
            assert todo == set()
            todo = {"a", "b"}
            await kept.upstream.want(Uncounted("b"), todo)
            assert todo == set()
            if era == "handshake":
                assert mcp.params_of("resources/subscribe") == [{"uri": "a"}, {"uri": "b"}]
                assert mcp.params_of("resources/unsubscribe") == [{"uri": "a"}]
            else:
                assert listened_to(mcp) == [None, ["a"], ["b"]]


def listened_to(mcp: Changing) -> list[Any]:
    """The resources that each listen stream was opened for, in their order."""
    return [got["notifications"].get("resourceSubscriptions") for got in mcp.params_of("subscriptions/listen")]


async def test_very_many_are_listened_to_on_several_streams_of_which_a_change_concerns_one(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "MAX_URIS", 2)
    monkeypatch.setattr(listen, "MAX_BYTES", 10)
    mcp = Changing("modern")
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await kept.upstream.want(frozenset({"a", "b", "c", "d", "much longer"}))
            assert sorted(listened_to(mcp)[1:]) == [["a", "b"], ["c", "d"], ["much longer"]]
            for uri in ("a", "d"):
                stream = next(n for n, uris in enumerate(listened_to(mcp)) if uris and uri in uris)
                updated = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}
                await mcp.say(updated, stream=stream)
            await wait_until(lambda: kept.hears.updated == ["a", "d"])
            await kept.upstream.want(frozenset({"a", "b", "c", "much longer", "e"}))
            assert listened_to(mcp)[4:] == [["c", "e"]]
            assert kept.hears.updated == ["a", "d"]  # nobody missed anything


async def test_of_several_streams_the_one_that_broke_may_have_missed_its_own(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "MAX_URIS", 1)
    mcp = Changing("modern")
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await kept.upstream.want(frozenset({"a", "b"}))
            fetched = mcp.fetched
            await mcp.streams[listened_to(mcp).index(["b"])].drop()
            await wait_until(lambda: kept.hears.updated == ["b"])
            assert listened_to(mcp)[-1] == ["b"]
            assert mcp.fetched == fetched


@ERAS
async def test_what_is_refused_is_all_that_is_left_to_do(era: str, keep: Keep) -> None:
    def refuse(params: dict[str, Any]) -> dict[str, Any]:
        if params["uri"] == "b":
            raise Refusal(-32002, "Resource not found")
        return {}

    async def leave_out(got: Got) -> None:
        await got.send(STREAM_HEAD)
        mcp.streams.append(got)
        wanted = {**got.json()["params"]["notifications"]}
        wanted["resourceSubscriptions"] = [uri for uri in wanted.get("resourceSubscriptions", []) if uri != "b"]
        acknowledged = "notifications/subscriptions/acknowledged"
        await mcp.say({"jsonrpc": "2.0", "method": acknowledged, "params": {"notifications": wanted}})

    mcp = Changing(era, {"resources/subscribe": refuse})
    if era == "modern":
        mcp.on["subscriptions/listen"] = leave_out
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            todo = {"a", "b", "c"}
            with pytest.raises(UpstreamError, match="not"):
                await kept.upstream.want(frozenset(todo), todo)
            assert todo == {"b"}


async def test_one_that_is_wanted_again_while_it_is_given_up_is_subscribed_to(keep: Keep) -> None:
    held = anyio.Event()

    async def slow(got: Got) -> None:
        await held.wait()
        await mcp.answer(got)

    mcp = Changing("handshake")
    mcp.on["resources/unsubscribe"] = slow
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream), anyio.create_task_group() as tg:
            await kept.upstream.settled.wait()
            await kept.upstream.want(frozenset({"a"}))
            tg.start_soon(kept.upstream.want, frozenset[str]())
            await wait_until(lambda: mcp.params_of("resources/unsubscribe"))
            tg.start_soon(kept.upstream.want, frozenset({"a"}), {"a"})
            await anyio.wait_all_tasks_blocked()
            held.set()
            await wait_until(lambda: len(mcp.params_of("resources/subscribe")) == 2)
            methods = [method for method in mcp.methods() if "subscribe" in method]
            assert methods == ["resources/subscribe", "resources/unsubscribe", "resources/subscribe"]


# --- Doubts --------------------------------------------------------------------------------------------------------


@ERAS
async def test_a_doubt_is_resolved_by_asking(era: str, keep: Keep) -> None:
    mcp = Changing(era)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            before = len(mcp.heard)
            kept.upstream.watch.suspect()
            asked = "ping" if era == "handshake" else "server/discover"
            await wait_until(lambda: [m["method"] for m in mcp.heard[before:]] == [asked])
            assert kept.upstream.status.state is State.READY


async def test_one_that_is_slow_is_not_given_up(keep: Keep) -> None:
    async def never(got: Got) -> None: ...

    mcp = Changing("handshake")
    mcp.on["ping"] = never
    async with byte_server(mcp) as server:
        kept = keep(server.url, timing=replace(BRISK, check_seconds=0.02))
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            kept.upstream.watch.suspect()
            await wait_until(lambda: "notifications/cancelled" in mcp.methods())
            assert kept.upstream.status.state is State.READY


async def test_one_that_drops_the_question_is_given_up(keep: Keep) -> None:
    mcp = Changing("handshake")
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            mcp.on["ping"] = drop
            kept.upstream.watch.suspect()
            await wait_until(lambda: mcp.session == 2)


async def test_the_end_of_a_stream_in_good_order_raises_no_doubt(keep: Keep) -> None:
    mcp = Changing("modern")
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            answer = {"jsonrpc": "2.0", "id": mcp.streams[0].json()["id"], "result": {"resultType": "complete"}}
            await mcp.streams[0].send(event(answer), LAST_CHUNK)
            await wait_until(lambda: len(mcp.streams) == 2)
            assert mcp.methods().count("server/discover") == 0
