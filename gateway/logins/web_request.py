"""One request of `web`, which loads this when it makes the first: it takes an HTTP client."""

from collections.abc import Collection, Mapping
from typing import Final

import anyio
import anyio.to_thread
import httpx2

from gateway import __version__
from gateway.egress import EgressRefused, UnfitBody, system_tls
from gateway.egress_transport import GuardedTransport, body_within
from gateway.logins.failures import Distrusted, Unreachable
from gateway.logins.web import HttpAnswer
from gateway.upstream.credentials import MAX_CHALLENGE

REQUEST_SECONDS: Final = 20.0
"""Longest that one request may take."""
MAX_ANSWER: Final = 256 * 1024
"""Bytes of an answer."""


async def send(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, private_hosts: Collection[str]
) -> HttpAnswer:
    """
    Args:
        private_hosts: which may be on a private network.

    Raises:
        Unreachable, Distrusted: there is no answer.
    """
    fixed = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"mcp-gateway/{__version__}",
    }
    try:
        with anyio.fail_after(REQUEST_SECONDS):
            async with (
                await _client(private_hosts) as client,
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


async def _client(private_hosts: Collection[str]) -> httpx2.AsyncClient:
    tls = await anyio.to_thread.run_sync(system_tls)
    transport = GuardedTransport(private_hosts, tls)
    return httpx2.AsyncClient(transport=transport, timeout=REQUEST_SECONDS, follow_redirects=False, trust_env=False)


def _place(url: str) -> str:
    """The URL without what may be secret in it."""
    return url.partition("?")[0][:200]
