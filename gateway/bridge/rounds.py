"""A modern upstream asks by its result, a handshake-era agent is asked live: the rounds between the two.

Source: 2026-07-28, basic/patterns/mrtr.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from gateway.bridge.envelope import is_input_required
from gateway.bridge.questions import LiveAsker
from gateway.bridge.timing import USUAL, BridgeTiming
from gateway.call import Call
from gateway.errors import AgentCannot, GatewayError, UpstreamAsked, UpstreamProtocolError
from gateway.jsonrpc import as_object

MAX_ROUNDS: Final = 10
"""As in the SDKs; an upstream that has not had enough by then never will."""

Send = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def answer_rounds(
    request: Call,
    upstream: str,
    params: dict[str, Any],
    result: dict[str, Any],
    send: Send,
    timing: BridgeTiming = USUAL,
) -> dict[str, Any]:
    """Have the agent answer what the upstream asks, until the upstream is content.

    Args:
        params: of the request as the upstream got it.
        result: the upstream's first; returned as it is if it asks nothing.
        send: repeats the request with these parameters.

    Raises:
        UpstreamAsked: the agent cannot be asked that.
        UpstreamProtocolError: the upstream asks without end.
        GatewayError: what the agent or the upstream answered instead.
    """
    pause = timing.pause_seconds
    for _ in range(MAX_ROUNDS):
        if not is_input_required(result):
            return result
        more: dict[str, Any] = {}
        if questions := as_object(result.get("inputRequests")):
            more["inputResponses"] = await _answers(request, upstream, questions)
            pause = timing.pause_seconds
        else:
            await anyio.sleep(pause)
            pause = min(pause * 2, timing.max_pause_seconds)
        if result.get("requestState") is not None:
            more["requestState"] = result["requestState"]
        result = await send({**params, **more})
    if is_input_required(result):
        raise UpstreamProtocolError(upstream, f"more than {MAX_ROUNDS} rounds of questions")
    return result


async def _answers(request: Call, upstream: str, questions: dict[str, Any]) -> dict[str, Any]:
    """All at once; the first that has no answer ends the others."""
    client_requester, answers, failures = LiveAsker(request), dict[str, Any](), list[GatewayError]()

    async def answer(key: str, question: dict[str, Any]) -> None:
        try:
            answers[key] = await client_requester.ask(str(question.get("method")), as_object(question.get("params")))
        except GatewayError as error:
            failures.append(error)
            tg.cancel_scope.cancel()

    async with anyio.create_task_group() as tg:
        for key, question in questions.items():
            tg.start_soon(answer, key, as_object(question))
    if failures:
        failure = failures[0]
        raise UpstreamAsked(upstream, failure.reason) if isinstance(failure, AgentCannot) else failure
    return answers
