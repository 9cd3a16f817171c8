"""The ways in, built from the configuration: API keys, agent tokens, bearers, in the order they are tried."""

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from gateway.access import api_keys, metadata, signing_key
from gateway.access.agent_tokens import AgentTokens
from gateway.access.api_keys import ApiKeys
from gateway.access.authentication import Authentication, Authenticator
from gateway.access.bearer import Bearer
from gateway.access.known import Known
from gateway.access.oauth_settings import ClaimGrant, ResourceServerSettings
from gateway.access.rate_limit import MemoryLimiter
from gateway.config.models import GatewaySettings
from gateway.config.models.access import OAuthSettings as OAuthConfig
from gateway.errors import ConfigError, InsufficientScope, Unauthenticated
from gateway.protocol import Era
from gateway.request import ANONYMOUS, Agent, Principal
from gateway.store.agent_file import FileAgentStore
from gateway.store.agents import AgentStore

if TYPE_CHECKING:
    from gateway.access.oauth import OAuth

DEV_KEYS_FILE: Final = Path(__file__).parents[1] / "demo" / "api_keys.json"
"""Keys that everybody knows: what a developer has who turned authentication on and made no keys yet. They are good for
this machine only, and in `development` only."""


SOMEBODY: Final = Known(ANONYMOUS, b"", 0, math.inf)
"""On this machine."""


class Authenticators:
    """Who may come in. `run` must be running. Constructing it reads files, and blocks.

    Args:
        loopback: whether the gateway listens to this machine only.
        on_revoked: told the principal ids that are no longer good.
        observe: told of every decision of the limit on failed authentications, as `("failures", allowed)`.
        registered: where agents are kept; in a file of `state_dir` if None.
        on_change: told what has changed of the keys; see `ApiKeys`.
        on_accepted: told of each OAuth token that let somebody in; see `OAuth`.

    Raises:
        ConfigError: a file or a setting cannot be used.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        loopback: bool,
        on_revoked: Callable[[frozenset[str]], None],
        observe: Callable[[str, bool], None],
        registered: AgentStore | None = None,
        on_change: Callable[..., None] | None = None,
        on_accepted: Callable[[Principal, str], None] | None = None,
    ) -> None:
        auth = settings.auth
        self._authentication: Authentication | None = None

        def revoked(ids: frozenset[str]) -> None:
            self._forget()
            on_revoked(ids)

        self._oauth_settings = _oauth_settings(auth.oauth) if auth.oauth is not None else None
        self._keys: ApiKeys | None = None
        file = auth.api_keys_file
        if file is None and auth.oauth is None and loopback and settings.environment == "development":
            file = DEV_KEYS_FILE
        if auth.enabled and file is not None:
            self._keys = ApiKeys(
                file,
                environment=settings.environment,
                loopback=loopback,
                on_revoked=revoked,
                on_change=on_change,
                on_use=self._forget,
            )
        self.agents = AgentTokens(
            signing_key.configured(settings),
            registered or FileAgentStore(Path(settings.state_dir) / "agents.json"),
            lifetime=auth.agent_tokens.lifetime,
            cap=auth.agent_tokens.max_per_principal,
            bound=self._bound,
            on_revoked=revoked,
        )
        self._oauth: OAuth | None = None
        if auth.enabled and self._oauth_settings is not None:
            self._oauth = _oauth(self._oauth_settings, revoked, on_accepted)
        ways: list[Authenticator] = [self.agents]
        if self._keys is not None:
            ways.insert(0, self._keys)
        if self._keys is not None or self._oauth is not None:
            ways.append(Bearer(self._keys, self._oauth))
        if auth.enabled and self._keys is None and self._oauth is None:
            raise ConfigError(
                "gateway.auth is enabled, but nobody could come in: set auth.api_keys_file "
                "(`mcp-gateway keys create` makes a key) or auth.oauth."
            )
        if auth.enabled:
            self._authentication = Authentication(ways, MemoryLimiter(), self._challenge, observe)
        self.recognise = self._authentication.recognise if self._authentication is not None else _somebody
        """Who sent an HTTP request, if that can be told without waiting; see `Authentication`."""

    def _forget(self) -> None:
        if self._authentication is not None:
            self._authentication.forget()

    async def authenticate(self, headers: Mapping[str, str], address: str, view: str | None = None) -> Principal:
        """Who sent an HTTP request; see `Authentication`."""
        if self._authentication is None:
            return ANONYMOUS
        return await self._authentication(headers, address, view)

    async def identify(self, token: str, client_id: str, nonce: str) -> Principal:
        """Who signed in at the authorization server; see `OAuth.identify`."""
        if self._oauth is None:
            raise Unauthenticated("Nobody signs in here.")
        return await self._oauth.identify(token, client_id, nonce)

    def attempt(self, address: str, credential: str) -> AbstractAsyncContextManager[None]:
        """See `Authentication.attempt`."""
        return self._authentication.attempt(address, credential) if self._authentication is not None else nullcontext()

    async def run(self) -> None:
        """Follow the files and the authorization server."""
        try:
            async with anyio.create_task_group() as tg:
                tg.start_soon(self.agents.watch)
                if self._keys is not None:
                    tg.start_soon(self._keys.watch)
                if self._oauth is not None:
                    tg.start_soon(self._oauth.run)
        finally:
            await self.agents.aclose()

    async def reload(self) -> None:
        """Read the file of API keys now."""
        if self._keys is not None:
            await self._keys.reload()

    def resource_metadata(self, suffix: str) -> dict[str, Any] | None:
        """The document at the well-known address plus `suffix` (RFC 9728); None where there is none."""
        return metadata.protected_resource(self._oauth_settings, suffix) if self._oauth_settings is not None else None

    def lacks_scope(
        self, principal: Principal, needed: Collection[str], agent: Agent | None = None
    ) -> InsufficientScope:
        """What to answer somebody who lacks scopes; who came with an OAuth token is told where to get them.

        Args:
            agent: who sent the request, if it was one of MCP.
        """
        error = InsufficientScope(needed)
        if principal.method == "oauth" and self._oauth_settings is not None:
            view = agent.view if agent is not None else None
            # Clients of the modern era ask for these on top of what they have; many of those before, for these alone.
            held = principal.scopes & metadata.USUAL_SCOPES if agent is not None and agent.era is Era.HANDSHAKE else ()
            error.headers["www-authenticate"] = metadata.scope_challenge(self._oauth_settings, needed, held, view)
        return error

    def _challenge(self, view: str | None, wrong: str) -> str:
        if self._oauth_settings is None:
            return metadata.realm_challenge(wrong)
        if wrong:
            return metadata.token_challenge(self._oauth_settings, wrong, view)
        return metadata.login_challenge(self._oauth_settings, view)

    async def _bound(self, agent: Principal, root: str) -> Principal | None:
        """What is left of an agent's grant; None if whoever registered it could not come in any more."""
        if self._keys is not None and root.startswith(api_keys.PREFIX):
            return await self._keys.bound(agent, root)
        if self._oauth is None or not self._oauth.knows(root):
            return None
        return agent if await self._oauth.vouches(agent, root) else None


def _somebody(headers: Mapping[str, str], address: str, view: str | None = None, known: Known | None = None) -> Known:
    return SOMEBODY


def _oauth(
    settings: ResourceServerSettings,
    on_revoked: Callable[[frozenset[str]], None],
    on_accepted: Callable[[Principal, str], None] | None,
) -> "OAuth":
    from gateway.access.oauth import OAuth  # with an HTTP client and all kinds of keys, that is 5 MiB

    return OAuth(settings, on_revoked=on_revoked, on_accepted=on_accepted)


def _oauth_settings(config: OAuthConfig) -> ResourceServerSettings:
    names: dict[str, Any] = {}
    if config.scope_names:
        names["scope_names"] = {name: frozenset({scope}) for name, scope in config.scope_names.items()}
    try:
        return ResourceServerSettings(
            issuer=config.issuer,
            resource=config.resource,
            audiences=tuple(config.audiences),
            jwks_uri=config.jwks_uri or "",
            allow_private=config.allow_private,
            algorithms=tuple(config.algorithms),
            token_types=(*config.token_types, ""),
            leeway=config.leeway,
            owner_claim=config.owner_claim,
            groups_claim=config.groups_claim,
            default_scopes=frozenset(config.default_scopes),
            claims=tuple(
                ClaimGrant(
                    claim=rule.claim,
                    value=rule.value,
                    scopes=frozenset(rule.scopes),
                    upstreams=frozenset(rule.upstreams or ()),
                )
                for rule in config.claims
            ),
            **names,
        )
    except ValueError as error:
        raise ConfigError(f"gateway.auth.oauth.{error}") from None
