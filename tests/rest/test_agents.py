"""Agents' tokens, from their registration to their end."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.rest.house import BROKEN, House, house

pytestmark = pytest.mark.anyio

WISH = {
    "agent_name": "my-llm-agent",
    "agent_version": "1.0.0",
    "requested_upstreams": [],
    "requested_scopes": ["read", "write"],
}


@pytest.fixture
async def office(tmp_path: Path) -> AsyncGenerator[House]:
    """Nobody is registered here yet."""
    async with house(tmp_path, {"broken": BROKEN}, cap=3) as office:
        yield office


async def _register(office: House, who: str, **wish: Any) -> dict[str, Any]:
    answer = await office.ask(who, "POST", "/agents/register", json=WISH | wish)
    assert answer.status_code == 201
    return answer.json()


async def _ids(office: House, who: str) -> list[str]:
    answer = await office.ask(who, "GET", "/agents/sessions")
    assert answer.status_code == 200
    return [session["id"] for session in answer.json()["sessions"]]


async def test_a_token_opens_what_it_was_given_for(home: House) -> None:
    registered = await _register(home, "carol")
    session = registered["session"]
    created, expires = (datetime.fromisoformat(session.pop(key)) for key in ("created_at", "expires_at"))
    assert expires - created == timedelta(days=1)
    assert abs(created - datetime.now(UTC)) < timedelta(minutes=1)
    assert session == {
        "id": session["id"],
        "agent_name": "my-llm-agent",
        "agent_version": "1.0.0",
        "owner": "carol",
        "registered_by": "key:carol",
        "scopes": ["read"],
        "upstreams": None,
        "profiles": None,
        "rate_limit_rpm": None,
    }
    token = {"x-agent-token": registered["token"]}
    assert (await home.ask(None, "GET", "/upstreams", token)).status_code == 200
    assert (await home.ask(None, "POST", "/upstreams/broken/restart", token)).status_code == 403


@pytest.mark.parametrize(
    ("who", "wish", "upstreams", "scopes"),
    [
        ("bob", {}, ["time"], ["read", "write"]),
        ("bob", {"requested_upstreams": ["broken"]}, [], ["read", "write"]),
        ("alice", {"requested_upstreams": ["time"], "requested_scopes": ["read"]}, ["time"], ["read"]),
        ("alice", {"requested_scopes": []}, None, ["read", "write"]),
        ("alice", {"requested_scopes": ["admin"]}, None, ["admin"]),
        ("bob", {"requested_scopes": ["admin"]}, ["time"], []),
    ],
)
async def test_nobody_hands_on_what_they_have_not(
    home: House, who: str, wish: dict[str, Any], upstreams: list[str] | None, scopes: list[str]
) -> None:
    session = (await _register(home, who, **wish))["session"]
    assert (session["upstreams"], session["scopes"]) == (upstreams, scopes)


async def test_only_the_name_has_to_be_said(home: House) -> None:
    answer = await home.ask("bob", "POST", "/agents/register", json={"agent_name": "plain"})
    assert (answer.status_code, answer.json()["session"]["agent_version"]) == (201, "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("agent_name", bad) for bad in ("", "a" * 65, "-a", "a/b", "a*", "a\n", "a\x00", "é", "<b>", 7, None)),
        *(("agent_version", bad) for bad in ("1" * 33, "1 0", "1\n", None)),
        *(("requested_upstreams", bad) for bad in ("time", [""], ["x" * 129], ["x"] * 257, [1])),
        *(("requested_scopes", bad) for bad in ("read", ["root"], ["read"] * 17)),
        ("scopes", ["read"]),
    ],
)
async def test_a_bad_wish_is_refused(home: House, field: str, value: object) -> None:
    answer = await home.ask("erin", "POST", "/agents/register", json=WISH | {field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["fields"][0]["field"].split(".")[0] == field
    assert await _ids(home, "erin") == []


async def test_a_session_is_its_owners_business(office: House) -> None:
    bobs, erins = [(await _register(office, who))["session"]["id"] for who in ("bob", "erin")]
    assert await _ids(office, "bob") == [bobs]
    assert await _ids(office, "erin") == [erins]
    assert await _ids(office, "carol") == []
    assert await _ids(office, "alice") == [bobs, erins]


async def test_somebody_elses_session_is_as_if_it_were_not_there(office: House) -> None:
    bobs = (await _register(office, "bob"))["session"]["id"]
    others = await office.ask("erin", "DELETE", f"/agents/sessions/{bobs}")
    unknown = await office.ask("erin", "DELETE", f"/agents/sessions/{'0' * 32}")
    assert (others.status_code, others.content) == (unknown.status_code, unknown.content)
    assert others.status_code == 404
    assert await _ids(office, "bob") == [bobs]


@pytest.mark.parametrize("who", ["bob", "alice"])
async def test_a_revoked_token_is_dead_at_once(office: House, who: str) -> None:
    registered = await _register(office, "bob")
    token = {"x-agent-token": registered["token"]}
    assert (await office.ask(None, "GET", "/upstreams", token)).status_code == 200
    ended = await office.ask(who, "DELETE", f"/agents/sessions/{registered['session']['id']}")
    assert (ended.status_code, ended.content) == (204, b"")
    assert (await office.ask(None, "GET", "/upstreams", token)).status_code == 401
    assert await _ids(office, "bob") == []


async def test_registrations_are_capped(office: House) -> None:
    for _ in range(3):
        await _register(office, "bob")
    answer = await office.ask("bob", "POST", "/agents/register", json=WISH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
    await _register(office, "erin")


async def test_what_changes_something_is_counted(office: House) -> None:
    answer = await office.ask("hasty", "POST", "/agents/register", json=WISH)
    assert answer.headers["ratelimit"].startswith('"default";r=0;')
    for method, path in (
        ("POST", "/agents/register"),
        ("DELETE", "/agents/sessions/x"),
        ("POST", "/upstreams/x/restart"),
    ):
        answer = await office.ask("hasty", method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
        assert int(answer.headers["retry-after"]) in range(1, 61)
    assert (await office.ask("hasty", "GET", "/agents/sessions")).status_code == 200


async def test_a_token_is_shown_once_and_kept_by_nobody(office: House) -> None:
    token = (await _register(office, "bob"))["token"]
    for path in ("/agents/sessions", "/config/info", "/metrics", "/readyz"):
        assert token not in (await office.ask("alice", "GET", path)).text
