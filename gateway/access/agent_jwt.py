"""The form of agent tokens: JWTs (RFC 7519, RFC 8725) that only this gateway makes and reads.

The header of a token is one of a few constants, so that it is looked up and not parsed: whatever else a header may say
(another `alg`, `jku`, `x5u`, a `kid` with dots in it), it is not one of ours.

PyJWT and what it imports take 3 MiB, so this is loaded by the first token that is made or shown (`AgentTokens`).
"""

import hashlib
import re
from collections import OrderedDict
from typing import Any, Final

import jwt

from gateway.access.agent_claims import MAX_TOKEN, BadToken, Verified, mark_of
from gateway.access.api_keys import PREFIX as API_KEY
from gateway.access.signing_key import SigningKey, SigningKeys
from gateway.request import Principal
from gateway.store.agents import AgentSession

TYPE: Final = "mcp-agent+jwt"
MAX_REMEMBERED: Final = 4096
"""Tokens whose signature need not be computed again."""

_ALGORITHM: Final = "HS256"
_SHAPE: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_CHECKS: Final[Any] = {
    "require": ["iss", "aud", "sub", "jti", "iat", "nbf", "exp", "grant"],
    "strict_aud": True,
    "verify_exp": False,  # times are checked on every use, by a clock that is given
    "verify_nbf": False,
    "verify_iat": False,
}


class AgentJwt:
    """Signs and reads tokens with the keys there are at its construction.

    Args:
        name: issuer and audience.
    """

    def __init__(self, keys: SigningKeys, name: str) -> None:
        self._signing = keys.signing
        self._name = name
        self._heads = {_encode({}, key).partition(".")[0]: key for key in keys.all}
        self._remembered: OrderedDict[bytes, Verified] = OrderedDict()

    def sign(self, session: AgentSession, parent: Principal) -> str:
        """The token of a session that `parent` registers."""
        claims = {
            "iss": self._name,
            "aud": self._name,
            "sub": session.principal_id,
            "jti": session.id,
            "iat": session.created,
            "nbf": session.created,
            "exp": session.expires,
            "grant": {
                "upstreams": None if session.upstreams is None else sorted(session.upstreams),
                "profiles": None if session.profiles is None else sorted(session.profiles),
                "scopes": sorted(session.scopes),
                "rpm": session.rate_limit_rpm,
                "owner": session.owner,
                "groups": sorted(parent.groups),
                "groups_cut": parent.groups_cut,
                "parent": parent.id,
                # An API key may be one that can be guessed, so it is named by what only we can compute.
                "key": "" if session.root.startswith(API_KEY) else parent.key,
                "mark": mark_of(parent.key, self._signing) if parent.key else "",
                "agent": {"name": session.agent_name, "version": session.agent_version},
            },
        }
        return _encode(claims, self._signing)

    def read(self, token: str, now: float) -> Verified:
        """
        Raises:
            BadToken: it is not one of ours, or not any more, or not yet.
        """
        if len(token) > MAX_TOKEN or not _SHAPE.fullmatch(token):
            raise BadToken("not a token, or too long")
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._remembered.get(digest) or self._decode(token)
        verified.check(now)
        self._remembered[digest] = verified
        self._remembered.move_to_end(digest)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return verified

    def _decode(self, token: str) -> Verified:
        key = self._heads.get(token.partition(".")[0])
        if key is None:
            raise BadToken("its header is not one of ours")
        try:
            claims = jwt.decode(
                token, key.secret, algorithms=[_ALGORITHM], issuer=self._name, audience=self._name, options=_CHECKS
            )
            times = _seconds(claims["nbf"]), _seconds(claims["exp"])
            return Verified(claims["jti"], _principal(claims), *times, key, str(claims["grant"].get("mark", "")))
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadToken(f"{type(error).__name__}: {error}") from None


def _encode(claims: dict[str, Any], key: SigningKey) -> str:
    return jwt.encode(claims, key.secret, algorithm=_ALGORITHM, headers={"kid": key.kid, "typ": TYPE})


def _principal(claims: dict[str, Any]) -> Principal:
    grant = claims["grant"]
    return Principal(
        id=f"agent:{claims['jti']}",
        method="agent_token",
        owner=grant["owner"],
        scopes=frozenset(grant["scopes"]),
        upstreams=None if grant["upstreams"] is None else frozenset(grant["upstreams"]),
        profiles=None if grant.get("profiles") is None else frozenset(grant["profiles"]),
        groups=frozenset(grant["groups"]),
        groups_cut=bool(grant.get("groups_cut", False)),
        agent_name=grant["agent"]["name"],
        key=str(grant.get("key", "")),
        rate_limit_rpm=grant["rpm"],
        expires=claims["exp"],
    )


def _seconds(claim: object) -> int:
    if isinstance(claim, bool) or not isinstance(claim, int):
        raise TypeError("a time is not a whole number")
    return claim
