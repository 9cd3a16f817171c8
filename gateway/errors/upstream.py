"""What happened upstream."""

import math
from collections.abc import Collection
from typing import Any, Literal

from gateway import protocol
from gateway.errors.base import GatewayError, tenths_up


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
