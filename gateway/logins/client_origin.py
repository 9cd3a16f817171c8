"""Where the client comes from that the gateway is at an authorization server, and what to do if that refuses it. Pure.

Who registered by itself may have been forgotten, and registers anew with the next login. Who was registered by hand is
refused until somebody mends the file, or the registration; their logins are kept meanwhile.
"""

from typing import Final, Literal

from gateway.config.models.auth import AuthConfig
from gateway.harmless import clipped
from gateway.logins.clients import secret_method
from gateway.logins.document import DOCUMENT_PATH, WEB_DOCUMENT_PATH
from gateway.logins.failures import Denied
from gateway.logins.record import RegisteredClient

UNPROVEN: Final = frozenset({"invalid_client", "incorrect_client_credentials"})
"""What an authorization server says of a client that it does not know, or that did not prove itself (RFC 6749, 5.2; and
GitHub)."""
REFUSED: Final = UNPROVEN | {"unauthorized_client"}
"""The same with what others say, among them the Python SDK before 2.0; it may also mean that a client that is known may
not do this."""

Origin = Literal["file", "document", "registered"]


def origin_of(client: RegisteredClient, auth: AuthConfig) -> Origin:
    """Where a client comes from.

    Args:
        auth: the server's.
    """
    if client.id == auth.client_id:
        return "file"
    if client.id.startswith("https://") and client.id.endswith((DOCUMENT_PATH, WEB_DOCUMENT_PATH)):
        return "document"
    return "registered"


def current(client: RegisteredClient, auth: AuthConfig) -> RegisteredClient:
    """The same client with the secret that the file has for it by now."""
    if origin_of(client, auth) != "file" or client.secret == auth.client_secret:
        return client
    method = client.method if client.secret and auth.client_secret else secret_method(auth.client_secret, None)
    return RegisteredClient(client.id, auth.client_secret, method)


def explained(denial: Denied, client: RegisteredClient, server: str, auth: AuthConfig) -> Denied:
    """The same refusal with what to do about it, if it was of the client.

    Args:
        server: its name in the file.
    """
    if denial.code not in REFUSED:
        return denial
    match origin_of(client, auth):
        case "file" if auth.client_secret is not None:
            advice = f"check `client_id` and `client_secret` in the `auth` of {server!r} in the gateway's file"
        case "file":
            advice = (
                f"check `client_id` in the `auth` of {server!r} in the gateway's file, and whether that client has a "
                "`client_secret`, too"
            )
        case "document":
            advice = f"it has to be able to fetch {clipped(client.id)}, which says who the gateway is"
        case "registered":
            advice = (
                f"it does not know the gateway any more, which had registered there as {clipped(client.id)!r}; log in "
                "again, and the gateway registers anew"
            )
    return Denied(f"{denial}: {advice}", denial.code)
