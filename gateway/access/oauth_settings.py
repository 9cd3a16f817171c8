"""What the owner of the gateway says about its authorization server, checked when it is said."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.request import READ, SCOPES

ALGORITHMS: Final[Mapping[str, tuple[str, str]]] = {
    "RS256": ("RSA", ""),
    "RS384": ("RSA", ""),
    "RS512": ("RSA", ""),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Signature algorithms there can be, with the `kty` and `crv` of their keys. All asymmetric: a public key must never be
good for signing."""

MAX_LEEWAY: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimGrant:
    """What a value of a claim grants."""

    claim: str
    """Its name; `realm_access.roles` is also the member `roles` of `realm_access`."""
    value: str = "*"
    """A glob, case-sensitive. It must match the claim, or one of its values if it is a list."""
    scopes: frozenset[str] = frozenset()
    """Scopes of the gateway that it grants."""
    upstreams: frozenset[str] = frozenset()
    """Upstreams that it grants; `*` is all of them."""
    groups: frozenset[str] = frozenset()
    """Groups it makes the principal a member of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceServerSettings:
    """
    Raises:
        ValueError: a value cannot be; the message begins with the field's name.
    """

    issuer: str
    """The authorization server's identifier, to the letter: what its metadata and the `iss` of its tokens say."""
    resource: str
    """The URL of `/mcp` as agents reach it, with or without `/mcp` at its end. Tokens must be issued for it (RFC 8707);
    one that is issued for `/mcp/github` is good for the upstream `github` alone."""
    audiences: tuple[str, ...] = ()
    """Further values of `aud` that mean this gateway: URLs of its other endpoints, or whatever name the issuer uses."""
    jwks_uri: str = ""
    """Where the keys are, if the issuer's metadata shall not be asked."""
    allow_private: bool = False
    """Whether the hosts named in `issuer` and `jwks_uri` may be on this machine or a private network, and use http."""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA", "PS256")
    token_types: tuple[str, ...] = ("at+jwt", "JWT", "")
    """The `typ` a token may have, without `application/`; empty is none at all. RFC 9068 wants `at+jwt`, but many
    issuers do not write it."""
    leeway: float = 30.0
    """Seconds by which the issuer's clock and ours may differ."""
    owner_claim: str = "sub"
    """Where the principal's owner stands; `sub` where it is missing, or is an `email` with `email_verified: false`.
    Policies name owners, so use no claim that people can edit, such as `preferred_username`."""
    groups_claim: str = "groups"
    """Where the principal's groups stand: a text, or a list of them."""
    scope_names: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: {each: frozenset({each}) for each in SCOPES}
    )
    """The issuer's scopes → the gateway's. Others count for nothing. By default they have the same names."""
    default_scopes: frozenset[str] = frozenset({READ})
    """What a valid token grants that is granted no scope otherwise. By default it may look, but call nothing."""
    claims: tuple[ClaimGrant, ...] = ()
    """What further claims grant. As soon as one of them names upstreams, a principal has those that it is granted, and
    none if it is granted none; otherwise it has all."""

    def __post_init__(self) -> None:
        for name in ("issuer", "jwks_uri"):
            url = getattr(self, name)
            if url or name == "issuer":
                _check_url(name, url, allow_http=self.allow_private)
        _check_url("resource", self.resource, allow_http=True)
        _check_known("algorithms", self.algorithms, ALGORITHMS)
        if not self.algorithms:
            raise ValueError("algorithms: at least one is needed.")
        if not 0 <= self.leeway <= MAX_LEEWAY:
            raise ValueError(f"leeway: must be between 0 and {MAX_LEEWAY:g} seconds.")
        for scope, granted in self.scope_names.items():
            _check_known(f"scope_names.{scope}", granted, SCOPES)
        _check_known("default_scopes", self.default_scopes, SCOPES)
        for rule in self.claims:
            _check_known("claims", rule.scopes, SCOPES)

    @property
    def endpoint(self) -> str:
        """The URL of `/mcp`; those of single upstreams lie below it."""
        resource = self.resource.rstrip("/")
        return resource if urlsplit(resource).path.endswith("/mcp") else f"{resource}/mcp"

    def issuer_scopes(self, needed: Collection[str]) -> tuple[str, ...]:
        """The issuer's scopes to ask for when the gateway's `needed` ones are: for each the one that grants least."""
        granted = self.scope_names
        least_first = sorted(granted, key=lambda name: (len(granted[name]), name))
        chosen = (next((name for name in least_first if scope in granted[name]), "") for scope in sorted(needed))
        return tuple(dict.fromkeys(name for name in chosen if name))


def _check_url(name: str, url: str, *, allow_http: bool) -> None:
    parts = _parsed(url)
    if parts is None:
        raise ValueError(f"{name}: {url!r} is not an http(s) URL.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{name}: user information, a query or a fragment has no place in it.")
    if parts.scheme == "http" and not allow_http:
        raise ValueError(f"{name}: must be https. For a server on your own network set allow_private.")


def _parsed(url: str) -> SplitResult | None:
    import httpx2  # which takes memory, and nobody is here without an authorization server

    try:
        httpx2.URL(url)
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and " " not in url
    except (httpx2.InvalidURL, ValueError):
        return None
    return parts if fit else None


def _check_known(name: str, values: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{name}: {', '.join(unknown)} is none of {', '.join(sorted(known))}.")
