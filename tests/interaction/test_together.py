"""Several agents at once: each gets its own answers, its own progress and its own log, whatever ids they choose."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.interaction._connect import NEAR
from tests.interaction._http import HttpChannel, open_session, sse
from tests.interaction._requirements import requirement
from tests.interaction._wire import Answer, Wire, shake_hands

pytestmark = pytest.mark.parametrize("upstream", NEAR)


@pytest.fixture
def crowd(raw_base: str) -> Generator[list[Wire]]:
    """Agents of every kind that can share a gateway, two of each."""
    url = f"{raw_base}/mcp"
    with ExitStack() as stack:
        wires: list[Wire] = []
        for _ in range(2):
            channel = stack.enter_context(sse(raw_base))
            shake_hands(channel)
            wires += [Wire(HttpChannel(url, open_session(url)), False), Wire(HttpChannel(url), True)]
            wires.append(Wire(channel, False))
        yield wires


@requirement("together:answers", "together:progress")
def test_calls_with_the_same_id_and_token_get_their_own_answers(crowd: list[Wire], upstream: str) -> None:
    def call(number: int) -> Answer:
        arguments = {"seconds": 0.2, "steps": number + 2}
        params = {"name": f"{upstream}__slow", "arguments": arguments, "_meta": {"progressToken": "same"}}
        return crowd[number].ask("tools/call", params, id=1)

    def echo(number: int) -> Answer:
        return crowd[number].ask("tools/call", {"name": f"{upstream}__echo", "arguments": {"n": number}}, id=2)

    with ThreadPoolExecutor(len(crowd)) as pool:
        answers = list(pool.map(call, range(len(crowd))))
        echoes = list(pool.map(echo, range(len(crowd))))
    for number, answer in enumerate(answers):
        steps = number + 2
        assert answer.message["id"] == 1
        assert answer.result["content"]
        assert [message["params"]["progress"] for message in answer.own] == list(range(1, steps + 1))
        assert {message["params"]["total"] for message in answer.own} == {steps}
        assert {message["params"]["progressToken"] for message in answer.own} == {"same"}
    assert [echo.result["structuredContent"] for echo in echoes] == [{"n": number} for number in range(len(crowd))]


@requirement("together:logs", "logging:level")
def test_each_hears_its_own_level_of_its_own_calls(crowd: list[Wire], upstream: str) -> None:
    levels = ["debug", "alert", "emergency"] * 2
    heard = {"debug": 3, "alert": 1, "emergency": 0}
    for wire, level in zip(crowd, levels, strict=True):
        if not wire.modern:
            wire.ask("logging/setLevel", {"level": level})

    def call(number: int) -> Answer:
        meta = {"io.modelcontextprotocol/logLevel": levels[number]} if crowd[number].modern else {}
        return crowd[number].ask("tools/call", {"name": f"{upstream}__test_logging_tool", "_meta": meta})

    with ThreadPoolExecutor(len(crowd)) as pool:
        answers = list(pool.map(call, range(len(crowd))))
    for level, answer in zip(levels, answers, strict=True):
        assert [message["method"] for message in answer.own] == ["notifications/message"] * heard[level]


@requirement("together:answers")
def test_one_agents_calls_run_side_by_side(crowd: list[Wire], upstream: str) -> None:
    """A slow call holds up neither the agent's other calls nor anybody else's."""
    for wire in crowd[:2]:
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(wire.call, f"{upstream}__slow", seconds=0.5, steps=1)
            for _ in range(5):
                assert wire.call(f"{upstream}__echo", n=1).result["structuredContent"] == {"n": 1}
            assert not slow.done()
            assert slow.result().result["content"]
