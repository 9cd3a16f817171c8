"""Bearer tokens that are not good: a 401 that repeats nothing of them, and no step towards where they point."""

import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import anyio
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.access.authentication import Authentication
from gateway.access.oauth import MAX_TOKEN
from gateway.access.rate_limit import MemoryLimiter
from gateway.errors import Unauthenticated
from tests.oauth.local_issuer import (
    KID,
    RESOURCE,
    START,
    Clock,
    House,
    KnownIssuer,
    LocalIssuer,
    SigningKey,
    claims_of,
    hmac_token,
    local_issuer,
    resource_server,
    seal,
    segments,
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


@pytest.fixture
async def target() -> AsyncGenerator[House]:
    """One with a key of each kind, which may be asked for them still."""
    clock = Clock()
    keys = signing_key(), signing_key("curve", "ES256"), signing_key("edwards", "EdDSA")
    async with local_issuer("", *keys) as issuer, resource_server(settings_for(issuer.url), clock) as oauth:
        yield House(issuer, oauth, clock)


MALLORY: Final = signing_key("mallory")
"""Somebody's key pair that is not the issuer's."""


def signed(**claims: Any) -> Callable[[LocalIssuer], str]:
    """Signed by the issuer, with other claims."""
    return lambda issuer: issuer.token(**claims)


def headed(key: SigningKey | None = None, **header: Any) -> Callable[[LocalIssuer], str]:
    """Good claims under another header, signed by the issuer or by whom it is said."""
    return lambda issuer: (key or issuer.key).sign(claims_of(issuer.url), **header)


def unsigned(algorithm: str) -> Callable[[LocalIssuer], str]:
    return lambda issuer: segments({"alg": algorithm, "typ": "at+jwt", "kid": KID}, claims_of(issuer.url)) + "."


def swapped(secret: Callable[[SigningKey], bytes], algorithm: str = "HS256") -> Callable[[LocalIssuer], str]:
    """The public key, which is no secret, as the secret of a symmetric signature."""
    return lambda issuer: hmac_token(secret(issuer.key), claims_of(issuer.url), algorithm)


def public_bytes(encoding: Encoding) -> Callable[[SigningKey], bytes]:
    return lambda key: key.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def literally(text: str) -> Callable[[LocalIssuer], str]:
    return lambda issuer: text


def tampered(issuer: LocalIssuer) -> str:
    head, payload, signature = issuer.token().split(".")
    claims = {**claims_of(issuer.url), "scope": "admin"}
    other = urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert other != payload
    return f"{head}.{other}.{signature}"


def zero_signature(issuer: LocalIssuer) -> str:
    """r = s = 0, which a careless verifier accepts for any message (CVE-2022-21449)."""
    return seal(segments({"alg": "ES256", "typ": "at+jwt", "kid": "curve"}, claims_of(issuer.url)), bytes(64))


def other_algorithm_of_the_key(issuer: LocalIssuer) -> str:
    rsa = issuer.key.private
    return SigningKey(KID, "PS256", rsa).sign(claims_of(issuer.url))


def raw_payload(payload: bytes) -> Callable[[LocalIssuer], str]:
    return lambda issuer: issuer.key.sign(payload)


ABUSE: Final[Mapping[str, Callable[[LocalIssuer], str]]] = {
    "none": unsigned("none"),
    "None": unsigned("None"),
    "nOnE": unsigned("nOnE"),
    "no algorithm": unsigned(""),
    "HS256 with the PEM": swapped(public_bytes(Encoding.PEM)),
    "HS512 with the PEM": swapped(public_bytes(Encoding.PEM), "HS512"),
    "HS256 with the DER": swapped(public_bytes(Encoding.DER)),
    "HS256 with the JWK": swapped(lambda key: json.dumps(key.jwk).encode()),
    "HS256 with the modulus": swapped(lambda key: key.jwk["n"].encode()),
    "HS256 with nothing": swapped(lambda key: b""),
    "alg is a list": headed(alg=["RS256"]),
    "alg is a number": headed(alg=256),
    "alg not allowed": lambda issuer: SigningKey(KID, "RS512", issuer.key.private).sign(claims_of(issuer.url)),
    "alg not the key's": other_algorithm_of_the_key,
    "zero signature": zero_signature,
    "somebody else's signature": lambda issuer: SigningKey(KID, "RS256", MALLORY.private).sign(claims_of(issuer.url)),
    "somebody else's key": headed(MALLORY),
    "own key in the header": headed(MALLORY, jwk=MALLORY.jwk, kid=KID),
    "tampered": tampered,
    "signature cut off": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "signature shortened": lambda issuer: issuer.token()[:-8],
    "kid: up the tree": headed(kid="../../../../../../dev/null"),
    "kid: a file": headed(kid="/dev/null"),
    "kid: a URL": headed(kid="https://evil.example/key"),
    "kid: SQL": headed(kid="' UNION SELECT 'key"),
    "kid: Python": headed(kid="__class__"),
    "kid: NUL": headed(kid=f"{KID}\0"),
    "kid: empty": headed(kid=""),
    "kid: long": headed(kid="k" * 10_000),
    "kid: a number": headed(kid=1),
    "kid: a list": headed(kid=[KID]),
    "kid: an object": headed(kid={"kid": KID}),
    "typ: logout token": headed(typ="logout+jwt"),
    "typ: proof": headed(typ="dpop+jwt"),
    "typ: a number": headed(typ=1),
    "crit": headed(crit=["exp"], exp=0),
    "crit: empty": headed(crit=[]),
    "b64": headed(b64=False, crit=["b64"]),
    "iss: another": signed(iss="https://evil.example"),
    "iss: with a slash": lambda issuer: issuer.token(iss=issuer.url + "/"),
    "iss: a list": lambda issuer: issuer.token(iss=[issuer.url]),
    "iss: none": signed(iss=None),
    "aud: another": signed(aud="https://other.example/mcp"),
    "aud: the client": signed(aud="some-client"),
    "aud: the host alone": signed(aud="https://gateway.example"),
    "aud: begins alike": signed(aud=f"{RESOURCE}.evil.example"),
    "aud: deeper": signed(aud=f"{RESOURCE}/github/issues"),
    "aud: plain http": signed(aud=RESOURCE.replace("https", "http")),
    "aud: another port": signed(aud="https://gateway.example:8443/mcp"),
    "aud: with a fragment": signed(aud=f"{RESOURCE}#x"),
    "aud: with a user": signed(aud="https://gateway.example@evil.example/mcp"),
    "aud: an object": signed(aud={RESOURCE: True}),
    "aud: empty": signed(aud=[]),
    "aud: none": signed(aud=None),
    "exp: past": signed(exp=int(START) - 31),
    "exp: none": signed(exp=None),
    "exp: text": signed(exp="4102444800"),
    "exp: true": signed(exp=True),
    "exp: beyond all sense": signed(exp=10**300),
    "exp: beyond all numbers": signed(exp=10**400),
    "exp: infinite": signed(exp=float("inf")),
    "exp: no number": signed(exp=float("nan")),
    "nbf: future": signed(nbf=int(START) + 31),
    "nbf: text": signed(nbf="0"),
    "nbf: true": signed(nbf=True),
    "iat: future": signed(iat=int(START) + 31),
    "cnf": signed(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
    "sub: none": signed(sub=None),
    "sub: empty": signed(sub=""),
    "sub: a number": signed(sub=1),
    "payload: a list": raw_payload(b"[]"),
    "payload: null": raw_payload(b"null"),
    "payload: not JSON": raw_payload(b"{"),
    "payload: not UTF-8": raw_payload(b'{"iss":"\xff"}'),
    "payload: deep": raw_payload(b"[" * 5_000 + b"]" * 5_000),
    "header: deep": literally(segments(b"[" * 5_000, {}) + ".AAAA"),
    "header: a list": literally(segments([], {}) + ".AAAA"),
    "header: not UTF-8": literally(segments(b"\xff\xfe", {}) + ".AAAA"),
    "huge": lambda issuer: issuer.token(padding="x" * MAX_TOKEN),
    "nothing": literally(""),
    "garbage": literally("garbage"),
    "three words": literally("a.b.c"),
    "dots": literally(".."),
    "encrypted": literally("eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOa.48V1.5eym.XFBo"),
    "not ASCII": literally("ä.ö.ü"),
    "half a character": literally("\ud800.b.c"),
    "two tokens": lambda issuer: f"{issuer.token()} {issuer.token()}",
    "padded": lambda issuer: issuer.token() + "====",
}


@pytest.mark.parametrize("abuse", ABUSE.values(), ids=ABUSE)
async def test_abuse_is_a_401_that_repeats_nothing(
    target: House, abuse: Callable[[LocalIssuer], str], caplog: pytest.LogCaptureFixture
) -> None:
    for key in target.issuer.keys:
        good = key.sign(claims_of(target.issuer.url))
        assert await target.oauth.authenticate(f"Bearer {good}"), "else the refusal below proves nothing"
    token = abuse(target.issuer)
    with capture_logs() as logs, caplog.at_level(logging.DEBUG), pytest.raises(Unauthenticated) as caught:
        await Authentication([target.oauth], MemoryLimiter())({"authorization": f"Bearer {token}"}, "192.0.2.1")
    error = caught.value
    assert error.status == 401
    assert 'error="invalid_token"' in error.headers["www-authenticate"]
    said = f"{error.message} {error.headers} {logs} {caplog.text}"
    for part in (token, *token.split(".")):
        assert len(part) < 4 or part not in said


@pytest.mark.parametrize("credential", ["", "Basic YWxpY2U6c2VjcmV0", "Token abc", "Bearerabc", "DPoP a.b.c"])
async def test_another_scheme_is_told_how_to_log_in(target: House, credential: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await target.oauth.authenticate(credential)
    header = caught.value.headers["www-authenticate"]
    assert header.startswith("Bearer ")
    assert "resource_metadata=" in header
    assert "error" not in header


@pytest.mark.parametrize("name", ["jku", "x5u"])
async def test_a_token_cannot_say_where_its_key_is(house: House, name: str) -> None:
    async with local_issuer() as canary:
        canary.keys = [MALLORY]
        for kid in (KID, MALLORY.kid):
            token = MALLORY.sign(claims_of(house.issuer.url), **{name: f"{canary.url}/jwks", "kid": kid})
            house.clock.now += 61
            with pytest.raises(Unauthenticated):
                await house.oauth.authenticate(f"Bearer {token}")
        assert not canary.hits
    assert set(house.issuer.hits) == {"/.well-known/oauth-authorization-server", "/jwks"}


async def test_a_token_that_cannot_be_good_makes_nobody_ask_for_keys(house: House) -> None:
    assert await house.oauth.authenticate(f"Bearer {house.issuer.token()}")
    for abuse in ("none", "HS256 with the PEM", "alg not allowed", "typ: proof", "garbage"):
        house.clock.now += 61
        with pytest.raises(Unauthenticated):
            await house.oauth.authenticate(f"Bearer {ABUSE[abuse](house.issuer)}")
    assert house.issuer.fetches == 1


def _sealed(header: object, payload: object, signature: bytes) -> str:
    return seal(segments(header, payload), signature)


def _mangled() -> st.SearchStrategy[str]:
    """Tokens and near-tokens: segments of JSON or bytes, put together and damaged."""
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    )
    header = st.fixed_dictionaries(
        {"alg": st.sampled_from(["RS256", "ES256", "EdDSA", "HS256", "none"]) | json_values, "kid": st.just(KID)},
        optional={"typ": json_values, "crit": json_values, "b64": json_values},
    )
    signed = st.builds(
        _sealed,
        header | json_values | st.binary(max_size=20),
        json_values | st.binary(max_size=20),
        st.binary(max_size=300) | st.just(bytes(256)),
    )
    return signed | st.text(max_size=60) | st.text("abcAB019-_=.", max_size=60)


@given(st.lists(_mangled(), min_size=1, max_size=40))
def test_nothing_that_is_sent_can_be_anything_but_refused(tokens: list[str]) -> None:
    async def send() -> None:
        async with resource_server(settings_for("https://issuer.example"), Clock(), KnownIssuer()) as oauth:
            for token in tokens:
                with pytest.raises(Unauthenticated):
                    await oauth.authenticate(f"Bearer {token}")

    anyio.run(send)
