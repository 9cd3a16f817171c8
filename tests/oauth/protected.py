"""A protected resource in this process: what guards the gateway, without the gateway."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from aiohttp import web

from gateway.access.authentication import Authentication
from gateway.access.metadata import WELL_KNOWN, login_challenge, protected_resource, scope_challenge
from gateway.access.oauth import OAuth
from gateway.access.oauth_settings import ResourceServerSettings
from gateway.access.rate_limit import MemoryLimiter
from gateway.errors import GatewayError
from tests.oauth.authorization_server import AuthorizationServer


class Resource:
    """`/mcp` tells who asks, if they have the scope in the query."""

    def __init__(self, settings: ResourceServerSettings, oauth: OAuth) -> None:
        self._settings = settings
        self._authenticate = Authentication(
            [oauth], MemoryLimiter(), lambda view, wrong: login_challenge(settings, view)
        )
        self.seen: list[str] = []
        """The tokens that were sent."""

    async def metadata(self, request: web.Request) -> web.Response:
        document = protected_resource(self._settings, request.match_info["suffix"])
        return web.json_response(document, status=200 if document else 404)

    async def mcp(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(headers.get("authorization", "").removeprefix("Bearer "))
        try:
            principal = await self._authenticate(headers, request.remote or "", request.match_info["view"] or None)
        except GatewayError as error:
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
        settings = ResourceServerSettings(issuer=issuer.url, resource=url, allow_private=True, owner_claim="email")
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
