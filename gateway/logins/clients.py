"""Who the gateway is to an authorization server, and how a token request proves it. Pure.

Source: RFC 6749, 2.3.
"""

import base64
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import quote

SecretMethod = Literal["client_secret_basic", "client_secret_post", "none"]


class Client(Protocol):
    """One client of an authorization server."""

    @property
    def id(self) -> str: ...

    def prove(self, form: dict[str, str], headers: dict[str, str], endpoint: str, issuer: str) -> None:
        """Add what proves it to a request to `endpoint` of the authorization server `issuer`."""
        ...


@dataclass(frozen=True, slots=True)
class SecretClient:
    """A client with a secret, or a public one, that has none."""

    id: str
    secret: str | None = field(default=None, repr=False)
    method: SecretMethod = "none"

    def prove(self, form: dict[str, str], headers: dict[str, str], endpoint: str, issuer: str) -> None:
        if self.method == "client_secret_basic" and self.secret is not None:
            pair = f"{quote(self.id, safe='')}:{quote(self.secret, safe='')}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        form["client_id"] = self.id  # also beside Basic: some servers look the client up by it
        if self.method == "client_secret_post" and self.secret is not None:
            form["client_secret"] = self.secret


def secret_method(secret: str | None, supported: Collection[str] | None) -> SecretMethod:
    """How to send a secret, by what the authorization server supports (RFC 8414, 2: `client_secret_basic`, if it does
    not say)."""
    if secret is None:
        return "none"
    if supported is not None and "client_secret_basic" not in supported and "client_secret_post" in supported:
        return "client_secret_post"
    return "client_secret_basic"
