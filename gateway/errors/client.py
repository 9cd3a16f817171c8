"""What a client sent, and what keeps it from being served."""

import math
from collections.abc import Collection, Iterable
from typing import Any

from gateway import protocol
from gateway.errors.base import RETRY_SECONDS, GatewayError
from gateway.harmless import clipped


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
