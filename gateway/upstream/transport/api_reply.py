"""What an API's HTTP response means to the call that it answers: a result, whatever its status.

Only where the API says that it does not work now (502, 503, 504) is it a failure, too: for the breaker, and so that
what may be repeated is. If that was the last attempt, the result is what the agent gets all the same.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

from gateway.errors import UpstreamError, UpstreamOversized, UpstreamProtocolError
from gateway.openapi.answers import contents_of, result_of, words_of
from gateway.openapi.model import Operation
from gateway.openapi.requests import ApiRequest
from gateway.protocol import INTERNAL_ERROR, RESOURCE_NOT_FOUND
from gateway.upstream.api import web
from gateway.upstream.transport.pending import UNABLE, ApiUnable, HttpRefusal, Pending
from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.proved import ProvedReply
from gateway.upstream.transport.reply import MAX_REDIRECTS, CallReply
from gateway.upstream.transport.wire import ResponseHeaders

if TYPE_CHECKING:
    from gateway.upstream.transport.api import ApiDispatcher

MAX_ERROR_BODY: Final = 64 * 1024
"""Most bytes of an error that are kept; what follows is not read."""
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
ELSEWHERE_SECONDS: Final = 60.0
"""How long what a redirect leads to may take, at another origin."""
_TARGET_SAFE: Final = "/:?[]@!$&'()*+,;=%-._~"


class ApiReply(CallReply):
    """The response to one request of an operation.

    Args:
        uri: of the resource that is read; empty for a call.
    """

    def __init__(
        self, dispatcher: "ApiDispatcher", pending: Pending, operation: Operation, request: ApiRequest, uri: str
    ) -> None:
        super().__init__(dispatcher, pending, b"")
        self._api = dispatcher
        self._operation = operation
        self._request = request
        self._uri = uri
        self._headers = ResponseHeaders()

    def send(self) -> None:
        self.exchange(self._api.encoded(self._request, self._call))

    # --- Reply --------------------------------------------------------------------------------------------------------

    def on_head(self, status: int, headers: ResponseHeaders) -> None:
        self._begin()
        self._status, self._headers = status, headers
        if status >= 300:
            self._on_failure(status, headers)
        self._location = headers.get(b"location", b"").decode("latin-1") or None
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            self._refuse(UpstreamProtocolError(self._upstream, "a compressed answer, though identity was asked for"))
        elif self._request.method == "HEAD":
            self._cut()  # the parser waits for a body that does not come

    def on_data(self, data: bytes) -> None:
        self._size += len(data)
        if self._status >= 300:
            self._pieces.append(data)
            if self._size > MAX_ERROR_BODY:
                self._cut()
        elif self._size <= self._cap:
            self._pieces.append(data)
        else:
            self._refuse(UpstreamOversized(self._upstream, self._cap))

    def on_end(self) -> None:
        self._leave()
        if self._call.future.done():
            return
        if self._status in REDIRECTS and self._location is not None:
            self._redirect(self._location)
        elif self._status >= 300:
            self._on_status(b"".join(self._pieces))
        else:
            self._finish(self._status, self._headers, b"".join(self._pieces))

    def _cut(self) -> None:
        """Hear no more of it; what came is the answer."""
        if self._wire is not None:
            self._wire.abort()
        self.on_end()

    # --- What it means ------------------------------------------------------------------------------------------------

    def _on_status(self, body: bytes) -> None:
        if self._status == 401:
            self._dispatcher.on_unauthorized()
        self._finish(self._status, self._headers, body)

    def _finish(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> None:
        pending = self._call
        if self._uri and status in UNABLE:
            pending.fail(HttpRefusal(self._upstream, status))
            return
        if self._uri and status >= 300:
            code = RESOURCE_NOT_FOUND if status in (404, 410) else INTERNAL_ERROR
            pending.fail(UpstreamError(code, words_of(status, headers, body)))
            return
        if self._uri:
            result: dict[str, Any] = {**contents_of(headers, body, self._uri), "ttlMs": 0, "cacheScope": "private"}
        else:
            result = result_of(self._operation, status, headers, body, self._shown(self._request.visible))
        if status in UNABLE:
            pending.fail(ApiUnable(status, result))
        else:
            pending.answered(result, len(body))

    def _shown(self, target: str) -> str:
        origin = self._dispatcher.pool.origin
        return f"{origin.scheme}://{origin.authority}{target}"

    # --- Redirects ----------------------------------------------------------------------------------------------------

    def _redirect(self, location: str) -> None:
        """Within the origin as it is said; elsewhere only what is read, without anything that proves who asks."""
        self._redirects += 1
        reads = self._request.method == "GET"
        turns_to_get = self._status == 303 and self._request.method != "HEAD"
        try:
            url = urljoin(self._shown(self._request.target), location)
            is_near = Origin.of(url) == self._dispatcher.pool.origin
        except ValueError:
            url, is_near = "", False
        if not url or self._redirects > MAX_REDIRECTS or not (reads or turns_to_get or self._status in (307, 308)):
            self._on_status(b"".join(self._pieces))
        elif is_near:
            self._go_on(url, turns_to_get)
        elif reads or turns_to_get:
            self._dispatcher.spawn(self._elsewhere, url)
        else:
            self._on_status(b"".join(self._pieces))

    def _go_on(self, url: str, turns_to_get: bool) -> None:
        before, parts = self._request, urlsplit(url)
        target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_TARGET_SAFE)
        headers = tuple(pair for pair in before.headers if not (turns_to_get and pair[0] == "content-type"))
        method, body = ("GET", None) if turns_to_get else (before.method, before.body)
        self._request = ApiRequest(method, target, headers, body, quote(parts.path or "/", safe=_TARGET_SAFE))
        self.sent = False
        self.send()

    async def _elsewhere(self, url: str) -> None:
        accept = dict(self._request.headers).get("accept", "*/*")
        try:
            answer = await web.get(url, {"accept": accept}, self._cap, ELSEWHERE_SECONDS)
        except web.FetchFailed as error:
            reason = f"it redirects to {url.partition('?')[0][:200]}, which {error}"
            self._call.fail(UpstreamProtocolError(self._upstream, reason))
            return
        if not self._call.future.done():
            self._request = ApiRequest("GET", "/", (), None)
            self._finish(answer.status, answer.headers, answer.body)


class ProvedApiReply(ProvedReply, ApiReply):
    """An `ApiReply` of a connection that has credentials."""
