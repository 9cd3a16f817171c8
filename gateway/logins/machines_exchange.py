"""A token for whoever asks, in exchange for the one that their agent came with: token exchange.

The subject is a token that `access` validated a moment ago, and nothing else. It goes to the authorization server that
issued it, or that the file names; a server's own metadata does not decide that. What comes back is another token, for
the server alone: one that is the same is refused.
Source: RFC 8693.
"""

import base64
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from gateway.harmless import clipped
from gateway.jsonrpc import loads
from gateway.logins import token_request
from gateway.logins.failures import Denied, Distrusted
from gateway.logins.grants import Tokens
from gateway.logins.machines import Finder, Identity, scope_of, target_of
from gateway.logins.subjects import Subject, Subjects

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the name of a grant
TYPES: Final = "urn:ietf:params:oauth:token-type:"
_ISSUED: Final = frozenset({f"{TYPES}access_token", f"{TYPES}jwt"})
MAX_ACT: Final = 500
"""Characters of `act` that the audit log is told."""

Record = Callable[[Mapping[str, str]], None]
"""Told of each exchange: `audience`, `resource`, `scope` and `act`, as far as there are any."""


class TokenExchangeGrant:
    """`Grant`.

    Args:
        principal: the id of who asks.
        subject_type: what their token is, such as `access_token`.
    """

    def __init__(
        self,
        principal: str,
        subjects: Subjects,
        identity: Identity,
        where: Finder,
        *,
        subject_type: str,
        scopes: Collection[str],
        audience: str | None,
        resource: str | None,
        record: Record,
    ) -> None:
        self._principal = principal
        self._subjects = subjects
        self._identity = identity
        self._where = where
        self._subject_type = subject_type
        self._scopes = scopes
        self._target = audience, resource
        self._record = record

    async def known(self) -> Tokens | None:
        return None

    async def obtain(self, refused: Tokens | None, scopes: Collection[str], header: str) -> Tokens:
        subject = subject_of(self._subjects, self._principal)
        endpoint = await self._where.find(header)
        audience, resource = self._target
        before = refused.scopes if refused is not None else ()
        form = {"grant_type": TOKEN_EXCHANGE, "requested_token_type": f"{TYPES}access_token"}
        form |= {"subject_token": subject.token, "subject_token_type": TYPES + self._subject_type}
        form |= scope_of(before, self._scopes, scopes)
        form |= target_of(audience, resource or endpoint.resource)
        client = await self._identity.client(endpoint)
        granted = await token_request.request(self._where.web, endpoint.url, endpoint.issuer, form, client)
        kind = granted.fields.get("issued_token_type", f"{TYPES}access_token")
        if kind not in _ISSUED:
            raise Distrusted(f"the token endpoint issued a {clipped(str(kind))!r}, not an access token")
        check_other(granted.tokens.access, subject)
        self._record(recorded(form, granted.tokens.access, granted.tokens.scopes))
        return bounded(granted.tokens, subject)


class Never:
    """`Grant` where there can be none, and why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def known(self) -> Tokens | None:
        return None

    async def obtain(self, refused: Tokens | None, scopes: Collection[str], header: str) -> Tokens:
        raise Denied(self._reason)


def no_subject(method: str) -> Never:
    """For those who did not come with an access token."""
    came = {"api_key": "an API key", "agent_token": "an agent's token"}.get(method, "no credential")
    return Never(
        f"it is asked on behalf of who calls, for which they need an OAuth access token, and they came with {came}"
    )


def subject_of(subjects: Subjects, principal: str) -> Subject:
    """
    Raises:
        Denied: there is no token of theirs that is good.
    """
    subject = subjects.of(principal)
    if subject is None:
        raise Denied("the access token that they came with has expired; send the request with a new one")
    return subject


def check_other(token: str, subject: Subject) -> None:
    """
    Raises:
        Distrusted: it is the agent's own token, which goes to no server.
    """
    if token == subject.token:
        raise Distrusted("the authorization server gave back the very token that it was given")


def bounded(tokens: Tokens, subject: Subject) -> Tokens:
    """Not used for longer than the token that it was given for, and not renewed with one that is about to end."""
    expires = min(tokens.expires if tokens.expires is not None else float("inf"), subject.until)
    renew_at = tokens.renew_at if tokens.renew_at < subject.until else float("inf")
    return replace(tokens, expires=expires if expires != float("inf") else None, renew_at=renew_at)


def recorded(form: Mapping[str, str], token: str, scopes: Collection[str]) -> dict[str, str]:
    """What the audit log is to know of an exchange: for what, and who acts, as the token says (RFC 8693, 4.1)."""
    said = {name: form[name] for name in ("audience", "resource") if name in form}
    act = _claims(token).get("act")
    said |= {"scope": " ".join(scopes)} if scopes else {}
    return said | ({"act": json.dumps(act)[:MAX_ACT]} if act is not None else {})


def _claims(token: str) -> dict[str, Any]:
    """Of a JWT, unverified: it is for the server, which verifies it. Nothing where it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return cast("dict[str, Any]", claims) if isinstance(claims, dict) else {}


def audiences(token: str) -> tuple[str, ...]:
    """`aud` of a JWT, unverified."""
    found = _claims(token).get("aud")
    listed = cast("list[object]", found if isinstance(found, list) else [found])
    return tuple(each for each in listed if isinstance(each, str))
