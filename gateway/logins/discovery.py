"""From a server's address to its authorization server: RFC 9728, then RFC 8414 or OpenID Connect, with fallbacks.

Nothing that is found may lead elsewhere: the metadata of a resource must be that of the server's own address, and the
metadata of an authorization server must name the issuer that it was looked up for, to the letter (RFC 8414, 3.3).
Source: 2026-07-28 and 2025-11-25, basic/authorization; 2025-03-26 for servers without resource metadata.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from gateway.harmless import clipped
from gateway.logins.challenge import Wanted
from gateway.logins.failures import Distrusted, Unreachable
from gateway.logins.web import HttpAnswer, Web

_FIT: Final = re.compile(r"[!#-;=?-\[\]_a-z~]{1,2048}")
"""What may stand in a URL (RFC 3986). Browsers are sent to some of these, and people are shown where."""
VERSION_HEADER: Final = {"mcp-protocol-version": "2025-11-25"}


@dataclass(frozen=True, slots=True)
class Resource:
    """What a server says of itself as a protected resource."""

    identifier: str
    """What tokens are asked for (`resource`, RFC 8707)."""
    issuers: tuple[str, ...]
    """Its authorization servers; empty where it has no metadata (2025-03-26)."""
    scopes: tuple[str, ...] | None
    """Those that it knows of."""


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """What an authorization server says of itself. All URLs were checked."""

    issuer: str
    token_endpoint: str
    authorization_endpoint: str | None = None
    registration_endpoint: str | None = None
    revocation_endpoint: str | None = None
    scopes: tuple[str, ...] | None = None
    auth_methods: tuple[str, ...] | None = None
    """`token_endpoint_auth_methods_supported`."""
    challenge_methods: tuple[str, ...] | None = None
    """`code_challenge_methods_supported`."""
    takes_metadata_documents: bool = False
    """Whether a client may be known by the URL of its metadata."""
    names_issuer: bool = False
    """Whether its answers to a browser say who gives them (RFC 9207)."""
    is_assumed: bool = False
    """Whether there was no metadata at all (2025-03-26)."""


# --- The server ----------------------------------------------------------------------------------------------------


async def resource(web: Web, url: str, wanted: Wanted) -> Resource:
    """What the server at `url` says of itself.

    Raises:
        Distrusted: it says that it is another.
        Unreachable: nobody knows.
    """
    failure: Unreachable | None = None
    for place in resource_urls(url, wanted.resource_metadata):
        try:
            answer = await web.get(place, VERSION_HEADER)
        except Unreachable as error:
            failure = error
            continue
        if answer.status >= 500 or answer.status == 429:
            failure = Unreachable(f"{place} answered HTTP {answer.status}")
        content = answer.json() if answer.status == 200 else None
        if content is not None and _texts(content.get("authorization_servers")):
            return _resource(url, content)
    if failure is not None:
        raise failure  # which says nothing about whether there is metadata
    return Resource(canonical(url), (), None)


def resource_urls(url: str, named: str | None) -> list[str]:
    """Where its metadata may be, in the order to try (RFC 9728, 3)."""
    parts = urlsplit(url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [f"{origin}/.well-known/oauth-protected-resource{path}", f"{origin}/.well-known/oauth-protected-resource"]
    return list(dict.fromkeys([named, *places] if named else places))


def canonical(url: str) -> str:
    """The server's address as tokens name it (RFC 8707, 2)."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower(), fragment=""))


def covers(identifier: str, url: str) -> bool:
    """Whether a resource is the server at `url`, or the origin or folder it is in."""
    own, other = urlsplit(canonical(url)), urlsplit(canonical(identifier))
    if (own.scheme, own.netloc) != (other.scheme, other.netloc):
        return False
    return f"{own.path.rstrip('/')}/".startswith(f"{other.path.rstrip('/')}/")


def _resource(url: str, content: Mapping[str, Any]) -> Resource:
    identifier = content.get("resource")
    if not isinstance(identifier, str) or not covers(identifier, url):
        raise Distrusted(f"its metadata is that of {clipped(str(identifier))!r}, not of {canonical(url)!r}")
    issuers = _texts(content.get("authorization_servers")) or ()
    return Resource(identifier, issuers, _texts(content.get("scopes_supported")))


# --- Its authorization server --------------------------------------------------------------------------------------


async def authorization_server(web: Web, found: Resource, url: str, issuer: str | None = None) -> AuthorizationServer:
    """The authorization server of a resource.

    Args:
        url: the server's address.
        issuer: the only one to accept.

    Raises:
        Distrusted: it is not the one, or not what it says to be.
        Unreachable: nobody knows.
    """
    if not found.issuers:
        return await _of_origin(web, url, issuer)
    if issuer is None:
        issuer = found.issuers[0]
    elif not any(is_same_issuer(issuer, each) for each in found.issuers):
        listed = ", ".join(map(clipped, found.issuers[:3]))
        raise Distrusted(f"its authorization server is {listed} by now, not {issuer}")
    server = await of_issuer(web, issuer)
    if server is None:
        raise Distrusted(f"its authorization server {clipped(issuer)} has no metadata")
    return server


async def of_issuer(web: Web, issuer: str) -> AuthorizationServer | None:
    """What an issuer says of itself; None if it says nothing.

    Raises:
        Distrusted: what is there is another's.
        Unreachable: nobody knows.
    """
    web.check(issuer)
    for place in issuer_urls(issuer):
        answer = await web.get(place, VERSION_HEADER)
        if answer.status == 200:
            return _server(web, answer, issuer)
        if answer.status >= 500 or answer.status == 429:
            raise Unreachable(f"{place} answered HTTP {answer.status}")
    return None


def issuer_urls(issuer: str) -> list[str]:
    """Where an issuer's metadata may be, in the order to try: RFC 8414, then OpenID Connect's two spellings."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [f"{origin}/.well-known/oauth-authorization-server{path}"]
    places.append(f"{origin}/.well-known/openid-configuration{path}")
    if path:
        places.append(f"{origin}{path}/.well-known/openid-configuration")
    return places


def is_same_issuer(one: str, other: str) -> bool:
    """To the letter, but for the slash of a bare origin."""
    return one == other or (_is_origin(one) and _is_origin(other) and one.rstrip("/") == other.rstrip("/"))


def _is_origin(url: str) -> bool:
    parts = urlsplit(url)
    return url.rstrip("/") == f"{parts.scheme}://{parts.netloc}"


async def _of_origin(web: Web, url: str, issuer: str | None) -> AuthorizationServer:
    """2025-03-26: the server's own origin, with its metadata or the paths of old."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    if issuer is not None and not is_same_issuer(issuer, origin):
        server = await of_issuer(web, issuer)
        if server is None:
            raise Distrusted(f"the authorization server {clipped(issuer)} has no metadata")
        return server
    place = f"{origin}/.well-known/oauth-authorization-server"
    answer = await web.get(place, VERSION_HEADER)
    if answer.status == 200:
        return _server(web, answer, origin)
    if answer.status >= 500 or answer.status == 429:
        raise Unreachable(f"{place} answered HTTP {answer.status}")
    web.check(origin)
    return AuthorizationServer(origin, f"{origin}/token", f"{origin}/authorize", f"{origin}/register", is_assumed=True)


def _server(web: Web, answer: HttpAnswer, issuer: str) -> AuthorizationServer:
    content = answer.json()
    if content is None:
        raise Distrusted(f"{answer.url} is no JSON object")
    named = content.get("issuer")
    if not isinstance(named, str) or not is_same_issuer(named, issuer):
        raise Distrusted(f"{answer.url} is the metadata of the issuer {clipped(str(named))!r}, not {clipped(issuer)!r}")
    token = _url(web, content, "token_endpoint")
    if token is None:
        raise Distrusted(f"{answer.url} names no token endpoint")
    return AuthorizationServer(
        issuer=named,
        token_endpoint=token,
        authorization_endpoint=_url(web, content, "authorization_endpoint"),
        registration_endpoint=_url(web, content, "registration_endpoint"),
        revocation_endpoint=_url(web, content, "revocation_endpoint"),
        scopes=_texts(content.get("scopes_supported")),
        auth_methods=_texts(content.get("token_endpoint_auth_methods_supported")),
        challenge_methods=_texts(content.get("code_challenge_methods_supported")),
        takes_metadata_documents=content.get("client_id_metadata_document_supported") is True,
        names_issuer=content.get("authorization_response_iss_parameter_supported") is True,
    )


def _url(web: Web, content: Mapping[str, Any], name: str) -> str | None:
    value = content.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _FIT.fullmatch(value) or "@" in value.partition("://")[2].partition("/")[0]:
        raise Distrusted(f"its {name} is no URL that can be used")
    return web.check(value)


def _texts(value: object) -> tuple[str, ...] | None:
    """The texts of a list; None if there is no list."""
    if not isinstance(value, list):
        return None
    texts: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
    return tuple(text for text in texts if isinstance(text, str))
