"""The one kind of `Agent` there is: facts about a connection, or about a single modern request."""

import functools
import hashlib
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec

from gateway import jsonrpc, sdk
from gateway.bridge import questions
from gateway.errors import AgentCannot, HeaderMismatch, InvalidParams, MethodNotFound, UnsupportedVersion
from gateway.harmless import clipped
from gateway.jsonrpc import Message, as_object
from gateway.protocol import (
    HANDSHAKE_VERSIONS,
    HEADER_MISMATCH,
    LOG_LEVELS,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    META_VERSION,
    MODERN_VERSIONS,
    UNSUPPORTED_VERSION,
    Era,
)
from gateway.request import Ask, Notify, Principal

MAX_CAPABILITIES: Final = 8 * 1024
"""Bytes."""

MAX_REMEMBERED: Final = 16
"""Requests with the same `_meta`, of which it is remembered what the envelope says, …"""
LONGEST_REMEMBERED: Final = 512
"""… and how many characters of theirs may be kept for it."""


def _nowhere(method: str, params: dict[str, Any] | None) -> None:
    """A modern request has no channel besides its own stream."""


class ConnectedAgent(msgspec.Struct, eq=False):
    """See `gateway.request.Agent`."""

    opener: Principal
    view: str | None
    version: str
    capabilities: Mapping[str, Any] = {}
    info: Mapping[str, Any] = {}
    log_level: str | None = None
    outlet: Notify = _nowhere
    """Where notifications go that belong to no request."""
    inquiry: Ask | None = None
    """Where questions go that belong to no request."""
    tasks: Mapping[tuple[str, str], str] | None = None
    lasting: bool = True
    era: Era = Era.HANDSHAKE
    """Follows from the version."""
    _id: str = ""
    _digest: str = ""

    __repr__ = object.__repr__  # its id opens a session

    def __post_init__(self) -> None:
        if self.version in MODERN_VERSIONS:
            self.era = Era.MODERN

    @property
    def id(self) -> str:
        """Made when it is asked for: most requests of the modern era need none."""
        if not self._id:
            self._id = secrets.token_urlsafe(24)
        return self._id

    @property
    def digest(self) -> str:
        if not self._digest:
            self._digest = hashlib.sha256(self.id.encode()).hexdigest()[:16]
        return self._digest

    def is_known_as(self, id: str, public: str) -> None:
        """It has this id from now on, and its client knows it by the public one."""
        self._id = id
        self._digest = hashlib.sha256(public.encode()).hexdigest()[:16]

    def is_part_of(self, connection: "ConnectedAgent") -> None:
        """It speaks for a connection, and goes with that."""
        self._id, self._digest, self.lasting = connection.id, "", True

    def notify(self, method: str, params: dict[str, Any] | None) -> None:
        self.outlet(method, params)

    async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        questions.check(self, method, params or {})
        if self.inquiry is None:
            raise AgentCannot("it has no stream for questions that belong to no request of its own")
        return await self.inquiry(method, questions.outgoing(method, params, self.era))


OnNotification = Callable[[ConnectedAgent, str, dict[str, Any]], Coroutine[Any, Any, None]]
"""`(agent, method, params)`: an agent said something unasked."""


def carries_envelope(params: Mapping[str, Any] | None) -> bool:
    """Whether a request speaks the modern era: only its envelope has this key."""
    meta = (params or {}).get("_meta")
    return isinstance(meta, dict) and META_VERSION in meta


def declared(value: object) -> dict[str, Any]:
    """A client's capabilities, which are kept as long as it is there.

    Raises:
        InvalidParams: they are larger than any are.
    """
    capabilities = as_object(value)
    if capabilities and len(jsonrpc.dumps(capabilities)) > MAX_CAPABILITIES:
        raise InvalidParams(f"The client's capabilities are larger than {MAX_CAPABILITIES} bytes")
    return capabilities


def introduce(agent: ConnectedAgent, params: Mapping[str, Any]) -> None:
    """Take up what a handshake-era client says of itself when it opens a session or connection.

    Raises:
        InvalidParams: it cannot be used.
    """
    requested = params.get("protocolVersion")
    if not isinstance(requested, str):
        raise InvalidParams("protocolVersion must be a string")
    agent.version = requested if requested in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
    agent.capabilities = declared(params.get("capabilities"))  # lenient: absent means none
    agent.info = described(params.get("clientInfo"))


def described(value: object) -> dict[str, Any]:
    """What is kept of `clientInfo`: who it is, and not its icons."""
    info = as_object(value)
    return {name: clipped(info[name]) for name in ("name", "title", "version") if isinstance(info.get(name), str)}


@functools.cache
def _ladder() -> tuple[Any, Any]:
    """What checks an envelope, and the class of what it says of a bad one."""
    sdk.load()
    from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request

    return classify_inbound_request, InboundLadderRejection


Routing = tuple[str | None, str | None, str | None]
"""What the HTTP headers of a modern request say of its body: revision, method, and name."""


def routing_of(headers: Mapping[str, str]) -> Routing:
    return headers.get("mcp-protocol-version"), headers.get("mcp-method"), headers.get("mcp-name")


def modern_agent(
    message: Message,
    principal: Principal,
    view: str | None,
    headers: Mapping[str, str] | None = None,
    routing: Routing | None = None,
) -> ConnectedAgent:
    """Who sent one modern request, by its envelope.

    Args:
        headers: HTTP headers by lower-case name, which must agree with the body; None where there are none.
        routing: of the headers, for who has it already.

    Raises:
        InvalidParams, HeaderMismatch, UnsupportedVersion: the envelope is incomplete, contradicted, or of a revision
            that is not spoken here.
    """
    params: dict[str, Any] = message.get("params") or {}
    meta = params.get("_meta")
    if routing is None or not isinstance(meta, jsonrpc.Meta):
        said = _envelope(message, headers)
    else:
        key = message["method"], params.get("name"), params.get("uri"), routing
        said = meta.memo.get(key) or _remembered(message, headers, meta.memo, key)
    return ConnectedAgent(principal, view, said.version, said.capabilities, said.info, said.log_level, lasting=False)


class _Envelope(msgspec.Struct, frozen=True, eq=False):
    """What a client says of itself with each request."""

    version: str
    capabilities: Mapping[str, Any]
    info: Mapping[str, Any]
    log_level: str | None


def _remembered(
    message: Message,
    headers: Mapping[str, str] | None,
    memo: dict[object, Any],
    key: tuple[str, str | None, str | None, Routing],
) -> _Envelope:
    """The envelope of a request, for those to come with the same `_meta`: it follows from that, and from what the
    routing headers and the body say.

    Raises:
        InvalidParams, HeaderMismatch, UnsupportedVersion: see `modern_agent`.
    """
    said = _envelope(message, headers)
    if sum(len(each) for each in (*key[:3], *key[3]) if isinstance(each, str)) <= LONGEST_REMEMBERED:
        if len(memo) >= MAX_REMEMBERED:
            memo.clear()
        memo[key] = said
    return said


def _envelope(message: Message, headers: Mapping[str, str] | None) -> _Envelope:
    """
    Raises:
        InvalidParams, HeaderMismatch, UnsupportedVersion: see `modern_agent`.
    """
    classify, rejection = _ladder()
    route = classify(message, headers=headers)
    meta = as_object(as_object(message.get("params")).get("_meta"))
    if isinstance(route, rejection):
        if route.code == HEADER_MISMATCH:
            raise HeaderMismatch(route.message)
        if route.code == UNSUPPORTED_VERSION:
            raise UnsupportedVersion(str(meta.get(META_VERSION)))
        raise InvalidParams(route.message)
    if message["method"] == "initialize":
        raise MethodNotFound("initialize")
    level = meta.get(META_LOG_LEVEL)
    if level is not None and level not in LOG_LEVELS:
        raise InvalidParams(f"{META_LOG_LEVEL} must be one of {', '.join(LOG_LEVELS)}")
    return _Envelope(
        route.protocol_version,
        declared(meta.get(META_CLIENT_CAPABILITIES)),
        described(meta.get(META_CLIENT_INFO)),
        level,
    )
