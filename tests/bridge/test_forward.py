"""One request on its way through the bridge, with an upstream that answers as it is told."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import pytest

from gateway.bridge.forward import Bridge
from gateway.bridge.parking import Parking
from gateway.bridge.state import StateSeal
from gateway.call import Call
from gateway.errors import GatewayError, UpstreamAsked, UpstreamError
from gateway.protocol import Era
from gateway.request import ANONYMOUS
from gateway.server.agents import ConnectedAgent
from gateway.upstream.upstream import Upstream

pytestmark = pytest.mark.anyio

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"


@dataclass
class Told:
    """The upstream's end: says something on the way, then answers or refuses."""

    answer: dict[str, Any] | UpstreamError
    says: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list[tuple[str, dict[str, Any] | None]])
    asked: dict[str, Any] = field(default_factory=dict[str, Any])
    name: str = "up"
    era_: Era = Era.MODERN

    def engaged(self) -> nullcontext[None]:
        return nullcontext()

    async def era(self, agent: object = None) -> Era:
        return self.era_

    async def attempt(self, upstream: object, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        self.asked = params
        for one in self.says:
            call.on_notification(*one)
        if isinstance(self.answer, UpstreamError):
            raise self.answer
        return self.answer


async def crossed(bridge: Bridge, call: Call, told: Told) -> dict[str, Any]:
    """As the pipeline does it."""
    upstream = cast(Upstream, told)
    try:
        if bridge.is_needed(call):
            return await bridge.carry(call, upstream, call.params, told.attempt)
        result = await told.attempt(upstream, call, call.params)
        return await bridge.on_result(call, upstream, call.params, result, told.attempt)
    except UpstreamError as error:
        instead = bridge.on_error(call, told.name, error)
        if instead is None:
            raise
        return instead


async def carry(
    told: Told,
    version: str = HANDSHAKE,
    level: str | None = None,
    capabilities: dict[str, Any] | None = None,
    **params: Any,
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The result, and what the agent was told before."""
    heard: list[tuple[str, Any]] = []

    def notify(method: str, params: dict[str, Any] | None) -> None:
        heard.append((method, params))

    agent = ConnectedAgent(ANONYMOUS, None, version, log_level=level, capabilities=capabilities or {})
    request = Call(1, "tools/call", params, agent, agent.opener, notify)
    seal = StateSeal([b"k" * 32])
    parking = Parking(seal)
    outcome: dict[str, Any] | GatewayError = {}
    async with anyio.create_task_group() as tg:
        tg.start_soon(parking.run)
        await anyio.lowlevel.checkpoint()
        try:
            outcome = await crossed(Bridge(seal, parking), request, told)
        except GatewayError as error:
            outcome = error  # raised outside of the group, which would wrap it
        tg.cancel_scope.cancel()
    if isinstance(outcome, GatewayError):
        raise outcome
    return outcome, heard


async def test_progress_comes_back_under_the_agents_token() -> None:
    progress = ("notifications/progress", {"progressToken": 99, "progress": 1, "x-unknown": None})
    _, heard = await carry(Told({}, [progress]), _meta={"progressToken": "mine"})
    assert heard == [("notifications/progress", {"progressToken": "mine", "progress": 1, "x-unknown": None})]


async def test_progress_nobody_asked_for_goes_nowhere() -> None:
    told = Told({}, [("notifications/progress", {"progressToken": 99, "progress": 1})])
    _, heard = await carry(told)
    assert heard == []


async def test_only_wanted_log_messages_come_back_and_nothing_else() -> None:
    says: list[tuple[str, dict[str, Any] | None]] = [
        ("notifications/message", {"level": "debug", "data": 1}),
        ("notifications/message", {"level": "error", "data": 2}),
        ("notifications/tools/list_changed", None),
        ("notifications/resources/updated", {"uri": "a:1"}),
        ("notifications/cancelled", {"requestId": 1}),
    ]
    _, heard = await carry(Told({}, says), MODERN, "error")
    assert heard == [("notifications/message", {"level": "error", "data": 2})]
    _, heard = await carry(Told({}, says), MODERN)
    assert heard == []


@pytest.mark.parametrize(
    ("version", "code", "expected"),
    [(HANDSHAKE, -32002, -32002), (MODERN, -32002, -32602), (MODERN, -32602, -32602), (MODERN, -32050, -32050)],
)
async def test_an_upstreams_error_keeps_its_code_but_for_one(version: str, code: int, expected: int) -> None:
    with pytest.raises(UpstreamError) as caught:
        await carry(Told(UpstreamError(code, "no", {"uri": "a:1"})), version)
    assert (caught.value.code_in(Era.of(version)), caught.value.message, caught.value.data) == (
        expected,
        "no",
        {"uri": "a:1"},
    )


@pytest.mark.parametrize("version", [HANDSHAKE, MODERN])
async def test_what_the_agent_did_not_declare_is_not_asked_and_the_error_names_who_did(version: str) -> None:
    questions = {"a": {"method": "roots/list"}}
    with pytest.raises(UpstreamAsked, match=r"'up'.*did not declare roots") as caught:
        await carry(Told({"resultType": "input_required", "inputRequests": questions}), version)
    assert caught.value.code == -32017


async def test_questions_that_nobody_here_knows_are_between_the_two() -> None:
    asked = {"resultType": "input_required", "inputRequests": {"a": {"method": "x/y"}, "b": None}}
    result, _ = await carry(Told({**asked}), MODERN)
    assert result == asked


PAGES = {"elicitations": [{"url": "https://example.com/", "elicitationId": "1", "message": "Go", "mode": "url"}]}


async def test_pages_to_visit_are_a_result_in_the_modern_era() -> None:
    told = Told(UpstreamError(-32042, "Visit", PAGES))
    result, _ = await carry(told, MODERN, capabilities={"elicitation": {"url": {}}})
    asked = {"method": "elicitation/create", "params": PAGES["elicitations"][0]}
    assert result == {"resultType": "input_required", "inputRequests": {"question-1": asked}}


@pytest.mark.parametrize("data", [PAGES, None, {"elicitations": []}, {"elicitations": "x"}])
@pytest.mark.parametrize("declared", [{}, {"elicitation": {}}, {"elicitation": {"form": {}}}])
async def test_pages_that_cannot_be_visited_are_an_error_of_the_era(data: Any, declared: Any) -> None:
    """−32042 is no code of the modern era's."""
    with pytest.raises(UpstreamAsked):
        await carry(Told(UpstreamError(-32042, "Visit", data)), MODERN, capabilities=declared)


async def test_a_handshake_agent_gets_the_pages_as_they_came() -> None:
    with pytest.raises(UpstreamError) as caught:
        await carry(Told(UpstreamError(-32042, "Visit", PAGES)))
    assert (caught.value.code, caught.value.data) == (-32042, PAGES)


async def test_a_handshake_upstream_is_not_told_of_retries() -> None:
    """As an agent retries that was asked by an error, for which there is no state."""
    told = Told({"content": []}, era_=Era.HANDSHAKE)
    await carry(told, MODERN, capabilities={"roots": {}}, name="a", inputResponses={"question-1": {}})
    assert told.asked == {"name": "a"}
