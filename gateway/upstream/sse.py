"""The legacy HTTP+SSE transport as a client: the SDK's own, its typed messages turned back into dicts.

Source: 2024-11-05, basic/transports.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from gateway import jsonrpc
from gateway.errors import UpstreamLost, UpstreamProtocolError
from gateway.jsonrpc import Message
from gateway.upstream.calls import Call, CallTable, Peer
from gateway.upstream.http import Endpoint, Refused

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions

    from gateway.upstream.calls import CallOptions


class SseDispatcher(CallTable):
    """A `Dispatcher` over a standing event stream and POSTs beside it."""

    def __init__(self, upstream: str, endpoint: Endpoint, peer: Peer) -> None:
        super().__init__(upstream, peer)
        self._endpoint = endpoint
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Open the stream. To be closed (`aclose`) in the same task.

        Raises:
            Refused: the upstream answered with an HTTP error.
            UpstreamLost: no connection could be made.
        """
        client = sse_client(
            self._endpoint.url,
            headers=dict(self._endpoint.headers) | {"accept-encoding": "identity"},
            timeout=self._endpoint.connect_timeout,
            sse_read_timeout=float("inf"),
        )
        try:
            with anyio.fail_after(self._endpoint.connect_timeout):
                self._read, self._write = await self._stack.enter_async_context(client)
        except* httpx2.HTTPStatusError as group:
            raise Refused(self.upstream, _first(group, httpx2.HTTPStatusError).response.status_code) from None
        except* (httpx2.HTTPError, TimeoutError) as group:
            reason = str(_first(group, Exception)) or "no connection in time"
            raise UpstreamLost(self.upstream, reason, delivered=False) from None

    async def aclose(self) -> None:
        with anyio.move_on_after(2, shield=True):
            await self._stack.aclose()

    async def run(self, *args: Any, **kwargs: Any) -> None:
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._pump)
            await super().run(*args, **kwargs)
            tg.cancel_scope.cancel()

    async def _pump(self) -> None:
        stream: MemoryObjectReceiveStream[SessionMessage | Exception] = self._read  # pyright: ignore[reportAssignmentType]
        async for item in stream:
            if isinstance(item, Exception):
                self._peer.on_noise(f"its event stream failed: {type(item).__name__}")
            else:
                self.receive(item.message.model_dump(by_alias=True, mode="json", exclude_unset=True))
        self.close(UpstreamLost(self.upstream, "its event stream ended"))

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None) -> None:
        await self._send(jsonrpc.notification(method, dict(params) if params is not None else None))

    async def _transmit(self, message: Message, call: Call, options: "CallOptions") -> None:
        if not await self._send(message):
            call.fail(UpstreamLost(self.upstream, "its event stream ended", delivered=False))

    def _withdraw(self, call: Call, *, tell: bool) -> None:
        if tell:
            params = {"requestId": call.id, "reason": "no longer awaited"}
            self.spawn(self.notify, "notifications/cancelled", params)

    async def _answer(self, message: Message) -> None:
        await self._send(message)

    async def _send(self, message: Message) -> bool:
        try:
            typed = jsonrpc_message_adapter.validate_python(message, by_name=False)
            await self._write.send(SessionMessage(typed))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.close(UpstreamLost(self.upstream, "its event stream ended"))
            return False
        return True


def _first(group: BaseExceptionGroup[Any], kind: type[Any]) -> Any:
    """The first leaf of that kind."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error, kind)  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(error, kind):
            return error
    return UpstreamProtocolError("", str(group))
