"""Agents with a grant of their own: registered by a principal, recognised by their token, revoked by being forgotten.

A token is good while its signature and its times are, its session is in the store, and the principal that it descends
from is there. It ends with the credential that it was registered with, at the latest.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

import anyio
import anyio.to_thread
import structlog

from gateway.access.agent_claims import MAX_TOKEN, BadToken
from gateway.access.delegation import Share, share
from gateway.access.signing_key import SigningKeys
from gateway.blocking import in_thread
from gateway.errors import ConfigError, InsufficientScope, InvalidParams, NotFound, RateLimited, Unauthenticated
from gateway.request import ADMIN, Principal
from gateway.store.agents import AgentSession, AgentStore

if TYPE_CHECKING:
    from gateway.access.agent_jwt import AgentJwt

log = structlog.stdlib.get_logger("gateway.access")

DAY: Final = 24 * 3600.0
POLL_SECONDS: Final = 1.0
"""How often the keys are looked at."""
PREFIX: Final = "agent:"
"""Of the principal ids."""
MAX_NAME: Final = 128
"""Characters of an agent's name, and of its version."""

Bound = Callable[[Principal, str], Awaitable[Principal | None]]
"""`(agent, root)`: what of an agent's grant the principal it descends from, whose id is `root`, still has; None when
that principal is gone."""


async def _as_it_is(agent: Principal, root: str) -> Principal:
    return agent


class AgentTokens:
    """Registers agents, and recognises them (an `Authenticator`).

    Args:
        keys: those that sign.
        store: those that are registered.
        lifetime: of a token, in seconds.
        cap: most agents of one principal, those that its agents registered included.
        name: of this gateway, the same on all its nodes; other gateways' tokens are refused even if they share the key.
        bound: asked on every request; `ApiKeys.bound` is one.
        on_revoked: told the principal ids that have ended, so that what they have open can be closed.
        clock: seconds since 1970.
    """

    header: ClassVar[str] = "x-agent-token"
    good_for: ClassVar[float] = 0.25

    def __init__(
        self,
        keys: SigningKeys,
        store: AgentStore,
        *,
        lifetime: float = DAY,
        cap: int = 100,
        name: str = "mcp-gateway",
        bound: Bound = _as_it_is,
        on_revoked: Callable[[frozenset[str]], None] = lambda ids: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._store = store
        self._lifetime = lifetime
        self._cap = cap
        self._name = name
        self._bound = bound
        self._on_revoked = on_revoked
        self._clock = clock
        self._jwt: AgentJwt | None = None
        """Made by the first token, and by the first after the keys have changed."""
        self._trouble = ""
        self._looking = anyio.Lock()

    async def authenticate(self, credential: str, view: str | None = None, address: str = "") -> Principal:
        """
        Raises:
            Unauthenticated: in the same words whatever is wrong; the log has the reason.
        """
        form = await self._form()
        try:
            verified = form.read(credential, self._clock())
        except BadToken as error:
            raise _refused(str(error)) from None
        session = await self._store.get(verified.session_id) or await self._newly_there(verified.session_id)
        if session is None or not await self._has_all(session.ancestors):
            raise _refused("revoked, or not registered here")
        principal = await self._bound(verified.principal, session.root)
        if principal is None:
            raise _refused("the credential it was registered with is gone")
        if not verified.is_of(principal.key):
            raise _refused("the key it was registered with is another by now")
        ancestors = [*(principal.ancestors or ((session.root, None),))]
        for id in session.ancestors[1:]:
            between = await self._store.get(id.removeprefix("agent:"))
            if between is None:
                raise _refused("an agent that it descends from is gone")
            ancestors.append((id, between.rate_limit_rpm))
        return replace(principal, root=session.root, ancestors=tuple(ancestors))

    async def watch(self, interval: float = POLL_SECONDS) -> None:
        """Follow the keys and the store until cancelled. Tokens that an old key signed live on for as long as it is
        accepted; those that another gateway has revoked end."""
        while True:
            await self._store.wait(interval)
            await self.reload()
            await self._follow()

    async def aclose(self) -> None:
        """Write what of the store is not written yet."""
        await self._store.aclose()

    async def reload(self) -> None:
        """Use the keys as they are now. If they cannot be read nothing changes, and the log says why, once."""
        try:
            if await in_thread(self._keys.reload):
                self._jwt = None
                log.info("agent tokens are signed with a new key", kid=self._keys.signing.kid)
            self._trouble = ""
        except ConfigError as error:
            if error.message != self._trouble:
                log.error("keys of agent tokens not reloaded; those from before stay", reason=error.message)
            self._trouble = error.message

    async def _form(self) -> "AgentJwt":
        if self._jwt is None:
            kind = await anyio.to_thread.run_sync(_load)
            self._jwt = kind(self._keys, self._name)
        return self._jwt

    # --- Registering ----------------------------------------------------------------------------------------------

    async def register(
        self,
        principal: Principal,
        agent_name: str,
        agent_version: str,
        requested_upstreams: Collection[str] = (),
        requested_scopes: Collection[str] = (),
        requested_profiles: Collection[str] = (),
    ) -> tuple[str, AgentSession]:
        """Give an agent a part of the principal's grant; wishes for more are cut down to what it has.

        Args:
            requested_upstreams: empty for all of the principal's.
            requested_scopes: empty for all of the principal's but `admin`.
            requested_profiles: empty for all of the principal's; no limit if it has none.

        Returns:
            The token, which is shown this once, and what is kept.

        Raises:
            InvalidParams: the name or the version is not usable, or the grant would not fit into a token.
            RateLimited: the principal is at its cap.
            Unauthenticated: the principal was revoked meanwhile, or its credential is about to expire.
        """
        _check(agent_name, agent_version)
        granted = share(principal, requested_upstreams, requested_scopes, requested_profiles)
        session = await self._session(principal, agent_name, agent_version, granted)
        token = (await self._form()).sign(session, principal)
        if len(token) > MAX_TOKEN:
            raise InvalidParams("So many upstreams do not fit into a token. Request fewer.")
        if not await self._store.add(session, self._cap):
            raise await self._too_many(session)
        if principal.method == "agent_token" and await self._parent(principal) is None:
            await self._store.remove([session.id])  # `revoke` looked for descendants before this one was there
            raise _refused("revoked while it registered another")
        log.info("agent registered", id=session.id, agent=agent_name, owner=session.owner, parent=principal.id)
        return token, session

    async def _session(self, principal: Principal, name: str, version: str, granted: Share) -> AgentSession:
        now, ancestors = self._clock(), (principal.id,)
        expires = now + self._lifetime if principal.expires is None else min(now + self._lifetime, principal.expires)
        if int(expires) <= now:
            raise Unauthenticated("Your credential ends now. Get a new one, and register the agent with that.")
        if principal.method == "agent_token":
            parent = await self._parent(principal)
            if parent is None:
                raise _refused("revoked")
            ancestors = *parent.ancestors, principal.id
        return AgentSession(
            id=secrets.token_hex(16),
            agent_name=name,
            agent_version=version,
            owner=principal.owner,
            ancestors=ancestors,
            scopes=granted.scopes,
            upstreams=granted.upstreams,
            rate_limit_rpm=principal.rate_limit_rpm,
            created=int(now),
            expires=int(expires),
            profiles=granted.profiles,
        )

    async def _follow(self) -> None:
        if gone := await self._store.follow():
            log.info("agents revoked elsewhere", ids=gone)
            self._on_revoked(frozenset(f"{PREFIX}{id}" for id in gone))

    async def _newly_there(self, id: str) -> AgentSession | None:
        """A session of a good token that is not known here: another gateway may have registered it just now."""
        with anyio.move_on_after(POLL_SECONDS):
            async with self._looking:  # one at a time, whoever knocks
                await self._follow()
        return await self._store.get(id)

    async def _has_all(self, ancestors: Collection[str]) -> bool:
        """Whether no agent among them was revoked. One that another gateway registered meanwhile may still be kept."""
        elders = [each.removeprefix(PREFIX) for each in ancestors if each.startswith(PREFIX)]
        return all([await self._store.get(id) is not None for id in elders])

    async def _parent(self, principal: Principal) -> AgentSession | None:
        return await self._store.get(principal.id.removeprefix("agent:"))

    async def _too_many(self, session: AgentSession) -> RateLimited:
        siblings = [each.expires for each in await self._store.sessions() if each.root == session.root]
        wait = min(siblings, default=session.expires) - self._clock()
        return RateLimited(max(1.0, wait), f"of {self._cap} agents at a time (revoke one that is done)")

    # --- Looking after them ---------------------------------------------------------------------------------------

    async def sessions(self, principal: Principal, all: bool = False) -> list[AgentSession]:
        """The agents that descend from the principal (and itself, if it is one), oldest first; or everybody's.

        Raises:
            InsufficientScope: everybody's take the scope `admin`.
        """
        if all and ADMIN not in principal.scopes:
            raise InsufficientScope({ADMIN})
        return [each for each in await self._store.sessions() if all or each.belongs_to(principal.id)]

    async def revoke(self, id: str, principal: Principal) -> None:
        """End an agent, and those it registered, at once: one's own, or with the scope `admin` anybody's.

        Raises:
            NotFound: there is no such session, or it is somebody else's: the two look the same.
            NotSaved: it has ended here, but a restart would undo that. To be asked again.
        """
        session = await self._store.get(id) or await self._store.unsaved(id)
        if session is None or not (ADMIN in principal.scopes or session.belongs_to(principal.id)):
            raise NotFound("There is no such agent session.")
        log.info("agent revoked", id=id, by=principal.id)
        ended = await self._lineage(session)
        try:
            await self._store.remove(ended)
            if late := await self._lineage(session):  # registered while we were at it
                await self._store.remove(late)
                ended += late
        finally:
            self._on_revoked(frozenset(f"agent:{each}" for each in ended))

    async def _lineage(self, session: AgentSession) -> list[str]:
        """Its id, and those of all that descend from it."""
        return [each.id for each in await self._store.sessions() if each.belongs_to(session.principal_id)]


def _load() -> "type[AgentJwt]":
    from gateway.access.agent_jwt import AgentJwt

    return AgentJwt


def _refused(reason: str) -> Unauthenticated:
    log.info("agent token refused", reason=reason)
    return Unauthenticated("This agent token is not valid here, or no longer. Register again: POST /agents/register.")


def _check(name: str, version: str) -> None:
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidParams(f"agent_name must be 1 to {MAX_NAME} printable characters.")
    if len(version) > MAX_NAME or not version.isprintable():
        raise InvalidParams(f"agent_version must be at most {MAX_NAME} printable characters.")
