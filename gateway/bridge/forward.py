"""Between the eras: what an upstream asks reaches an agent that is asked another way, and the answer goes back."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

from gateway.bridge.elsewhere import ParkedElsewhere
from gateway.bridge.envelope import is_input_required
from gateway.bridge.login_requests import QUESTION, LoginRequests, log_in
from gateway.bridge.parking import ParkedCall, Parking
from gateway.bridge.questions import LiveAsker, check
from gateway.bridge.rounds import answer_rounds
from gateway.bridge.state import StateSeal
from gateway.bridge.timing import USUAL, BridgeTiming
from gateway.call import Call
from gateway.errors import AgentCannot, LoginNeeded, UpstreamAsked, UpstreamError
from gateway.jsonrpc import as_object
from gateway.protocol import INPUT_REQUIRED, URL_ELICITATION_REQUIRED, Era
from gateway.request import QUESTIONS, is_askable
from gateway.upstream.transport.pending import ApiUnable
from gateway.upstream.upstream import Upstream

Attempt = Callable[[Upstream, Call, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Sends a call with these parameters, under the upstream's names, and returns the raw result: `pipeline.attempt`."""

MAY_ASK: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Methods that a modern upstream may answer with `input_required`."""
_OF_RETRIES: Final = frozenset({"inputResponses", "requestState"})
"""Parameters that the handshake era does not know."""


ASK_USER: Final = "elicitation/create"


class Bridge:
    """The four combinations of eras.

    Args:
        elsewhere: goes on with calls that are parked at other nodes, if there are any.
    """

    def __init__(
        self,
        seal: StateSeal,
        parking: Parking,
        elsewhere: ParkedElsewhere | None = None,
        timing: BridgeTiming = USUAL,
    ) -> None:
        self._seal = seal
        self._timing = timing
        self._parking = parking
        self._elsewhere = elsewhere
        self._logins = LoginRequests(seal, timing)

    def is_needed(self, call: Call) -> bool:
        """Whether a call is not just sent: its agent may be asked something, or comes back with answers."""
        agent = call.agent
        if agent.capabilities and is_askable(agent):
            return True
        return "requestState" in call.params and agent.era is Era.MODERN

    async def carry(self, call: Call, upstream: Upstream, params: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        """The result of such a call.

        Progress, log messages and questions that belong to it reach the agent on the call's own stream, before the
        result; a modern agent finds the questions in the result.

        Args:
            params: the call's, under the upstream's names.

        Raises:
            GatewayError: the upstream's own error, or why there is no answer.
        """
        if call.agent.era is Era.HANDSHAKE:
            call.client_requester = LiveAsker(call)
            send = partial(self._attempt_live, attempt)
            try:
                return await self.on_result(call, upstream, params, await send(upstream, call, params), send)
            finally:
                call.client_requester = None
        patience = 0.0
        if call.method in MAY_ASK and params.get("requestState") is not None:
            content = self._seal.open(params["requestState"], call, upstream.name)
            if "call" in content:
                node = content.get("node", self._parking.node)
                if self._elsewhere is not None and node != self._parking.node:
                    return await self._elsewhere.resume(node, content["call"], content["round"], call)
                return await self._parking.resume(content["call"], content.get("round"), call)
            if QUESTION in content:
                params = self._logins.resumed(call, upstream, params, content[QUESTION])
                attempt = log_in if content[QUESTION]["tool"] else attempt  # the server may have such a tool by now
                patience = self._timing.login_patience_seconds
            else:
                params = {**params, "requestState": content["state"]}
                if content["state"] is None:  # see `confirm`
                    del params["requestState"]
        try:
            return await self._carry_modern(call, upstream, params, attempt)
        except LoginNeeded as needed:
            if call.method not in MAY_ASK:
                raise
            failure = needed
        send = partial(self._carry_modern, call, upstream, params, attempt)
        is_tool = attempt is log_in
        return await self._logins.go_on(call, upstream, params, failure, send, patience, is_tool=is_tool)

    async def _carry_modern(
        self, call: Call, upstream: Upstream, params: dict[str, Any], attempt: Attempt
    ) -> dict[str, Any]:
        agent = call.agent
        if call.method in MAY_ASK and is_askable(agent) and await upstream.era(agent) is Era.HANDSHAKE:
            bare = {name: value for name, value in params.items() if name not in _OF_RETRIES}

            async def run(parked: ParkedCall) -> dict[str, Any]:
                with upstream.engaged():  # for longer than this request of the agent's
                    return await attempt(upstream, parked, bare)

            return await self._parking.start(call, upstream.name, run)
        return await self.on_result(call, upstream, params, await attempt(upstream, call, params), attempt)

    async def _attempt_live(
        self, attempt: Attempt, upstream: Upstream, call: Call, params: dict[str, Any]
    ) -> dict[str, Any]:
        """Send a call of a handshake-era agent's, once its user has logged in if need be."""
        try:
            return await attempt(upstream, call, params)
        except LoginNeeded as needed:
            failure = needed
        return await self._logins.ask_live(call, upstream, failure, partial(attempt, upstream, call, params))

    async def confirm(
        self, call: Call, upstream: Upstream, params: dict[str, Any], question: dict[str, Any], attempt: Attempt
    ) -> dict[str, Any]:
        """The result of a call about which the agent's user is asked first; what came of it if they say no.

        Args:
            question: parameters of `elicitation/create`.

        Raises:
            GatewayError: the upstream's own error, or why there is no answer.
        """
        agent = call.agent
        if agent.era is Era.MODERN and params.get("requestState") is not None:
            return await self.carry(call, upstream, params, attempt)  # they were asked, or there would be no such state
        try:
            check(agent, ASK_USER, question)
        except AgentCannot as error:
            return _refusal(f"Not called: its user has to agree, and {error.reason}. Call it by its own name instead.")
        if agent.era is Era.HANDSHAKE:
            call.client_requester = LiveAsker(call)
            try:
                answer = await call.put_question(ASK_USER, question)
            finally:
                call.client_requester = None
            return _unless_refused(answer) or await self.carry(call, upstream, params, attempt)
        bare = {name: value for name, value in params.items() if name not in _OF_RETRIES}

        async def run(parked: ParkedCall) -> dict[str, Any]:
            if (refusal := _unless_refused(await parked.put_question(ASK_USER, question))) is not None:
                return refusal
            try:
                with upstream.engaged():
                    sent = await attempt(upstream, parked, bare)
            except LoginNeeded as needed:
                failure = needed
            else:
                return self._agreed(call, upstream, await self.on_result(parked, upstream, bare, sent, attempt))
            send = partial(self._carry_modern, call, upstream, bare, attempt)
            return await self._logins.go_on(parked, upstream, bare, failure, send, 0.0, is_tool=False)

        return await self._parking.start(call, upstream.name, run)

    def _agreed(self, call: Call, upstream: Upstream, result: dict[str, Any]) -> dict[str, Any]:
        """The result of what was agreed to: what comes back for it is not asked again, whatever the upstream asks."""
        if is_input_required(result) and result.get("requestState") is None:
            result["requestState"] = self._seal.seal({"state": None}, call, upstream.name)
        return result

    async def on_result(
        self, call: Call, upstream: Upstream, params: dict[str, Any], result: dict[str, Any], attempt: Attempt
    ) -> dict[str, Any]:
        """What an upstream asks by its result is asked live, or sealed into what the agent comes back with.

        Raises:
            UpstreamAsked: the agent cannot be asked that.
            GatewayError: what the agent or the upstream answered instead.
        """
        if not is_input_required(result):
            return result
        if call.agent.era is Era.HANDSHAKE:
            send = partial(attempt, upstream, call)
            return await answer_rounds(call, upstream.name, params, result, send, self._timing)
        _check_questions(call, upstream.name, result)
        if result.get("requestState") is not None:
            result["requestState"] = self._seal.seal({"state": result["requestState"]}, call, upstream.name)
        return result

    def on_error(self, call: Call, upstream: str, error: UpstreamError) -> dict[str, Any] | None:
        """The result that the agent's era has instead of an upstream's error; None where it is an error there too.

        Raises:
            UpstreamAsked: the agent cannot be asked what the error asks.
        """
        if call.agent.era is Era.MODERN and error.code == URL_ELICITATION_REQUIRED:
            return _url_questions(call, upstream, error)  # the modern era has no such error; it was made a result
        return error.result if isinstance(error, ApiUnable) else None


def _refusal(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _unless_refused(answer: dict[str, Any]) -> dict[str, Any] | None:
    """What the agent is told instead, if its user did not agree."""
    if answer.get("action") == "accept":
        return None
    return _refusal("Not called: the user did not agree to it.")


def _check_questions(call: Call, upstream: str, result: dict[str, Any]) -> None:
    """
    Raises:
        UpstreamAsked: the upstream asks for what the agent did not declare. Questions that are not in the specification
            are left to the two that know them.
    """
    for asked in as_object(result.get("inputRequests")).values():
        question = as_object(asked)
        if question.get("method") in QUESTIONS:
            try:
                check(call.agent, question["method"], as_object(question.get("params")))
            except AgentCannot as error:
                raise UpstreamAsked(upstream, error.reason) from None


def _url_questions(call: Call, upstream: str, error: UpstreamError) -> dict[str, Any]:
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
    result = {"resultType": INPUT_REQUIRED, "inputRequests": questions}
    _check_questions(call, upstream, result)
    return result
