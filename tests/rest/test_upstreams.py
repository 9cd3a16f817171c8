"""What is shown of upstreams, to whom, and starting one over."""

from pathlib import Path

import pytest

from gateway import __version__
from gateway.access.policy import Rule
from gateway.store import pins
from gateway.upstream.link import State
from tests.rest.house import TIME, House, house
from tests.support import wait_until

pytestmark = pytest.mark.anyio


async def test_an_upstream_that_works(home: House) -> None:
    answer = await home.ask("bob", "GET", "/upstreams/time")
    assert answer.status_code == 200
    shown = answer.json()
    offered = home.gateway.library.whole("time")
    assert len(offered.tools) > len(offered.resources) > 0  # or the counts below could be of anything
    assert shown == {
        "name": "time",
        "description": None,
        "tags": [],
        "transport": "stdio",
        "url": None,
        "connect": None,
        "required": False,
        "lazy": False,
        "state": "ready",
        "reason": None,
        "next_try": None,
        "successor": None,
        "last_error": None,
        "era": "modern",
        "protocol_version": "2026-07-28",
        "server": {"name": "time", "version": __version__, "title": "Time"},
        "breaker": {"state": "closed", "reason": None, "next_try": None, "openings": 0},
        "tools": len(offered.tools),
        "resources": len(offered.resources),
        "resource_templates": len(offered.templates),
        "prompts": len(offered.prompts),
        "in_flight": 0,
        "definitions": {"pin": "warn", "unapproved": 0, "changes": [], "suspicious": []},
    }


async def test_an_upstream_that_does_not_work(home: House) -> None:
    shown = (await home.ask("carol", "GET", "/upstreams/broken")).json()
    assert (shown["state"], shown["tools"], shown["era"]) == ("backing off", 0, None)
    assert (
        shown["reason"]
        == shown["last_error"]
        == ("'no-such-program-anywhere' is not an executable on PATH; install it or give its full path")
    )
    assert 0 <= shown["next_try"] <= 60


@pytest.mark.parametrize(("who", "names"), [("alice", ["time", "broken"]), ("bob", ["time"])])
async def test_one_sees_what_one_may_use(home: House, who: str, names: list[str]) -> None:
    answer = await home.ask(who, "GET", "/upstreams")
    assert [each["name"] for each in answer.json()["upstreams"]] == names


async def test_what_one_may_not_use_is_not_there(home: House) -> None:
    hidden = await home.ask("bob", "GET", "/upstreams/broken")
    unknown = await home.ask("bob", "GET", "/upstreams/never-was")
    assert (hidden.status_code, hidden.content) == (unknown.status_code, unknown.content)
    assert hidden.status_code == 404


async def test_counts_are_of_what_one_may_use(tmp_path: Path) -> None:
    async with house(tmp_path, {"time": TIME}, rules=[Rule(("bob",), deny=("time__now",))]) as home:
        await wait_until(lambda: home.gateway.upstreams["time"].listing is not None, 30)
        alices, bobs = [(await home.ask(who, "GET", "/upstreams/time")).json()["tools"] for who in ("alice", "bob")]
        assert bobs == alices - 1


async def test_changes_are_for_who_may_use_everything(tmp_path: Path) -> None:
    """What somebody may not use, its changes would tell of."""
    pins.add(tmp_path / "state" / pins.NAME, {"time": pins.Pins({"tools": {}})})
    rules = [Rule(("carol",), deny=("time__now",))]
    async with house(tmp_path, {"time": {**TIME, "pin": "block"}}, rules=rules) as home:
        await wait_until(lambda: home.gateway.upstreams["time"].listing is not None, 30)
        shown = {who: (await home.ask(who, "GET", "/upstreams/time")).json() for who in ("alice", "bob", "carol")}
        assert {"kind": "tools", "name": "now", "change": "new", "blocked": True} in shown["bob"]["definitions"][
            "changes"
        ]
        assert shown["alice"]["definitions"] == shown["bob"]["definitions"]
        assert shown["carol"]["definitions"] is None


async def test_of_many_changes_some_are_shown(tmp_path: Path) -> None:
    gone = {f"gone {number}" * 50: {"description": "\u200b"} for number in range(150)}
    pins.add(tmp_path / "state" / pins.NAME, {"time": pins.Pins({"tools": gone})})
    async with house(tmp_path, {"time": TIME}) as home:
        await wait_until(lambda: home.gateway.upstreams["time"].listing is not None, 30)
        shown = (await home.ask("alice", "GET", "/upstreams/time")).json()["definitions"]
        assert shown["unapproved"] > 150
        assert len(shown["changes"]) == 100
        assert max(len(change["name"]) for change in shown["changes"]) == 200


async def test_a_restart_opens_a_new_connection(tmp_path: Path) -> None:
    async with house(tmp_path, {"time": TIME}) as home:
        time = home.gateway.upstreams["time"]
        await wait_until(lambda: time.status.state is State.READY, 30)
        before = time.agreed
        answer = await home.ask("alice", "POST", "/upstreams/time/restart")
        assert (answer.status_code, answer.json()["name"]) == (202, "time")
        await wait_until(lambda: time.agreed is not before and time.status.state is State.READY, 30)


async def test_a_restart_does_not_wait_for_the_back_off(home: House) -> None:
    broken = home.gateway.upstreams["broken"]
    await wait_until(lambda: broken.status.next_try is not None)
    before = broken.status.next_try
    assert (await home.ask("alice", "POST", "/upstreams/broken/restart")).status_code == 202
    await wait_until(lambda: broken.status.next_try not in (None, before))
    assert (await home.ask("bob", "POST", "/upstreams/broken/restart")).status_code == 403
