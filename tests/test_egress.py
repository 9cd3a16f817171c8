"""Where the gateway's own requests may not go, in every spelling, and that a name leads where it was judged."""

import ssl
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx2
import pytest
from aiohttp import web

from gateway.egress import EgressRefused, addresses, refusal, resolve
from gateway.egress_transport import GuardedTransport
from tests.certificates import tls_for

pytestmark = pytest.mark.anyio

PRIVATE: Final = (
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
)
NEVER: Final = (
    "0.0.0.0",
    "0.1.2.3",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "::ffff:0:7f00:1",
    "::ffff:0:0",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
)
PUBLIC: Final = ("8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "64:ff9b::8.8.8.8")

UNUSUAL: Final = (
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "017700000001",
    "2130706433",
    "127.1",
    "127.0.1",
    "0",
    "8.8.2056",
    "134744072",
    "fe80::1%lo",
    "::1%1",
    "::1%25lo",
    "[::1]",
    "::ffff:127.0.0.1%lo",
    "%31%32%37.0.0.1",
)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_must_be_allowed(address: str) -> None:
    assert refusal(ip_address(address))
    assert not refusal(ip_address(address), private=True)


@pytest.mark.parametrize("address", NEVER)
def test_addresses_that_no_server_of_ours_has(address: str) -> None:
    assert refusal(ip_address(address))
    assert refusal(ip_address(address), private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert not refusal(ip_address(address))


@pytest.mark.parametrize("host", UNUSUAL)
@pytest.mark.parametrize("private", [False, True])
async def test_unusual_spellings_are_refused_whatever_they_mean(host: str, private: bool) -> None:
    with pytest.raises(EgressRefused):
        await addresses(host, 80, private=private)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST"])
async def test_the_systems_resolver_is_asked(host: str) -> None:
    with pytest.raises(EgressRefused, match="resolves to"):
        await addresses(host, 80)
    assert await addresses(host, 80, private=True)


class Names:
    """A resolver with a table, whose answer to one name may be another each time."""

    def __init__(self, *answers: Collection[str]) -> None:
        self.asked = 0
        self._answers = answers

    async def __call__(self, host: str, port: int) -> Collection[str]:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER, "fe80::1%2"])
@pytest.mark.parametrize("others", [(), ("93.184.216.34",)])
async def test_one_forbidden_address_is_enough_to_refuse_a_name(address: str, others: tuple[str, ...]) -> None:
    for found in ([*others, address], [address, *others]):
        with pytest.raises(EgressRefused):
            await addresses("rebind.example", 443, lookup=Names(found))


async def test_a_name_without_addresses() -> None:
    with pytest.raises(OSError, match="no address"):
        await addresses("nowhere.example", 443, lookup=Names([]))


# --- The transport ----------------------------------------------------------------------------------------------------


class Canary:
    """A server that notes the hosts it was asked for."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.names: list[str | None] = []
        self.port = 0
        self.location = ""
        """Where it redirects to, if anywhere."""

    async def answer(self, request: web.Request) -> web.Response:
        self.hosts.append(request.headers["host"])
        if self.location:
            raise web.HTTPFound(self.location)
        return web.Response(text="here")


@asynccontextmanager
async def canary(tls: ssl.SSLContext | None = None) -> AsyncGenerator[Canary]:
    server = Canary()
    app = web.Application()
    app.router.add_get("/", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


async def fetch(url: str, transport: GuardedTransport) -> str:
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        return (await client.get(url)).text


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "127。0。0。1", "0"],
)
async def test_no_spelling_of_this_machine_is_connected_to(host: str) -> None:
    async with canary() as server:
        with pytest.raises(EgressRefused):
            await fetch(f"http://{host}:{server.port}/", GuardedTransport())
        assert not server.hosts


@pytest.mark.parametrize("url", ["http://user@127.0.0.1:{}/", "http://user:pw@127.0.0.1:{}/"])
async def test_user_information_is_refused(url: str) -> None:
    async with canary() as server:
        with pytest.raises(EgressRefused):
            await fetch(url.format(server.port), GuardedTransport(["127.0.0.1"]))
        assert not server.hosts


async def test_a_name_that_rebinds_is_judged_at_each_request() -> None:
    async with canary() as server:
        names = Names(["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"])
        transport = GuardedTransport(lookup=names)
        for asked in (1, 2, 3):
            with pytest.raises(EgressRefused):
                await fetch(f"http://issuer.example:{server.port}/", transport)
            assert names.asked == asked
        assert not server.hosts


@pytest.mark.parametrize("location", ["http://127.0.0.1:{}/", "http://localhost:{}/", "//0x7f000001:{}/"])
async def test_a_redirect_is_judged_like_any_other_request(location: str) -> None:
    """Ours are not followed at all; should one ever be, this is what it comes to."""
    async with canary() as server:
        server.location = location.format(server.port)

        async def lookup(host: str, port: int) -> Collection[str]:
            return ["127.0.0.1"] if host == "issuer.example" else await resolve(host, port)

        transport = GuardedTransport(["issuer.example"], lookup=lookup)
        with pytest.raises(EgressRefused):
            async with httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=True) as client:
                await client.get(f"http://issuer.example:{server.port}/")
        assert server.hosts == [f"issuer.example:{server.port}"]


async def test_a_name_that_rebinds_leads_to_where_it_was_judged() -> None:
    async with canary() as server:
        names = Names(["127.0.0.1"], ["192.0.2.1"])
        transport = GuardedTransport(["issuer.example"], lookup=names)
        assert await fetch(f"http://issuer.example:{server.port}/", transport) == "here"
        assert names.asked == 1
        assert server.hosts == [f"issuer.example:{server.port}"]


async def test_another_host_than_the_allowed_one_is_refused() -> None:
    async with canary() as server:
        transport = GuardedTransport(["issuer.example"], lookup=Names(["127.0.0.1"]))
        with pytest.raises(EgressRefused):
            await fetch(f"http://other.example:{server.port}/", transport)
        assert not server.hosts


@pytest.mark.parametrize("found", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
async def test_the_next_address_is_tried(found: list[str]) -> None:
    async with canary() as server:
        transport = GuardedTransport(["issuer.example"], lookup=Names(found))
        assert await fetch(f"http://issuer.example:{server.port}/", transport) == "here"


async def test_nobody_at_any_address() -> None:
    async with canary() as server:
        pass
    transport = GuardedTransport(["issuer.example"], lookup=Names(["127.0.0.2", "127.0.0.1"]))
    with pytest.raises(httpx2.ConnectError):
        await fetch(f"http://issuer.example:{server.port}/", transport)


async def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(httpx2.ConnectError, match="resolved"):
        await fetch("http://nowhere.example/", GuardedTransport(lookup=Names([])))


async def test_tls_keeps_the_name_that_the_url_has(tmp_path: Path) -> None:
    served, trusting = tls_for("issuer.example", tmp_path)
    async with canary(served) as server:
        served.sni_callback = lambda _, name, __: server.names.append(name)
        hosts = ["issuer.example", "other.example"]
        url = "https://{}:" + str(server.port) + "/"
        transport = GuardedTransport(hosts, trusting, Names(["127.0.0.1"]))
        assert await fetch(url.format("issuer.example"), transport) == "here"
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            await fetch(url.format("other.example"), GuardedTransport(hosts, trusting, Names(["127.0.0.1"])))
        assert server.names == hosts
        assert server.hosts == [f"issuer.example:{server.port}"]
