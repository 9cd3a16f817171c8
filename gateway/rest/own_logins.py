"""How servers are for the caller that each logs in to for themselves: whether they have a login there, and where to get
one. Nothing of it is anybody else's."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.errors import StoreUnavailable
from gateway.logins.connecting import Connecting, Connection
from gateway.request import Principal
from gateway.upstream.link import State, Status
from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.rest")

UNREADABLE: Final = Status(State.DEGRADED, "it cannot be read now whether you are logged in")


@dataclass(frozen=True, slots=True)
class OwnState:
    """How a server is for one principal."""

    status: Status
    connect: str | None = None
    """Where they log in, if they have to."""


async def own_states(
    connecting: Connecting | None, upstreams: Mapping[str, Upstream], caller: Principal
) -> dict[str, OwnState]:
    """By upstream; of those that are the same for all, none."""
    if connecting is None:
        return {}
    try:
        found = await connecting.connections(caller)
    except (OSError, StoreUnavailable) as error:
        log.warning("logins cannot be read", reason=str(error))
        return {name: OwnState(UNREADABLE) for name, upstream in upstreams.items() if upstream.has_own_lists}
    known = [(each, upstreams.get(each.server)) for each in found if each.counts]
    return {each.server: _state(each, upstream, caller) for each, upstream in known if upstream is not None}


def _state(connection: Connection, upstream: Upstream, caller: Principal) -> OwnState:
    login = connection.login
    tokens = login.tokens if login is not None else None
    if login is not None and tokens is not None and (login.refresh is not None or tokens.is_good(time.time())):
        return OwnState(upstream.own_status(caller.root_id))
    why = (login.lost or login.ending or "your login has ended") if login is not None else "you have not logged in yet"
    return OwnState(Status(State.LOGIN_NEEDED, f"{why}; {_advice(connection)}"), connection.link)


def _advice(connection: Connection) -> str:
    return f"open {connection.link}" if connection.link else "the gateway has no page for it: set `gateway.public_url`"
