"""Tokens for an assertion that somebody else has signed: ID-JAG (enterprise-managed authorization), workload identity.

The assertion says for whom it is (`aud`), and is shown to nobody else: neither the server nor its metadata could have
it sent to an authorization server that it was not made for.
Source: RFC 7523, 2.1; modelcontextprotocol/ext-auth, enterprise-managed authorization and workload identity federation;
draft-ietf-oauth-identity-assertion-authz-grant.
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from gateway import blocking
from gateway.harmless import clipped
from gateway.logins import token_request
from gateway.logins.failures import Denied, Distrusted, Unreachable
from gateway.logins.grants import Tokens
from gateway.logins.machines import Finder, Identity, TokenEndpoint, scope_of, target_of
from gateway.logins.machines_exchange import (
    TOKEN_EXCHANGE,
    TYPES,
    Record,
    audiences,
    bounded,
    check_other,
    recorded,
    subject_of,
)
from gateway.logins.subjects import Subject, Subjects

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ID_JAG: Final = "id-jag"
MAX_TOKEN: Final = 64 * 1024
_JWT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)


class EnterpriseGrant:
    """`Grant`: the identity provider vouches, and the server's own authorization server accepts that.

    Args:
        subject: what to show the identity provider.
        subject_type: what that is, such as `id_token`.
        at_idp: who the gateway is there; None where it need not say.
    """

    def __init__(
        self,
        subject: Callable[[], Subject],
        *,
        subject_type: str,
        idp: Finder,
        at_idp: Identity,
        where: Finder,
        identity: Identity,
        scopes: Collection[str],
        record: Record,
    ) -> None:
        self._subject = subject
        self._subject_type = subject_type
        self._idp = idp
        self._at_idp = at_idp
        self._where = where
        self._identity = identity
        self._scopes = scopes
        self._record = record

    async def known(self) -> Tokens | None:
        return None

    async def obtain(self, refused: Tokens | None, scopes: Collection[str], header: str) -> Tokens:
        subject = await blocking.in_thread(self._subject)
        endpoint = await self._where.find(header)
        before = refused.scopes if refused is not None else ()
        scope = scope_of(before, self._scopes or endpoint.scopes, scopes)
        assertion = await self._assertion(subject, endpoint, scope)
        form = {"grant_type": JWT_BEARER, "assertion": assertion, **scope, **target_of(None, endpoint.resource)}
        client = await self._identity.client(endpoint)
        granted = await token_request.request(self._where.web, endpoint.url, endpoint.issuer, form, client)
        check_other(granted.tokens.access, subject)
        target = {"audience": endpoint.issuer, **target_of(None, endpoint.resource)}
        self._record(recorded(target, granted.tokens.access, granted.tokens.scopes))
        return bounded(granted.tokens, subject)

    async def _assertion(self, subject: Subject, endpoint: TokenEndpoint, scope: dict[str, str]) -> str:
        """What the identity provider says of them, to the server's authorization server alone."""
        idp = await self._idp.find()
        form = {"grant_type": TOKEN_EXCHANGE, "requested_token_type": TYPES + ID_JAG}
        form |= {"subject_token": subject.token, "subject_token_type": TYPES + self._subject_type}
        form |= {**scope, **target_of(endpoint.issuer, endpoint.resource)}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        (await self._at_idp.client(idp)).prove(form, headers, idp.url, idp.issuer)
        answer = await self._idp.web.post(idp.url, urlencode(form).encode(), headers)
        content = answer.json()
        if answer.status != 200:
            failure = token_request.refusal(answer.status, content)
            raise (
                Denied(f"at the identity provider: {failure}", failure.code) if isinstance(failure, Denied) else failure
            )
        given = (content or {}).get("access_token")
        kind = (content or {}).get("issued_token_type")
        if kind != TYPES + ID_JAG or not isinstance(given, str) or not _JWT.fullmatch(given):
            raise Distrusted(f"the identity provider issued a {clipped(str(kind))!r}, not what it was asked for")
        check_other(given, subject)
        check_audience(given, endpoint, "what the identity provider issued")
        return given


class WorkloadGrant:
    """`Grant`: with the token that the platform gives this process, in a file that it replaces from time to time."""

    def __init__(
        self, file: Path, where: Finder, *, client_id: str | None, scopes: Collection[str], audience: str | None
    ) -> None:
        self._file = file
        self._where = where
        self._client = Identity(client_id) if client_id is not None else None
        self._scopes = scopes
        self._audience = audience

    async def known(self) -> Tokens | None:
        return None

    async def obtain(self, refused: Tokens | None, scopes: Collection[str], header: str) -> Tokens:
        assertion = await blocking.in_thread(token_in, self._file)
        endpoint = await self._where.find(header)
        check_audience(assertion, endpoint, f"the token in {self._file}")
        before = refused.scopes if refused is not None else ()
        form = {"grant_type": JWT_BEARER, "assertion": assertion}
        form |= scope_of(before, self._scopes or endpoint.scopes, scopes)
        form |= target_of(self._audience, endpoint.resource)
        client = await self._client.client(endpoint) if self._client is not None else None
        granted = await token_request.request(self._where.web, endpoint.url, endpoint.issuer, form, client)
        if granted.tokens.access == assertion:
            raise Distrusted("the authorization server gave back the very token that it was given")
        return granted.tokens


def principals_own(subjects: Subjects, principal: str) -> Callable[[], Subject]:
    """The token that they came with last."""
    return lambda: subject_of(subjects, principal)


def of_file(file: Path) -> Callable[[], Subject]:
    """A token in a file that somebody else keeps fresh."""
    return lambda: Subject(token_in(file), float("inf"))


def token_in(file: Path) -> str:
    """The JWT in a file. Blocks.

    Raises:
        Unreachable: it cannot be read now.
        Denied: there is none in it.
    """
    try:
        text = blocking.read(file, MAX_TOKEN).decode("ascii", "replace").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreachable(f"the token in {file} cannot be read: {reason}") from None
    if not _JWT.fullmatch(text):
        raise Denied(f"there is no signed JWT in {file}")
    return text


def check_audience(assertion: str, endpoint: TokenEndpoint, what: str) -> None:
    """
    Raises:
        Distrusted: it is for somebody else, who must be the only one to see it.
    """
    named = {each.rstrip("/") for each in audiences(assertion)}
    if not named & {endpoint.issuer.rstrip("/"), endpoint.url.rstrip("/")}:
        listed = ", ".join(map(clipped, sorted(named)[:3])) or "nobody"
        raise Distrusted(f"{what} is for {listed}, not for the authorization server {clipped(endpoint.issuer)}")
