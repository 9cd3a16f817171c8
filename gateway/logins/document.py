"""Who the gateway is as a client: the document that it publishes, whose URL is its id. Pure.

Source: draft-ietf-oauth-client-id-metadata-document; 2025-11-25, basic/authorization.
"""

from typing import Any, Final
from urllib.parse import urlsplit

DOCUMENT_PATH: Final = "/client-metadata.json"
"""Where the gateway publishes who it is, under its public address."""
CALLBACK_PATH: Final = "/oauth/callback"
LOOPBACK: Final = ("http://127.0.0.1/callback", "http://localhost/callback")
"""Where the CLI listens, on any port (RFC 8252, 7.3)."""


def published(public_url: str | None) -> dict[str, dict[str, Any]]:
    """By path, what everybody may read. Nothing, where the gateway has no address that an authorization server would
    believe."""
    if public_url is None or urlsplit(public_url).scheme != "https":
        return {}
    return {DOCUMENT_PATH: document(public_url)}


def document(public_url: str) -> dict[str, Any]:
    """The metadata of the gateway as a client."""
    return {
        "client_id": f"{public_url}{DOCUMENT_PATH}",
        "client_name": "mcp-gateway",
        "client_uri": public_url,
        "redirect_uris": [f"{public_url}{CALLBACK_PATH}", *LOOPBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
