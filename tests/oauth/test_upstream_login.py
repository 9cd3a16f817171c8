"""Logging in at a server whose authorization server nobody here wrote: registration, rotation of refresh tokens, and
revocation, with `oidc-provider`."""

from pathlib import Path

import httpx2
import pytest

from gateway.config.models import AuthConfig
from gateway.logins.failures import NoLogin
from gateway.logins.flow import Flow, revoke
from gateway.logins.grants import Tokens
from gateway.logins.person import PersonGrant
from gateway.logins.record import SHARED, Login, LoginKey
from gateway.logins.vault import FileVault
from tests.oauth.authorization_server import REDIRECT, AuthorizationServer, Browser, claims_in
from tests.oauth.protected import protected

pytestmark = pytest.mark.anyio


async def log_in(vault: FileVault, url: str) -> Login:
    flow, browser = Flow(vault, None), Browser("alice")
    begun = await flow.begin(LoginKey(SHARED, "up", url), "alice", AuthConfig(), REDIRECT)
    await browser.open(begun.link)
    came = await browser.result()
    answer = {"code": came.code, "state": came.state or "", "iss": came.iss or ""}
    return await flow.complete(begun.pending, answer, AuthConfig())


async def who(url: str, tokens: Tokens) -> int:
    async with httpx2.AsyncClient(timeout=30) as client:
        return (await client.post(url, headers=tokens.headers)).status_code


async def test_in_on_and_out(issuer: AuthorizationServer, tmp_path: Path) -> None:
    vault = FileVault(tmp_path, ["k" * 32])
    async with protected(issuer) as (url, _):
        login = await log_in(vault, url)
        assert (login.issuer, login.resource) == (issuer.url, url)
        assert set(login.scopes) >= {"read", "write"}
        assert claims_in(login.access)["aud"] == url
        assert login.tokens is not None
        assert await who(url, login.tokens) == 200

        grant = PersonGrant(vault, login.key, AuthConfig(), is_wanted=True)
        renewed = await grant.obtain(login.tokens, (), "")
        assert renewed is not None
        assert renewed.access != login.access
        assert await who(url, renewed) == 200
        after = await vault.get(login.key)
        assert after is not None
        assert after.refresh not in (None, login.refresh)

        assert await revoke(after, AuthConfig())
        other = PersonGrant(vault, login.key, AuthConfig(), is_wanted=True)
        with pytest.raises(NoLogin, match="the login has ended"):
            await other.obtain(renewed, (), "")
        lost = await vault.get(login.key)
        assert lost is not None
        assert (lost.access, lost.refresh) == ("", None)
