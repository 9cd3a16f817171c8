"""Finding and fetching the issuer's keys: where its metadata may be, and what is not an answer of it."""

from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import get_default_algorithms

from gateway.access.issuer import MAX_DOCUMENT, Issuer, IssuerError, discovery_urls
from gateway.access.jwks import MAX_KEYS, read_keys
from tests.certificates import tls_for
from tests.oauth.local_issuer import (
    Clock,
    LocalIssuer,
    SigningKey,
    local_issuer,
    resource_server,
    settings_for,
    signing_key,
)

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
async def issuer() -> AsyncGenerator[LocalIssuer]:
    async with local_issuer() as issuer:
        yield issuer


# --- Discovery --------------------------------------------------------------------------------------------------------


def test_where_metadata_is_looked_for() -> None:
    host = "https://issuer.example"
    assert list(discovery_urls(host)) == [
        f"{host}/.well-known/oauth-authorization-server",
        f"{host}/.well-known/openid-configuration",
    ]
    assert list(discovery_urls(f"{host}/")) == list(discovery_urls(host))
    assert list(discovery_urls(f"{host}:8443/tenant/one")) == [
        f"{host}:8443/.well-known/oauth-authorization-server/tenant/one",
        f"{host}:8443/.well-known/openid-configuration/tenant/one",
        f"{host}:8443/tenant/one/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize("found", range(3))
async def test_the_first_place_that_has_metadata_counts(found: int) -> None:
    async with local_issuer("/tenant") as issuer:
        paths = [url.removeprefix(issuer.base) for url in discovery_urls(issuer.url)]
        metadata = {"issuer": issuer.url, "jwks_uri": f"{issuer.base}/jwks"}
        for place, path in enumerate(paths):
            good, bad = partial(web.json_response, metadata), partial(web.Response, status=404)
            issuer.answers[path] = good if place == found else bad
        async with resource_server(settings_for(issuer.url), Clock()) as oauth:
            assert await oauth.authenticate(f"Bearer {issuer.token()}")
        assert [path for path in paths if issuer.hits[path]] == paths[: found + 1]


async def test_a_configured_place_of_the_keys_needs_no_metadata(issuer: LocalIssuer) -> None:
    settings = settings_for(issuer.url, jwks_uri=f"{issuer.url}/jwks")
    async with resource_server(settings, Clock()) as oauth:
        assert await oauth.authenticate(f"Bearer {issuer.token()}")
    assert set(issuer.hits) == {"/jwks"}


# --- What is not an issuer's answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [METADATA, "/jwks"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (partial(web.Response, status=500), "HTTP 500"),
        (partial(web.Response, status=204), "HTTP 204"),
        (partial(web.Response, text="<html>"), "JSON"),
        (partial(web.Response, body=b'{"\xff":1}'), "JSON"),
        (partial(web.Response, text="[]"), "JSON object"),
        (partial(web.Response, text="[" * 100_000), "JSON"),
        (partial(web.Response, body=b" " * MAX_DOCUMENT + b"{}"), "bytes"),
        (partial(web.Response, body=b"x", headers={"content-encoding": "gzip"}), "compressed"),
        (
            partial(web.json_response, {"keys": {}, "issuer": "https://a.example", "jwks_uri": "https://a.example"}),
            "its",
        ),
        (partial(web.json_response, {}), "its"),
    ],
    ids=["error", "empty", "HTML", "not UTF-8", "array", "bomb", "oversize", "gzip", "another's", "nothing in it"],
)
async def test_a_bad_answer_is_said_and_nothing_else(
    issuer: LocalIssuer, path: str, answer: Callable[[], web.Response], reason: str
) -> None:
    issuer.answers[path] = answer
    with pytest.raises(IssuerError, match=reason):
        read_keys((await Issuer(issuer.url, allow_private=True).keys()).content, ["RS256"])


@pytest.mark.parametrize("path", [METADATA, "/jwks"])
async def test_redirects_are_not_followed(issuer: LocalIssuer, path: str) -> None:
    async with local_issuer() as canary:
        issuer.answers[path] = partial(web.Response, status=302, headers={"location": f"{canary.url}{path}"})
        with pytest.raises(IssuerError, match="HTTP 302"):
            await Issuer(issuer.url, allow_private=True).keys()
        assert not canary.hits


async def test_metadata_cannot_lead_to_a_private_host_that_nobody_named(issuer: LocalIssuer) -> None:
    async with local_issuer() as canary:
        elsewhere = f"http://localhost:{canary.port}/jwks"
        issuer.metadata["jwks_uri"] = elsewhere
        with pytest.raises(IssuerError, match="allow_private"):
            await Issuer(issuer.url, allow_private=True).keys()
        assert not canary.hits
        named = await Issuer(issuer.url, elsewhere, allow_private=True).keys()
        assert named.content == {"keys": [canary.key.jwk]}


async def test_an_https_issuer_cannot_lead_to_http(tmp_path: Path) -> None:
    async def lookup(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.1",)

    served, trusting = tls_for("issuer.example", tmp_path)
    async with local_issuer(tls=served, host="issuer.example") as issuer, local_issuer() as canary:
        asked = Issuer(issuer.url, allow_private=True, tls=trusting, lookup=lookup)
        assert (await asked.keys()).content == {"keys": [issuer.key.jwk]}
        issuer.metadata["jwks_uri"] = f"http://issuer.example:{canary.port}/jwks"
        with pytest.raises(IssuerError, match="not https"):
            await asked.keys()
        assert not canary.hits


async def test_an_issuer_on_a_private_address_must_be_allowed(issuer: LocalIssuer) -> None:
    with pytest.raises(IssuerError, match="allow_private"):
        await Issuer(issuer.url).keys()
    assert not issuer.hits


@pytest.mark.parametrize(
    "uri",
    [
        "https://[",
        "file:///etc/passwd",
        "//host/x",
        "",
        7,
        "https://u@127.0.0.1/",
        "http://h:99999/",
        "http://0177.0.0.1/",
    ],
)
async def test_metadata_with_a_useless_uri(issuer: LocalIssuer, uri: object) -> None:
    issuer.metadata["jwks_uri"] = uri
    with pytest.raises(IssuerError):
        await Issuer(issuer.url, allow_private=True).keys()


async def test_the_metadata_may_not_be_another_issuers(issuer: LocalIssuer) -> None:
    issuer.metadata["issuer"] = issuer.url + "/"
    with pytest.raises(IssuerError, match="metadata is that of the issuer"):
        await Issuer(issuer.url, allow_private=True).keys()


# --- Reading them -----------------------------------------------------------------------------------------------------

WEAK = SigningKey("weak", "RS256", rsa.generate_private_key(65537, 1024)).jwk


@pytest.mark.parametrize(
    "jwk",
    [
        {**signing_key().jwk, "use": "enc"},
        {**signing_key().jwk, "key_ops": ["encrypt"]},
        {**signing_key().jwk, "key_ops": "verify"},
        {**signing_key().jwk, "alg": "RSA-OAEP"},
        {**signing_key().jwk, "alg": "RS512"},
        {**signing_key().jwk, "kid": 5},
        {**signing_key().jwk, "n": "!"},
        {**signing_key().jwk, "n": 5},
        {**signing_key().jwk, "kty": "EC", "crv": "P-256"},
        {**signing_key("other", "ES384").jwk, "alg": "ES256"},
        WEAK,
        {"kty": "oct", "k": "AAAA", "kid": "secret", "alg": "HS256"},
        {"kty": ["RSA"], "kid": "list"},
        {"kid": "nothing"},
        None,
        "key",
    ],
    ids=lambda jwk: None,
)
async def test_what_is_no_signing_key_of_ours_is_passed_over(jwk: object) -> None:
    good = signing_key().jwk
    assert read_keys({"keys": [jwk]}, ["RS256", "ES256"]) == {}
    assert read_keys({"keys": [jwk, good, jwk]}, ["RS256", "ES256"]).keys() == {good["kid"], None}


async def test_a_private_key_published_by_mistake_is_not_held() -> None:
    key = signing_key()
    leaked = {
        **get_default_algorithms()["RS256"].to_jwk(key.private, as_dict=True),
        "kid": key.kid,
        "key_ops": ["verify"],
    }
    [held] = read_keys({"keys": [leaked]}, ["RS256"])[key.kid]
    assert held.public == key.private.public_key()


async def test_no_more_keys_are_kept_than_there_may_be() -> None:
    jwk = signing_key().jwk
    keys = read_keys({"keys": [{**jwk, "kid": str(number)} for number in range(MAX_KEYS + 10)]}, ["RS256"])
    assert len(keys) == MAX_KEYS
