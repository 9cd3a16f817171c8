"""Parked calls without an upstream: what it asks is a script, and the agent comes back or does not."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from gateway.bridge import parking as parking_module
from gateway.bridge.parking import ParkedCall, Parking
from gateway.bridge.state import StateSeal
from gateway.bridge.timing import USUAL, BridgeTiming
from gateway.call import Call
from gateway.errors import (
    AgentCannot,
    GatewayError,
    InternalError,
    InvalidRequestState,
    TooManyParked,
    UpstreamLost,
)
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent
from tests.bridge.requests import ALL, MODERN, agent, call
from tests.support import wait_until

pytestmark = pytest.mark.anyio

DONE: dict[str, Any] = {"content": ["done"]}
ROOTS, FORM = "roots/list", "elicitation/create"
Run = Callable[[ParkedCall], Awaitable[dict[str, Any]]]


class Yard:
    """A `Parking` as the bridge uses it, and what became of the calls."""

    def __init__(self, timing: BridgeTiming = USUAL) -> None:
        self.seal = StateSeal([b"k" * 32])
        self.parking = Parking(self.seal, timing=timing)
        self.running = 0
        self.cancelled = 0

    async def start(self, run: Run, request: Call | None = None) -> dict[str, Any]:
        async def counted(parked: ParkedCall) -> dict[str, Any]:
            self.running += 1
            try:
                return await run(parked)
            except anyio.get_cancelled_exc_class():
                self.cancelled += 1
                raise
            finally:
                self.running -= 1

        return await self.parking.start(request or call(), "up", counted)

    async def retry(self, result: dict[str, Any], request: Call | None = None, /, **answers: Any) -> dict[str, Any]:
        """Come back with answers to the questions of a result."""
        request = request or call()
        request.params["inputResponses"] = answers
        content = self.seal.open(result["requestState"], request, "up")
        return await self.parking.resume(content["call"], content["round"], request)


@pytest.fixture
async def yard(request: pytest.FixtureRequest) -> AsyncGenerator[Yard]:
    yard = Yard(getattr(request, "param", USUAL))
    async with anyio.create_task_group() as tg:
        tg.start_soon(yard.parking.run)
        await anyio.lowlevel.checkpoint()
        with anyio.fail_after(10):
            yield yard
        tg.cancel_scope.cancel()


async def in_turn(parked: ParkedCall) -> dict[str, Any]:
    """Asks for a first and a second thing; its result is the answers."""
    first = await parked.answer(ROOTS, None)
    second = await parked.answer(FORM, {"message": first["x"]})
    return {"answers": [first, second]}


async def together(parked: ParkedCall) -> dict[str, Any]:
    """Asks for three things without waiting, as an upstream's messages arrive: not in the same turn of the loop."""
    answers: dict[str, Any] = {}

    async def ask(name: str, turns: int) -> None:
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        answers[name] = await parked.answer(FORM, {"message": name})

    async with anyio.create_task_group() as tg:
        for turns, name in enumerate(("a", "b", "c")):
            tg.start_soon(ask, name, 10 * turns)
    return {"answers": answers}


async def for_ever(parked: ParkedCall) -> dict[str, Any]:
    await parked.answer(ROOTS, None)
    return DONE


def asked(result: dict[str, Any]) -> dict[str, str | None]:
    """The questions of a result: key → message."""
    assert result["resultType"] == "input_required"
    return {key: one.get("params", {}).get("message") for key, one in result["inputRequests"].items()}


@contextmanager
def refused(text: str) -> Generator[None]:
    with pytest.raises(InvalidRequestState, match=text):
        yield


async def test_a_call_that_asks_nothing_is_answered_and_forgotten(yard: Yard) -> None:
    async def run(parked: ParkedCall) -> dict[str, Any]:
        return DONE

    assert await yard.start(run) == DONE
    assert yard.running == 0


async def test_one_question_after_the_other(yard: Yard) -> None:
    first = await yard.start(in_turn)
    assert first["inputRequests"] == {"question-1": {"method": ROOTS}}
    second = await yard.retry(first, **{"question-1": {"x": "1"}})
    assert asked(second) == {"question-2": "1"}
    assert second["requestState"] != first["requestState"]
    assert await yard.retry(second, **{"question-2": {"y": 2}}) == {"answers": [{"x": "1"}, {"y": 2}]}
    assert yard.cancelled == 0


async def test_questions_asked_at_once_may_be_answered_bit_by_bit(yard: Yard) -> None:
    """What has no answer is asked again, under the same key; what is no answer is none."""
    result = await yard.start(together)
    assert len(asked(result)) == 3, "in one round"
    keys = {message: key for key, message in asked(result).items()}
    result = await yard.retry(result, **{keys["b"]: {"n": 2}, keys["c"]: "no object", "nonesuch": {}})
    assert asked(result) == {keys["a"]: "a", keys["c"]: "c"}
    result = await yard.retry(result, **{keys["b"]: {"n": 0}})
    assert asked(result) == {keys["a"]: "a", keys["c"]: "c"}
    result = await yard.retry(result, **{keys["a"]: {"n": 1}, keys["c"]: {"n": 3}})
    assert result["answers"] == {"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 3}}


async def test_a_state_is_used_once(yard: Yard) -> None:
    first = await yard.start(in_turn)
    second = await yard.retry(first, **{"question-1": {"x": "1"}})
    with refused("used already"):
        await yard.retry(first, **{"question-1": {"x": "other"}})
    third = await yard.retry(second, **{"question-2": {}})
    assert third["answers"][0] == {"x": "1"}
    for result in (first, second):
        with refused("does not wait here"):
            await yard.retry(result)


async def test_two_retries_at_once_are_one(yard: Yard) -> None:
    release = anyio.Event()

    async def run(parked: ParkedCall) -> dict[str, Any]:
        await parked.answer(ROOTS, None)
        await release.wait()
        return DONE

    result = await yard.start(run)
    got: list[Any] = []

    async def retry() -> None:
        got.append(await yard.retry(result, **{"question-1": {}}))

    async with anyio.create_task_group() as tg:
        tg.start_soon(retry)
        await anyio.wait_all_tasks_blocked()
        with refused("used already"):
            await yard.retry(result, **{"question-1": {}})
        release.set()
    assert got == [DONE]


@pytest.mark.parametrize("id", ["nonesuch", None, 7, {}])
async def test_what_does_not_wait_here_is_refused(yard: Yard, id: object) -> None:
    with refused("does not wait here"):
        await yard.parking.resume(id, 1, call())


@pytest.mark.parametrize("yard", [BridgeTiming(lifetime_seconds=0.05)], indirect=True)
async def test_a_retry_that_never_comes(yard: Yard) -> None:
    result = await yard.start(for_ever)
    assert yard.running == 1
    await wait_until(lambda: yard.cancelled == 1)
    with refused("expired"):
        await yard.retry(result)


async def test_each_round_has_its_time(yard: Yard) -> None:
    parked: list[ParkedCall] = []

    async def run(one: ParkedCall) -> dict[str, Any]:
        parked.append(one)
        return await for_ever(one)

    result = await yard.start(run)
    first = parked[0].expiry
    result = await yard.retry(result)
    second = parked[0].expiry
    assert first is not None
    assert second is not None
    assert first.cancelled()
    assert second.when() > first.when()
    assert await yard.retry(result, **{"question-1": {}}) == DONE
    assert second.cancelled()


async def test_an_agent_that_leaves_takes_its_call_with_it(yard: Yard) -> None:
    async def run(parked: ParkedCall) -> dict[str, Any]:
        await parked.answer(ROOTS, None)
        await anyio.sleep_forever()
        return DONE

    result = await yard.start(run)
    with anyio.move_on_after(0.05):
        await yard.retry(result, **{"question-1": {}})
    await wait_until(lambda: yard.cancelled == 1)
    with refused("does not wait here"):
        await yard.retry(result)


async def test_one_that_leaves_before_anything_was_asked(yard: Yard) -> None:
    async def run(parked: ParkedCall) -> dict[str, Any]:
        await anyio.sleep_forever()
        return DONE

    with anyio.move_on_after(0.05):
        await yard.start(run)
    await wait_until(lambda: yard.cancelled == 1)


@pytest.mark.parametrize("error", [UpstreamLost("up", "it died"), InternalError()])
async def test_what_fails_while_it_is_parked_fails_the_retry(yard: Yard, error: GatewayError) -> None:
    async def run(parked: ParkedCall) -> dict[str, Any]:
        async with anyio.create_task_group() as tg:
            tg.start_soon(parked.answer, ROOTS, None)
            await anyio.sleep(0.05)
            tg.cancel_scope.cancel()
        raise error

    result = await yard.start(run)
    await wait_until(lambda: yard.running == 0)
    with pytest.raises(type(error)) as caught:
        await yard.retry(result, **{"question-1": {}})
    assert caught.value is error
    with refused("does not wait here"):
        await yard.retry(result)


async def test_an_upstream_may_do_without_an_answer(yard: Yard) -> None:
    """It withdrew its question, and was done while the agent still thought about it."""

    async def run(parked: ParkedCall) -> dict[str, Any]:
        with anyio.move_on_after(0.05):
            await parked.answer(ROOTS, None)
        return DONE

    result = await yard.start(run)
    await wait_until(lambda: yard.running == 0)
    assert await yard.retry(result, **{"question-1": {}}) == DONE


async def test_a_defect_of_ours_is_an_internal_error(yard: Yard) -> None:
    async def run(parked: ParkedCall) -> dict[str, Any]:
        raise ZeroDivisionError

    with pytest.raises(InternalError):
        await yard.start(run)


async def test_what_the_agent_did_not_declare_is_not_asked(yard: Yard) -> None:
    """And what it declares may change from request to request."""
    told: list[AgentCannot] = []

    async def run(parked: ParkedCall) -> dict[str, Any]:
        await parked.answer(ROOTS, None)
        try:
            await parked.answer(FORM, {"message": "m"})
        except AgentCannot as error:
            told.append(error)
        return DONE

    result = await yard.start(run, call(agent(capabilities={"roots": {}, "elicitation": {}})))
    retry = call(agent(capabilities={"roots": {}}))
    assert await yard.retry(result, retry, **{"question-1": {}}) == DONE
    assert [error.data for error in told] == [{"requiredCapabilities": {"elicitation": {"form": {}}}}]


@pytest.mark.parametrize(("whole", "each"), [(2, 100), (100, 2)])
async def test_they_are_bounded(yard: Yard, monkeypatch: pytest.MonkeyPatch, whole: int, each: int) -> None:
    monkeypatch.setattr(parking_module, "MAX_PARKED", whole)
    monkeypatch.setattr(parking_module, "MAX_PARKED_EACH", each)
    first = await yard.start(for_ever)
    await yard.start(for_ever)
    with pytest.raises(TooManyParked, match="2 requests"):
        await yard.start(for_ever)
    await wait_until(lambda: yard.cancelled == 1)
    other = call(agent(principal="bob"))
    if each == 2:
        assert asked(await yard.start(for_ever, other))
    else:
        with pytest.raises(TooManyParked):
            await yard.start(for_ever, other)
    assert await yard.retry(first, **{"question-1": {}}) == DONE
    assert asked(await yard.start(for_ever))


async def test_so_are_their_bytes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await yard.start(for_ever)  # one alone may have more
    for name, is_alone in (("MAX_PARKED_BYTES_EACH", False), ("MAX_PARKED_BYTES", True)):
        monkeypatch.setattr(parking_module, name, 1)
        with pytest.raises(TooManyParked, match="1 request"):
            await yard.start(for_ever)
        if not is_alone:
            bobs = call(agent(principal="bob"))
            assert await yard.retry(await yard.start(for_ever, bobs), bobs, **{"question-1": {}}) == DONE
    assert await yard.retry(first, **{"question-1": {}}) == DONE


@pytest.mark.parametrize(("name", "count"), [("MAX_ASKED", 2), ("MAX_ASKED_BYTES_EACH", 2), ("MAX_ASKED_BYTES", 2)])
async def test_so_is_what_a_call_asks_before_it_is_parked(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, name: str, count: int
) -> None:
    question = {"message": "x" * 1_000}
    monkeypatch.setattr(parking_module, name, count if name == "MAX_ASKED" else count * 1_100)
    refused: list[str] = []

    async def many(parked: ParkedCall) -> dict[str, Any]:
        async def ask() -> None:
            try:
                await parked.answer(FORM, question)
            except AgentCannot as error:
                refused.append(error.message)

        async with anyio.create_task_group() as tg:
            for _ in range(5):
                tg.start_soon(ask)
        return DONE

    result = await yard.start(many)
    assert len(asked(result)) == count
    assert len(refused) == 5 - count
    answers: dict[str, Any] = {key: {} for key in asked(result)}
    monkeypatch.setattr(parking_module, name, 10_000)
    assert await yard.retry(result, **answers) == DONE
    assert asked(await yard.start(in_turn)), "what was answered counts no longer"


async def test_agents_with_tokens_of_their_own_count_for_who_is_behind_them(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking_module, "MAX_PARKED_EACH", 1)
    one, two = (ConnectedAgent(Principal(id, root="ann"), None, MODERN, ALL) for id in ("agent:1", "agent:2"))
    await yard.start(for_ever, call(one))
    for who in (two, agent(principal="ann")):
        with pytest.raises(TooManyParked, match="1 request"):
            await yard.start(for_ever, call(who))
    assert asked(await yard.start(for_ever, call(agent(principal="bob"))))


async def test_those_of_a_revoked_principal_end(yard: Yard) -> None:
    await yard.start(for_ever)
    kept = await yard.start(for_ever, call(agent(principal="bob")))
    yard.parking.end_those_of({"ann", "eve"})
    await wait_until(lambda: yard.cancelled == 1)
    assert await yard.retry(kept, call(agent(principal="bob")), **{"question-1": {}}) == DONE


async def test_progress_and_log_are_for_the_request_that_waits_now(yard: Yard) -> None:
    parked_calls: list[ParkedCall] = []

    async def run(parked: ParkedCall) -> dict[str, Any]:
        parked_calls.append(parked)
        await parked.answer(ROOTS, None)
        await anyio.sleep(0.05)
        return DONE

    first, second = call(), call()
    result = await yard.start(run, first)
    (parked,) = parked_calls
    assert parked.request is None
    async with anyio.create_task_group() as tg:
        tg.start_soon(lambda: yard.retry(result, second, **{"question-1": {}}))
        await wait_until(lambda: parked.request is second)
    assert yard.running == 0
