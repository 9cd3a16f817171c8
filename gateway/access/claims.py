"""From a token's claims to a principal. Pure: the signature has been verified before, and the time is passed in."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

from gateway.access.delegation import narrow
from gateway.access.oauth_settings import ResourceServerSettings
from gateway.errors import Unauthenticated
from gateway.request import Principal

Claims = Mapping[str, Any]

MAX_VALUES: Final = 512
"""Most values of one claim that are looked at."""
MAX_NAME: Final = 256
"""Longest owner, group or upstream."""
MAX_SECONDS: Final = 2**53
"""Beyond it no time can be calculated with."""

_READABLE: Final = re.compile(r"[A-Za-z0-9_.@:|+=~/-]{1,128}")


def check_time(claims: Claims, leeway: float, now: float) -> None:
    """
    Args:
        now: seconds since the epoch.

    Raises:
        Unauthenticated: expired, not valid yet, issued in the future, or without an expiry.
    """
    expires, begins, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise Unauthenticated("The bearer token never expires (no `exp`); such tokens are not accepted.")
    if now >= expires + leeway:
        raise Unauthenticated("The bearer token has expired.")
    if begins is not None and now < begins - leeway:
        raise Unauthenticated("The bearer token is not valid yet (`nbf`).")
    if issued is not None and now < issued - leeway:
        raise Unauthenticated("The bearer token was issued in the future (`iat`).")


def addressed(claims: Claims, settings: ResourceServerSettings) -> frozenset[str] | None:
    """The upstreams a token was issued for; None means the gateway as a whole.

    Raises:
        Unauthenticated: it was issued for somebody else.
    """
    endpoint = normalised(settings.endpoint)
    audience = {normalised(value) for value in _values(claims.get("aud"))}
    if audience & {endpoint, *map(normalised, (settings.resource, *settings.audiences))}:
        return None
    below = {value.removeprefix(endpoint + "/") for value in audience if value.startswith(endpoint + "/")}
    upstreams = frozenset(name for name in below if "/" not in name)
    if not upstreams:
        raise Unauthenticated(f"The bearer token is not for this gateway: its `aud` must contain {settings.resource}.")
    return upstreams


def id_prefix(settings: ResourceServerSettings) -> str:
    """Of the principal ids."""
    return f"oauth:{settings.issuer}|"


def principal(claims: Claims, settings: ResourceServerSettings) -> Principal:
    """
    Raises:
        Unauthenticated: somebody else issued the token, or for somebody else, or it needs a proof we cannot check.
    """
    if claims.get("iss") != settings.issuer:
        raise Unauthenticated("The bearer token is not from this gateway's authorization server (`iss`).")
    audience = addressed(claims, settings)
    if "cnf" in claims:
        raise Unauthenticated("The bearer token is bound to a key (`cnf`), which this gateway cannot check.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Unauthenticated("The bearer token names nobody (`sub`).")
    rules = [
        rule for rule in settings.claims if any(fnmatchcase(value, rule.value) for value in _at(claims, rule.claim))
    ]
    scopes = _scopes(claims, settings) | {scope for rule in rules for scope in rule.scopes}
    groups = [*_at(claims, settings.groups_claim), *(group for rule in rules for group in rule.groups)]
    granted = frozenset(name for rule in rules for name in rule.upstreams)
    limited = any(rule.upstreams for rule in settings.claims)
    return Principal(
        id=id_prefix(settings) + _loggable(subject),
        method="oauth",
        owner=_owner(claims, settings.owner_claim),
        scopes=scopes or settings.default_scopes,
        upstreams=narrow(audience, granted if limited and "*" not in granted else None),
        groups=frozenset(groups),
        groups_cut=_is_cut(claims, settings.groups_claim),
        expires=_seconds(claims, "exp"),
        leeway=settings.leeway,
    )


def normalised(url: str) -> str:
    """An http(s) URL such that equal resources are equal strings; anything else as it is."""
    if not url.isascii() or not url.isprintable():
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.fragment:
        return url
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is not None and port != (443 if parts.scheme == "https" else 80):
        host += f":{port}"
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), parts.query, ""))


def _seconds(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MAX_SECONDS:
        raise Unauthenticated(f"The bearer token's `{name}` is not a time.")
    return value


def _scopes(claims: Claims, settings: ResourceServerSettings) -> frozenset[str]:
    # RFC 6749, 3.3: a space is what stands between two, and nothing else.
    named = {scope for claim in ("scope", "scp") for value in _values(claims.get(claim)) for scope in value.split(" ")}
    return frozenset(scope for name in named for scope in settings.scope_names.get(name, ()))


def _owner(claims: Claims, claim: str) -> str:
    for name in (claim, "sub"):
        unverified = name == "email" and claims.get("email_verified") in (False, "false")
        for value in [] if unverified else _at(claims, name):
            return value
    return ""


def _at(claims: Claims, path: str) -> list[str]:
    """The texts at a claim, or at a member of one, that can be names."""
    return [text for text in _values(_find(claims, path)) if _is_name(text)]


def _find(claims: Claims, path: str) -> Any:
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for name in path.split("."):
            value = cast(Claims, value).get(name) if isinstance(value, Mapping) else None
    return value


def _is_cut(claims: Claims, path: str) -> bool:
    """Whether a list of names lacks some: it is too long, has what is no name, or stands elsewhere (OpenID Connect Core
    5.6.2; Microsoft Entra's groups overage, which is `hasgroups` in the implicit flow)."""
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, Mapping) and {path, path.partition(".")[0]} & cast(Claims, elsewhere).keys():
        return True
    value = _find(claims, path)
    if value is None:
        return claims.get("hasgroups") not in (None, False, "false")
    values = cast(list[Any], value) if isinstance(value, list) else [value]
    return len(values) > MAX_VALUES or not all(isinstance(each, str) and _is_name(each) for each in values)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def _values(value: Any) -> list[str]:
    """A text, or the texts in a list."""
    items = cast(list[Any], value)[:MAX_VALUES] if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


def _loggable(subject: str) -> str:
    """A subject as it is if it is fit for a log line; else a digest of it, which no readable one can equal."""
    if _READABLE.fullmatch(subject):
        return subject
    return "#" + blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
