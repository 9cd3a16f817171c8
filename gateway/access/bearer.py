"""`Authorization: Bearer`: an access token of the authorization server, or an API key, as most clients send one.

Which of the two it is, its form says: an access token is a JWT. So neither is ever tried as the other, and no API key
is looked at by what is meant for tokens.
"""

import base64
import re
from typing import TYPE_CHECKING, ClassVar, Final

from gateway.access.api_keys import ApiKeys
from gateway.errors import Unauthenticated
from gateway.request import Principal

if TYPE_CHECKING:
    from gateway.access.oauth import OAuth

_JWT: Final = re.compile(r"([\w-]+)\.[\w-]*\.[\w-]*", re.ASCII)


def is_jwt(token: str) -> bool:
    """Whether it has the form of a signed JWT: three parts, of which the first is a JSON object (RFC 7515)."""
    match = _JWT.fullmatch(token)
    if match is None:
        return False
    try:
        head = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
    except ValueError:
        return False
    return head.lstrip().startswith(b"{")


class Bearer:
    """An `Authenticator`: by keys, tokens, or both.

    Args:
        keys: None where there are no API keys.
        oauth: None where there is no authorization server; what is sent is a key then, whatever it looks like.
    """

    header: ClassVar[str] = "authorization"
    good_for: ClassVar[float] = 0.25

    def __init__(self, keys: ApiKeys | None, oauth: "OAuth | None") -> None:
        self._keys = keys
        self._oauth = oauth

    async def authenticate(self, credential: str, view: str | None, address: str) -> Principal:
        """
        Raises:
            Unauthenticated, IssuerUnavailable: as the way that it is meant for.
        """
        scheme, _, token = credential.strip().partition(" ")
        token = token.strip()
        is_key = self._keys is not None and not (self._oauth is not None and is_jwt(token))
        if scheme.lower() == "bearer" and is_key and self._keys is not None:
            return await self._keys.authenticate(token, view, address)
        if self._oauth is None:
            raise Unauthenticated("Authorization must be `Bearer` and an API key.")
        return await self._oauth.authenticate(credential, view, address)
