"""The agents that were registered and not revoked. A token whose session is not here is dead.

What is kept is whom a token was given to and what for, never the token. To lose it all is to end every token.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import anyio


@dataclass(frozen=True, slots=True)
class AgentSession:
    """One registered agent."""

    id: str
    """Its token's `jti`. Safe to log."""
    agent_name: str
    agent_version: str
    owner: str
    """The person or team behind it, as the credential says that it was registered with."""
    ancestors: tuple[str, ...]
    """Ids of the principals it descends from: first the one that has no token of ours, last who registered it."""
    scopes: frozenset[str]
    upstreams: frozenset[str] | None
    """The upstreams it may use; None means all, empty means none."""
    rate_limit_rpm: int | None
    """Requests a minute; None means the gateway's default, -1 no limit."""
    created: int
    """Seconds since 1970."""
    expires: int
    """Seconds since 1970."""
    profiles: frozenset[str] | None = None
    """The profiles it may use; None means that none limits it."""

    @property
    def principal_id(self) -> str:
        return f"agent:{self.id}"

    @property
    def root(self) -> str:
        """The principal whose cap it counts towards."""
        return self.ancestors[0]

    def belongs_to(self, principal_id: str) -> bool:
        """Whether it is that principal, or descends from it."""
        return principal_id == self.principal_id or principal_id in self.ancestors


class AgentStore(Protocol):
    """Where sessions live. Expired ones are as if they were not there."""

    async def add(self, session: AgentSession, cap: int) -> bool:
        """Keep a session; False, changing nothing, when its root has `cap` of them. One step, whoever else adds."""
        ...

    async def get(self, id: str) -> AgentSession | None:
        """Asked on every request of an agent."""
        ...

    async def sessions(self) -> list[AgentSession]:
        """All of them, oldest first."""
        ...

    async def remove(self, ids: Collection[str]) -> None:
        """Forget sessions, on every node. Unknown ids are fine.

        Raises:
            NotSaved: they are forgotten here, and it is tried again to have that outlive a restart.
        """
        ...

    async def unsaved(self, id: str) -> AgentSession | None:
        """A session that was forgotten here, but would be back after a restart."""
        ...

    async def follow(self) -> Collection[str]:
        """Write what could not be written, and learn what others changed; returns the ids that they removed. To be
        called about once a second."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return after so long, or sooner if `follow` has something to learn."""
        ...

    async def aclose(self) -> None:
        """Write what could not be written: the last chance."""
        ...


class MemoryAgentStore:
    """Sessions of this process, gone with it.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sessions: dict[str, AgentSession] = {}

    async def add(self, session: AgentSession, cap: int) -> bool:
        self._drop_expired()
        if sum(other.root == session.root for other in self._sessions.values()) >= cap:
            return False
        self._sessions[session.id] = session
        return True

    async def get(self, id: str) -> AgentSession | None:
        session = self._sessions.get(id)
        return session if session is not None and session.expires > self._clock() else None

    async def sessions(self) -> list[AgentSession]:
        self._drop_expired()
        return list(self._sessions.values())

    async def remove(self, ids: Collection[str]) -> None:
        for id in ids:
            self._sessions.pop(id, None)

    async def unsaved(self, id: str) -> AgentSession | None:
        return None

    async def follow(self) -> Collection[str]:
        return ()

    async def wait(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def aclose(self) -> None:
        pass

    def _drop_expired(self) -> None:
        now = self._clock()
        self._sessions = {id: session for id, session in self._sessions.items() if session.expires > now}


def as_json(session: AgentSession) -> dict[str, Any]:
    """As it is written down."""
    upstreams = None if session.upstreams is None else sorted(session.upstreams)
    written = asdict(session) | {"scopes": sorted(session.scopes), "upstreams": upstreams}
    if session.profiles is None:
        del written["profiles"]  # which versions before there were any could not read
    else:
        written["profiles"] = sorted(session.profiles)
    return written


def from_json(
    *,
    upstreams: list[str] | None,
    scopes: list[str],
    ancestors: list[str],
    profiles: list[str] | None = None,
    **rest: Any,
) -> AgentSession:
    """What `as_json` made.

    Raises:
        ValueError, TypeError: it is something else.
    """
    session = AgentSession(
        upstreams=None if upstreams is None else frozenset(upstreams),
        scopes=frozenset(scopes),
        ancestors=tuple(ancestors),
        profiles=None if profiles is None else frozenset(profiles),
        **rest,
    )
    if not ancestors or not isinstance(session.id, str) or not isinstance(session.expires, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError("not what was saved")
    return session
