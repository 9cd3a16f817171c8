"""A gateway, an authorization server, and the SDK's own client between them: from a 401 to the result of a tool."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.utils import (
    extract_field_from_www_auth,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
)
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth_utils import check_resource_allowed

from gateway.access.metadata import WELL_KNOWN
from tests.interaction._connect import MODES
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import Sse, fields, sent
from tests.interaction._wire import Message, request
from tests.oauth.authorization_server import AuthorizationServer, claims_in, held
from tests.oauth.local_issuer import claims_of, signing_key
from tests.oauth.protected import protected
from tests.servers.peers import OPENING
from tests.support import free_port

pytestmark = pytest.mark.anyio

ENDPOINTS: Final = {"/mcp": "time__now", "/mcp/time": "now"}
"""With the name that one of the tools has there."""

each_era = pytest.mark.parametrize("era", MODES)
each_endpoint = pytest.mark.parametrize("path", ENDPOINTS)


@contextmanager
def oauth_gateway(folder: Path, issuer: str, path: str = "/mcp") -> Generator[str]:
    """Base URL of a gateway that knows nobody but whom the issuer knows, and is the resource at this path."""
    port = free_port()
    oauth = {"issuer": issuer, "resource": f"http://127.0.0.1:{port}{path}", "allow_private": True}
    servers = {name: child("gateway.demo.time") for name in ("time", "other")}
    auth = {"enabled": True, "oauth": oauth}
    with http_gateway(folder, servers, port=port, auth=auth, **PATIENT) as gateway:
        yield gateway.base


@pytest.fixture(scope="module")
def base(issuer: AuthorizationServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """One for all tests. It hears an address fail to authenticate 60 times at once, and every login begins with a
    failure."""
    with oauth_gateway(tmp_path_factory.mktemp("oauth"), issuer.url) as base:
        yield base


@asynccontextmanager
async def logged_in(url: str, auth: OAuthClientProvider, era: str) -> AsyncGenerator[tuple[Client, list[str]]]:
    """An SDK client that logs in when it is told to, and the requests it sends for that and otherwise."""
    way: list[str] = []

    async def note(request: httpx2.Request) -> None:
        way.append(f"{request.method} {request.url}".partition("?")[0])

    async with (
        httpx2.AsyncClient(auth=auth, timeout=30, event_hooks={"request": [note]}) as http,
        Client(streamable_http_client(url, http_client=http), mode=MODES[era], cache=None) as client,
    ):
        yield client, way


async def ask(url: str, token: str = "", message: Message | None = None) -> httpx2.Response:
    """The answer to one request, by default for the tools."""
    message = message or request("tools/list")
    headers = fields(message) | ({"Authorization": f"Bearer {token}"} if token else {})
    async with httpx2.AsyncClient(timeout=30) as client:
        return await client.post(url, json=message, headers=headers)


def tools_in(answer: httpx2.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {tool["name"] for tool in answer.json()["result"]["tools"]}


def challenged(answer: httpx2.Response, status: int, error: str | None) -> tuple[str | None, str | None]:
    """The scope and the metadata that a refusal names."""
    assert answer.status_code == status, answer.text
    assert extract_field_from_www_auth(answer, "error") == error
    return extract_scope_from_www_auth(answer), extract_resource_metadata_from_www_auth(answer)


def metadata_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path}"


# --- Logging in -------------------------------------------------------------------------------------------------------


@each_era
@each_endpoint
async def test_the_sdks_client_finds_its_way_in(issuer: AuthorizationServer, base: str, path: str, era: str) -> None:
    url = base + path
    auth = issuer.log_in(url)
    async with logged_in(url, auth, era) as (client, way):
        listed = await client.list_tools()
        assert ENDPOINTS[path] in {tool.name for tool in listed.tools}
        told = await client.call_tool(ENDPOINTS[path], {"timezone": "UTC"})
        assert not told.is_error
        assert told.structured_content
    assert list(dict.fromkeys(way))[:5] == [
        f"POST {url}",
        f"GET {metadata_of(url)}",
        f"GET {issuer.url}/.well-known/oauth-authorization-server",
        f"POST {issuer.url}/reg",
        f"POST {issuer.url}/token",
    ]
    claims = claims_in(held(auth))
    assert (claims["aud"], claims["scope"], claims["sub"]) == (url, "read write", "alice")


@each_era
@each_endpoint
async def test_a_403_leads_to_the_scope_that_was_missing(
    issuer: AuthorizationServer, base: str, path: str, era: str
) -> None:
    auth = issuer.log_in(base + path, scope="read")
    async with logged_in(base + path, auth, era) as (client, _):
        await client.list_tools()
        assert claims_in(held(auth))["scope"] == "read"
        assert not (await client.call_tool(ENDPOINTS[path], {"timezone": "UTC"})).is_error
        assert claims_in(held(auth))["scope"] == "read write"


async def test_a_client_whose_token_has_expired_logs_in_anew(issuer: AuthorizationServer, base: str) -> None:
    expired = await issuer.token(f"{base}/mcp", "late")
    auth = issuer.log_in(f"{base}/mcp", "alice", token=expired)
    async with logged_in(f"{base}/mcp", auth, "modern") as (client, _):
        assert (await client.list_tools()).tools
    assert claims_in(held(auth))["sub"] == "alice"


async def test_a_client_of_the_old_transport_logs_in_where_the_resource_is_the_host(
    issuer: AuthorizationServer, tmp_path: Path
) -> None:
    with oauth_gateway(tmp_path, issuer.url, path="") as base:
        auth = issuer.log_in(f"{base}/sse")
        async with Client(sse_client(f"{base}/sse", auth=auth), mode="legacy") as client:
            assert not (await client.call_tool("time__now", {})).is_error
        assert str(claims_in(held(auth))["aud"]).rstrip("/") == base


async def test_a_connection_goes_by_the_token_it_was_used_with_last(issuer: AuthorizationServer, base: str) -> None:
    less, more = [await issuer.token(f"{base}/mcp", scope=scope) for scope in ("read", "read write")]
    with sent("GET", f"{base}/sse", headers={"Authorization": f"Bearer {less}"}) as response:
        channel = Sse(response, base)
        for token, message in (
            (less, request("initialize", OPENING)),
            (less, request("tools/call", {"name": "time__now"})),
            (more, request("tools/call", {"name": "time__now"})),
            (less, request("tools/call", {"name": "time__now"})),
        ):
            assert (await ask(channel.endpoint, token, message)).status_code == 202
            answer = channel.receive()
            assert ("result" in answer) == (token is more or message["method"] == "initialize"), answer


async def test_what_one_token_was_answered_is_not_said_again_to_one_that_grants_less(
    issuer: AuthorizationServer, base: str
) -> None:
    less, more = [await issuer.token(f"{base}/mcp", scope=scope) for scope in ("read", "read write")]
    opening = request("initialize", {**OPENING, "protocolVersion": "2025-11-25"})
    async with httpx2.AsyncClient() as client:
        session: dict[str, str] = {}
        event = text = ""
        statuses: list[int] = []
        for token, message in (
            (less, opening),
            (more, request("tools/call", {"name": "time__now"})),
            (less, None),
            (more, None),
        ):
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream", **session}
            if message is None:
                response = await client.get(f"{base}/mcp", headers={**headers, "Last-Event-ID": event})
            else:
                response = await client.post(f"{base}/mcp", headers=headers, json=message)
                session = {"Mcp-Session-Id": response.headers["mcp-session-id"]}
                event = response.text.partition("id: ")[2].partition("\n")[0]
            text = response.text
            statuses.append(response.status_code)
        assert statuses == [200, 200, 404, 200]
        assert '"content"' in text


# --- Challenges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/mcp", "/mcp"),
        ("/mcp/", "/mcp"),
        ("/mcp/time", "/mcp/time"),
        ("/mcp/time/", "/mcp/time"),
        ("/mcp/nonesuch", "/mcp/nonesuch"),
        ("/mcp/not%20plain", "/mcp"),
        ("/mcp/time/more", "/mcp"),
        ("/agents/register", "/mcp"),
        ("/messages", "/mcp"),
    ],
)
async def test_a_401_leads_to_the_metadata_of_what_was_asked(base: str, path: str, resource: str) -> None:
    scope, metadata = challenged(await ask(base + path), 401, None)
    assert (scope, metadata) == ("read write", metadata_of(base + resource))
    async with httpx2.AsyncClient() as client:
        document = (await client.get(metadata or "")).json()
    assert document["resource"] == base + resource
    assert check_resource_allowed(base + path, base + resource) or not path.startswith("/mcp")


@each_endpoint
async def test_so_does_one_for_a_token_that_is_none(base: str, path: str) -> None:
    answer = await ask(base + path, "a.b.c")
    assert challenged(answer, 401, "invalid_token") == ("read write", metadata_of(base + path))


async def test_who_is_not_logged_in_cannot_tell_what_there_is(base: str) -> None:
    there, absent = [await ask(f"{base}/mcp/{name}") for name in ("time", "nonesuch")]
    assert there.text == absent.text
    assert there.headers["www-authenticate"].replace("time", "nonesuch") == absent.headers["www-authenticate"]


@each_era
@each_endpoint
async def test_a_403_names_every_scope_that_is_needed(
    issuer: AuthorizationServer, base: str, path: str, era: str
) -> None:
    token = await issuer.token(base + path, "bob")
    assert tools_in(await ask(base + path, token))
    call = request("tools/call", {"name": ENDPOINTS[path], "arguments": {}}, modern=era == "modern")
    scope, metadata = challenged(await ask(base + path, token, call), 403, "insufficient_scope")
    assert scope == ("write" if era == "modern" else "read write"), "clients of old ask for these scopes alone"
    assert metadata == metadata_of(base + path)


async def test_a_403_of_the_rest_side(issuer: AuthorizationServer, base: str) -> None:
    token = await issuer.token(f"{base}/mcp")
    answer = await ask(f"{base}/upstreams/time/restart", token)
    assert challenged(answer, 403, "insufficient_scope") == ("admin", metadata_of(f"{base}/mcp"))


# --- Tokens that are not for here, or not for now ---------------------------------------------------------------------


@each_endpoint
async def test_a_token_of_another_audience_is_refused(issuer: AuthorizationServer, base: str, path: str) -> None:
    async with protected(issuer) as (elsewhere, _):
        token = await issuer.token(elsewhere)
    answer = await ask(base + path, token)
    assert challenged(answer, 401, "invalid_token") == ("read write", metadata_of(base + path))
    assert "aud" in answer.json()["error"]["message"]


async def test_a_token_for_one_upstream_is_good_for_that_one(issuer: AuthorizationServer, base: str) -> None:
    token = await issuer.token(f"{base}/mcp/time")
    assert "now" in tools_in(await ask(f"{base}/mcp/time", token))
    assert {name.partition("__")[0] for name in tools_in(await ask(f"{base}/mcp", token))} == {"time"}
    for name in ("other", "nonesuch"):
        url = f"{base}/mcp/{name}"
        assert challenged(await ask(url, token), 401, "invalid_token") == ("read write", metadata_of(url))


async def test_a_token_for_the_gateway_is_good_for_every_upstream(issuer: AuthorizationServer, base: str) -> None:
    token = await issuer.token(f"{base}/mcp")
    for name in ("time", "other"):
        assert "now" in tools_in(await ask(f"{base}/mcp/{name}", token))
    assert (await ask(f"{base}/mcp/nonesuch", token)).status_code == 404


@each_endpoint
async def test_an_expired_token_is_refused(issuer: AuthorizationServer, base: str, path: str) -> None:
    answer = await ask(base + path, await issuer.token(base + path, "late"))
    assert challenged(answer, 401, "invalid_token") == ("read write", metadata_of(base + path))
    assert "expired" in answer.json()["error"]["message"]


async def test_a_token_cannot_be_checked_while_the_issuer_was_never_reached(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with oauth_gateway(tmp_path, nobody) as base:
        answer = await ask(f"{base}/mcp", signing_key().sign(claims_of(nobody)))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "www-authenticate" not in answer.headers, "logging in again would not help"


# --- Agents -----------------------------------------------------------------------------------------------------------


async def test_an_agent_ends_with_the_token_it_was_registered_with(issuer: AuthorizationServer, base: str) -> None:
    bearer = await issuer.token(f"{base}/mcp/time", "bob")
    wish: dict[str, Any] = {"agent_name": "agent", "agent_version": "1"}
    async with httpx2.AsyncClient(base_url=base, timeout=30) as client:
        made = await client.post("/agents/register", json=wish, headers={"Authorization": f"Bearer {bearer}"})
        assert made.status_code == 201, made.text
        token, session = made.json()["token"], made.json()["session"]
        listed = await client.post("/mcp", json=request("tools/list"), headers={"X-Agent-Token": token})
    assert {name.partition("__")[0] for name in tools_in(listed)} == {"time"}
    assert session["scopes"] == ["read"]
    assert datetime.fromisoformat(session["expires_at"]) == datetime.fromtimestamp(claims_in(bearer)["exp"], UTC)
    assert claims_in(token)["exp"] == claims_in(bearer)["exp"]
