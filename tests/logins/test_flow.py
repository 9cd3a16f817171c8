"""A login from its beginning to its end, and everything on the way that must not be believed."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.config.models import AuthConfig
from gateway.logins import discovery
from gateway.logins.failures import Denied, Distrusted
from gateway.logins.flow import Begun, Flow, revoke
from gateway.logins.record import SHARED, Login, LoginKey
from gateway.logins.vault import FileVault
from tests.logins.authority import Answer, Authority, authority
from tests.upstream.ends import Got, byte_server, response

pytestmark = pytest.mark.anyio

BACK = "http://127.0.0.1:1/callback"
TEAM = "https://gateway.example.com"


@pytest.fixture
def vault(tmp_path: Path) -> FileVault:
    return FileVault(tmp_path / "logins", ["k" * 32])


def key(server: Authority) -> LoginKey:
    return LoginKey(SHARED, "up", server.url)


async def begin(vault: FileVault, server: Authority, back: str = BACK, /, scopes: Any = (), **auth: Any) -> Begun:
    return await Flow(vault, TEAM).begin(key(server), "somebody", AuthConfig(**auth), back, scopes=scopes)


async def complete(vault: FileVault, begun: Begun, query: dict[str, str]) -> Login:
    return await Flow(vault, TEAM).complete(begun.pending, query, AuthConfig())


async def whole(vault: FileVault, server: Authority) -> Login:
    begun = await begin(vault, server)
    return await complete(vault, begun, server.approve(begun.link))


def asked(begun: Begun) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(begun.link).query).items()}


async def test_a_login(vault: FileVault) -> None:
    async with authority() as (server, _):
        begun = await begin(vault, server)
        link = asked(begun)
        assert begun.link.startswith(f"{server.origin}/authorization?")
        assert (link["response_type"], link["redirect_uri"], link["resource"]) == ("code", BACK, server.url)
        assert (link["code_challenge_method"], link["client_id"]) == ("S256", "client-1")
        login = await complete(vault, begun, server.approve(begun.link))
        assert (login.issuer, login.resource, login.scopes) == (server.origin, server.url, ["read"])
        assert login.access in server.good
        assert await vault.get(key(server)) == login
        assert server.forms[-1]["resource"] == server.url
        assert await revoke(login, AuthConfig())
        assert server.revoked == [login.refresh]


async def test_what_is_kept_is_sealed(vault: FileVault, tmp_path: Path) -> None:
    async with authority() as (server, _):
        begun = await begin(vault, server)
        await complete(vault, begun, server.approve(begun.link))
        (file,) = (tmp_path / "logins").glob("*.login")
        assert b"canary" not in file.read_bytes()
        assert b"up" not in file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600
        assert "canary" not in repr(await vault.all()) + repr(begun)
        assert await FileVault(tmp_path / "logins", ["j" * 32]).get(key(server)) is None
        file.rename(file.with_name(f"{'0' * 32}.login"))
        assert await vault.all() == []


# --- Clients -------------------------------------------------------------------------------------------------------


async def test_who_is_registered_already_does_not_register(vault: FileVault) -> None:
    async with authority() as (server, _):
        begun = await begin(vault, server, client_id="known", client_secret="secret of ours")
        await complete(vault, begun, server.approve(begun.link))
        assert server.registered == []
        assert server.forms[-1]["client"] == "known:secret of ours"


async def test_a_document_of_ones_own_goes_before_registration(vault: FileVault) -> None:
    async with authority(says={"client_id_metadata_document_supported": True}) as (server, _):
        assert asked(await begin(vault, server))["client_id"] == f"{TEAM}/client-metadata.json"
        page = await begin(vault, server, f"{TEAM}/oauth/callback")
        assert asked(page)["client_id"] == f"{TEAM}/client-metadata-web.json"
        assert server.registered == []


async def test_an_address_of_ones_own_is_registered_once(vault: FileVault) -> None:
    async with authority() as (server, _):
        back = f"{TEAM}/oauth/callback"
        assert [asked(await begin(vault, server, back))["client_id"] for _ in range(2)] == ["client-1", "client-1"]
        assert len(server.registered) == 1
        assert server.registered[0]["application_type"] == "web"


async def test_who_registers_nobody_says_what_to_do(vault: FileVault) -> None:
    async with authority(says={"registration_endpoint": None}) as (server, _):
        with pytest.raises(Denied, match="put its `client_id` into"):
            await begin(vault, server)


# --- Scopes --------------------------------------------------------------------------------------------------------


async def test_scopes_add_up(vault: FileVault) -> None:
    async with authority() as (server, _):
        begun = await begin(vault, server, scopes=["one"])
        await complete(vault, begun, server.approve(begun.link))
        assert asked(await begin(vault, server, scopes=["two"]))["scope"] == "one two"


async def test_a_refresh_token_is_asked_for_where_that_takes_a_scope(vault: FileVault) -> None:
    async with authority(says={"scopes_supported": ["a", "offline_access"]}) as (server, _):
        link = asked(await begin(vault, server, scopes=["a"]))
        assert (link["scope"], link["prompt"]) == ("a offline_access", "consent")


# --- What must not be believed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "says", "fault"),
    [
        ({"state": "another"}, {}, "another login"),
        ({"state": ""}, {}, "another login"),
        ({"iss": "https://other.example"}, {}, r"other\.example"),
        ({}, {"authorization_response_iss_parameter_supported": True}, "None"),
        ({"iss": "https://other.example", "error": "access_denied"}, {}, r"other\.example"),
    ],
)
async def test_an_answer_that_is_not_ours(
    vault: FileVault, changed: dict[str, str], says: dict[str, Any], fault: str
) -> None:
    async with authority(says=says) as (server, _):
        begun = await begin(vault, server)
        with pytest.raises(Distrusted, match=fault):
            await complete(vault, begun, server.approve(begun.link) | changed)
        assert server.forms == []
        assert await vault.all() == []


async def test_a_code_that_was_slipped_in_is_worth_nothing(vault: FileVault) -> None:
    async with authority() as (server, _):
        own, others = await begin(vault, server), await begin(vault, server)
        foreign = server.approve(others.link)["code"]
        with pytest.raises(Denied, match="invalid_grant"):
            await complete(vault, own, server.approve(own.link) | {"code": foreign})


async def test_no_is_no(vault: FileVault) -> None:
    async with authority() as (server, _):
        begun = await begin(vault, server)
        no = {"error": "access_denied", "error_description": "not today", "state": begun.pending.state}
        with pytest.raises(Denied, match="said no: not today"):
            await complete(vault, begun, no)


async def test_an_authorization_server_that_moved_gets_nothing(vault: FileVault) -> None:
    async with authority() as (server, _), authority() as (other, wire):
        begun = await begin(vault, server)
        await complete(vault, begun, server.approve(begun.link))
        moved: Answer = "200 OK", {"resource": server.url, "authorization_servers": [other.origin]}
        server.on["/.well-known/oauth-protected-resource/mcp"] = lambda got: moved
        with pytest.raises(Distrusted, match="log out first"):
            await begin(vault, server)
        assert [got.target for got in wire.got] == ["/.well-known/oauth-authorization-server"]
        with pytest.raises(Distrusted, match="by now"):
            await begin(vault, server, issuer=server.origin)
        await vault.drop(key(server))
        assert asked(await begin(vault, server))["client_id"] == "client-1"
        assert len(other.registered) == 1


@pytest.mark.parametrize("change", [{"code_challenge_methods_supported": ["plain"]}, {"authorization_endpoint": None}])
async def test_an_authorization_server_without_what_it_takes(vault: FileVault, change: dict[str, Any]) -> None:
    async with authority(says=change) as (server, _):
        with pytest.raises(Distrusted):
            await begin(vault, server)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/",
        "https://10.0.0.1/",
        "https://[::1]:9/",
        "http://other.example/",
        "file:///etc/passwd",
        "https://user:secret@public.example/",
    ],
)
@pytest.mark.parametrize("place", ["token_endpoint", "registration_endpoint", "issuer"])
async def test_metadata_leads_nowhere_it_must_not(vault: FileVault, url: str, place: str) -> None:
    async with authority() as (server, _):
        if place == "issuer":
            led: Answer = "200 OK", {"resource": server.url, "authorization_servers": [url]}
            server.on["/.well-known/oauth-protected-resource/mcp"] = lambda got: led
        else:
            server.says[place] = url
        with pytest.raises(Distrusted):
            await whole(vault, server)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,hello",
        "https://login.example.com@evil.example/authorize",
        "https://evil.example\\@login.example.com/authorize",
        'https://evil.example/"><script>',
        "https://evil.example/\r\nSet-Cookie: a=b",
        "https://evil.example/ 0;url=https://other.example",
        f"https://evil.example/{'a' * 3000}",
    ],
)
async def test_a_browser_is_sent_nowhere_that_looks_like_another_place(vault: FileVault, url: str) -> None:
    async with authority(says={"authorization_endpoint": url}) as (server, _):
        with pytest.raises(Distrusted):
            await begin(vault, server)
        assert server.registered == []


async def test_redirects_are_not_followed(vault: FileVault) -> None:
    elsewhere: list[str] = []

    async def note(got: Got) -> None:
        elsewhere.append(got.target)
        await got.send(response(b"{}"))

    async with authority() as (server, _), byte_server(note) as other:
        begun = await begin(vault, server)
        nothing: dict[str, Any] = {}
        server.on["/token"] = lambda got: (f"307 Temporary Redirect\r\nLocation: {other.url}", nothing)
        with pytest.raises(Denied, match="307"):
            await complete(vault, begun, server.approve(begun.link))
        assert elsewhere == []


# --- Where metadata is ---------------------------------------------------------------------------------------------


async def test_a_server_of_2025_03_26_without_any_metadata(vault: FileVault) -> None:
    async with authority() as (server, _):
        for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"):
            server.on[path] = lambda got: ("404 Not Found", [])
        begun = await begin(vault, server)
        assert begun.link.startswith(f"{server.origin}/authorize?")
        assert "resource" not in asked(begun)
        assert (await complete(vault, begun, server.approve(begun.link))).issuer == server.origin


@pytest.mark.parametrize(
    ("issuer", "places"),
    [
        ("https://a.example", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        (
            "https://a.example/t/1",
            [
                "/.well-known/oauth-authorization-server/t/1",
                "/.well-known/openid-configuration/t/1",
                "/t/1/.well-known/openid-configuration",
            ],
        ),
    ],
)
def test_where_an_issuer_says_what_it_is(issuer: str, places: list[str]) -> None:
    assert discovery.issuer_urls(issuer) == [f"https://a.example{place}" for place in places]


@pytest.mark.parametrize(
    ("identifier", "covered"),
    [
        ("https://a.example/x/mcp", True),
        ("https://A.example/x/", True),
        ("https://a.example", True),
        ("https://a.example/x/mc", False),
        ("https://a.example/x/mcp/more", False),
        ("http://a.example/x/mcp", False),
        ("https://a.example:444/x/mcp", False),
        ("https://a.example.evil.example/x/mcp", False),
    ],
)
def test_whose_metadata_it_may_be(identifier: str, covered: bool) -> None:
    assert discovery.covers(identifier, "https://a.example/x/mcp") is covered
