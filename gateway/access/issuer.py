"""The authorization server as a resource server sees it: where its keys are (RFC 8414), and fetching them in bounds."""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import anyio
import httpx2

from gateway.egress import EgressRefused, Resolve, UnfitBody, resolve, system_tls
from gateway.egress_transport import GuardedTransport, body_within
from gateway.jsonrpc import loads

FETCH_SECONDS: Final = 10.0
"""Longest that metadata and keys together may take."""
MAX_DOCUMENT: Final = 1024 * 1024
"""Largest document, in bytes."""

_MAX_AGE: Final = re.compile(r'\bmax-age="?(\d{1,9})\b')
_UNCACHEABLE: Final = re.compile(r"\bno-(store|cache)\b")


class IssuerError(Exception):
    """The keys could not be had; the message says why, to the owner of the gateway."""


@dataclass(frozen=True, slots=True)
class IssuerDocument:
    """A JSON object from the issuer."""

    content: dict[str, Any]
    max_age: float | None
    """For how many seconds it may be cached; None if the issuer does not say."""


def discovery_urls(issuer: str) -> Iterator[str]:
    """Where an issuer's metadata may be, in the order to try: RFC 8414, then OpenID Connect's two spellings."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    yield f"{origin}/.well-known/oauth-authorization-server{path}"
    yield f"{origin}/.well-known/openid-configuration{path}"
    if path:
        yield f"{origin}{path}/.well-known/openid-configuration"


class Issuer:
    """
    Args:
        url: the issuer identifier.
        jwks_uri: where the keys are, if metadata shall not be asked.
        allow_private: whether the hosts of these two may be on a private network. A host that only the metadata names
            may not.
        tls, lookup: see `GuardedTransport`.
    """

    def __init__(
        self,
        url: str,
        jwks_uri: str = "",
        *,
        allow_private: bool = False,
        tls: ssl.SSLContext | None = None,
        lookup: Resolve = resolve,
    ) -> None:
        self.url = url
        self._jwks_uri = jwks_uri
        named = {httpx2.URL(each).host for each in (url, jwks_uri) if each}
        self._private_hosts = named if allow_private else set[str]()
        self._tls = tls
        self._lookup = lookup

    async def keys(self) -> IssuerDocument:
        """The JWK set as it is now.

        Raises:
            IssuerError: what it says.
        """
        try:
            with anyio.fail_after(FETCH_SECONDS):
                async with await self._client() as client:
                    return await _get(client, self._jwks_uri or await self._discover(client))
        except TimeoutError:
            raise IssuerError(f"no answer within {FETCH_SECONDS:g} s") from None

    async def _client(self) -> httpx2.AsyncClient:
        tls = self._tls or await anyio.to_thread.run_sync(system_tls)
        transport = GuardedTransport(self._private_hosts, tls, self._lookup)
        return httpx2.AsyncClient(transport=transport, timeout=FETCH_SECONDS, follow_redirects=False, trust_env=False)

    async def _discover(self, client: httpx2.AsyncClient) -> str:
        problems: list[str] = []
        for url in discovery_urls(self.url):
            try:
                return self._keys_in((await _get(client, url)).content)
            except IssuerError as error:
                problems.append(str(error))
        raise IssuerError("; ".join(problems))

    def _keys_in(self, metadata: dict[str, Any]) -> str:
        named, jwks_uri = metadata.get("issuer"), metadata.get("jwks_uri")
        if named != self.url:
            raise IssuerError(f"its metadata is that of the issuer {named!r}, not {self.url!r}")
        if not isinstance(jwks_uri, str):
            raise IssuerError("its metadata has no jwks_uri")
        if not jwks_uri.startswith("https://") and self.url.startswith("https://"):
            raise IssuerError(f"its jwks_uri {jwks_uri!r} is not https")
        return jwks_uri


async def _get(client: httpx2.AsyncClient, url: str) -> IssuerDocument:
    """
    Raises:
        IssuerError: what it says, with the URL.
    """
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    try:
        async with client.stream("GET", url, headers=headers) as response:
            if response.status_code != 200:
                raise IssuerError(f"{url} answered HTTP {response.status_code}")
            content = loads(await body_within(response, MAX_DOCUMENT))
    except UnfitBody as error:
        raise IssuerError(f"{url} {error}") from None
    except EgressRefused as error:
        raise IssuerError(f"{url} is out of bounds: {error}. See allow_private.") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise IssuerError(f"{url} cannot be reached ({error or type(error).__name__})") from None
    except ValueError:
        raise IssuerError(f"{url} did not answer with JSON") from None
    if not isinstance(content, dict):
        raise IssuerError(f"{url} did not answer with a JSON object")
    return IssuerDocument(cast(dict[str, Any], content), _max_age(response.headers.get("cache-control", "")))


def _max_age(cache_control: str) -> float | None:
    directives = cache_control.lower()
    if _UNCACHEABLE.search(directives):
        return 0.0
    found = _MAX_AGE.search(directives)
    return float(found[1]) if found else None
