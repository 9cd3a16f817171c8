"""What upstreams ask of agents (sampling, elicitation, roots): whether they may, and how it looks in either era."""

import secrets
from collections.abc import Mapping
from typing import Any

from gateway.call import Call
from gateway.errors import AgentCannot
from gateway.jsonrpc import as_object
from gateway.protocol import META_RELATED_TASK, Era
from gateway.request import QUESTIONS, Agent, known_as, related_task, related_to


def check(agent: Agent, method: str, params: Mapping[str, Any]) -> None:
    """
    Raises:
        AgentCannot: the agent did not declare that it can answer this.
    """
    needed = _needed(method, params)
    if needed is None:
        raise AgentCannot(f"{method} is nothing that a server asks its client")
    if not _covers(agent.capabilities, needed):
        raise AgentCannot(f"it did not declare {_words(needed)}", needed)


def outgoing(method: str, params: Mapping[str, Any] | None, era: Era) -> dict[str, Any]:
    """A question's parameters as the agent's era wants them. What belongs to the upstream's own hop is left out: its
    progress token, and tasks, its own and those it wants the agent to make of the answer."""
    given = {name: value for name, value in (params or {}).items() if name not in ("_meta", "task")}
    sent = as_object((params or {}).get("_meta"))
    meta = {name: value for name, value in sent.items() if name not in ("progressToken", META_RELATED_TASK)}
    if meta:
        given["_meta"] = meta
    if era is Era.HANDSHAKE and method == "elicitation/create" and given.get("mode") == "url":
        given.setdefault("elicitationId", secrets.token_urlsafe(16))  # which that era requires, and the modern has not
    return given


class LiveAsker:
    """Takes questions to a handshake-era agent, on the stream of the request they belong to."""

    def __init__(self, request: Call) -> None:
        self._request = request

    @property
    def agent(self) -> str:
        return self._request.agent.id

    async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """
        Raises:
            AgentError: the agent's own error.
            AgentCannot, AgentGone: there is no answer.
        """
        request, agent = self._request, self._request.agent
        check(agent, method, params or {})
        if request.ask is None:
            raise AgentCannot("it sent its request without a session")
        question = outgoing(method, params, Era.HANDSHAKE)
        own = related_task(params or {})
        if public := known_as(agent, request.upstream, own):
            question = related_to(question, public)
        answer = await request.ask(method, question)
        return related_to(answer, own) if META_RELATED_TASK in as_object(answer.get("_meta")) else answer


def _needed(method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The client capability that a question takes; None for what is no question."""
    capability = QUESTIONS.get(method)
    if capability is None:
        return None
    if capability == "sampling" and (params.get("tools") is not None or params.get("toolChoice") is not None):
        return {"sampling": {"tools": {}}}
    if capability == "elicitation":
        return {"elicitation": {"url" if params.get("mode") == "url" else "form": {}}}
    return {capability: {}}


def _covers(declared: Mapping[str, Any], needed: Mapping[str, Any]) -> bool:
    ((capability, parts),) = needed.items()
    if declared.get(capability) is None:
        return False
    has = as_object(declared[capability])
    if capability == "elicitation" and not has.keys() & {"form", "url"}:
        return parts.keys() == {"form"}  # what an empty object means (2025-11-25, client/elicitation)
    return all(has.get(part) is not None for part in parts)


def _words(needed: Mapping[str, Any]) -> str:
    return ", ".join(".".join((capability, *parts)) for capability, parts in needed.items())
