"""Who the gateway is as a client: the documents that it publishes, whose URLs are its ids. Pure.

They are two, for it comes back from a login in two ways: to its own address (`web`), and, for the commands, to this
machine, on whichever port is free (`native`; RFC 8252, 7.3). Authorization servers have other rules for either kind.
Source: draft-ietf-oauth-client-id-metadata-document; 2025-11-25, basic/authorization; OpenID Connect Dynamic Client
Registration, 2 (`application_type`).
"""

from typing import Any, Final
from urllib.parse import urlsplit

DOCUMENT_PATH: Final = "/client-metadata.json"
"""Where the gateway publishes who the commands are, under its public address."""
WEB_DOCUMENT_PATH: Final = "/client-metadata-web.json"
"""Where it publishes who its own pages are."""
CALLBACK_PATH: Final = "/oauth/callback"
LOOPBACK_PATH: Final = "/callback"
LOOPBACK: Final = (f"http://127.0.0.1{LOOPBACK_PATH}", f"http://localhost{LOOPBACK_PATH}")
"""Where the CLI listens, on any port."""


def published(public_url: str | None) -> dict[str, dict[str, Any]]:
    """By path, what everybody may read. Nothing, where the gateway has no address that an authorization server would
    believe."""
    if public_url is None or urlsplit(public_url).scheme != "https":
        return {}
    return {
        DOCUMENT_PATH: _document(public_url, DOCUMENT_PATH, "native", list(LOOPBACK)),
        WEB_DOCUMENT_PATH: _document(public_url, WEB_DOCUMENT_PATH, "web", [f"{public_url}{CALLBACK_PATH}"]),
    }


def is_page(redirect_uri: str) -> bool:
    """Whether the browser comes back to a page of the gateway, and not to a command."""
    return urlsplit(redirect_uri).path.endswith(CALLBACK_PATH)


def document_path(redirect_uri: str) -> str:
    """Which document has the address that the browser comes back to."""
    return WEB_DOCUMENT_PATH if is_page(redirect_uri) else DOCUMENT_PATH


def _document(public_url: str, path: str, kind: str, redirect_uris: list[str]) -> dict[str, Any]:
    return {
        "client_id": f"{public_url}{path}",
        "client_name": "mcp-gateway",
        "client_uri": public_url,
        "application_type": kind,
        "redirect_uris": redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
