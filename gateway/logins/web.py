"""The only way out: requests to servers' metadata and to authorization servers, guarded and in bounds.

All these addresses come from outside, so they are reached through `egress`: public hosts, and those that the owner of
the gateway named in the file. No redirect is followed, nothing is decompressed, nothing is read without an end.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import anyio.to_thread

from gateway.config.models.auth import is_https_or_local
from gateway.jsonrpc import loads
from gateway.logins.failures import Distrusted


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


Send = Callable[[str, str, Mapping[str, str], bytes | None, Collection[str]], Awaitable[HttpAnswer]]
"""See `web_request.send`."""


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
        send = await anyio.to_thread.run_sync(_sender)
        return await send(method, url, headers, body, self._private_hosts)


def _sender() -> "Send":
    """Loads an HTTP client, which a gateway needs whose servers want logins. Blocks the first time."""
    from gateway.logins.web_request import send

    return send
