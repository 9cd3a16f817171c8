"""One request to a token endpoint, and what its answer means.

Source: RFC 6749, 5; RFC 6750, 1.1; RFC 7009.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from gateway.harmless import clipped, harmless
from gateway.logins.clients import Client
from gateway.logins.failures import AuthFailure, Denied, Distrusted, Unreachable
from gateway.logins.grants import Tokens, renewal
from gateway.logins.web import Web

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")
_CODE: Final = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,100}")
_PASSING: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
SECRETS: Final = (
    "refresh_token",
    "code",
    "code_verifier",
    "client_secret",
    "client_assertion",
    "subject_token",
    "assertion",
)
"""Fields of a request that nobody must read in a log or an error."""
MAX_LIFETIME: Final = 10 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Granted:
    """What a token endpoint gave."""

    tokens: Tokens
    refresh: str | None = field(default=None, repr=False)
    """The new refresh token; None if the old one stays good, or there is none."""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """The whole answer."""


async def request(
    web: Web, endpoint: str, issuer: str, form: Mapping[str, str], client: Client | None, asked: str = ""
) -> Granted:
    """Ask a token endpoint.

    Args:
        issuer: whose endpoint it is.
        form: the request, without what proves the client.
        client: who asks; None where the form proves it.
        asked: the scopes that are granted if the answer does not say, and the form does not either.

    Raises:
        Denied: it said no.
        Unreachable: nobody knows.
        Distrusted: it did not say anything that can be used.
    """
    fields, headers = dict(form), {"content-type": "application/x-www-form-urlencoded"}
    if client is not None:
        client.prove(fields, headers, endpoint, issuer)
    began = time.time()
    answer = await web.post(endpoint, urlencode(fields).encode(), headers)
    content = answer.json()
    if answer.status not in (200, 201) or (content and "error" in content and "access_token" not in content):
        secret = getattr(client, "secret", None)
        raise refusal(answer.status, content, [*(fields.get(name) for name in SECRETS), secret])
    if content is None:
        raise Distrusted("the token endpoint did not answer with a JSON object")
    return _granted(content, began, fields.get("scope") or asked)


def refusal(status: int, content: Mapping[str, Any] | None, sent: Iterable[str | None] = ()) -> AuthFailure:
    """What an answer other than a success means.

    Args:
        sent: secrets that were sent, which are not repeated where the answer does.
    """
    code = (content or {}).get("error")
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    if status == 429 or status >= 500 or code in _PASSING:
        return Unreachable(f"the authorization server cannot answer now (HTTP {status}{code and ', ' + code})")
    described = (content or {}).get("error_description")
    words = f": {clipped(harmless(_without(sent, described)))}" if isinstance(described, str) and described else ""
    return Denied(f"the authorization server refused ({code or f'HTTP {status}'}{words})", code)


def _without(secrets: Iterable[str | None], text: str) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    return text


def _granted(content: Mapping[str, Any], began: float, asked: str | None) -> Granted:
    access, refresh, kind = content.get("access_token"), content.get("refresh_token"), content.get("token_type")
    if not isinstance(access, str) or not _TOKEN.fullmatch(access):
        raise Distrusted("the token endpoint gave no access token that can be used")
    if isinstance(kind, str) and kind.lower() != "bearer":
        raise Distrusted(f"the token endpoint gave a token of type {clipped(kind)!r}, which is not known")
    lifetime = _seconds(content.get("expires_in"))
    scope = content.get("scope")
    scopes = tuple((scope if isinstance(scope, str) else asked or "").split())
    expires = began + lifetime if lifetime is not None else None
    tokens = Tokens(access, expires, scopes, renewal(began, lifetime))
    usable = isinstance(refresh, str) and bool(refresh)
    return Granted(tokens, refresh if usable else None, content)


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    return min(seconds, MAX_LIFETIME) if seconds is not None and seconds > 0 else None
