"""Everything that can go wrong on a request's way, one leaf per outcome a client can see.

Each leaf has a JSON-RPC code, the HTTP status used when the error ends the HTTP exchange itself (before a JSON-RPC
answer is owed), and words that say what to do. Codes −32000 … −32019 are ours; −32020 … −32099 are the specification's.
Foreign exceptions are mapped to these where they enter, never further in.
"""

import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final, Literal

from gateway import protocol
from gateway.harmless import clipped

RETRY_SECONDS: Final = 5
"""When to try again what failed for want of something that an operator has to mend."""


def tenths_up(seconds: float) -> float:
    """Rounded up, so that who comes back then does not come too early."""
    return math.ceil(seconds * 10) / 10


class GatewayError(Exception):
    """Base of every error the gateway answers with."""

    code: int = protocol.INTERNAL_ERROR
    status: int = 200
    outcome: str = "error"
    """What logs and metrics call it."""
    ends_exchange: bool = False
    """Whether over HTTP it is answered with its own `status` and `headers` even where a JSON-RPC answer is owed."""
    delivered: bool = True
    """Whether an upstream may have acted on the request."""
    retryable: bool = False
    """Whether the same request may succeed if it is sent once more."""
    is_answer: bool = False
    """Whether an upstream has answered, though not with what was wished for."""
    counts_for_breaker: bool = False
    """Whether it is an upstream's doing that there is no answer."""

    def __init__(self, message: str, *, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        self.headers: dict[str, str] = {}
        """Further HTTP headers of the answer."""

    def code_in(self, era: protocol.Era) -> int:
        """The JSON-RPC code that agents of an era are told. The modern one has none of its own for a resource that is
        not there, and forbids the old one."""
        is_missing = self.code == protocol.RESOURCE_NOT_FOUND and era is protocol.Era.MODERN
        return protocol.INVALID_PARAMS if is_missing else self.code


class ConfigError(GatewayError):
    """The configuration cannot be used. The message names file, line, server and field."""

    outcome = "bad_config"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.files: list[Path] = []
        """The files that were read, or should have been, as far as the reader says."""


# --- What the client sent -----------------------------------------------------------------------------------------


class ParseError(GatewayError):
    """The body is not JSON."""

    code, status, outcome = protocol.PARSE_ERROR, 400, "malformed"


class InvalidRequest(GatewayError):
    """The body is JSON, but not one JSON-RPC message."""

    code, status, outcome = protocol.INVALID_REQUEST, 400, "malformed"


class InvalidParams(GatewayError):
    """A parameter is missing or has the wrong shape."""

    code, status, outcome = protocol.INVALID_PARAMS, 400, "invalid_params"


class MethodNotFound(GatewayError):
    """No such method, in this era, or nobody here who could be meant by it."""

    code, status, outcome = protocol.METHOD_NOT_FOUND, 404, "method_not_found"

    def __init__(self, method: str, reason: str = "") -> None:
        super().__init__("Method not found" + (f": {reason}" if reason else ""), data={"method": clipped(method)})


class HeaderMismatch(GatewayError):
    """An HTTP header contradicts the body (2026-07-28, basic/transports/streamable-http)."""

    code, status, outcome = protocol.HEADER_MISMATCH, 400, "malformed"


class MissingClientCapability(GatewayError):
    """The client did not declare what its request needs (2026-07-28, basic/index)."""

    code, status, outcome = protocol.MISSING_CAPABILITY, 400, "missing_capability"

    def __init__(self, missing: dict[str, Any]) -> None:
        super().__init__("Missing required client capability", data={"requiredCapabilities": missing})


class UnsupportedVersion(GatewayError):
    """The client speaks a revision this gateway does not."""

    code, status, outcome = protocol.UNSUPPORTED_VERSION, 400, "malformed"

    def __init__(self, requested: str) -> None:
        super().__init__(
            "Unsupported protocol version", data={"supported": list(protocol.MODERN_VERSIONS), "requested": requested}
        )


class UnknownTool(GatewayError):
    """No tool of that name in the catalogue."""

    code, outcome = protocol.INVALID_PARAMS, "unknown_tool"

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown tool: {clipped(name)}. Call tools/list to see the tools there are now.")


class UnknownPrompt(GatewayError):
    """No prompt of that name in the catalogue."""

    code, outcome = protocol.INVALID_PARAMS, "unknown_prompt"

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown prompt: {clipped(name)}. Call prompts/list to see the prompts there are now.")


class UnknownResource(GatewayError):
    """No upstream serves that URI. Handshake-era agents get −32002, later ones −32602."""

    code, outcome = protocol.RESOURCE_NOT_FOUND, "unknown_resource"

    def __init__(self, uri: str) -> None:
        super().__init__(f"Resource not found: {clipped(uri)}", data={"uri": clipped(uri, 2000)})


class UnknownSkill(GatewayError):
    """No upstream serves a skill of that URI (SEP-2640, in both eras)."""

    code, outcome = protocol.INVALID_PARAMS, "unknown_skill"

    def __init__(self, uri: str) -> None:
        super().__init__(f"No skill is served at {clipped(uri)}", data={"uri": clipped(uri, 2000)})


class SessionNotFound(GatewayError):
    """No such session, or it is someone else's: the two must look the same."""

    code, status, outcome = protocol.INVALID_REQUEST, 404, "no_session"

    def __init__(self) -> None:
        super().__init__("Session not found. Open a new one with initialize.")


class Forbidden(GatewayError):
    """A Host or Origin this gateway was not told to answer to (DNS rebinding)."""

    code, status, outcome = protocol.INVALID_REQUEST, 403, "forbidden"


class Unauthenticated(GatewayError):
    """No credential, or one that is not good. Over HTTP it says how to get one (RFC 9728)."""

    code, status, outcome, ends_exchange = -32018, 401, "unauthenticated", True


class InsufficientScope(GatewayError):
    """The principal lacks a scope that the request needs."""

    code, status, outcome, ends_exchange = -32019, 403, "forbidden", True

    def __init__(self, needed: Collection[str]) -> None:
        scopes = " ".join(sorted(needed))
        super().__init__(f"This needs the scope {scopes}, which your credential lacks.", data={"scope": scopes})
        self.needed = frozenset(needed)


class RateLimited(GatewayError):
    """The principal asks too much."""

    code, status, outcome, ends_exchange = -32003, 429, "rate_limited", True

    def __init__(self, retry_after: float, what: str) -> None:
        super().__init__(
            f"Too many requests: the limit {what} is used up. Try again in {math.ceil(retry_after)} s.",
            data={"retryAfter": round(retry_after, 3)},
        )
        self.headers["retry-after"] = str(math.ceil(retry_after))


class UnknownTask(GatewayError):
    """No task of that handle, or it is somebody else's: the two must look the same."""

    code, outcome = protocol.INVALID_PARAMS, "unknown_task"

    def __init__(self, handle: str) -> None:
        super().__init__(f"Unknown task: {handle[:200]}")


class InvalidRequestState(GatewayError):
    """A `requestState` that this gateway did not give to this principal for this request, or that is no longer good."""

    code, outcome = protocol.INVALID_PARAMS, "invalid_state"

    def __init__(self, message: str = "Invalid or expired requestState. Start the request again, without it.") -> None:
        super().__init__(message, data={"reason": "invalid_request_state"})


class TooManyParked(GatewayError):
    """Too many requests wait for the agent's answers."""

    code, status, outcome = -32004, 503, "overloaded"

    def __init__(self, cap: int) -> None:
        super().__init__(f"{cap} requests wait for your answers already. Answer some of them, or let them expire.")


class TooManySubscriptions(GatewayError):
    """As many resources are subscribed to as may be: too much is held, as with sessions."""

    code, status, outcome = -32016, 503, "overloaded"

    def __init__(self, cap: int) -> None:
        super().__init__(
            f"{cap} resources are subscribed to already, which is the most. Unsubscribe from some of them."
        )


class NotFound(GatewayError):
    """Nothing at that address."""

    code, status, outcome = protocol.METHOD_NOT_FOUND, 404, "malformed"


class RequestCancelled(GatewayError):
    """The agent no longer waits for it. Told only where it is owed an answer all the same."""

    code, outcome = protocol.REQUEST_CANCELLED, "cancelled"

    def __init__(self) -> None:
        super().__init__("Request cancelled")


class Stopping(GatewayError):
    """The gateway stops, and the request was not done within `drain_timeout`."""

    code, status, outcome = -32007, 503, "stopping"

    def __init__(self) -> None:
        super().__init__("The gateway is stopping and cannot wait for this any longer. Whether it was done is unknown.")


class CallLost(Stopping):
    """The node that worked on a request is gone, and did not answer it."""

    def __init__(self) -> None:
        super().__init__()
        self.message = "The gateway ended while it worked on this. Whether it was done is unknown."


class StreamExists(GatewayError):
    """A session has one standing stream."""

    code, status, outcome = protocol.INVALID_REQUEST, 409, "malformed"


class InternalError(GatewayError):
    """A defect of the gateway; its log has the details."""

    code, status, outcome = protocol.INTERNAL_ERROR, 500, "error"

    def __init__(self) -> None:
        super().__init__("Internal error")


class NotSaved(InternalError):
    """What must outlive a restart could not be written. The message says what, and what counts meanwhile."""

    status, outcome = 503, "not_saved"

    def __init__(
        self, what: str, reason: str, remedy: str = "Make room, or make the state directory writable, and try again."
    ) -> None:
        GatewayError.__init__(self, f"{what} ({reason}). {remedy}")
        self.headers["retry-after"] = str(RETRY_SECONDS)


class StoreUnavailable(GatewayError):
    """The store that the gateway's nodes share cannot be reached, and what was asked for cannot be decided without it:
    whether a token was revoked, say. Nothing was done.

    Args:
        reason: in words that may follow "The store does not answer:".
    """

    code, status, outcome, ends_exchange = -32000, 503, "store_unavailable", True

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The store that the gateway's nodes share (gateway.store) does not answer: {reason}. "
            "Your credential is not the matter. Try again.",
            data={"retryAfter": RETRY_SECONDS},
        )
        self.headers["retry-after"] = str(RETRY_SECONDS)


class AuditNotWritten(NotSaved):
    """What was asked for is to be in the audit log, which cannot be written (`gateway.audit.on_failure`)."""

    def __init__(self, reason: str) -> None:
        GatewayError.__init__(
            self,
            f"The audit log cannot be written ({reason}), and nothing that has to be in it is done meanwhile. "
            "Try again later, or tell whoever runs the gateway.",
        )
        self.headers["retry-after"] = str(RETRY_SECONDS)


class MethodNotAllowed(GatewayError):
    """An HTTP method this endpoint does not have. `allowed` are those it has (RFC 9110, 15.5.6)."""

    code, status, outcome = protocol.INVALID_REQUEST, 405, "malformed"

    def __init__(self, message: str, allowed: Iterable[str]) -> None:
        super().__init__(message)
        self.headers["allow"] = ", ".join(allowed)


class NotAcceptable(GatewayError):
    """The client accepts nothing the gateway can send."""

    code, status, outcome = protocol.INVALID_REQUEST, 406, "malformed"


class SlowRequest(GatewayError):
    """The request did not arrive within the read deadline."""

    code, status, outcome = protocol.INVALID_REQUEST, 408, "malformed"


class HeadersTooLarge(GatewayError):
    """The request's headers are over the size cap."""

    code, status, outcome = protocol.INVALID_REQUEST, 431, "oversized"

    def __init__(self, cap: int) -> None:
        super().__init__(f"The headers are larger than {cap} bytes, the cap set by gateway.max_header_bytes.")


class PayloadTooLarge(GatewayError):
    """The request is over the size cap."""

    code, status, outcome = -32014, 413, "oversized"

    def __init__(self, cap: int) -> None:
        super().__init__(f"The request is larger than {cap} bytes, the cap set by gateway.max_request_bytes.")


class UnsupportedMediaType(GatewayError):
    """The request is not `application/json`."""

    code, status, outcome = protocol.INVALID_REQUEST, 415, "malformed"


class TooManySessions(GatewayError):
    """The cap on open sessions, or streams that stand for one, is reached."""

    code, status, outcome, ends_exchange = -32016, 503, "overloaded", True

    def __init__(self, cap: int, setting: str) -> None:
        super().__init__(
            f"{cap} sessions or streams are open, the cap set by gateway.{setting}. Close one, or try again later."
        )
        self.headers["retry-after"] = "60"


class TooManyRequests(GatewayError):
    """As many requests of the principal are in flight as may be."""

    code, status, outcome, ends_exchange = -32005, 429, "overloaded", True

    def __init__(self, cap: int) -> None:
        super().__init__(
            f"{cap} of your requests are in flight, the cap set by gateway.max_requests_per_principal. "
            "Wait for one of them to be answered.",
            data={"retryAfter": 1},
        )
        self.headers["retry-after"] = "1"


class Overloaded(GatewayError):
    """The gateway has more to do than it can, and takes on nothing new for the moment. Nothing was done."""

    code, status, outcome, ends_exchange = -32006, 503, "overloaded", True

    def __init__(self, why: str, setting: str) -> None:
        super().__init__(
            f"The gateway is overloaded: {why} (gateway.{setting}). Try again in a moment.", data={"retryAfter": 1}
        )
        self.headers["retry-after"] = "1"


# --- What happened upstream ---------------------------------------------------------------------------------------


class UpstreamError(GatewayError):
    """The upstream's own JSON-RPC error, passed through as it is."""

    outcome, is_answer = "upstream_error", True

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class UpstreamUnavailable(GatewayError):
    """The upstream is not connected. The request was not delivered, so repeating it is safe."""

    code, outcome, counts_for_breaker = -32010, "upstream_unavailable", True

    def __init__(self, upstream: str, state: str, reason: str = "", retry_after: float | None = None) -> None:
        text = f"Upstream {upstream!r} is {state}" + (f": {reason}" if reason else "")
        if retry_after is not None:
            text += f". Next attempt in {retry_after:.0f} s"
        data: dict[str, Any] = {"upstream": upstream, "state": state, "delivered": False}
        if retry_after is not None:
            data["retryAfter"] = round(retry_after, 1)
        super().__init__(text + ".", data=data)


class LoginNeeded(UpstreamUnavailable):
    """Somebody has to log in at the upstream first. The request was not acted on, so repeating it is safe.

    Args:
        reason: in words that may follow "needs a login:".
        command: what whoever runs the gateway types to do so.
        link: where the principal that asked does so in a browser, if the gateway has such a page. It carries no
            authority.
        scopes: what has to be granted, if what was granted is too little.
        otherwise: what to do where there is neither command nor link.
    """

    outcome, counts_for_breaker = "login_needed", False

    def __init__(
        self,
        upstream: str,
        reason: str,
        *,
        command: str = "",
        link: str | None = None,
        scopes: Collection[str] = (),
        otherwise: str = "whoever runs the gateway can log in",
    ) -> None:
        super().__init__(upstream, "login needed", reason)
        self.upstream, self.reason, self.command, self.link, self.scopes = upstream, reason, command, link, scopes
        self.otherwise = otherwise
        ways = [f"open {link}" if link else "", f"run `{command}`" if command else ""]
        self.way = " or ".join(filter(None, ways)) or otherwise
        """What to do."""
        way = f"{self.way[0].upper()}{self.way[1:]}"
        self.message = f"Upstream {upstream!r} needs a login: {reason}. {way}, and send the request again."
        self.args = (self.message,)
        assert self.data is not None
        self.data |= {"reason": "login_needed"}
        if link:
            self.data["url"] = link
        if command:
            self.data["command"] = command
        if scopes:
            self.data["scope"] = " ".join(scopes)

    def again(self) -> "LoginNeeded":
        """The same, to be raised once more."""
        return LoginNeeded(
            self.upstream,
            self.reason,
            command=self.command,
            link=self.link,
            scopes=self.scopes,
            otherwise=self.otherwise,
        )


class UrlElicitationRequired(GatewayError):
    """An agent of the handshake era is to have its user visit a page, and to send the request again then (2025-11-25,
    client/elicitation). The request was not acted on.

    Args:
        elicitation: the parameters that `elicitation/create` would have.
    """

    code, outcome, delivered = protocol.URL_ELICITATION_REQUIRED, "login_needed", False

    def __init__(self, message: str, elicitation: dict[str, Any]) -> None:
        super().__init__(message, data={"elicitations": [elicitation]})


class StateGone(UpstreamUnavailable):
    """The process that an upstream ran for one session alone ended with its node, with whatever it knew. Said once."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, "new to this session")
        self.message = (
            f"What upstream {upstream!r} kept for this session is gone with the gateway that ran it. "
            "Nothing was done; send the request again to go on without it."
        )


class CircuitOpen(GatewayError):
    """The upstream has failed too often in a row and is left alone for a while. The request was not delivered.

    Args:
        reason: its last failure, in words that may follow its name.
        retry_after: seconds until it is tried again.
    """

    code, outcome = -32009, "circuit_open"

    def __init__(self, upstream: str, reason: str, retry_after: float) -> None:
        super().__init__(
            f"Upstream {upstream!r} keeps failing and is not asked for now: {reason}. "
            f"It is tried again in {math.ceil(retry_after)} s.",
            data={"upstream": upstream, "reason": reason, "retryAfter": tenths_up(retry_after), "delivered": False},
        )


class UpstreamTimeout(GatewayError):
    """The upstream did not answer by the deadline. It may still be at work on the request.

    Args:
        setting: the one that says how long it may take.
    """

    code, outcome, counts_for_breaker = -32011, "timeout", True

    def __init__(self, upstream: str, method: str, seconds: float, setting: str = "timeout") -> None:
        seconds = round(seconds, 2)
        super().__init__(
            f"Upstream {upstream!r} did not answer {method} within {seconds:g} s. "
            f"If it needs longer, raise `{setting}` in its entry.",
            data={"upstream": upstream, "timeout": seconds},
        )


class UpstreamLost(GatewayError):
    """The connection broke while the request was in flight. Whether the upstream acted on it is unknown."""

    code, outcome, counts_for_breaker, retryable = -32012, "upstream_lost", True, True

    def __init__(self, upstream: str, reason: str, *, delivered: bool = True) -> None:
        super().__init__(
            f"Upstream {upstream!r} went away before it answered: {reason}.",
            data={"upstream": upstream, "delivered": "unknown" if delivered else False},
        )
        self.delivered = delivered


class UpstreamProtocolError(GatewayError):
    """The upstream answered with something that is not MCP."""

    code, outcome, counts_for_breaker = -32013, "upstream_garbage", True

    def __init__(self, upstream: str, reason: str) -> None:
        super().__init__(f"Upstream {upstream!r} answered with something that is not MCP: {reason}.")


class UpstreamOversized(GatewayError):
    """The upstream's answer is over the cap on its bytes, or on its values."""

    code, outcome, is_answer = -32015, "upstream_oversized", True

    def __init__(self, upstream: str, cap: int, unit: Literal["bytes", "values"] = "bytes") -> None:
        remedy = "If that is intended, raise `max_response_bytes` in its entry."
        if unit == "values":
            remedy = "Ask for less at a time, or for text."
        super().__init__(
            f"The answer of upstream {upstream!r} is larger than {cap} {unit}. {remedy}",
            data={"upstream": upstream, "cap": cap},
        )


class DefinitionChanged(GatewayError):
    """The item is not what was pinned, or new to a pinned upstream, and nobody has approved it yet."""

    code, outcome = -32008, "definition_changed"

    def __init__(self, upstream: str, kind: str, name: str, what: str) -> None:
        super().__init__(
            f"Blocked: what upstream {upstream!r} offers under this name is {what} since its definitions were pinned, "
            "and nobody has approved that. Whoever runs the gateway sees the difference with `mcp-gateway pins diff` "
            "and accepts it with `mcp-gateway pins approve`.",
            data={"upstream": upstream, "kind": kind, "name": name, "change": what, "delivered": False},
        )


class UpstreamAsked(GatewayError):
    """The upstream asked the agent for input in a way that cannot be carried to it."""

    code, outcome = -32017, "input_required"

    def __init__(self, upstream: str, reason: str) -> None:
        super().__init__(f"Upstream {upstream!r} asked for input, which this client cannot be asked for: {reason}.")


# --- What happened at the agent, as an upstream that asked it something is told ------------------------------------


class AgentError(GatewayError):
    """The agent's own JSON-RPC error, passed through as it is."""

    outcome = "agent_error"

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class AgentCannot(GatewayError):
    """The agent did not declare to be able to answer that, or has no way to be asked."""

    code, outcome = protocol.METHOD_NOT_FOUND, "unanswerable"

    def __init__(self, reason: str, missing: dict[str, Any] | None = None) -> None:
        super().__init__(f"This client cannot be asked: {reason}.")
        self.reason = reason
        self.data = {"requiredCapabilities": missing} if missing else None


class AgentGone(GatewayError):
    """The agent left before it answered."""

    code, outcome = protocol.INTERNAL_ERROR, "agent_gone"

    def __init__(self) -> None:
        super().__init__("The client left before it answered.")
