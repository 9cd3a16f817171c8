"""The only way out: requests to servers' metadata and to authorization servers, guarded and in bounds.

All these addresses come from outside, so they are reached through `egress`: public hosts, and those that the owner of
the gateway named in the file. No redirect is followed, nothing is decompressed, nothing is read without an end.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from gateway import __version__
from gateway.config.models.auth import is_https_or_local
from gateway.egress import EgressRefused, GuardedTransport, UnfitBody, body_within, system_tls
from gateway.jsonrpc import loads
from gateway.logins.failures import Distrusted, Unreachable
from gateway.upstream.credentials import MAX_CHALLENGE

REQUEST_SECONDS: Final = 20.0
"""Longest that one request may take."""
MAX_ANSWER: Final = 256 * 1024
"""Bytes of an answer."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back."""

    url: str
    status: int
    body: bytes
    challenge: str = ""
    """`WWW-Authenticate`; of several, all of them, with commas between."""

    def json(self) -> dict[str, Any] | None:
        """Its JSON object; None if it is none."""
        try:
            content = loads(self.body)
        except ValueError:
            return None
        return cast(dict[str, Any], content) if isinstance(content, dict) else None


class Web:
    """
    Args:
        private_hosts: hosts that the owner of the gateway named, which may be on a private network.
        plain_hosts: of these, whom to talk to without TLS too, for the owner has written `http://`.
    """

    def __init__(self, private_hosts: Collection[str] = (), plain_hosts: Collection[str] = ()) -> None:
        self._private_hosts = frozenset(private_hosts)
        self._plain_hosts = frozenset(plain_hosts)

    @classmethod
    def for_urls(cls, urls: Collection[str]) -> "Web":
        """One that may go where these lead, and to public hosts."""
        parts = [urlsplit(url) for url in urls]
        return cls(
            {part.hostname for part in parts if part.hostname},
            {part.hostname for part in parts if part.hostname and part.scheme == "http"},
        )

    def check(self, url: str) -> str:
        """The URL, if it may be used.

        Raises:
            Distrusted: what is sent there could be read on the way, or it is no URL.
        """
        try:
            parts = urlsplit(url)
            plain = parts.scheme == "http" and parts.hostname in self._plain_hosts
        except ValueError:
            plain = False
        if not plain and not is_https_or_local(url):
            raise Distrusted(f"{url[:200]!r} is not https")
        return url

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """
        Raises:
            Unreachable, Distrusted: there is no answer.
        """
        return await self._send("GET", url, headers or {}, None)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """
        Raises:
            Unreachable, Distrusted: there is no answer.
        """
        return await self._send("POST", url, headers, body)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        self.check(url)
        fixed = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": f"mcp-gateway/{__version__}",
        }
        try:
            with anyio.fail_after(REQUEST_SECONDS):
                async with (
                    await self._client() as client,
                    client.stream(method, url, headers={**fixed, **headers}, content=body) as response,
                ):
                    challenge = response.headers.get("www-authenticate", "")[:MAX_CHALLENGE]
                    return HttpAnswer(url, response.status_code, await body_within(response, MAX_ANSWER), challenge)
        except TimeoutError:
            raise Unreachable(f"{_place(url)} did not answer within {REQUEST_SECONDS:g} s") from None
        except UnfitBody as error:
            raise Distrusted(f"{_place(url)} {error}") from None
        except EgressRefused as error:
            raise Distrusted(f"{_place(url)} is out of bounds: {error}") from None
        except httpx2.InvalidURL:
            raise Distrusted(f"{url[:200]!r} is no URL") from None
        except httpx2.HTTPError as error:
            raise Unreachable(f"{_place(url)} cannot be reached ({error or type(error).__name__})") from None

    async def _client(self) -> httpx2.AsyncClient:
        tls = await anyio.to_thread.run_sync(system_tls)
        transport = GuardedTransport(self._private_hosts, tls)
        return httpx2.AsyncClient(transport=transport, timeout=REQUEST_SECONDS, follow_redirects=False, trust_env=False)


def _place(url: str) -> str:
    """The URL without what may be secret in it."""
    return url.partition("?")[0][:200]
