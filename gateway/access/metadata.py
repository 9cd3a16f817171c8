"""How a client learns where to get a token: protected resource metadata (RFC 9728) and `WWW-Authenticate`."""

import re
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from gateway.access.oauth_settings import ResourceServerSettings
from gateway.request import READ, WRITE

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"

USUAL_SCOPES: Final = frozenset({READ, WRITE})
"""What an agent needs to be of use; the rest it is told to ask for when it is needed."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""Names that stand in a URL as they are."""
_UNQUOTABLE: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]+")
"""What RFC 6750 does not allow in `error_description` and `scope`, quotes and line ends among it."""


def resource_at(settings: ResourceServerSettings, view: str | None) -> str:
    """What a token must be for, to be of use at `/mcp/{view}`, or everywhere (None). Clients check that their own URL
    lies within it. An upstream whose name is not plain has no resource but the whole."""
    if view is None or not _PLAIN.fullmatch(view):
        return settings.resource.rstrip("/")
    return f"{settings.endpoint}/{view}"


def metadata_url(resource: str) -> str:
    """Where the metadata of a resource stands: the well-known path goes between host and path."""
    parts = urlsplit(resource)
    return urlunsplit((parts.scheme, parts.netloc, WELL_KNOWN + parts.path.rstrip("/"), parts.query, ""))


def protected_resource(settings: ResourceServerSettings, suffix: str = "") -> dict[str, Any] | None:
    """The metadata document, or None if there is no such resource.

    Args:
        suffix: what follows the well-known path in the URL asked for: empty, `/mcp`, or `/mcp/{upstream}`. Any upstream
            has a document, there or not: who is not logged in cannot find out by this what there is.
    """
    whole, path = resource_at(settings, None), suffix.rstrip("/")
    resource = whole.removesuffix(urlsplit(whole).path) + path if path else whole
    view = resource.removeprefix(f"{settings.endpoint}/")
    if resource not in (whole, settings.endpoint, resource_at(settings, view)):
        return None
    return {
        "resource": resource,
        "resource_name": "mcp-gateway",
        "authorization_servers": [settings.issuer],
        "scopes_supported": list(settings.issuer_scopes(USUAL_SCOPES)),
        "bearer_methods_supported": ["header"],
    }


def challenge(
    resource_metadata_url: str, scope: Collection[str] = (), error: str | None = None, description: str | None = None
) -> str:
    """The value of `WWW-Authenticate` (RFC 6750 section 3, RFC 9728 section 5.1).

    Args:
        scope: the issuer's scopes that are needed.
        error: `invalid_token` if there was a token, `insufficient_scope` if it grants too little.
    """
    fields = {
        "error": error,
        "error_description": description,
        "scope": " ".join(scope),
        "resource_metadata": resource_metadata_url,
    }
    return "Bearer " + ", ".join(f'{name}="{_UNQUOTABLE.sub(" ", value)}"' for name, value in fields.items() if value)


def realm_challenge(wrong: str = "") -> str:
    """For a 401 where there is no authorization server that could be asked for a token (RFC 6750 section 3).

    Args:
        wrong: what is wrong with the bearer that was sent; empty if none was.
    """
    error = f', error="invalid_token", error_description="{_UNQUOTABLE.sub(" ", wrong)}"' if wrong else ""
    return f'Bearer realm="mcp-gateway"{error}'


def login_challenge(settings: ResourceServerSettings, view: str | None = None) -> str:
    """For a 401 where no token was sent.

    Args:
        view: the upstream whose own endpoint was asked, here and below: the metadata that a challenge leads to must be
            that of the URL which was asked for (RFC 9728 section 3.3).
    """
    return challenge(metadata_url(resource_at(settings, view)), settings.issuer_scopes(USUAL_SCOPES))


def token_challenge(settings: ResourceServerSettings, description: str, view: str | None = None) -> str:
    """For a 401 where the token that was sent is not good."""
    scope = settings.issuer_scopes(USUAL_SCOPES)
    return challenge(metadata_url(resource_at(settings, view)), scope, "invalid_token", description)


def scope_challenge(
    settings: ResourceServerSettings, needed: Collection[str], held: Collection[str] = (), view: str | None = None
) -> str:
    """For a 403: the token is good but lacks scopes.

    Args:
        needed: every scope of the gateway that the request needs.
        held: scopes that the next token should have as well.
    """
    description = f"This request needs the scope {' '.join(settings.issuer_scopes(needed))}"
    scope = settings.issuer_scopes({*needed, *held})
    return challenge(metadata_url(resource_at(settings, view)), scope, "insufficient_scope", description)
