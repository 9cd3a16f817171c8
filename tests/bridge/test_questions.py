"""What an agent may be asked, and in which words."""

from typing import Any

import pytest

from gateway.bridge.questions import LiveAsker, check, outgoing
from gateway.errors import AgentCannot
from gateway.protocol import Era
from tests.bridge.requests import ALL, HANDSHAKE, agent, call

pytestmark = pytest.mark.anyio

SAMPLE, ELICIT, ROOTS = "sampling/createMessage", "elicitation/create", "roots/list"
URL, FORM = {"mode": "url"}, {"mode": "form"}


@pytest.mark.parametrize(
    ("declared", "method", "params"),
    [
        (ALL, SAMPLE, {}),
        (ALL, SAMPLE, {"tools": []}),
        (ALL, ELICIT, {}),
        (ALL, ELICIT, FORM),
        (ALL, ELICIT, URL),
        (ALL, ROOTS, {}),
        ({"sampling": {}}, SAMPLE, {"tools": None}),
        ({"roots": {}}, ROOTS, {}),
        ({"elicitation": {}}, ELICIT, {}),  # an empty object means forms
        ({"elicitation": {}}, ELICIT, FORM),
        ({"elicitation": {"x": {}}}, ELICIT, FORM),
        ({"elicitation": {"url": {}}}, ELICIT, URL),
    ],
)
def test_what_was_declared_may_be_asked(declared: dict[str, Any], method: str, params: dict[str, Any]) -> None:
    check(agent(capabilities=declared), method, params)


@pytest.mark.parametrize(
    ("declared", "method", "params", "missing"),
    [
        ({}, SAMPLE, {}, {"sampling": {}}),
        ({"sampling": None}, SAMPLE, {}, {"sampling": {}}),
        ({"sampling": {}}, SAMPLE, {"tools": []}, {"sampling": {"tools": {}}}),
        ({"sampling": {}}, SAMPLE, {"toolChoice": {}}, {"sampling": {"tools": {}}}),
        ({"sampling": {"tools": None}}, SAMPLE, {"tools": []}, {"sampling": {"tools": {}}}),
        ({}, ELICIT, {}, {"elicitation": {"form": {}}}),
        ({"elicitation": {}}, ELICIT, URL, {"elicitation": {"url": {}}}),
        ({"elicitation": {"form": {}}}, ELICIT, URL, {"elicitation": {"url": {}}}),
        ({"elicitation": {"url": {}}}, ELICIT, FORM, {"elicitation": {"form": {}}}),
        ({"elicitation": {"url": {}}}, ELICIT, {}, {"elicitation": {"form": {}}}),
        ({"sampling": {}}, ROOTS, {}, {"roots": {}}),
    ],
)
def test_what_was_not_declared_is_refused_and_named(
    declared: dict[str, Any], method: str, params: dict[str, Any], missing: dict[str, Any]
) -> None:
    with pytest.raises(AgentCannot) as caught:
        check(agent(capabilities=declared), method, params)
    assert caught.value.data == {"requiredCapabilities": missing}
    assert all(name in caught.value.message for name in missing)


@pytest.mark.parametrize("method", ["ping", "tools/call", "x/y", ""])
def test_what_is_no_question_is_refused(method: str) -> None:
    with pytest.raises(AgentCannot) as caught:
        check(agent(), method, {})
    assert caught.value.data is None


def test_what_belongs_to_the_upstreams_hop_stays_there() -> None:
    asked = {"message": "m", "task": {"ttl": 1}, "_meta": {"progressToken": 1, "traceparent": "00"}}
    for era in Era:
        assert outgoing(ELICIT, asked, era) == {"message": "m", "_meta": {"traceparent": "00"}}
        assert outgoing(ELICIT, {"_meta": {"progressToken": 1}}, era) == {}
        assert outgoing(ROOTS, None, era) == {}


def test_a_page_to_visit_has_an_id_where_the_era_wants_one() -> None:
    assert "elicitationId" not in outgoing(ELICIT, URL, Era.MODERN)
    made = {outgoing(ELICIT, URL, Era.HANDSHAKE)["elicitationId"] for _ in range(2)}
    assert len(made) == 2
    assert outgoing(ELICIT, URL | {"elicitationId": "its own"}, Era.HANDSHAKE)["elicitationId"] == "its own"
    assert "elicitationId" not in outgoing(ELICIT, FORM, Era.HANDSHAKE)


async def test_live_questions_go_by_the_requests_own_stream_if_there_is_one() -> None:
    asked: list[Any] = []

    async def ask(method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        asked.append((method, params))
        return {"roots": []}

    who = agent(HANDSHAKE)
    assert await LiveAsker(call(who, ask=ask)).ask(ROOTS, {"_meta": {"progressToken": 1}}) == {"roots": []}
    assert asked == [(ROOTS, {})]
    with pytest.raises(AgentCannot, match="without a session"):
        await LiveAsker(call(who)).ask(ROOTS, None)
    with pytest.raises(AgentCannot, match="did not declare roots"):
        await LiveAsker(call(agent(HANDSHAKE, {}), ask=ask)).ask(ROOTS, None)
    assert len(asked) == 1


async def test_an_agent_is_asked_nothing_it_did_not_declare_on_no_requests_behalf_either() -> None:
    asked: list[Any] = []

    async def ask(method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        asked.append((method, params))
        return {}

    who = agent(HANDSHAKE, {"roots": {}})
    with pytest.raises(AgentCannot, match="no stream"):
        await who.ask(ROOTS, None)
    who.inquiry = ask
    for method in (SAMPLE, ELICIT, "x/y"):
        with pytest.raises(AgentCannot):
            await who.ask(method, {})
    await who.ask(ROOTS, {"_meta": {"progressToken": 1}})
    assert asked == [(ROOTS, {})]
