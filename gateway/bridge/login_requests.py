"""A call that finds no login asks for one, in the way of its agent's era, and goes on when it is there.

A modern agent is answered `input_required` with the page to visit. That it comes back with `accept` says that its user
agreed, not that they are done: so its retry waits for a while, and if there is no login by then, it is asked again. One
of the handshake era is asked live while the call waits, and told by −32042 where it has to come back later. Whoever
cannot be asked so has the link in the error.

`LoginNeeded` is only ever raised of what was not acted on: there was no connection yet, or HTTP 401 or 403 refused the
very request. So it is sent once more.

Source: SEP-1036; 2025-11-25 and 2026-07-28, client/elicitation.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio

from gateway.bridge.questions import check
from gateway.bridge.state import StateSeal
from gateway.bridge.timing import USUAL, BridgeTiming
from gateway.call import Call
from gateway.errors import AgentCannot, AgentError, AgentGone, LoginNeeded, UrlElicitationRequired
from gateway.jsonrpc import as_object
from gateway.protocol import INPUT_REQUIRED
from gateway.request import Agent
from gateway.upstream.credentials import Credentials
from gateway.upstream.upstream import Upstream

MAX_AWAITED: Final = 1000
"""Most pages whose end agents are to be told."""
ASK: Final = "elicitation/create"
QUESTION: Final = "login"
"""The key of the question, and of what is sealed for its answer."""

Send = Callable[[], Awaitable[dict[str, Any]]]


class LoginRequests:
    """All of them."""

    def __init__(self, seal: StateSeal, timing: BridgeTiming = USUAL) -> None:
        self._seal = seal
        self._timing = timing
        self._awaited = 0

    # --- Modern agents ------------------------------------------------------------------------------------------------

    def resumed(self, call: Call, upstream: Upstream, params: dict[str, Any], sealed: Any) -> dict[str, Any]:
        """The parameters of a call whose agent comes back from a question of `go_on`.

        Args:
            sealed: what was sealed under `QUESTION`.

        Raises:
            LoginNeeded: its user did not agree.
        """
        answer = as_object(as_object(params.get("inputResponses")).get(QUESTION))
        if answer.get("action") != "accept":
            raise LoginNeeded(upstream.name, "its user did not agree to log in", link=sealed["url"])
        return {
            **{name: value for name, value in params.items() if name not in ("inputResponses", "requestState")},
            **sealed["with"],
        }

    async def go_on(
        self,
        call: Call,
        upstream: Upstream,
        params: dict[str, Any],
        needed: LoginNeeded,
        send: Send,
        patience: float,
        *,
        is_tool: bool,
    ) -> dict[str, Any]:
        """What a modern agent gets whose call met `needed`: the result, if the login is there in time, or the question.

        Args:
            send: sends the call once more.
            patience: seconds to wait; 0 for a call that has not asked before.
            is_tool: whether it is a call of the gateway's own tool.

        Raises:
            LoginNeeded: it cannot be asked.
        """
        credentials = upstream.links.credentials_of(call.agent)
        if patience and credentials is not None and await _is_there(credentials, patience):
            try:
                return await send()
            except LoginNeeded as again:
                needed = again
        if not can_be_asked(call.agent, needed):
            raise needed
        question = {"method": ASK, "params": {"mode": "url", "url": needed.link, "message": _words(needed)}}
        carried = {name: params[name] for name in ("inputResponses", "requestState") if name in params}
        asked = {"url": needed.link, "with": carried, "tool": is_tool}
        state = self._seal.seal({QUESTION: asked}, call, upstream.name)
        return {"resultType": INPUT_REQUIRED, "inputRequests": {QUESTION: question}, "requestState": state}

    # --- Agents of the handshake era ----------------------------------------------------------------------------------

    async def ask_live(self, call: Call, upstream: Upstream, needed: LoginNeeded, send: Send) -> dict[str, Any]:
        """The result of a call that met `needed`, once its agent's user has logged in.

        Raises:
            LoginNeeded: it cannot be asked, or its user did not agree.
            UrlElicitationRequired: it is to come back later.
        """
        credentials = upstream.links.credentials_of(call.agent)
        if credentials is None or not can_be_asked(call.agent, needed):
            raise needed
        id, before = secrets.token_urlsafe(16), credentials.headers
        elicitation = {"mode": "url", "elicitationId": id, "url": needed.link, "message": _words(needed)}
        if call.ask is None:  # it sent its request without a session, and is told nothing later
            raise UrlElicitationRequired(needed.message, elicitation)
        try:
            answer = await call.put_question(ASK, elicitation)
        except (AgentError, AgentCannot, AgentGone):
            raise needed from None
        if answer.get("action") != "accept":
            raise needed
        if not await _is_there(credentials, self._timing.login_patience_seconds, before):
            self._tell_later(call.agent, credentials, id, before)
            raise UrlElicitationRequired(needed.message, elicitation)
        call.notify(*_complete(id))
        return await send()

    def _tell_later(self, agent: Agent, credentials: Credentials, id: str, before: Mapping[str, str]) -> None:
        """Tell an agent when the page has been done with, as long as anybody may still be on it."""
        if self._awaited >= MAX_AWAITED:
            return
        self._awaited += 1

        def end() -> None:
            self._awaited -= 1
            forget()
            timer.cancel()

        def on_change() -> None:
            if credentials.headers and credentials.headers != before:
                end()
                agent.notify(*_complete(id))

        timer = asyncio.get_running_loop().call_later(self._timing.lifetime_seconds, end)
        forget = credentials.follow(on_change)


async def log_in(upstream: Upstream, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """What the tool `login` of an upstream does, which is the gateway's own: it is `pipeline.attempt` for such a call.

    Raises:
        LoginNeeded: somebody has to log in first.
        GatewayError: the upstream cannot be reached.
    """
    await upstream.log_in(call.agent)
    text = f"You are logged in to {upstream.name}. List the tools again: those of {upstream.name} are there now."
    return {"content": [{"type": "text", "text": text}]}


def can_be_asked(agent: Agent, needed: LoginNeeded) -> bool:
    """Whether there is a page, and the agent can have its user visit one."""
    if not needed.link:
        return False
    try:
        check(agent, ASK, {"mode": "url"})
    except AgentCannot:
        return False
    return True


async def _is_there(credentials: Credentials, patience: float, before: Mapping[str, str] | None = None) -> bool:
    """Wait until there are other credentials than before, for so many seconds. Returns whether there are."""
    before = credentials.headers if before is None else before
    changed = anyio.Event()
    is_other: Callable[[], bool] = lambda: bool(credentials.headers) and credentials.headers != before  # noqa: E731
    forget = credentials.follow(lambda: changed.set() if is_other() else None)
    try:
        with anyio.move_on_after(patience):
            await credentials.look()
            if not is_other():
                await changed.wait()
        return is_other()
    finally:
        forget()


def _words(needed: LoginNeeded) -> str:
    granted = f", and to grant {', '.join(needed.scopes)}" if needed.scopes else ""
    return (
        f"The server {needed.upstream!r} needs you to log in{granted}: {needed.reason}. On the page you show the "
        "gateway who you are, and go on to where you log in. Then the call goes on."
    )


def _complete(id: str) -> tuple[str, dict[str, Any]]:
    return "notifications/elicitation/complete", {"elicitationId": id}
