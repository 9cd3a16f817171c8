"""The one place that touches the SDK's `ClientSession`: negotiation, version rules and stamping, over raw dicts.

The SDK's session decides which revision is spoken and what every message of that revision must carry; results are
never run through its models. Its two private names used here (`_stamp`, `_client_info`) are why this is one module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import anyio
import mcp_types as types
import msgspec
from mcp.client.session import ClientSession
from mcp.shared.inbound import MCP_NAME_HEADER, NAME_BEARING_METHODS, encode_header_value
from pydantic import ValidationError

from gateway import __version__, jsonrpc
from gateway.call import NO_HEADERS, Call
from gateway.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout
from gateway.jsonrpc import as_object
from gateway.protocol import (
    HANDSHAKE_VERSIONS,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    META_CLIENT_CAPABILITIES,
    META_LOG_LEVEL,
    META_SERVER_INFO,
    METHOD_NOT_FOUND,
    MODERN_VERSIONS,
    UNSUPPORTED_VERSION,
    Era,
)
from gateway.request import QUESTIONS
from gateway.upstream.introduction import repaired
from gateway.upstream.revisions import next_offer, supported_of
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.pending import CallOptions, HeaderLines, HttpRefusal, Pending
from gateway.upstream.transport.table import CallTable

_UNKNOWN_TO_SDK: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
"""Methods of extensions whose `Mcp-Name` the SDK does not know (SEP-2663)."""
_NAMED_BY: Final = {**NAME_BEARING_METHODS, **dict.fromkeys(_UNKNOWN_TO_SDK, "taskId")}
"""Method → the parameter that `Mcp-Name` repeats."""
MAX_STAMPS: Final = 1024
LONGEST_NAME: Final = 256
"""Characters of what is named in a request whose envelope is kept for the next."""
MAX_ENVELOPES: Final = 64
"""Those for what agents can do, of a session, …"""
LONGEST_ENVELOPE: Final = 1024
"""… and bytes of one that is kept."""

_NOT_THAT_ERA: Final = frozenset({UNSUPPORTED_VERSION, METHOD_NOT_FOUND, INVALID_PARAMS, HEADER_MISMATCH})
"""How those that know the modern era alone may refuse `initialize`."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What the two sides agreed on, and what the upstream said about itself."""

    version: str
    era: Era
    capabilities: dict[str, Any]
    server_info: dict[str, Any]
    instructions: str | None


Envelopes = dict[int, tuple[Mapping[str, Any], msgspec.Raw]]
"""Those that were sent, by what their agents can do: the same object says so again and again."""


class _Stamp:
    """What the envelope of a request is made of.

    Args:
        meta: what goes into `_meta`.
        headers: in HTTP.
        tells_cancellation: whether its cancellation is told.
        envelopes: of all stamps with the same `meta`.
    """

    def __init__(
        self, meta: dict[str, Any], headers: HeaderLines, tells_cancellation: bool, envelopes: Envelopes
    ) -> None:
        self.meta = meta
        self.headers = headers
        self.tells_cancellation = tells_cancellation
        self._envelopes = envelopes

    def envelope(self, capabilities: Mapping[str, Any]) -> msgspec.Raw:
        """`_meta` of a request for an agent that can do this, of which there is no more to say."""
        known = self._envelopes.get(id(capabilities))
        if known is not None:
            return known[1]
        data = jsonrpc.dumps_to_keep({**self.meta, META_CLIENT_CAPABILITIES: capabilities})
        meta = msgspec.Raw(data)
        if len(data) <= LONGEST_ENVELOPE:
            if len(self._envelopes) >= MAX_ENVELOPES:
                self._envelopes.clear()
            self._envelopes[id(capabilities)] = capabilities, meta  # both, so that nothing else gets that `id`
        return meta


class UpstreamSession(ClientSession):
    """A `ClientSession` that forwards raw requests."""

    def __init__(self, dispatcher: CallTable, capabilities: Mapping[str, Any], timing: UpstreamTiming = USUAL) -> None:
        info = types.Implementation(name="mcp-gateway", version=__version__)
        super().__init__(dispatcher=dispatcher, client_info=info)
        self.connection = dispatcher
        self.capabilities = dict(capabilities)
        self._timing = timing
        self.era = Era.HANDSHAKE
        self.version = ""
        """The revision that is spoken."""
        self._stamps: dict[tuple[str, str | None], _Stamp] = {}
        """What the envelope of a request is made of, by method and by what it names."""
        self._envelopes: dict[bytes, Envelopes] = {}
        """By what a stamp puts into `_meta`, which is the same for all, as far as the SDK has it."""

    async def negotiate(self, timeout: float, *, probe: bool = True, only: Era | None = None) -> Negotiated:
        """Agree on a revision: `server/discover` first, unless `probe` is off, then `initialize`.

        Args:
            timeout: seconds for `initialize`; the probe has the SDK's 10.
            only: the one era to speak, if there is no choice.

        Raises:
            GatewayError: the upstream failed, or shares no revision with us.
        """
        agreed = await self._agree(timeout, probe=probe, only=only)
        self.era, self.version = agreed.era, agreed.version
        self.connection.negotiated(agreed.version, agreed.era)
        if agreed.era is Era.HANDSHAKE:
            await self.connection.notify("notifications/initialized", None)
            if not self.capabilities.keys().isdisjoint(QUESTIONS.values()):
                # Some ask on the standing stream in the middle of a call, and what they ask before it is open is lost.
                with anyio.move_on_after(self._timing.question_stream_seconds):
                    await self.connection.hears.wait()
        return agreed

    async def _agree(self, timeout: float, *, probe: bool, only: Era | None) -> Negotiated:
        if only is Era.HANDSHAKE:
            return await self._initialize(timeout)
        agreed = await self._discover() if probe or only is Era.MODERN else None
        if agreed is not None:
            return agreed
        if only is Era.MODERN:
            raise UpstreamProtocolError(self.connection.upstream, "no sign of the modern era, which `era` asks for")
        try:
            return await self._initialize(timeout)
        except UpstreamError as error:
            if error.code not in _NOT_THAT_ERA:
                raise
            # It knows the modern era alone: it was not probed, or was still starting then.
            agreed = await self._discover()
            if agreed is None:
                raise
            return agreed

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        options: CallOptions,
        *,
        capabilities: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Send one request of the gateway's own, stamped for this upstream's revision, and return the raw result.

        Args:
            capabilities: what this one request's client can do (modern only); default: what the session declared.
        """
        if self.era is Era.MODERN:
            stamp = self._stamp_for(method, params)
            options["headers"] = stamp.headers
            if not stamp.tells_cancellation:
                options["cancel_on_abandon"] = False
            declared = self.capabilities if capabilities is None else capabilities
            own = {**as_object(params.get("_meta")), **stamp.meta, META_CLIENT_CAPABILITIES: declared}
            params = {**params, "_meta": own}
        return await self.connection.send_raw_request(method, params, options)

    def send(self, call: Call, params: dict[str, Any], timeout: float, max_timeout: float, began: float) -> Pending:
        """Send a request for an agent's call, stamped for this upstream's revision; see `CallTable.send`.

        Raises:
            GatewayError: the connection has ended.
        """
        method, headers, token = call.method, NO_HEADERS, call.progress_token
        if self.era is Era.MODERN:
            stamp, agent = self._stamp_for(method, params), call.agent
            headers = stamp.headers
            if call.trace is None and token is None and agent.log_level is None and "_meta" not in params:
                params = {**params, "_meta": stamp.envelope(agent.capabilities)}  # as nearly always
            else:
                own = {**as_object(params.get("_meta")), **stamp.meta, META_CLIENT_CAPABILITIES: agent.capabilities}
                if agent.log_level is not None:
                    own[META_LOG_LEVEL] = agent.log_level
                params = {**params, "_meta": own}
            if call.mirrored_headers:
                headers = {**headers, **call.mirrored_headers}
        if call.trace is not None:
            params, headers = call.trace.send(self.connection.upstream, self.version, params, headers)
        return self.connection.send(
            call, method, params, timeout, max_timeout, began, headers, with_progress=token is not None
        )

    def _stamp_for(self, method: str, params: Mapping[str, Any]) -> _Stamp:
        """What the modern era wants with a request; see `_stamp_of`. Worked out once for each thing that is named."""
        name: object = params.get(_NAMED_BY.get(method, ""))
        key = method, name if isinstance(name, str) else None
        stamp = self._stamps.get(key)
        if stamp is None:
            stamp = self._stamp_of(method, params)
            if not isinstance(name, str) or len(name) <= LONGEST_NAME:  # URIs are agents' text, and may be anything
                if len(self._stamps) >= MAX_STAMPS:
                    self._stamps.clear()
                    self._envelopes.clear()
                self._stamps[key] = stamp
        return stamp

    def _stamp_of(self, method: str, params: Mapping[str, Any]) -> _Stamp:
        """What the SDK makes of it: what goes into `_meta`, the headers, and whether a cancellation is told. It depends
        on the method and on what is named, and on nothing else."""
        named = _NAMED_BY.get(method, "")
        data: dict[str, Any] = {"method": method, "params": {named: params[named]} if named in params else {}}
        options: CallOptions = {}
        self._stamp(data, options)
        headers = {**(options.get("headers") or {})}
        if method in _UNKNOWN_TO_SDK and isinstance(name := params.get(named), str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        meta: dict[str, Any] = data["params"].get("_meta", {})
        envelopes = self._envelopes.setdefault(jsonrpc.dumps_to_keep(meta), {})
        return _Stamp(meta, HeaderLines(headers), options.get("cancel_on_abandon", True), envelopes)

    # --- Negotiation ------------------------------------------------------------------------------------------------

    async def _discover(self, version: str = MODERN_VERSIONS[-1], *, again: bool = True) -> Negotiated | None:
        """Probe for the modern era; None when there is no evidence of it.

        Args:
            again: whether to probe once more, with the revision that an upstream says it knows.
        """
        try:
            raw = repaired(await self.send_discover(version))
            result = types.DiscoverResult.model_validate(raw, by_name=False)
        except UpstreamError as error:
            if error.code != UNSUPPORTED_VERSION:
                return None
            supported = supported_of(error)
            if again and (mutual := [known for known in MODERN_VERSIONS if known in supported]):
                return await self._discover(mutual[-1], again=False)
            if supported and set(HANDSHAKE_VERSIONS).isdisjoint(supported):
                raise
            return None
        except (UpstreamTimeout, UpstreamProtocolError, ValidationError):
            return None
        if version not in result.supported_versions:
            return None
        self.adopt(result)
        server_info = (result.meta or {}).get(META_SERVER_INFO)
        return Negotiated(version, Era.MODERN, raw["capabilities"], as_object(server_info), result.instructions)

    async def _initialize(self, timeout: float) -> Negotiated:
        """`initialize`, with older revisions too if that is why it is refused."""
        offered, refusal = HANDSHAKE_VERSIONS[-1], None
        while True:
            try:
                return await self._offer(offered, timeout)
            except (UpstreamError, HttpRefusal) as error:
                refusal = refusal or error
                lower = next_offer(offered, error)
                if lower is None:
                    raise refusal from None  # what it said first is what it means
                offered = lower

    async def _offer(self, version: str, timeout: float) -> Negotiated:
        params = types.InitializeRequestParams(
            protocol_version=version,
            capabilities=types.ClientCapabilities(),
            client_info=self._client_info,
        ).model_dump(by_alias=True, mode="json", exclude_none=True)
        options: CallOptions = {"timeout": timeout, "cancel_on_abandon": False}
        raw = repaired(
            await self.connection.send_raw_request("initialize", {**params, "capabilities": self.capabilities}, options)
        )
        agreed = raw.get("protocolVersion")
        if agreed not in HANDSHAKE_VERSIONS:
            raise UpstreamProtocolError(self.connection.upstream, f"protocol version {agreed!r}, which is not known")
        try:
            self.adopt(types.InitializeResult.model_validate(raw, by_name=False))
        except ValidationError:
            raise UpstreamProtocolError(self.connection.upstream, "an initialize result without its fields") from None
        return Negotiated(agreed, Era.HANDSHAKE, raw["capabilities"], raw["serverInfo"], raw.get("instructions"))
