"""The gateway's own requests to one handshake-era agent (sampling, elicitation, roots), and the answers to them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.access.scopes import scope_of
from gateway.call import Call
from gateway.errors import AgentCannot, AgentError, AgentGone, InsufficientScope
from gateway.jsonrpc import Message, RequestId, as_object
from gateway.protocol import INTERNAL_ERROR
from gateway.request import Principal

MAX_ASKED: Final = 64
"""Most questions that one agent has before it at a time."""


@dataclass(slots=True)
class _Question:
    """One that waits for its answer."""

    answer: asyncio.Future[Message]
    scope: str | None
    """What whoever answers it must have."""
    request: Call | None
    """What it belongs to, if it belongs to a request."""

    def is_for(self, sender: Principal) -> bool:
        """Whether the sender of an answer may use the upstream that asks."""
        upstream = self.request.upstream if self.request is not None else None
        return upstream is None or sender.upstreams is None or upstream in sender.upstreams


class ServerRequests:
    """What one connection's or session's agent has been asked and not answered yet.

    Args:
        first: the first question's id.
    """

    def __init__(self, first: int = 1) -> None:
        self._ids = count(first)
        self._waiting: dict[RequestId, _Question] = {}

    async def ask(
        self,
        write: Callable[[Message], object],
        method: str,
        params: dict[str, Any] | None,
        request: Call | None = None,
    ) -> dict[str, Any]:
        """Send a request by `write` and wait for its result. If the caller is cancelled, the agent hears of it.

        Args:
            request: the agent's own that it belongs to.

        Raises:
            AgentError: the agent answered with an error.
            AgentCannot: it has too many questions before it.
            AgentGone: it left.
        """
        if len(self._waiting) >= MAX_ASKED:
            raise AgentCannot(f"{MAX_ASKED} questions wait for its answers")
        id = next(self._ids)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[id] = _Question(answer, scope_of(request.method if request is not None else method), request)
        try:
            write(jsonrpc.request(id, method, params))
            return _result(await answer)
        except asyncio.CancelledError:
            write(jsonrpc.notification("notifications/cancelled", {"requestId": id, "reason": "no longer needed"}))
            raise
        finally:
            del self._waiting[id]

    def answer(self, message: Message, sender: Principal) -> None:
        """Take an answer; one that nobody waits for, from this sender, is dropped.

        Raises:
            InsufficientScope: the sender could not have sent the request that the question belongs to. It stays asked.
        """
        id = message.get("id")
        question = self._waiting.get(id) if jsonrpc.is_id(id) else None
        if question is None or question.answer.done() or not question.is_for(sender):
            return
        if question.scope is not None and question.scope not in sender.scopes:
            raise InsufficientScope({question.scope})
        question.answer.set_result(message)

    def close(self) -> None:
        """The agent has gone."""
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(AgentGone())


def _result(message: Message) -> dict[str, Any]:
    result = jsonrpc.mended(message.get("result"))
    if isinstance(result, dict):
        return as_object(cast("object", result))
    error = as_object(message.get("error"))
    code, text = jsonrpc.error_code(error.get("code"), INTERNAL_ERROR), error.get("message")
    raise AgentError(code, text if isinstance(text, str) else "", error.get("data"))
