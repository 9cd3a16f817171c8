"""The legacy HTTP+SSE transport as a client: the SDK's own, its typed messages turned back into dicts.

Source: 2024-11-05, basic/transports. The SDK ends its writer, without a word, over the first POST that fails; here such
a POST fails its own request, and the writer goes on.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from anyio.abc import TaskStatus
from mcp.client.sse import sse_client
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from gateway import jsonrpc
from gateway.errors import GatewayError, UpstreamLost
from gateway.jsonrpc import Message
from gateway.upstream.calls import Call, Peer, Refused, SessionLost
from gateway.upstream.http import Endpoint
from gateway.upstream.table import CallTable

if TYPE_CHECKING:
    from mcp.client._transport import ReadStream
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions

    from gateway.upstream.calls import CallOptions


class SseDispatcher(CallTable):
    """A `Dispatcher` over a standing event stream and POSTs beside it."""

    def __init__(self, upstream: str, endpoint: Endpoint, peer: Peer) -> None:
        super().__init__(upstream, peer)
        self._endpoint = endpoint

    async def run(self, *args: Any, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED, **kwargs: Any) -> None:
        """Open the stream and carry the connection until it closes.

        Raises:
            Refused: the upstream answered with an HTTP error.
            UpstreamLost: there is no connection, or it broke.
        """
        client = sse_client(
            self._endpoint.url,
            headers=dict(self._endpoint.headers) | {"accept-encoding": "identity"},
            timeout=self._endpoint.connect_timeout,
            sse_read_timeout=float("inf"),
            httpx_client_factory=self._client,
        )
        try:
            with anyio.move_on_after(self._endpoint.connect_timeout) as opening:
                async with client as (read, self._write):
                    opening.deadline = float("inf")
                    async with anyio.create_task_group() as tg:
                        tg.start_soon(self._pump, read)
                        await super().run(*args, task_status=task_status, **kwargs)
                        tg.cancel_scope.cancel()
        except Exception as error:
            raise self._failure(error) from None
        if opening.cancelled_caught:
            reason = f"no event stream within {self._endpoint.connect_timeout:g} s"
            raise UpstreamLost(self.upstream, reason, delivered=False)

    async def aclose(self) -> None:
        """`run` has closed everything."""

    # --- CallTable ------------------------------------------------------------------------------------------------

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None) -> None:
        await self._send(jsonrpc.notification(method, dict(params) if params is not None else None))

    def _transmit(self, message: Message, call: Call, options: "CallOptions") -> None:
        call.reply = sending = anyio.CancelScope()
        self.spawn(self._send, message, sending)

    def _withdraw(self, call: Call, *, tell: bool) -> None:
        if isinstance(call.reply, anyio.CancelScope):
            call.reply.cancel()
        if tell:
            params = {"requestId": call.id, "reason": "no longer awaited"}
            self.spawn(self.notify, "notifications/cancelled", params)

    async def _answer(self, message: Message) -> None:
        await self._send(message)

    # --- Inside ---------------------------------------------------------------------------------------------------

    async def _pump(self, stream: "ReadStream[SessionMessage | Exception]") -> None:
        reason = "its event stream ended"
        async for item in stream:
            if isinstance(item, Exception):
                reason = f"its event stream failed ({type(item).__name__})"
                self._peer.on_noise(reason)
            else:
                self.receive(item.message.model_dump(by_alias=True, mode="json", exclude_unset=True))
        self.close(UpstreamLost(self.upstream, reason))

    async def _send(self, message: Message, sending: anyio.CancelScope | None = None) -> None:
        typed = jsonrpc_message_adapter.validate_python(message, by_name=False)
        try:
            with sending or anyio.CancelScope():
                await self._write.send(SessionMessage(typed))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.close(UpstreamLost(self.upstream, "its event stream ended"))

    def _client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return _Client(self._on_failed_post, headers=headers, timeout=timeout, auth=auth)

    def _on_failed_post(self, body: bytes, failure: httpx2.HTTPError | int) -> None:
        call = self.calls.get(jsonrpc.as_object(jsonrpc.loads(body, len(body))).get("id", ""))
        if failure == 404:
            error: GatewayError = SessionLost(self.upstream)
        elif isinstance(failure, int):
            error = Refused(self.upstream, failure)
        else:
            delivered = not isinstance(failure, httpx2.ConnectError | httpx2.ConnectTimeout)
            error = UpstreamLost(self.upstream, _describe(failure), delivered=delivered)
        if call is not None:
            call.fail(error)
        else:
            self._peer.on_noise(f"a message could not be delivered: {error.message}")
        if isinstance(error, SessionLost):
            self.close(error)

    def _failure(self, error: BaseException) -> GatewayError:
        """What a failure of the SDK's transport means."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if isinstance(error, GatewayError):
            return error
        if isinstance(error, httpx2.HTTPStatusError):
            return Refused(self.upstream, error.response.status_code)
        assert isinstance(error, BaseException)
        return UpstreamLost(self.upstream, _describe(error), delivered=not isinstance(error, httpx2.ConnectError))


class _Client(httpx2.AsyncClient):
    """Reports POSTs that fail, and hides that they did."""

    def __init__(self, on_failed_post: Callable[[bytes, httpx2.HTTPError | int], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._on_failed_post = on_failed_post

    async def send(self, request: httpx2.Request, **kwargs: Any) -> httpx2.Response:
        if request.method != "POST":
            return await super().send(request, **kwargs)
        try:
            response = await super().send(request, **kwargs)
        except httpx2.HTTPError as error:
            self._on_failed_post(request.content, error)
        else:
            if response.is_success:
                return response
            await response.aclose()
            self._on_failed_post(request.content, response.status_code)
        return httpx2.Response(202, request=request)


def _describe(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
