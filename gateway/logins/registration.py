"""Becoming a client of an authorization server: registered before, known by a document, or registered now.

Source: 2026-07-28 and 2025-11-25, basic/authorization (client registration); RFC 7591;
draft-ietf-oauth-client-id-metadata-document.
"""

import json
from typing import Any
from urllib.parse import urlsplit

from gateway.logins.clients import SecretMethod, secret_method
from gateway.logins.discovery import AuthorizationServer
from gateway.logins.document import document_path
from gateway.logins.failures import Denied, Distrusted
from gateway.logins.record import RegisteredClient
from gateway.logins.token_request import refusal
from gateway.logins.web import Web


def known_before(
    server: AuthorizationServer,
    client_id: str | None,
    client_secret: str | None,
    public_url: str | None,
    redirect_uri: str,
) -> RegisteredClient | None:
    """The client that the gateway is without asking: as the file says, or by its document."""
    if client_id is not None:
        return RegisteredClient(client_id, client_secret, secret_method(client_secret, server.auth_methods))
    if server.takes_metadata_documents and public_url is not None and urlsplit(public_url).scheme == "https":
        return RegisteredClient(f"{public_url}{document_path(redirect_uri)}")
    return None


async def register(web: Web, server: AuthorizationServer, redirect_uri: str, scopes: list[str]) -> RegisteredClient:
    """Register the gateway as a new client.

    Raises:
        Denied: it may not.
        Unreachable: nobody knows.
        Distrusted: what came back cannot be used.
    """
    if server.registration_endpoint is None:
        raise Denied(
            f"{server.issuer} registers no clients by itself: register one there, and put its `client_id` into the "
            "server's `auth`"
        )
    is_native = urlsplit(redirect_uri).hostname in ("127.0.0.1", "localhost")
    wanted: dict[str, Any] = {
        "client_name": "mcp-gateway",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": _method(server),
        "application_type": "native" if is_native else "web",
    }
    if scopes:
        wanted["scope"] = " ".join(scopes)
    body, headers = json.dumps(wanted).encode(), {"content-type": "application/json"}
    answer = await web.post(server.registration_endpoint, body, headers)
    content = answer.json()
    if answer.status not in (200, 201):
        raise refusal(answer.status, content)
    return _registered(content or {}, server)


def _method(server: AuthorizationServer) -> SecretMethod:
    """Without a secret, where that is possible: there is nothing to lose then. Else in the form: the SDK's server takes
    it nowhere else to revoke a token."""
    methods = server.auth_methods
    if methods is None or "none" in methods:
        return "none"
    return "client_secret_post" if "client_secret_post" in methods else "client_secret_basic"


def _registered(content: dict[str, Any], server: AuthorizationServer) -> RegisteredClient:
    client_id, secret = content.get("client_id"), content.get("client_secret") or None
    if not isinstance(client_id, str) or not client_id or not (secret is None or isinstance(secret, str)):
        raise Distrusted("the registration endpoint gave no client that can be used")
    given = content.get("token_endpoint_auth_method")
    if given == "client_secret_basic" and secret is not None:
        return RegisteredClient(client_id, secret, "client_secret_basic")
    if given == "client_secret_post" and secret is not None:
        return RegisteredClient(client_id, secret, "client_secret_post")
    if given in (None, "none", ""):
        secret = secret if given is None else None
        return RegisteredClient(client_id, secret, secret_method(secret, server.auth_methods))
    raise Distrusted(f"the registration endpoint wants {str(given)[:50]!r}, which the gateway does not do")
