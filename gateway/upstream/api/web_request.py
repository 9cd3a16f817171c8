"""What `web.get` does, which loads this when it is called first: it takes an HTTP client."""

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urljoin

import anyio
import anyio.to_thread
import httpx2

from gateway import __version__
from gateway.egress import EgressRefused, UnfitBody, system_tls
from gateway.egress_transport import GuardedTransport, body_within
from gateway.upstream.api.web import FetchFailed, WebAnswer
from gateway.upstream.transport.pool import Origin

MAX_REDIRECTS: Final = 3


async def fetch(
    url: str,
    headers: Mapping[str, str],
    cap: int,
    seconds: float,
    private_hosts: Collection[str],
    credentials: Mapping[str, str],
    stays: bool,
) -> WebAnswer:
    """See `web.get`.

    Raises:
        FetchFailed: there is no answer, or it is too large.
    """
    try:
        with anyio.fail_after(seconds):
            tls = await anyio.to_thread.run_sync(system_tls)
            transport = GuardedTransport(private_hosts, tls)
            async with httpx2.AsyncClient(
                transport=transport, timeout=seconds, follow_redirects=False, trust_env=False
            ) as client:
                return await _follow(client, url, headers, cap, credentials, stays=stays)
    except TimeoutError:
        raise FetchFailed(f"did not answer within {seconds:g} s") from None
    except UnfitBody as error:
        raise FetchFailed(str(error)) from None
    except EgressRefused as error:
        raise FetchFailed(f"is out of bounds: {error}") from None
    except (httpx2.InvalidURL, ValueError):
        raise FetchFailed("is no URL") from None
    except httpx2.HTTPError as error:
        raise FetchFailed(f"cannot be reached ({error or type(error).__name__})") from None


async def _follow(
    client: httpx2.AsyncClient,
    url: str,
    headers: Mapping[str, str],
    cap: int,
    credentials: Mapping[str, str],
    *,
    stays: bool,
) -> WebAnswer:
    home = Origin.of(url)
    fixed = {"accept-encoding": "identity", "user-agent": f"mcp-gateway/{__version__}", **headers}
    for _ in range(MAX_REDIRECTS + 1):
        own = {**fixed, **credentials} if Origin.of(url) == home else fixed
        async with client.stream("GET", url, headers=own) as response:
            location = response.headers.get("location")
            if response.status_code in (301, 302, 303, 307, 308) and location:
                following = urljoin(url, location)
                if Origin.of(url).scheme == "https" and Origin.of(following).scheme != "https":
                    raise FetchFailed("leads from https to http")
                if stays and Origin.of(following) != home:
                    raise FetchFailed("leads to another origin")
                url = following
                continue
            raw = {name.lower(): value for name, value in response.headers.raw}
            return WebAnswer(url, response.status_code, raw, await body_within(response, cap))
    raise FetchFailed(f"has more than {MAX_REDIRECTS} redirects")
