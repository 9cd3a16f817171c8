"""One's own logins at servers that want one: see them, and end them. Never a token."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path

from gateway.errors import Forbidden, NotFound, NotSaved
from gateway.logins.connecting import Connecting, Connection
from gateway.rest.caller import PRIVATE, Caller, Count, counted, failures
from gateway.rest.masking import Redact
from gateway.rest.models import ConnectionInfo, Connections, LoggedOut

LONGEST_SHOWN = 200
"""Characters of what an authorization server says."""


def connection_routes(connecting: Connecting, redact: Redact, count: Count) -> APIRouter:
    router = APIRouter(prefix="/connections", tags=["Logins"], **PRIVATE)

    def describe(connection: Connection) -> ConnectionInfo:
        login = connection.login
        if login is None:
            return ConnectionInfo(server=connection.server, state="none", connect=connection.link)
        return ConnectionInfo(
            server=connection.server,
            state="ended" if login.lost else "logged in",
            reason=redact(login.lost)[:LONGEST_SHOWN] or None,
            owner=login.owner,
            issuer=redact(login.issuer),
            scopes=[redact(scope)[:LONGEST_SHOWN] for scope in login.scopes],
            made_at=datetime.fromtimestamp(login.made, UTC),
            expires_at=datetime.fromtimestamp(login.expires, UTC) if login.expires is not None else None,
            renews=login.refresh is not None,
            connect=connection.link,
        )

    @router.get("", summary="Where am I logged in?", responses=failures(503))
    async def connections(caller: Caller) -> Connections:
        """The servers that you log in to for yourself, and how far you have. An agent sees the logins of whoever
        registered it, which it uses."""
        try:
            return Connections(connections=[describe(each) for each in await connecting.connections(caller)])
        except OSError as error:
            raise NotSaved("Your logins cannot be read", error.strerror or "", "Try again.") from None

    @router.delete(
        "/{server}", summary="Log out", dependencies=[counted(count)], responses=failures(403, 404, 429, 503)
    )
    async def log_out(
        server: Annotated[str, Path(description="The server's name.", examples=["github"])], caller: Caller
    ) -> LoggedOut:
        """Forget your login at a server, and tell its authorization server (RFC 7009)."""
        if caller.method == "agent_token":
            raise Forbidden("The login is that of whoever registered this agent; the agent cannot end it.")
        try:
            told = await connecting.end(server, caller)
        except (OSError, TimeoutError) as error:
            raise NotSaved("You were not logged out", str(error), "Try again.") from None
        if told is None:
            raise NotFound("You are not logged in there.")
        return LoggedOut(server=server, revoked=told)

    return router
