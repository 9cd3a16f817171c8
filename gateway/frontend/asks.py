"""The gateway's own requests to one handshake-era agent (sampling, elicitation, roots), and the answers to them."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from gateway import jsonrpc
from gateway.errors import AgentCannot, AgentError, AgentGone
from gateway.jsonrpc import Message, RequestId, as_object
from gateway.protocol import INTERNAL_ERROR

MAX_ASKED: Final = 64
"""Most questions that one agent has before it at a time."""


class Asks:
    """What one connection's or session's agent has been asked and not answered yet."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._waiting: dict[RequestId, asyncio.Future[Message]] = {}

    async def ask(self, write: Callable[[Message], None], method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """Send a request by `write` and wait for its result. If the caller is cancelled, the agent hears of it.

        Raises:
            AgentError: the agent answered with an error.
            AgentCannot: it has too many questions before it.
            AgentGone: it left.
        """
        if len(self._waiting) >= MAX_ASKED:
            raise AgentCannot(f"{MAX_ASKED} questions wait for its answers")
        id = next(self._ids)
        answer = self._waiting[id] = asyncio.get_running_loop().create_future()
        try:
            write(jsonrpc.request(id, method, params))
            return _result(await answer)
        except asyncio.CancelledError:
            write(jsonrpc.notification("notifications/cancelled", {"requestId": id, "reason": "no longer needed"}))
            raise
        finally:
            del self._waiting[id]

    def answer(self, message: Message) -> None:
        """Take an answer; one that nobody waits for is dropped."""
        id = message.get("id")
        waiting = self._waiting.get(id) if jsonrpc.is_id(id) else None
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def close(self) -> None:
        """The agent has gone."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(AgentGone())


def _result(message: Message) -> dict[str, Any]:
    if isinstance(message.get("result"), dict):
        return as_object(message["result"])
    error = as_object(message.get("error"))
    code, text = error.get("code"), error.get("message")
    raise AgentError(
        code if isinstance(code, int) else INTERNAL_ERROR, text if isinstance(text, str) else "", error.get("data")
    )
