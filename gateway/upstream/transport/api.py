"""An HTTP API as an upstream: a dispatcher that is itself the MCP server, and whose calls are the API's operations.

What is above it knows nothing of that. It says of itself what a server of the modern era says (2026-07-28), lists what
the document has, and makes of each call one HTTP request: over the pool of every other HTTP upstream, with the same
deadlines, cancelled in the same way, proving who asks by the same credentials.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from gateway import __version__, egress, jsonrpc
from gateway.errors import GatewayError, InternalError, UpstreamError
from gateway.jsonrpc import Message, as_object
from gateway.openapi.faults import ArgumentFault
from gateway.openapi.files import FileContent, content_of, links
from gateway.openapi.model import Operation
from gateway.openapi.requests import NO_FILES, ApiRequest, build
from gateway.openapi.resources import arguments_of
from gateway.openapi.security import Proof, proof_of
from gateway.protocol import (
    INVALID_PARAMS,
    META_SERVER_INFO,
    METHOD_NOT_FOUND,
    MODERN_VERSIONS,
    RESOURCE_NOT_FOUND,
    Era,
)
from gateway.upstream.api.definition import ApiDefinition
from gateway.upstream.api.source import ApiSource
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.api_reply import ApiReply, ProvedApiReply
from gateway.upstream.transport.http import HttpDispatcher, HttpEndpoint
from gateway.upstream.transport.pending import HungUp, MessageHandler, Pending, header_lines

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions

    from gateway.call import Call

ReadResource = Callable[["Call", str], Awaitable[dict[str, Any]]]
"""What a resource holds, as the agent of a call sees it."""

MAX_LINKS: Final = 16
"""Most files of one call that are links to resources."""
_PROPAGATED: Final = ("traceparent", "tracestate", "baggage")
_URL_SAFE: Final = "/:@!$&'()*+,;=%-._~"


class ApiDispatcher(HttpDispatcher):
    """
    Args:
        endpoint: of the API; the same for all its operations.
        source: what is known of it, which was read before.
        read_resource: reads what a file among the arguments links to.
    """

    def __init__(
        self,
        upstream: str,
        endpoint: HttpEndpoint,
        peer: MessageHandler,
        source: ApiSource,
        read_resource: ReadResource | None,
        timing: UpstreamTiming = USUAL,
    ) -> None:
        self._own: dict[str, str] = {}
        self._source = source
        self._read_resource = read_resource
        super().__init__(upstream, endpoint, peer, timing)
        self._path = quote(urlsplit(endpoint.url).path.rstrip("/"), safe=_URL_SAFE)
        self._unfollow = source.follow(self._on_change)
        if source.is_guarded:
            self.pool.lookup = _public_addresses

    # --- What is different from other HTTP upstreams ------------------------------------------------------------------

    def _fix(self) -> None:
        """What requests carry that no argument replaces."""
        self._own = {
            "host": self.pool.origin.authority,
            "user-agent": f"mcp-gateway/{__version__}",
            "accept-encoding": "identity",
            **{name.lower(): value for name, value in self.endpoint.headers.items()},
            **{name.lower(): value for name, value in self.proof.items()},
        }

    def negotiated(self, version: str, era: Era) -> None:
        self.era = era

    async def aclose(self) -> None:
        self._unfollow()
        self.pool.close()

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None) -> None:
        """There is nobody to tell."""

    async def _answer(self, message: Message) -> None:
        """It asks nothing."""

    def _on_change(self) -> None:
        """The document is another."""
        if self._source.base != self.endpoint.url:
            self.close(HungUp(self.upstream, "its document names another server"))
            return
        for kind in ("tools", "resources"):
            self._peer.on_notification(f"notifications/{kind}/list_changed", None, self.audience)

    # --- CallTable ----------------------------------------------------------------------------------------------------

    def _transmit(self, message: Message, pending: Pending) -> None:
        params, definition = as_object(message.get("params")), self._source.definition
        assert definition is not None
        match message["method"]:
            case "tools/call":
                self._operate(definition, params, pending)
            case "resources/read":
                self._read(definition, params, pending)
            case "server/discover":
                pending.succeed(self._about(definition))
            case "tools/list":
                pending.succeed({**_LIST, "tools": definition.tools})
            case "resources/list":
                pending.succeed({**_LIST, "resources": definition.resources})
            case "resources/templates/list":
                pending.succeed({**_LIST, "resourceTemplates": definition.templates})
            case _:
                pending.fail(UpstreamError(METHOD_NOT_FOUND, "Method not found: an HTTP API has tools and resources"))

    def _about(self, definition: ApiDefinition) -> dict[str, Any]:
        info = definition.info
        capabilities: dict[str, Any] = {"tools": {}}
        if self._source.settings.resources:
            capabilities["resources"] = {}
        about = {"name": info.title or self.upstream, "version": info.version or "0"}
        return {
            "resultType": "complete",
            "supportedVersions": [MODERN_VERSIONS[-1]],
            "capabilities": capabilities,
            **({"instructions": info.description} if info.description else {}),
            "ttlMs": 0,
            "cacheScope": "public",
            "_meta": {META_SERVER_INFO: about},
        }

    # --- Operations ---------------------------------------------------------------------------------------------------

    def _operate(self, definition: ApiDefinition, params: dict[str, Any], pending: Pending) -> None:
        operation = definition.operations.get(str(params.get("name")))
        if operation is None:
            pending.fail(UpstreamError(INVALID_PARAMS, "Unknown tool: the API's document does not have it any more"))
            return
        try:
            given = params.get("arguments")
            arguments = as_object(jsonrpc.loads(bytes(given)) if isinstance(given, msgspec.Raw) else given)
        except ValueError as error:
            pending.succeed(_refused(f"The arguments cannot be read: {error}"))
            return
        if linked := list(dict.fromkeys(links(operation, arguments))):
            self.spawn(self._operate_with_files, operation, arguments, linked, pending)
        else:
            self._send(operation, arguments, pending)

    async def _operate_with_files(
        self, operation: Operation, arguments: dict[str, Any], linked: list[str], pending: Pending
    ) -> None:
        """A call among whose arguments are links to resources: these are read first, as its agent may."""
        files: dict[str, FileContent] = {}
        try:
            if len(linked) > MAX_LINKS:
                raise ArgumentFault(f"There are more than {MAX_LINKS} links to files.")
            for uri in linked:
                files[uri] = await self._file(uri, pending)
        except ArgumentFault as fault:
            pending.succeed(_refused(str(fault)))
            return
        except Exception as error:  # which must end this call, and no other
            pending.fail(InternalError())
            self._peer.on_noise(f"a link to a file could not be read: {type(error).__name__}")
            return
        if not pending.future.done():
            self._send(operation, arguments, pending, files)

    async def _file(self, uri: str, pending: Pending) -> FileContent:
        """
        Raises:
            ArgumentFault: it cannot be read, by this agent.
        """
        if self._read_resource is None or pending.call is None:
            raise ArgumentFault(f"{uri[:200]!r} cannot be read here; give the file as `data`.")
        try:
            return content_of(uri, await self._read_resource(pending.call, uri))
        except GatewayError as error:
            raise ArgumentFault(f"{uri[:200]!r} cannot be read: {error.message}") from None

    def _send(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        pending: Pending,
        files: Mapping[str, FileContent] = NO_FILES,
    ) -> None:
        try:
            request = self._request(operation, arguments, files)
        except ArgumentFault as fault:
            pending.succeed(_refused(str(fault)))
            return
        self._ask(operation, request, pending, "")

    def _read(self, definition: ApiDefinition, params: dict[str, Any], pending: Pending) -> None:
        uri = str(params.get("uri"))
        for operation in definition.operations.values():
            try:
                arguments = arguments_of(operation, uri)
                if arguments is not None:
                    self._ask(operation, self._request(operation, arguments, NO_FILES), pending, uri)
                    return
            except ArgumentFault as fault:
                pending.fail(UpstreamError(INVALID_PARAMS, str(fault)))
                return
        pending.fail(UpstreamError(RESOURCE_NOT_FOUND, "Resource not found", {"uri": uri[:2000]}))

    def _request(
        self, operation: Operation, arguments: Mapping[str, Any], files: Mapping[str, FileContent]
    ) -> ApiRequest:
        definition, settings = self._source.definition, self._source.settings
        assert definition is not None
        proof = proof_of(operation, definition.info.schemes, settings.credentials)
        whole = Proof({**self._own, **proof.headers}, {**settings.query, **proof.query}, proof.cookies)
        request = build(
            operation,
            arguments,
            base=self._path,
            proof=whole,
            linked=files,
            boundary=lambda: f"mcp-gateway-{secrets.token_hex(16)}",
        )
        return replace(request, headers=(*request.headers, *proof.headers.items()))

    def _ask(self, operation: Operation, request: ApiRequest, pending: Pending, uri: str) -> None:
        reply_type = ApiReply if self.credentials is None else ProvedApiReply
        reply = reply_type(self, pending, operation, request, uri)
        pending.reply = reply
        reply.send()

    def encoded(self, request: ApiRequest, pending: Pending) -> bytes:
        """A whole HTTP request, as bytes, with what proves who asks now.

        Raises:
            ValueError: a header contains a line break.
        """
        headers = {**self._own}
        for name, value in request.headers:
            if name == "cookie" or name not in headers:
                headers[name] = value if value.isascii() else value.encode().decode("latin-1")
        for name in _PROPAGATED:
            if name in pending.headers:
                headers[name] = pending.headers[name]
        if request.body is not None:
            headers["content-length"] = str(len(request.body))
        head = f"{request.method} {request.target} HTTP/1.1\r\n".encode("ascii")
        return head + header_lines(headers) + b"\r\n" + (request.body or b"")


async def _public_addresses(host: str) -> list[str]:
    """
    Raises:
        OSError: it has none, or one that a document must not send us to.
    """
    try:
        return [str(address) for address in await egress.addresses(host, 0)]
    except egress.EgressRefused as error:
        raise OSError(str(error)) from None


def _refused(why: str) -> dict[str, Any]:
    """Arguments of which no request can be made: the model is told, so that it can mend them."""
    return {"content": [{"type": "text", "text": why}], "isError": True}


_LIST: Final = {"resultType": "complete", "cacheScope": "public"}
