"""Fetching lists: every page, within bounds, and what could not be fetched leaves the rest intact."""

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest

from gateway.jsonrpc import dumps
from gateway.upstream import lister
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import State
from gateway.upstream.listing import Listing
from gateway.upstream.timing import UpstreamTiming
from tests.servers.raw import PROMPTS, RESOURCES, TEMPLATES, TOOLS
from tests.servers.wire import Refusal, Service, encode
from tests.support import http_server, wait_until
from tests.upstream.ends import Got, Mcp, Up, byte_server, connected, fixture, response, service, supervised
from tests.upstream.test_upstream import BRISK, Kept

pytestmark = pytest.mark.anyio

Keep = Callable[..., Kept]


@pytest.fixture
def keep(guardian: Guardian) -> Keep:
    return partial(Kept, guardian)


async def fetch(up: Up, previous: Listing | None = None, **rest: Any) -> lister.Fetched:
    return await lister.fetch(up.session, up.agreed, 5, previous, **rest)


def names(listing: Listing) -> list[str]:
    return [tool["name"] for tool in listing.tools]


# --- All of it -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything() -> Generator[str]:
    with http_server(
        "tests.servers.everything", "--page-size", "3", "--ttl-ms", "7", "--cache-scope", "private"
    ) as url:
        yield url


async def test_items_are_kept_as_they_were_sent(keep: Keep) -> None:
    for era in ("handshake", "modern"):
        kept = keep(fixture("raw", "--era", era))
        async with supervised(kept.upstream):
            await wait_until(lambda: kept.upstream.listing is not None)  # noqa: B023
            listing = kept.upstream.listing
            assert listing is not None
            assert dumps([*listing.tools]) == encode(TOOLS)
            assert dumps([*listing.resources]) == encode(RESOURCES)
            assert dumps([*listing.templates]) == encode(TEMPLATES)
            assert dumps([*listing.prompts]) == encode(PROMPTS)
            assert listing.server_info["name"] == "raw"


async def test_all_pages(everything: str) -> None:
    async with connected(everything) as up:
        fetched = await fetch(up)
        assert fetched.problems == ()
        assert {"echo", "slow", "add_tool", "test_simple_text"} <= {*names(fetched.listing)}
        assert len(names(fetched.listing)) == len({*names(fetched.listing)}) > 30
        assert (fetched.listing.ttl_ms, fetched.listing.private) == (7, True)


async def test_what_has_no_capability_is_not_asked_for() -> None:
    mcp = Mcp(service("modern"))
    async with byte_server(mcp) as server, connected(server.url) as up:
        fetched = await fetch(up, Listing(prompts=({"name": "gone"},)))
        assert mcp.methods() == ["tools/list"]
        assert fetched.listing.prompts == ()


async def test_templates_may_be_missing() -> None:
    mcp = Mcp(Service("up", {"resources/list": lambda params: {"resources": [{"uri": "a"}]}}))
    async with byte_server(mcp) as server, connected(server.url) as up:
        fetched = await fetch(up, Listing(templates=({"uriTemplate": "gone"},)))
        assert fetched.problems == ()
        assert fetched.listing.templates == ()
        assert fetched.listing.resources == ({"uri": "a"},)


async def test_a_list_that_never_could_be_fetched_is_unknown_and_not_empty() -> None:
    refuses = True

    def prompts(_: dict[str, Any]) -> dict[str, Any]:
        if refuses:
            raise Refusal(-32603, "not now")
        return {"prompts": []}

    mcp = Mcp(service("modern", **{"prompts/list": prompts}))
    async with byte_server(mcp) as server, connected(server.url) as up:
        first = (await fetch(up)).listing
        assert first.unknown == ("prompts",)
        assert (await fetch(up, first, kinds=["tools"])).listing.unknown == ("prompts",)
        refuses = False
        then = (await fetch(up, first, kinds=["prompts"])).listing
        assert then.unknown == ()
        refuses = True
        assert (await fetch(up, then)).listing.unknown == (), "it was known once"


def paged(pages: dict[str, dict[str, Any]]) -> Service:
    """Pages by cursor; the first is `start`."""

    def page(params: dict[str, Any]) -> dict[str, Any]:
        return pages[params.get("cursor", "start")]

    return service("handshake", **{"tools/list": page})


async def test_the_smallest_ttl_and_the_strictest_scope_count() -> None:
    pages: dict[str, dict[str, Any]] = {
        "start": {"tools": [], "nextCursor": "2", "ttlMs": 500, "cacheScope": "public"},
        "2": {"tools": [], "nextCursor": "3", "ttlMs": 50, "cacheScope": "private"},
        "3": {"tools": [], "ttlMs": True},
    }
    async with byte_server(Mcp(paged(pages))) as server, connected(server.url) as up:
        listing = (await fetch(up)).listing
        assert (listing.ttl_ms, listing.private) == (50, True)
        part = (await fetch(up, Listing(ttl_ms=20, private=True), kinds=["tools"])).listing
        assert part.ttl_ms == 20


@pytest.mark.parametrize("ttl", [-5, 0])
async def test_a_ttl_is_never_negative(ttl: int) -> None:
    async with byte_server(Mcp(paged({"start": {"tools": [], "ttlMs": ttl}}))) as server, connected(server.url) as up:
        assert (await fetch(up)).listing.ttl_ms == 0


# --- Within bounds -------------------------------------------------------------------------------------------------

BOUNDED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "repeated_cursor": ({}, ["first", "second"], "its pages repeat"),
    "endless": ({"MAX_PAGES": 20}, [f"tool_{page}" for page in range(20)], "more than 20 pages"),
    "duplicates": ({"MAX_ITEMS": 2}, ["same", "other"], "more than 2 items"),
    "huge_page": ({"MAX_BYTES": 1000}, ["big", "small"], "more than 1000 bytes"),
    "misshapen": ({}, [], ""),
}


@pytest.mark.parametrize("kind", BOUNDED)
async def test_lists_that_will_not_end(kind: str, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    limits, tools, problem = BOUNDED[kind]
    for name, value in limits.items():
        monkeypatch.setattr(lister, name, value)
    kept = keep(fixture("bad", "--list", kind), timing=replace(BRISK, list_retry_seconds=0.0))
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        listing = kept.upstream.listing
        assert listing is not None
        if problem:
            assert names(listing) == tools
            assert kept.upstream.status.state is State.DEGRADED
            assert problem in kept.upstream.status.reason
        else:
            assert listing.tools[-1]["name"] == "good"
            assert all(isinstance(tool, dict) for tool in listing.tools)
        assert await kept.call("ok")
        assert len(kept.hears.listings) == 1  # and it is not asked again and again


async def test_endless_pages_of_the_real_bound(keep: Keep) -> None:
    kept = keep(fixture("bad", "--list", "endless"))
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        assert kept.upstream.listing is not None
        assert len(kept.upstream.listing.tools) == lister.MAX_PAGES


async def test_a_page_of_two_megabytes(keep: Keep) -> None:
    kept = keep(fixture("bad", "--list", "huge_page"))
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        assert kept.hears.tools == ["big", "small"]
        assert kept.upstream.status.state is State.READY


async def test_slow_pages_end_in_time() -> None:
    async def slow(got: Got) -> None:
        await anyio.sleep(0.02)
        await mcp.answer(got)

    pages = {str(n): {"tools": [{"name": str(n)}], "nextCursor": str(n + 1)} for n in range(1000)}
    mcp = Mcp(paged({"start": pages["0"], **pages}), on={"tools/list": slow})
    async with byte_server(mcp) as server, connected(server.url) as up:
        fetched = await fetch(up, timing=UpstreamTiming(list_seconds=0.1))
        assert "more than 0.1 s of pages" in fetched.problems[0]
        assert 1 <= len(fetched.listing.tools) < 100


# --- What cannot be fetched ----------------------------------------------------------------------------------------

FAILING: dict[str, Any] = {
    "an error": Refusal(-32603, "the database is down"),
    "no array": {"tools": {"a": 1}},
    "nothing": {},
}


@pytest.mark.parametrize("kind", FAILING)
async def test_a_list_that_fails_leaves_the_rest_intact(kind: str) -> None:
    def fail(params: dict[str, Any]) -> dict[str, Any]:
        if isinstance(FAILING[kind], Exception):
            raise FAILING[kind]
        return FAILING[kind]

    def prompts(params: dict[str, Any]) -> dict[str, Any]:
        return {"prompts": [{"name": "p"}]}

    mcp = Mcp(service("handshake", **{"tools/list": fail, "prompts/list": prompts}))
    async with byte_server(mcp) as server, connected(server.url) as up:
        before = Listing(tools=({"name": "before"},))
        fetched = await fetch(up, before)
        assert fetched.failed == {"tools"}
        assert len(fetched.problems) == 1
        assert "tools/list failed" in fetched.problems[0]
        assert names(fetched.listing) == ["before"]
        assert fetched.listing.prompts == ({"name": "p"},)


async def test_a_later_page_that_fails_leaves_what_was_known() -> None:
    pages: dict[str, Any] = {"start": {"tools": [{"name": "a"}], "nextCursor": "2"}, "2": {}}
    async with byte_server(Mcp(paged(pages))) as server, connected(server.url) as up:
        fetched = await fetch(up, Listing(tools=({"name": "before"},)))
        assert names(fetched.listing) == ["before"]


async def test_it_is_asked_again(keep: Keep) -> None:
    failures = 3

    async def fail(got: Got) -> None:
        nonlocal failures
        failures -= 1
        await (got.send(response(status="500 Oops")) if failures >= 0 else mcp.answer(got))

    mcp = Mcp(service("modern"), on={"tools/list": fail})
    async with byte_server(mcp) as server:
        kept = keep(server.url, timing=replace(BRISK, list_retry_seconds=0.02))
        async with supervised(kept.upstream):
            await wait_until(lambda: kept.hears.tools == ["a"])
            assert kept.upstream.status.state is State.READY
