"""Tools that can only be called as tasks (2025-11-25), for agents whose revision has no such tasks.

The gateway makes the task, and waits for its result. To the agent it is a call that takes its time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

import structlog

from gateway.call import Call
from gateway.errors import GatewayError, UpstreamTimeout
from gateway.jsonrpc import as_object
from gateway.protocol import META_RELATED_TASK
from gateway.request import related_to
from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.bridge")

Attempt = Callable[[Upstream, Call, dict[str, Any]], Awaitable[dict[str, Any]]]

_RESULT: Final = "tasks/result"


class _Waiting(Call, eq=False, kw_only=True):
    """`tasks/result` on behalf of a call: what is said and asked meanwhile is the call's own."""

    _whole: Call

    @classmethod
    def of(cls, whole: Call) -> Self:
        return cls(
            *(whole.id, _RESULT, dict[str, Any](), whole.agent, whole.principal, whole.notify, whole.ask),
            upstream=whole.upstream,
            trace=whole.trace,
            _whole=whole,
        )

    def on_notification(self, method: str, params: dict[str, Any] | None) -> None:
        self._whole.on_notification(method, params)

    @property
    def can_be_asked(self) -> bool:
        return self._whole.can_be_asked

    async def put_question(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        return await self._whole.put_question(method, params)


async def wait_for_task(attempt: Attempt, upstream: Upstream, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The result of a call that its upstream makes a task of. If nobody waits for it any more, the task is cancelled.

    Args:
        attempt: `pipeline.attempt`.

    Raises:
        GatewayError: the upstream's own error, or why there is no result.
    """
    made = await attempt(upstream, call, {**params, "task": {}})
    own = as_object(made.get("task")).get("taskId")
    if not isinstance(own, str):
        return made  # it has answered at once
    waiting = _Waiting.of(call)
    try:
        result = await attempt(upstream, waiting, {"taskId": own})
    except (asyncio.CancelledError, UpstreamTimeout):
        if upstream.tasks is not None:
            upstream.tasks.start_soon(_cancel, attempt, upstream, call, own)
        raise
    finally:
        call.upstream_seconds += waiting.upstream_seconds
        call.result_bytes = waiting.result_bytes
    if META_RELATED_TASK in (meta := as_object(result.get("_meta"))):
        result["_meta"] = related_to({"_meta": meta}, None).get("_meta", {})
    return result


async def _cancel(attempt: Attempt, upstream: Upstream, call: Call, own: str) -> None:
    asked = Call(call.id, "tasks/cancel", {}, call.agent, call.principal, _say_nothing)
    try:
        await attempt(upstream, asked, {"taskId": own})
    except GatewayError as error:  # it is over, or the upstream is away
        log.debug("task not cancelled", upstream=upstream.name, reason=error.message)


def _say_nothing(method: str, params: dict[str, Any] | None) -> None:
    """Nobody waits for it."""
