"""The addresses of the pages on which principals log in for themselves. Pure.

Such a link carries no authority: whoever opens it proves there who they are. Its mark says for whom it was made,
without saying who that is; so it is of no use to anybody else, and what it asks for cannot be changed on the way.
"""

import hmac
from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import quote, urlencode

from gateway.request import Principal

CONNECT_PATH: Final = "/connect/"
"""What comes after it is the server's name."""
SIGNED_IN_PATH: Final = "/oauth/signed-in"
"""Where a browser comes back to from the gateway's issuer; to be registered there."""
FOR: Final = "for"
SCOPE: Final = "scope"
MARK_DIGITS: Final = 32


def is_page(path: str, callback: str, *, signs_in: bool) -> bool:
    """Whether there is a page at that path.

    Args:
        callback: the path that browsers come back to from servers.
        signs_in: whether people may sign in at the gateway's issuer.
    """
    if path == SIGNED_IN_PATH:
        return signs_in
    return path == callback or (path.startswith(CONNECT_PATH) and "/" not in path[len(CONNECT_PATH) :])


class ConnectLinks:
    """
    Args:
        keys: of `state_keys`; the first marks, all are believed.
        address: where others reach the gateway, if they do.
    """

    def __init__(self, keys: Sequence[str | bytes], address: str | None) -> None:
        raw = [key.encode() if isinstance(key, str) else key for key in keys]
        self._keys = [hmac.digest(b"mcp-gateway connect", key, "sha256") for key in raw]
        self.address = address
        self.is_desk = False
        """Whether that is an address for the while, which no authorization server knows beforehand."""

    def to(self, server: str, principal: Principal | None = None, scopes: Collection[str] = ()) -> str | None:
        """Where a principal logs in; None if the gateway cannot be reached in a browser.

        Args:
            principal: for whom alone it is; anybody, if None.
            scopes: what is to be granted besides.
        """
        if self.address is None:
            return None
        query: dict[str, str] = {}
        if principal is not None:
            query[FOR] = self._mark(self._keys[0], server, principal, " ".join(scopes))
            if scopes:
                query[SCOPE] = " ".join(scopes)
        return f"{self.address}{CONNECT_PATH}{quote(server)}{'?' if query else ''}{urlencode(query)}"

    def is_for(self, mark: str, server: str, principal: Principal, scope: str) -> bool:
        """Whether a link with this mark was made for a principal, a server and these scopes."""
        given = mark.encode("utf-8", "surrogatepass")
        marks = [self._mark(key, server, principal, scope) for key in self._keys]
        return any(hmac.compare_digest(given, each.encode()) for each in marks)

    def form_token(self, cookie: str) -> str:
        """What a form posts besides the browser's cookie, to show that it is our own page's."""
        return hmac.digest(self._keys[0], b"form\0" + cookie.encode("utf-8", "surrogatepass"), "sha256").hex()

    def is_form_token(self, token: str, cookie: str) -> bool:
        given, text = token.encode("utf-8", "surrogatepass"), b"form\0" + cookie.encode("utf-8", "surrogatepass")
        return any(hmac.compare_digest(given, hmac.digest(key, text, "sha256").hex().encode()) for key in self._keys)

    @staticmethod
    def _mark(key: bytes, server: str, principal: Principal, scope: str) -> str:
        said = "\0".join(("for", principal.root_id, server, scope)).encode("utf-8", "surrogatepass")
        return hmac.digest(key, said, "sha256").hex()[:MARK_DIGITS]
