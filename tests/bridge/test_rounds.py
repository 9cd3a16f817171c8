"""A handshake-era agent is asked live what a modern upstream asks by its results, and not for ever."""

from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from gateway.bridge import rounds
from gateway.bridge.rounds import answer_rounds
from gateway.bridge.timing import USUAL, BridgeTiming
from gateway.errors import AgentCannot, AgentError, AgentGone, UpstreamAsked, UpstreamError, UpstreamProtocolError
from tests.bridge.requests import HANDSHAKE, agent, call

pytestmark = pytest.mark.anyio

DONE: dict[str, Any] = {"content": ["done"]}
ROOTS: dict[str, Any] = {"method": "roots/list"}


def form(message: str) -> dict[str, Any]:
    return {"method": "elicitation/create", "params": {"message": message}}


def asking(state: Any = None, /, **questions: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"resultType": "input_required", "inputRequests": questions}
    return result | ({"requestState": state} if state is not None else {})


AT_ONCE = BridgeTiming(pause_seconds=0.0)


@dataclass
class Rounds:
    """Both ends: the upstream's results one after the other, and the agent's answers."""

    results: list[Any]
    declared: dict[str, Any] | None = None
    refusal: Exception | None = None
    asked: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    sent: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    cancelled: int = 0

    async def answer(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        self.asked.append((method, params))
        if (params or {}).get("message") == "for ever":
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                self.cancelled += 1
                raise
        if self.refusal is not None:
            raise self.refusal
        return {"to": (params or {}).get("message")}

    async def send(self, params: dict[str, Any]) -> dict[str, Any]:
        self.sent.append(params)
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    async def run(self, first: dict[str, Any], timing: BridgeTiming = USUAL) -> dict[str, Any]:
        request = call(agent(HANDSHAKE, self.declared), ask=self.answer)
        with anyio.fail_after(10):
            return await answer_rounds(request, "up", {"name": "a"}, first, self.send, timing)


async def test_what_asks_nothing_is_returned_as_it_is() -> None:
    both = Rounds([])
    assert await both.run(DONE) is DONE
    assert both.sent == []


async def test_answers_and_state_go_back_round_by_round() -> None:
    both = Rounds([asking("s2", c=form("3")), asking(d=ROOTS), DONE])
    assert await both.run(asking("s1", a=form("1"), b=form("2"))) == DONE
    assert sorted(params["message"] for _, params in both.asked[:2]) == ["1", "2"]
    assert both.sent == [
        {"name": "a", "inputResponses": {"a": {"to": "1"}, "b": {"to": "2"}}, "requestState": "s1"},
        {"name": "a", "inputResponses": {"c": {"to": "3"}}, "requestState": "s2"},
        {"name": "a", "inputResponses": {"d": {"to": None}}},
    ]


async def test_a_round_may_bring_nothing_but_state() -> None:
    both = Rounds([{"resultType": "input_required", "requestState": ""}, DONE])
    assert await both.run(asking("s1"), AT_ONCE) == DONE
    assert both.sent == [{"name": "a", "requestState": "s1"}, {"name": "a", "requestState": ""}]
    assert both.asked == []


async def test_they_are_bounded() -> None:
    for endless in (asking("s", a=form("again")), asking("s")):
        both = Rounds([endless])
        with pytest.raises(UpstreamProtocolError, match="10 rounds"):
            await both.run(endless, AT_ONCE)
        assert len(both.sent) == rounds.MAX_ROUNDS


async def test_pauses_grow_and_stay_short(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr(rounds.anyio, "sleep", sleep)
    both = Rounds([asking("s"), asking("s"), asking("s"), asking("s", a=ROOTS), asking("s"), DONE])
    await both.run(asking("s"))
    assert paused == [0.05, 0.1, 0.2, 0.25, 0.05]


@pytest.mark.parametrize("refusal", [AgentError(-1, "User said no", {"x": 1}), AgentGone()])
async def test_the_agents_refusal_ends_it(refusal: Exception) -> None:
    both = Rounds([DONE], refusal=refusal)
    with pytest.raises(type(refusal)) as caught:
        await both.run(asking(a=ROOTS))
    assert caught.value is refusal
    assert both.sent == []


async def test_one_refusal_withdraws_the_other_questions() -> None:
    both = Rounds([DONE], declared={"elicitation": {}})
    with pytest.raises(UpstreamAsked, match=r"'up'.*did not declare roots"):
        await both.run(asking(a=form("for ever"), b=ROOTS))
    assert both.cancelled == 1
    assert [method for method, _ in both.asked] == ["elicitation/create"]


@pytest.mark.parametrize("question", [ROOTS, {"method": "x/y"}, {}, None, "roots/list", {"method": 7}])
async def test_what_the_agent_cannot_answer_is_never_asked(question: Any) -> None:
    both = Rounds([DONE], declared={"elicitation": {"url": {}}})
    with pytest.raises(UpstreamAsked):
        await both.run(asking(a=question))
    assert both.asked == []
    assert both.sent == []


async def test_the_upstreams_error_in_a_later_round_arrives() -> None:
    class Failing(Rounds):
        async def send(self, params: dict[str, Any]) -> dict[str, Any]:
            raise UpstreamError(-5, "no")

    with pytest.raises(UpstreamError, match="no"):
        await Failing([]).run(asking(a=ROOTS))


async def test_who_cannot_be_asked_now_says_why() -> None:
    with pytest.raises(UpstreamAsked, match="busy"):
        await Rounds([DONE], refusal=AgentCannot("busy")).run(asking(a=ROOTS))
