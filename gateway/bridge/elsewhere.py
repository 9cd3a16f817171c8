"""Parked calls that are resumed at another node than the one they wait at.

The retry goes to the call's node as it came, and what it answers, and says until then, comes back. Whoever sent it was
let in, and its `requestState` opened, where it arrived.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
import msgspec
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.call import Call
from gateway.errors import AgentCannot, CallLost, GatewayError, InvalidRequestState, UpstreamError
from gateway.protocol import Era
from gateway.request import Principal
from gateway.store.conversations import Conversation, Conversations

KIND: Final = "parked call"

Resume = Callable[[object, object, Call], Awaitable[dict[str, Any]]]
"""`Parking.resume`."""


@dataclass(eq=False, slots=True)
class _Agent:
    """Who sent a retry, at the node where it did not arrive. See `gateway.request.Agent`."""

    id: str
    opener: Principal
    view: str | None
    version: str
    capabilities: dict[str, Any]
    info: dict[str, Any]
    log_level: str | None
    lasting: bool = False
    tasks: Mapping[tuple[str, str], str] | None = None
    era: Era = field(init=False)

    def __post_init__(self) -> None:
        self.era = Era.of(self.version)

    @property
    def digest(self) -> str:
        return ""

    def notify(self, method: str, params: dict[str, Any] | None) -> None:
        """It has no channel besides the retry's."""

    async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        raise AgentCannot("it is asked by what its requests are answered")


class _Retry(msgspec.Struct):
    call: str
    round: int
    sender: Principal
    agent: str
    view: str | None
    version: str
    log_level: str | None
    body: msgspec.Raw
    """`{id, method, params, capabilities, info}`."""


class ParkedElsewhere:
    """
    Args:
        resume: goes on with a call that is parked here.
    """

    def __init__(self, conversations: Conversations, resume: Resume) -> None:
        self._conversations = conversations
        self._resume = resume
        self._tasks: TaskGroup | None = None
        conversations.serve(KIND, self._begin)

    async def run(self) -> None:
        """The owner of what is resumed for other nodes. Ends by cancellation."""
        async with anyio.create_task_group() as self._tasks:
            await anyio.sleep_forever()

    async def resume(self, node: str, id: str, round: int, request: Call) -> dict[str, Any]:
        """Go on with a call that is parked at another node.

        Raises:
            InvalidRequestState: that node is gone, and the call with it.
            GatewayError: how the call failed.
        """
        if not await self._conversations.is_there(node):
            raise InvalidRequestState("The node that this call waited at is gone. Start the request again, without it.")
        outcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        conversation = self._conversations.begin(node, KIND)

        def on_message(data: bytes) -> None:
            said = jsonrpc.loads(data, len(data))
            if "notification" in said:
                method, params = said["notification"]
                request.notify(method, params)
            elif not outcome.done():
                _conclude(outcome, said)

        def on_end(lost: bool) -> None:
            if not outcome.done():
                outcome.set_exception(CallLost())

        conversation.on_message, conversation.on_end = on_message, on_end
        conversation.say(msgspec.json.encode(_retry(id, round, request)))
        try:
            return await outcome
        finally:
            conversation.end()

    def _begin(self, conversation: Conversation) -> None:
        def on_retry(data: bytes) -> None:
            assert self._tasks is not None
            retry = msgspec.json.decode(data, type=_Retry)
            self._tasks.start_soon(self._serve, conversation, retry)

        conversation.on_message = on_retry

    async def _serve(self, conversation: Conversation, retry: _Retry) -> None:
        body = jsonrpc.loads(bytes(retry.body), len(bytes(retry.body)))
        agent = _Agent(
            retry.agent, retry.sender, retry.view, retry.version, body["capabilities"], body["info"], retry.log_level
        )

        def notify(method: str, params: dict[str, Any] | None) -> None:
            conversation.say(jsonrpc.dumps({"notification": [method, params]}))

        call = Call(body["id"], body["method"], body["params"], agent, retry.sender, notify)
        with anyio.CancelScope() as scope:
            conversation.on_end = lambda lost: scope.cancel()
            try:
                said: dict[str, Any] = {"result": await self._resume(retry.call, retry.round, call)}
            except GatewayError as error:
                is_upstreams = isinstance(error, UpstreamError)
                said = {"error": [error.code, error.message, error.data, error.outcome, is_upstreams]}
            conversation.say(jsonrpc.dumps(said))
        conversation.end()


def _retry(id: str, round: int, request: Call) -> _Retry:
    agent = request.agent
    body = {
        "id": request.id,
        "method": request.method,
        "params": request.params,
        "capabilities": agent.capabilities,
        "info": agent.info,
    }
    raw = msgspec.Raw(jsonrpc.dumps(body))
    return _Retry(id, round, request.principal, agent.id, agent.view, agent.version, agent.log_level, raw)


def _conclude(outcome: "asyncio.Future[dict[str, Any]]", said: dict[str, Any]) -> None:
    if "result" in said:
        outcome.set_result(cast("dict[str, Any]", said["result"]))
        return
    code, message, data, name, is_upstreams = said["error"]
    error = UpstreamError(code, message, data) if is_upstreams else GatewayError(message, data=data)
    error.code, error.outcome = code, name
    outcome.set_exception(error)
