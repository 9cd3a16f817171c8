"""What a handler of the everything server is given, and how a tool is written down.

A tool is a function `async (Call) -> result`; it asks, logs and reports through its `Call`, which does so in the way of
the era the client speaks. So every tool works in both eras.
"""

import json
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

from tests.servers.wire import MODERN

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]
"""A result as it goes on the wire."""

InputRequest = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest

_ANSWERS: Final[dict[type[InputRequest], type[types.Result]]] = {
    types.ElicitRequest: types.ElicitResult,
    types.CreateMessageRequest: types.CreateMessageResult,
    types.ListRootsRequest: types.ListRootsResult,
}
_CAPABILITIES: Final[dict[type[InputRequest], str]] = {
    types.ElicitRequest: "elicitation",
    types.CreateMessageRequest: "sampling",
    types.ListRootsRequest: "roots",
}
_LEVELS: Final = get_args(types.LoggingLevel)


class InputRequired(Exception):
    """The modern way of asking: end the request with `result`; the client repeats it with the answers."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


@dataclass
class Peer:
    """What one handshake-era client has told us."""

    session: ServerSession
    level: str | None = None
    uris: set[str] = field(default_factory=set[str])


@dataclass
class World:
    """All that changes while the server runs."""

    tools: "dict[str, Tool]"
    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    peers: dict[str, Peer] = field(default_factory=dict[str, Peer])
    running: int = 0
    cancelled: int = 0
    touches: dict[str, int] = field(default_factory=dict[str, int])

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Count a call while it runs, and if it is cancelled."""
        self.running += 1
        try:
            yield
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def peer(self, ctx: Context) -> Peer:
        """The handshake-era client behind a request."""
        request = ctx.request
        key = "" if request is None else request.headers.get("mcp-session-id") or request.query_params.get("session_id")
        return self.peers.setdefault(key or "", Peer(ctx.session))

    async def announce(self, event: ServerEvent) -> None:
        """Tell every client that wants to know, each in its era's way."""
        await self.bus.publish(event)
        for peer in list(self.peers.values()):
            match event:
                case ToolsListChanged():
                    await peer.session.send_tool_list_changed()
                case PromptsListChanged():
                    await peer.session.send_prompt_list_changed()
                case ResourcesListChanged():
                    await peer.session.send_resource_list_changed()
                case ResourceUpdated(uri):
                    if uri in peer.uris:
                        await peer.session.send_resource_updated(uri)


@dataclass
class Call:
    """One tools/call, prompts/get or resources/read."""

    ctx: Context
    world: World
    arguments: dict[str, Any]
    _answers: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self._answers = json.loads(self._params.get("requestState") or "{}")

    @property
    def _params(self) -> dict[str, Any]:
        return dict(self.ctx.params or {})

    @property
    def modern(self) -> bool:
        return self.ctx.protocol_version == MODERN

    def can(self, capability: str) -> bool:
        """Whether the client declared it."""
        declared = self.ctx.session.client_capabilities
        return declared is not None and getattr(declared, capability) is not None

    def require(self, capability: str) -> None:
        if not self.can(capability):
            needed: dict[str, Any] = {"requiredCapabilities": {capability: {}}}
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, f"This needs {capability}", needed)

    async def ask(self, **requests: InputRequest) -> dict[str, Any]:
        """The client's answers, as they came, under the keys of the questions.

        Live requests in the handshake era, all at once. In the modern one the handler runs once for each round, and the
        answers of earlier rounds travel in `requestState`: written as straight code, it works in both.
        """
        for request in requests.values():
            self.require(_CAPABILITIES[type(request)])
        if not self.modern:
            return await self._ask_live(requests)
        given: dict[str, Any] = self._params.get("inputResponses") or {}
        self._answers |= {key: given[key] for key in requests if key in given}
        if requests.keys() <= self._answers.keys():
            return self._answers
        questions = {key: _dump(request) for key, request in requests.items()}
        state = json.dumps(self._answers)
        raise InputRequired({"resultType": "input_required", "inputRequests": questions, "requestState": state})

    async def _ask_live(self, requests: dict[str, InputRequest]) -> dict[str, Any]:
        answers: dict[str, Any] = dict.fromkeys(requests)
        own_stream = ServerMessageMetadata(related_request_id=self.ctx.request_id)

        async def ask(key: str, request: InputRequest) -> None:
            answer = await self.ctx.session.send_request(request, _answer_type(request), metadata=own_stream)
            answers[key] = _dump(answer)

        try:
            async with anyio.create_task_group() as tg:
                for key, request in requests.items():
                    tg.start_soon(ask, key, request)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # what the SDK can tell its client is a single error
        return answers

    async def log(self, level: types.LoggingLevel, data: Any) -> None:
        """On this request's stream, if the client wants to hear that level."""
        meta: dict[str, Any] = self._params.get("_meta") or {}
        wanted = meta.get(types.LOG_LEVEL_META_KEY) if self.modern else self.world.peer(self.ctx).level or "debug"
        if wanted is None or _LEVELS.index(level) < _LEVELS.index(wanted):
            return
        params = types.LoggingMessageNotificationParams(level=level, data=data, logger="everything")
        await self.ctx.session.send_notification(types.LoggingMessageNotification(params=params), self.ctx.request_id)

    async def progress(self, done: float, total: float, message: str) -> None:
        """If the client gave a token."""
        await self.ctx.session.report_progress(done, total, message)


def _answer_type(request: InputRequest) -> type[types.Result]:
    if isinstance(request, types.CreateMessageRequest) and request.params.tools:
        return types.CreateMessageResultWithTools
    return _ANSWERS[type(request)]


def _dump(model: InputRequest | types.Result) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


Run = Callable[[Call], Awaitable[Result]]


@dataclass(frozen=True)
class Tool:
    """One tool: its listing and what it does."""

    name: str
    description: str
    run: Run
    schema: dict[str, Any]

    def listing(self) -> dict[str, Any]:
        return {"name": self.name, "description": self.description, "inputSchema": self.schema}


def tool(run: Run, **properties: str | dict[str, Any]) -> Tool:
    """A tool named and described by its function. `properties`: JSON Schemas, or just their type."""
    schemas = {name: {"type": schema} if isinstance(schema, str) else schema for name, schema in properties.items()}
    return Tool(run.__name__, (run.__doc__ or "").strip(), run, {"type": "object", "properties": schemas})


def text(value: str, **more: Any) -> Result:
    """A result of one text."""
    return {"content": [{"type": "text", "text": value}]} | more
