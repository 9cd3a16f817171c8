"""What `/status` tells, and to whom."""

from bisect import bisect_left
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.request import Principal
from gateway.rest import status as status_routes
from gateway.telemetry.cells import DURATIONS
from tests.rest.house import BROKEN, PEOPLE, TIME, House, house

pytestmark = pytest.mark.anyio


def call(home: House, who: Principal, upstream: str, target: str, seconds: float = 0.01, *, ok: bool = True) -> None:
    now = status_routes.time.perf_counter()
    home.activity.cell(who, upstream, target, now).add(seconds, bisect_left(DURATIONS, seconds), ok)


async def ask(home: House, who: str) -> dict[str, Any]:
    return (await home.ask(who, "GET", "/status")).json()


async def test_everybody_sees_their_own_and_who_has_admin_sees_all(tmp_path: Path) -> None:
    async with house(tmp_path, {"time": TIME, "broken": BROKEN}) as home:
        bot = replace(PEOPLE["bob"], id="agent:bot", root="key:bob", ancestors=(("key:bob", None),), agent_name="bot")
        call(home, PEOPLE["alice"], "broken", "broken__secret", 2.0, ok=False)
        call(home, PEOPLE["bob"], "time", "time__now")
        call(home, bot, "time", "time__convert")
        call(home, PEOPLE["erin"], "time", "time__of_erin")
        call(home, PEOPLE["erin"], "", "tools/list")
        bobs = await ask(home, "bob")
        assert (bobs["scope"], bobs["requests"], bobs["sessions"], bobs["in_flight"]) == ("own", 2, None, None)
        assert [each["name"] for each in bobs["upstreams"]] == ["time"], "the others are none of his business"
        assert {each["target"] for each in bobs["calls"]} == {"time__now", "time__convert"}
        assert {each["principal"] for each in bobs["callers"]} == {"key:bob", "agent:bot"}
        assert bobs["upstreams"][0]["requests"] == 2
        for foreign in ("erin", "alice", "broken"):
            assert foreign not in str(bobs)
        all = await ask(home, "alice")
        assert (all["scope"], all["requests"], all["failed"], len(all["callers"])) == ("all", 5, 1, 4)
        assert (all["sessions"], all["in_flight"]) == (0, 0)
        assert all["calls"][0]["target"] == "broken__secret", "most time first"
        assert all["calls"][0]["max_ms"] == 2000
        assert {each["upstream"] for each in all["calls"]} == {"time", "broken", None}
        assert (await ask(home, "carol"))["requests"] == 0
        assert (await home.ask("dora", "GET", "/status")).status_code == 403


async def test_who_has_admin_for_some_servers_sees_nothing_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = replace(PEOPLE["alice"], id="key:some", owner="some", upstreams=frozenset({"time"}))
    monkeypatch.setitem(PEOPLE, "some", admin)
    async with house(tmp_path, {"time": TIME, "broken": BROKEN}) as home:
        call(home, PEOPLE["alice"], "broken", "broken__secret")
        call(home, PEOPLE["alice"], "time", "time__now")
        seen = await ask(home, "some")
        assert [each["target"] for each in seen["calls"]] == ["time__now"]
        assert "broken" not in str(seen)
