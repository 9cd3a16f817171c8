"""Opens connections to one upstream: the transport, the revision spoken over it, and what was learnt of both before."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from gateway import jsonrpc, sdk
from gateway.config.models import ServerConfig
from gateway.errors import GatewayError, UpstreamLost, UpstreamTimeout
from gateway.protocol import Era
from gateway.telemetry.cells import Traffic
from gateway.upstream.audience import Audience
from gateway.upstream.credentials import Credentials
from gateway.upstream.guardian import Guardian
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.pending import HttpRefusal, MessageHandler, RefusedError
from gateway.upstream.transport.process import Program
from gateway.upstream.transport.stderr import StderrLog

if TYPE_CHECKING:
    from gateway.upstream.api.source import ApiSource
    from gateway.upstream.session import Negotiated, UpstreamSession
    from gateway.upstream.transport.api import ReadResource
    from gateway.upstream.transport.http import HttpDispatcher, HttpEndpoint
    from gateway.upstream.transport.table import CallTable

LEGACY_STATUSES: Final = frozenset({400, 404, 405, 406, 415})
"""HTTP statuses with which a server that only knows HTTP+SSE answers a POST to its stream's address."""


class Connector:
    """
    Args:
        upstream: its name.
        capabilities: what we declare to be able to do for the upstream, asked before each attempt.
        peer: hears what the upstream says unasked.
        stderr: makes the log for a child's stderr.
        audience: makes what is known of each connection's users.
        era: which era to try first, asked before each attempt.
        traffic: counts the bytes of all connections.
        on_unauthorized: told of every answer that says that our credentials are not good (HTTP status 401).
        credentials: what they prove themselves with; None if they need not.
        host: the socket of what runs the program for all workers, where it is not started here.
        api: what is known of it, where it is an HTTP API, and how a link to a file is read.
    """

    def __init__(
        self,
        upstream: str,
        config: ServerConfig,
        *,
        capabilities: Callable[[], Mapping[str, Any]],
        peer: MessageHandler,
        stderr: Callable[[], StderrLog],
        guardian: Guardian,
        host: Path | None = None,
        audience: Callable[[], Audience] = Audience,
        era: Callable[[], Era] = lambda: Era.MODERN,
        traffic: Traffic | None = None,
        on_unauthorized: Callable[[], None] = lambda: None,
        credentials: Credentials | None = None,
        timing: UpstreamTiming = USUAL,
        api: "tuple[ApiSource, ReadResource | None] | None" = None,
    ) -> None:
        self.upstream = upstream
        self._config = config
        self._api = api
        self._capabilities = capabilities
        self._peer = peer
        self._stderr = stderr
        self._guardian = guardian
        self._host = host
        self._audience = audience
        self._era = era
        self._traffic = traffic if traffic is not None else Traffic()
        self._on_unauthorized = on_unauthorized
        self._credentials = credentials
        self._timing = timing
        self._only = Era(config.era) if config.era != "auto" else None
        self._probe = Probe()
        self._legacy_sse = config.type == "sse"

    @property
    def is_one_channel(self) -> bool:
        """Whether all requests share one channel, on which an upstream's questions do not show on whose behalf it asks;
        as far as is known before the first connection."""
        return self._config.type == "stdio" or self._legacy_sse

    @asynccontextmanager
    async def connected(self) -> "AsyncGenerator[tuple[UpstreamSession, Negotiated]]":
        """A connection, negotiated; closed, in order and within bounds, when the block ends.

        Raises:
            GatewayError, SpawnError: there is none, and why.
        """
        # The SDK takes most of a second to import; in a thread, so that nobody has to wait for it.
        await anyio.to_thread.run_sync(sdk.load)
        async with AsyncExitStack() as stack:
            try:
                connected = await self._connect(stack)
            except GatewayError as error:
                was_legacy, self._legacy_sse = self._legacy_sse, self._config.type == "sse"
                if was_legacy or not self._config.fallback_sse or not _may_be_legacy(error):
                    raise
                await stack.aclose()
                connected = await self._connect_legacy(stack, error)
            yield connected

    async def _connect_legacy(
        self, stack: AsyncExitStack, refusal: GatewayError
    ) -> "tuple[UpstreamSession, Negotiated]":
        self._legacy_sse = True
        try:
            return await self._connect(stack)
        except Exception:
            self._legacy_sse = False
            raise refusal from None

    async def _connect(self, stack: AsyncExitStack) -> "tuple[UpstreamSession, Negotiated]":
        from gateway.upstream.session import UpstreamSession

        dispatcher = await self._open(stack)
        dispatcher.audience = self._audience()
        session = await stack.enter_async_context(UpstreamSession(dispatcher, self._capabilities(), self._timing))
        probe = not self._legacy_sse and self._probe.is_due(self._era())
        try:
            agreed = await self._negotiated(session, probe)
        except GatewayError as error:
            self._probe.failed(probe, lost=isinstance(error, UpstreamLost) and error.delivered)
            raise
        self._probe.agreed(probe, agreed.era)
        return session, agreed

    async def _negotiated(self, session: "UpstreamSession", probe: bool) -> "Negotiated":
        """Within `connect_timeout`, however many questions it takes."""
        seconds = self._config.connect_timeout
        try:
            with anyio.fail_after(seconds):
                return await session.negotiate(seconds, probe=probe, only=self._only)
        except TimeoutError:
            raise UpstreamTimeout(self.upstream, "the handshake", seconds, "connect_timeout") from None

    async def _open(self, stack: AsyncExitStack) -> "CallTable":
        """A dispatcher over the configured transport, closed with the stack."""
        if self._config.type == "stdio":
            return await self._open_stdio(stack)
        if self._api is not None:
            dispatcher = await self._api_dispatcher(*self._api)
        elif self._legacy_sse:
            from gateway.upstream.transport.sse import SseDispatcher

            dispatcher = SseDispatcher(self.upstream, self._endpoint(), self._peer, self._timing)
        else:
            from gateway.upstream.transport.http import HttpDispatcher

            dispatcher = HttpDispatcher(self.upstream, self._endpoint(), self._peer, self._timing)
        dispatcher.pool.traffic = self._traffic
        dispatcher.on_unauthorized = self._on_unauthorized
        stack.push_async_callback(dispatcher.aclose)
        if self._credentials is not None:
            await self._credentials.prepare()
            stack.callback(dispatcher.use(self._credentials))
        return dispatcher

    async def _open_stdio(self, stack: AsyncExitStack) -> "CallTable":
        from gateway.upstream.transport.stdio import StdioDispatcher

        config = self._config
        dispatcher = StdioDispatcher(self.upstream, self._peer, self._stderr(), config.max_response_bytes, self._timing)
        dispatcher.traffic = self._traffic
        stack.push_async_callback(dispatcher.aclose)
        cwd = Path(config.cwd) if config.cwd else None
        program = Program(config.command or "", config.args, config.env, cwd)
        if self._host is None:
            await dispatcher.start(program, self._guardian)
        else:  # what is declared once, and which eras are tried, is the same for all who share it
            await dispatcher.attach(self._host, program, jsonrpc.dumps([self._capabilities(), config.era]).decode())
        return dispatcher

    async def _api_dispatcher(self, source: "ApiSource", read_resource: "ReadResource | None") -> "HttpDispatcher":
        from gateway.upstream.transport.api import ApiDispatcher

        await source.prepare()
        return ApiDispatcher(
            self.upstream, self._endpoint(source.base), self._peer, source, read_resource, self._timing
        )

    def _endpoint(self, url: str | None = None) -> "HttpEndpoint":
        from gateway.upstream.transport.http import HttpEndpoint

        config = self._config
        return HttpEndpoint(url or config.url or "", config.headers, config.connect_timeout, config.max_response_bytes)


@dataclass(slots=True)
class Probe:
    """Whether to ask for the modern era first. Pure."""

    _refused: bool = False
    _skips_next: bool = False
    _probe_disconnects: int = 0
    _failed_unprobed: bool = False

    def is_due(self, preferred: Era) -> bool:
        """Not for those that said they are not modern; nor for those of the handshake era that leave when their first
        request is not `initialize`, once they have shown twice that this is why they leave. Where that era is
        preferred, only for those that failed without."""
        if preferred is Era.HANDSHAKE and not self._failed_unprobed:
            return False
        return not self._refused and not self._skips_next and self._probe_disconnects < 2

    def agreed(self, probed: bool, era: Era) -> None:
        self._skips_next = False
        if probed:
            self._refused, self._probe_disconnects = era is Era.HANDSHAKE, 0

    def failed(self, probed: bool, *, lost: bool) -> None:
        """`lost`: it went away after it had heard us."""
        self._refused = False
        self._failed_unprobed = not probed
        self._skips_next = lost and probed
        self._probe_disconnects += self._skips_next


def _may_be_legacy(error: GatewayError) -> bool:
    """Whether we were refused in a way that leaves the older HTTP+SSE transport to try."""
    return isinstance(error, HttpRefusal | RefusedError) and error.status in LEGACY_STATUSES
