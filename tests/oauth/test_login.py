"""From a 401 to a principal, by the SDK's own OAuth client and a real authorization server."""

import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx2
import jwt
import pytest
from aiohttp import web
from mcp.client.auth import OAuthClientProvider

from gateway.access.authentication import Authentication
from gateway.access.metadata import WELL_KNOWN, narrowed, protected_resource, scope_challenge
from gateway.access.oauth import OAuth
from gateway.access.oauth_settings import OAuthSettings
from gateway.access.rate_limit import MemoryLimiter
from gateway.errors import GatewayError
from tests.oauth.authorization_server import AuthorizationServer

pytestmark = pytest.mark.anyio


class Resource:
    """A protected resource as the gateway is one: `/mcp` tells who asks, if they have the scope in the query."""

    def __init__(self, settings: OAuthSettings, oauth: OAuth) -> None:
        self._settings = settings
        self._authenticate = Authentication([oauth], MemoryLimiter())
        self.seen: list[str] = []
        """The tokens that were sent."""

    async def metadata(self, request: web.Request) -> web.Response:
        document = protected_resource(self._settings, request.match_info["suffix"])
        return web.json_response(document, status=200 if document else 404)

    async def mcp(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        # No credential at all is the gateway's business; for this way to authenticate it is an empty one.
        self.seen.append(headers.setdefault("authorization", ""))
        try:
            principal = await self._authenticate(headers, request.remote or "")
        except GatewayError as error:
            view = request.match_info["view"]
            if view:
                error.headers["www-authenticate"] = narrowed(error.headers["www-authenticate"], self._settings, view)
            return web.json_response({"error": error.message}, status=error.status, headers=error.headers)
        needed = set(request.query.getall("scope", []))
        if not needed <= principal.scopes:
            challenge = scope_challenge(self._settings, needed)
            return web.json_response({}, status=403, headers={"www-authenticate": challenge})
        named = {
            "id": principal.id,
            "owner": principal.owner,
            "scopes": sorted(principal.scopes),
            "groups": sorted(principal.groups),
            "upstreams": None if principal.upstreams is None else sorted(principal.upstreams),
        }
        return web.json_response(named)


@asynccontextmanager
async def protected(issuer: AuthorizationServer) -> AsyncGenerator[tuple[str, Resource]]:
    """A resource's URL, and what it saw."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        settings = OAuthSettings(issuer=issuer.url, resource=url, allow_private=True, owner_claim="email")
        oauth = OAuth(settings)
        resource = Resource(settings, oauth)
        app = web.Application()
        app.router.add_get(WELL_KNOWN + "{suffix:.*}", resource.metadata)
        app.router.add_post("/mcp{_:/?}{view:.*}", resource.mcp)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            async with anyio.create_task_group() as tg:
                tg.start_soon(oauth.run)
                yield url, resource
                tg.cancel_scope.cancel()
        finally:
            await runner.cleanup()


async def ask(url: str, auth: OAuthClientProvider, *scopes: str) -> httpx2.Response:
    """What the resource says last to an agent that can log in: to a plain request, then to one for each scope."""
    async with httpx2.AsyncClient(auth=auth, timeout=30) as client:
        answer = await client.post(url)
        for scope in scopes:
            answer = await client.post(url, params={"scope": scope})
        return answer


async def test_a_401_leads_to_a_principal(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, resource):
        assert json.loads((await ask(url, issuer.log_in(url))).text) == {
            "id": f"oauth:{issuer.url}|alice",
            "owner": "alice@example.com",
            "scopes": ["read", "write"],
            "groups": ["engineering"],
            "upstreams": None,
        }
        assert resource.seen[0] == ""
        token = resource.seen[-1].removeprefix("Bearer ")
        assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
        assert jwt.decode(token, options={"verify_signature": False})["aud"] == url


async def test_who_grants_less_gets_less(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, _):
        assert json.loads((await ask(url, issuer.log_in(url, "bob"))).text)["scopes"] == ["read"]


async def test_a_403_leads_to_the_scope_that_was_missing(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, resource):
        answer = await ask(url, issuer.log_in(url, "root", "console"), "admin")
        assert json.loads(answer.text)["scopes"] == ["admin", "read", "write"]
        first, second = dict.fromkeys(resource.seen[1:])
        scopes = [jwt.decode(token[7:], options={"verify_signature": False})["scope"] for token in (first, second)]
        assert scopes == ["read write", "read write admin"]


async def test_who_must_not_have_a_scope_does_not_get_it(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, _):
        answer = await ask(url, issuer.log_in(url, "alice", "console"), "admin")
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_a_token_for_one_upstream_is_good_for_that_one(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, _):
        token = await issuer.token(f"{url}/github")
        assert json.loads((await _send(url, token)).text)["upstreams"] == ["github"]


async def test_a_token_for_another_resource_is_refused(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, _), protected(issuer) as (other, _):
        token = await issuer.token(other)
        assert (await _send(other, token)).status_code == 200
        refused = await _send(url, token)
        assert refused.status_code == 401
        assert "aud" in refused.text
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]


async def _send(url: str, token: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        return await client.post(url, headers={"authorization": f"Bearer {token}"})
