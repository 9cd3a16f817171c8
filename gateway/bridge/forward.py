"""One request, carried to its upstream and back: tokens mapped, the era's envelope changed, questions bridged, all else
untouched."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from gateway.bridge.envelope import is_input_required, unwrap_params
from gateway.bridge.log_levels import is_wanted
from gateway.bridge.parking import ParkedCall, Parking
from gateway.bridge.questions import LiveAsker, check
from gateway.bridge.rounds import answer_rounds
from gateway.bridge.state import StateSeal
from gateway.errors import AgentCannot, UpstreamAsked, UpstreamError
from gateway.jsonrpc import as_object
from gateway.protocol import INVALID_PARAMS, RESOURCE_NOT_FOUND, URL_ELICITATION_REQUIRED, Era
from gateway.request import QUESTIONS, Request, is_askable
from gateway.upstream.upstream import Upstream

if TYPE_CHECKING:
    from gateway.upstream.calls import Asker, CallOptions

MAY_ASK: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Methods that a modern upstream may answer with `input_required`."""
_OF_RETRIES: Final = frozenset({"inputResponses", "requestState"})
"""Parameters that the handshake era does not know."""


class Bridge:
    """The four combinations of eras."""

    def __init__(self, seal: StateSeal, parking: Parking) -> None:
        self._seal = seal
        self._parking = parking

    async def forward(self, request: Request, upstream: Upstream, params: dict[str, Any]) -> dict[str, Any]:
        """Send `request` with `params` (its own, under the upstream's names) to its owner; return the raw result.

        Progress, log messages and questions that belong to it reach the agent on the request's own stream, before the
        result; a modern agent finds the questions in the result.

        Raises:
            GatewayError: the upstream's own error, or why there is no answer.
        """
        with upstream.engaged():
            if request.agent.era is Era.MODERN:
                return await self._for_modern(request, upstream, params)
            return await self._for_handshake(request, upstream, params)

    async def _for_handshake(self, request: Request, upstream: Upstream, params: dict[str, Any]) -> dict[str, Any]:
        asker = LiveAsker(request) if is_askable(request.agent) else None

        async def send(params: dict[str, Any]) -> dict[str, Any]:
            return await _send(request, upstream, params, lambda: request, asker)

        return await answer_rounds(request, upstream.name, params, await send(params), send)

    async def _for_modern(self, request: Request, upstream: Upstream, params: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._ask_for_modern(request, upstream, params)
        except UpstreamError as error:
            if error.code == RESOURCE_NOT_FOUND:
                error.code = INVALID_PARAMS  # the modern era has no code of its own for it, and forbids the old one
            if error.code == URL_ELICITATION_REQUIRED:  # nor for this, which was an error and is a result now
                return _url_questions(request, upstream.name, error)
            raise

    async def _ask_for_modern(self, request: Request, upstream: Upstream, params: dict[str, Any]) -> dict[str, Any]:
        if request.method in MAY_ASK and params.get("requestState") is not None:
            content = self._seal.open(params["requestState"], request, upstream.name)
            if "call" in content:
                return await self._parking.resume(content["call"], content.get("round"), request)
            params = {**params, "requestState": content["state"]}
        agent = request.agent
        if request.method in MAY_ASK and is_askable(agent) and await upstream.era(agent) is Era.HANDSHAKE:
            bare = {name: value for name, value in params.items() if name not in _OF_RETRIES}

            async def run(call: ParkedCall) -> dict[str, Any]:
                with upstream.engaged():  # for longer than this request of the agent's
                    return await _send(request, upstream, bare, lambda: call.request, call)

            return await self._parking.start(request, upstream.name, run)
        result = await _send(request, upstream, params, lambda: request, None)
        if is_input_required(result):
            _check_questions(request, upstream.name, result)
            if result.get("requestState") is not None:
                result["requestState"] = self._seal.seal({"state": result["requestState"]}, request, upstream.name)
        return result


async def _send(
    request: Request,
    upstream: Upstream,
    params: dict[str, Any],
    hearer: Callable[[], Request | None],
    asker: "Asker | None",
) -> dict[str, Any]:
    options: CallOptions = {"on_notification": _Relay(hearer)}
    if asker is not None:
        options["asker"] = asker
    if request.progress_token is not None:
        options["progress"] = True
    if request.pause is not None:
        options["on_pause"] = request.pause
    return await upstream.request(
        request.method,
        unwrap_params(params),
        request.agent,
        options=options,
        log_level=request.agent.log_level,
        headers=request.headers,
    )


class _Relay:
    """Passes on what the upstream says while it works on a request, to the request that waits for it now."""

    __slots__ = ("_hearer",)

    def __init__(self, hearer: Callable[[], Request | None]) -> None:
        self._hearer = hearer

    def __call__(self, method: str, params: dict[str, Any] | None) -> None:
        request = self._hearer()
        if request is None:
            return  # parked; progress and logs are for who is there
        if method == "notifications/progress":
            if request.progress_token is not None:
                request.notify(method, {**(params or {}), "progressToken": request.progress_token})
        elif (method == "notifications/message" and is_wanted(request.agent, params or {})) or (
            method == "notifications/elicitation/complete" and request.agent.era is Era.HANDSHAKE
        ):
            request.notify(method, params)
        # Nothing else belongs to a request in either era; what does not, must not look as if it did.


def _check_questions(request: Request, upstream: str, result: dict[str, Any]) -> None:
    """
    Raises:
        UpstreamAsked: the upstream asks for what the agent did not declare. Questions that are not in the specification
            are left to the two that know them.
    """
    for asked in as_object(result.get("inputRequests")).values():
        question = as_object(asked)
        if question.get("method") in QUESTIONS:
            try:
                check(request.agent, question["method"], as_object(question.get("params")))
            except AgentCannot as error:
                raise UpstreamAsked(upstream, error.reason) from None


def _url_questions(request: Request, upstream: str, error: UpstreamError) -> dict[str, Any]:
    """The questions that a handshake-era upstream puts into an error (−32042), in the modern era's form.

    Raises:
        UpstreamAsked: the agent cannot be asked them.
    """
    asked: object = as_object(error.data).get("elicitations")
    if not isinstance(asked, list) or not asked:
        raise UpstreamAsked(upstream, "it was not told which page to visit")
    questions = {
        f"question-{number}": {"method": "elicitation/create", "params": {**as_object(params), "mode": "url"}}
        for number, params in enumerate(cast("list[object]", asked), 1)
    }
    result = {"resultType": "input_required", "inputRequests": questions}
    _check_questions(request, upstream, result)
    return result
