"""From a 401 to a principal, by the SDK's own OAuth client and a real authorization server."""

import json

import httpx2
import jwt
import pytest
from mcp.client.auth import OAuthClientProvider

from tests.oauth.authorization_server import AuthorizationServer, claims_in
from tests.oauth.protected import protected

pytestmark = pytest.mark.anyio


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
        assert jwt.get_unverified_header(resource.seen[-1])["typ"] == "at+jwt"
        assert claims_in(resource.seen[-1])["aud"] == url


async def test_who_grants_less_gets_less(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, _):
        assert json.loads((await ask(url, issuer.log_in(url, "bob"))).text)["scopes"] == ["read"]


async def test_a_403_leads_to_the_scope_that_was_missing(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, resource):
        answer = await ask(url, issuer.log_in(url, "root", "console"), "admin")
        assert json.loads(answer.text)["scopes"] == ["admin", "read", "write"]
        scopes = [claims_in(token)["scope"] for token in dict.fromkeys(resource.seen[1:])]
        assert scopes == ["read write", "read write admin"]


async def test_who_must_not_have_a_scope_does_not_get_it(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, _):
        answer = await ask(url, issuer.log_in(url, "alice", "console"), "admin")
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_a_token_for_one_upstream_is_good_for_that_one(issuer: AuthorizationServer) -> None:
    async with protected(issuer) as (url, _):
        token = await issuer.token(f"{url}/github")
        for endpoint in (url, f"{url}/github"):
            assert json.loads((await _send(endpoint, token)).text)["upstreams"] == ["github"]


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
