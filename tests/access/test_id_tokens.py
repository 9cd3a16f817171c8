"""ID tokens of people who signed in just now: whose they are, and all that must not be believed of one."""

from collections.abc import AsyncGenerator
from typing import Any, Final

import pytest

from gateway.errors import KeyUnknown, Unauthenticated
from tests.oauth.local_issuer import (
    RESOURCE,
    START,
    Clock,
    House,
    claims_of,
    hmac_token,
    local_issuer,
    resource_server,
    settings_for,
    signing_key,
)

pytestmark = pytest.mark.anyio

CLIENT: Final = "gateway-pages"
NONCE: Final = "the nonce of this sign-in"


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    clock = Clock()
    async with local_issuer() as issuer, resource_server(settings_for(issuer.url), clock) as oauth:
        yield House(issuer, oauth, clock)


def id_token(house: House, typ: Any = "JWT", **changed: Any) -> str:
    claims = {**claims_of(house.issuer.url, scope=None), "aud": CLIENT, "nonce": NONCE, **changed}
    return house.issuer.key.sign({name: value for name, value in claims.items() if value is not None}, typ=typ)


async def test_it_says_who_signed_in(house: House) -> None:
    principal = await house.oauth.identify(id_token(house, groups=["staff"]), CLIENT, NONCE)
    assert principal.id == f"oauth:{house.issuer.url}|alice"
    assert (principal.groups, principal.scopes) == ({"staff"}, {"read"})
    by_agent = await house.oauth.authenticate(f"Bearer {house.issuer.token()}")
    assert by_agent.id == principal.id, "whose agents come with access tokens"


async def test_it_is_no_access_token(house: House) -> None:
    token = id_token(house)
    await house.oauth.identify(token, CLIENT, NONCE)
    with pytest.raises(Unauthenticated, match="aud"):
        await house.oauth.authenticate(f"Bearer {token}")


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": 1}, "nonce"),
        ({"aud": RESOURCE}, "aud"),
        ({"aud": [RESOURCE]}, "aud"),
        ({"aud": "another-client"}, "key of the authorization server|aud"),
        ({"aud": [CLIENT, "another-client"]}, "azp"),
        ({"aud": [CLIENT, "another-client"], "azp": "another-client"}, "azp"),
        ({"azp": "another-client"}, "azp"),
        ({"iss": "https://evil.example"}, "iss|key of the authorization server"),
        ({"sub": None}, "sub"),
        ({"exp": int(START) - 100}, "expired"),
        ({"exp": None}, "never expires"),
        ({"iat": int(START) + 1000}, "future"),
    ],
)
async def test_what_is_not_of_this_sign_in(house: House, changed: dict[str, Any], fault: str) -> None:
    with pytest.raises(Unauthenticated, match=fault) as caught:
        await house.oauth.identify(id_token(house, **changed), CLIENT, NONCE)
    assert "alice" not in caught.value.message


async def test_who_did_not_sign_it(house: House) -> None:
    claims = claims_of(house.issuer.url, aud=CLIENT, nonce=NONCE)
    forged = [
        signing_key("mallory").sign(claims, typ="JWT"),
        signing_key("mallory").sign(claims, typ="JWT", kid=house.issuer.key.kid),
        house.issuer.key.sign(claims, typ="JWT", alg="none").rpartition(".")[0] + ".",
        hmac_token(b"secret", claims),
        house.issuer.key.sign(claims, typ="at+jwt"),
        "a.b.c",
        "x" * 100_000,
        "",
    ]
    for token in forged:
        with pytest.raises((Unauthenticated, KeyUnknown)):
            await house.oauth.identify(token, CLIENT, NONCE)


async def test_one_that_names_a_client_and_the_gateway(house: House) -> None:
    token = id_token(house, aud=[CLIENT, RESOURCE], azp=CLIENT)
    assert (await house.oauth.identify(token, CLIENT, NONCE)).id.endswith("|alice")
