"""One request, carried to its upstream and back: tokens mapped, the era's envelope changed, all else untouched."""

from typing import TYPE_CHECKING, Any

from gateway.bridge.envelope import is_input_required, unwrap_params
from gateway.bridge.log_levels import is_wanted
from gateway.errors import UpstreamAsked, UpstreamError
from gateway.protocol import INVALID_PARAMS, RESOURCE_NOT_FOUND, Era
from gateway.request import Request
from gateway.upstream.upstream import Upstream

if TYPE_CHECKING:
    from gateway.upstream.calls import CallOptions


async def forward(request: Request, upstream: Upstream, params: dict[str, Any]) -> dict[str, Any]:
    """Send `request` with `params` (its own, under the upstream's names) to its owner; return the raw result.

    Progress and log messages that belong to it reach the agent on the request's own stream, before the result.

    Raises:
        GatewayError: the upstream's own error, or why there is no answer.
    """
    agent = request.agent
    options: CallOptions = {"on_notification": _Relay(request)}
    if request.progress_token is not None:
        options["progress"] = True
    try:
        result = await upstream.request(
            request.method,
            unwrap_params(params),
            agent,
            options=options,
            log_level=agent.log_level,
            headers=request.headers,
        )
    except UpstreamError as error:
        if error.code == RESOURCE_NOT_FOUND and agent.era is Era.MODERN:
            error.code = INVALID_PARAMS  # the modern era has no code of its own for it, and forbids the old one
        raise
    if is_input_required(result):
        raise UpstreamAsked(upstream.name)
    return result


class _Relay:
    """Passes on what the upstream says while it works on a request."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    def __call__(self, method: str, params: dict[str, Any] | None) -> None:
        request = self._request
        if method == "notifications/progress":
            if request.progress_token is not None:
                request.notify(method, {**(params or {}), "progressToken": request.progress_token})
        elif method == "notifications/message" and is_wanted(request.agent, params or {}):
            request.notify(method, params)
        # Nothing else belongs to a request in either era; what does not, must not look as if it did.
