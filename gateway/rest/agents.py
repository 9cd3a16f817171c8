"""Tokens for agents: register one, see what became of it, end it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path

from gateway.access.agent_tokens import AgentTokens
from gateway.request import ADMIN
from gateway.rest.caller import PRIVATE, Caller, Count, counted, failures
from gateway.rest.changes import Changes
from gateway.rest.models import AgentSessions, Registered, RegisteredAgent, Registration
from gateway.store.agents import AgentSession as Session


def agent_routes(agents: AgentTokens, count: Count, changes: Changes) -> APIRouter:
    router = APIRouter(prefix="/agents", tags=["Agents"], **PRIVATE)

    @router.post(
        "/register",
        status_code=201,
        summary="Give an agent a token of its own",
        dependencies=[counted(count)],
        responses=failures(400, 413, 415, 429, 503),
    )
    async def register(wish: Registration, caller: Caller) -> Registered:
        """The token is good for what was asked for, as far as you have it yourself, and ends with your credential."""
        changes.check()
        token, session = await agents.register(
            caller,
            wish.agent_name,
            wish.agent_version,
            wish.requested_upstreams,
            wish.requested_scopes,
            wish.requested_profiles,
        )
        some = {"scopes": sorted(session.scopes), "upstreams": sorted(session.upstreams or ())}
        if session.profiles is not None:
            some["profiles"] = sorted(session.profiles)
        changes.on_change("agent_registered", caller, agent=session.id, agent_name=session.agent_name, **some)
        return Registered(token=token, session=_shown(session))

    @router.get("/sessions", summary="Who has a token?")
    async def sessions(caller: Caller) -> AgentSessions:
        """Your agents, and those that they registered; with the scope `admin` everybody's."""
        found = await agents.sessions(caller, ADMIN in caller.scopes)
        return AgentSessions(sessions=[_shown(session) for session in found])

    @router.delete(
        "/sessions/{id}",
        status_code=204,
        summary="Revoke an agent's token",
        dependencies=[counted(count)],
        responses=failures(404, 429, 503),
    )
    async def revoke(id: Annotated[str, Path(description="The session's `id`.")], caller: Caller) -> None:
        """It is dead at once, and so are the tokens of the agents it registered. Somebody else's session is as if it
        were not there, unless you have the scope `admin`. With 503 (`not_saved`) it is dead too, but would be
        back after a restart: ask again."""
        await agents.revoke(id, caller)
        changes.on_change("agent_revoked", caller, agent=id)

    return router


def _shown(session: Session) -> RegisteredAgent:
    return RegisteredAgent(
        id=session.id,
        agent_name=session.agent_name,
        agent_version=session.agent_version,
        owner=session.owner,
        registered_by=session.ancestors[-1],
        scopes=sorted(session.scopes),
        upstreams=None if session.upstreams is None else sorted(session.upstreams),
        profiles=None if session.profiles is None else sorted(session.profiles),
        rate_limit_rpm=session.rate_limit_rpm,
        created_at=datetime.fromtimestamp(session.created, UTC),
        expires_at=datetime.fromtimestamp(session.expires, UTC),
    )
