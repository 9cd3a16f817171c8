"""Bearer tokens that are good: each makes a principal, for as long as it is good."""

from collections.abc import AsyncGenerator

import pytest

from gateway.access.metadata import metadata_url
from gateway.errors import Unauthenticated
from tests.oauth.local_issuer import (
    RESOURCE,
    START,
    Clock,
    House,
    KnownIssuer,
    claims_of,
    local_issuer,
    resource_server,
    settings_for,
    signing_key,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    """One with a single RSA key."""
    clock = Clock()
    async with local_issuer() as issuer, resource_server(settings_for(issuer.url), clock) as oauth:
        yield House(issuer, oauth, clock)


async def test_a_good_token_makes_a_principal(house: House) -> None:
    token = house.issuer.token(groups=["staff"])
    principal = await house.oauth.authenticate(f"Bearer {token}")
    assert principal.id == f"oauth:{house.issuer.url}|alice"
    assert principal.method == "oauth"
    assert principal.owner == "alice"
    assert principal.scopes == {"read", "write"}
    assert principal.upstreams is None
    assert principal.groups == {"staff"}


@pytest.mark.parametrize("prefix", ["Bearer ", "bearer ", "BEARER ", " Bearer  "])
async def test_the_scheme_is_case_insensitive(house: House, prefix: str) -> None:
    assert await house.oauth.authenticate(prefix + house.issuer.token() + " ")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "PS256"])
async def test_every_default_algorithm(algorithm: str) -> None:
    key = signing_key("another", algorithm)
    async with local_issuer("", key) as issuer, resource_server(settings_for(issuer.url), Clock()) as oauth:
        assert await oauth.authenticate(f"Bearer {issuer.token()}")


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt", None])
async def test_accepted_types(house: House, typ: str | None) -> None:
    assert await house.oauth.authenticate(f"Bearer {house.issuer.key.sign(claims_of(house.issuer.url), typ=typ)}")


async def test_types_are_a_setting() -> None:
    async with (
        local_issuer() as issuer,
        resource_server(settings_for(issuer.url, token_types=("at+jwt",)), Clock()) as oauth,
    ):
        assert await oauth.authenticate(f"Bearer {issuer.token()}")
        with pytest.raises(Unauthenticated, match="typ"):
            await oauth.authenticate(f"Bearer {issuer.key.sign(claims_of(issuer.url), typ='JWT')}")


async def test_a_token_without_kid_is_good_if_there_is_but_one_key(house: House) -> None:
    token = house.issuer.key.sign(claims_of(house.issuer.url), kid=None)
    assert await house.oauth.authenticate(f"Bearer {token}")
    house.issuer.keys.append(signing_key("second"))
    house.clock.now += 4000
    await house.oauth.authenticate(f"Bearer {house.issuer.token()}")
    with pytest.raises(Unauthenticated):
        await house.oauth.authenticate(f"Bearer {token}")


async def test_a_token_that_was_good_expires(house: House) -> None:
    token = house.issuer.token(exp=int(START) + 100)
    house.clock.now += 129
    assert await house.oauth.authenticate(f"Bearer {token}"), "the leeway is 30 s"
    house.clock.now += 1
    with pytest.raises(Unauthenticated, match="expired"):
        await house.oauth.authenticate(f"Bearer {token}")


async def test_a_principal_says_when_its_token_expires(house: House) -> None:
    principal = await house.oauth.authenticate(f"Bearer {house.issuer.token(exp=int(START) + 100)}")
    assert principal.expires == START + 100
    assert principal == await house.oauth.authenticate(f"Bearer {house.issuer.token()}"), "it is the same one"


async def test_a_token_for_one_upstream_is_no_good_at_another(house: House) -> None:
    narrow, whole = house.issuer.token(aud=f"{RESOURCE}/github"), house.issuer.token()
    for view in (None, "github"):
        assert (await house.oauth.authenticate(f"Bearer {narrow}", view)).upstreams == {"github"}
    for _ in range(2):  # remembered or not
        with pytest.raises(Unauthenticated, match="aud") as caught:
            await house.oauth.authenticate(f"Bearer {narrow}", "files")
        assert metadata_url(f"{RESOURCE}/files") in caught.value.headers["www-authenticate"]
    assert (await house.oauth.authenticate(f"Bearer {whole}", "files")).upstreams is None


async def test_the_issuers_clock_may_be_ahead_by_the_leeway(house: House) -> None:
    assert await house.oauth.authenticate(f"Bearer {house.issuer.token(nbf=START + 30, iat=START + 30)}")


async def test_verified_tokens_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.access.oauth.MAX_ACCEPTED", 3)
    issuer = KnownIssuer()
    async with resource_server(settings_for(issuer.url), Clock(), issuer) as oauth:
        for round in range(2):
            for number in range(10):
                token = signing_key().sign(claims_of(issuer.url, sub=f"user-{number}"))
                assert (await oauth.authenticate(f"Bearer {token}")).owner == f"user-{number}", round
        assert len(vars(oauth)["_accepted"]) == 3
