"""An HTTP transport that goes only where `egress` lets it.

Apart from that, because the HTTP client takes 2 MiB: a gateway at which nobody uses it does not load it.
"""

import ssl
from collections.abc import Collection
from contextlib import suppress

import httpx2

from gateway.egress import Address, EgressRefused, Resolve, UnfitBody, addresses, resolve, system_tls


async def body_within(response: httpx2.Response, cap: int) -> bytes:
    """The body of a streamed answer, of at most so many bytes; nothing is decompressed.

    Raises:
        UnfitBody: it is compressed, or larger.
    """
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnfitBody("answered compressed, which was not asked for")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > cap:
            raise UnfitBody(f"answered with more than {cap} bytes")
    return bytes(body)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """HTTP to addresses that `addresses` lets pass. `Host`, SNI and the certificate's check keep the name.

    Every request has a connection of its own: the pool knows connections by address, and would lend one that was
    verified for one name to another name of that address.

    Args:
        private_hosts: hosts that the owner of the gateway named, which may be on a private network.
        tls: for https; by default the system's certificate authorities.
        lookup: the resolver.
    """

    def __init__(
        self, private_hosts: Collection[str] = (), tls: ssl.SSLContext | None = None, lookup: Resolve = resolve
    ) -> None:
        self._private_hosts = frozenset(private_hosts)
        self._lookup = lookup
        self._inner = httpx2.AsyncHTTPTransport(
            verify=tls or system_tls(),
            trust_env=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """
        Raises:
            EgressRefused: before anything is sent.
            httpx2.TransportError: as usual.
        """
        url = request.url
        if url.userinfo or not url.host:
            raise EgressRefused("the URL has user information, or no host")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await addresses(url.host, port, private=url.host in self._private_hosts, lookup=self._lookup)
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(f"{url.host} cannot be resolved ({error})", request=request) from None
        for address in found[:-1]:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await self._inner.handle_async_request(_pinned(request, address))
        return await self._inner.handle_async_request(_pinned(request, found[-1]))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _pinned(request: httpx2.Request, address: Address) -> httpx2.Request:
    """The same request, to be sent to that address."""
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,  # `Host` is among them
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
