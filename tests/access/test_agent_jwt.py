"""Agent tokens under attack: each way to forge, bend or reuse one ends in the same refusal."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.access.agent_jwt import AgentJwt, BadToken
from gateway.access.agent_tokens import AgentTokens
from gateway.access.signing_key import SigningKey, SigningKeys
from gateway.errors import Unauthenticated
from gateway.request import Principal
from gateway.store.agents import AgentSession, MemoryAgentStore

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
SECRET = b"s" * 32
ALICE = Principal("key:alice", "api_key", "alice", frozenset({"read", "write"}), frozenset({"a", "b"}))

REFUSAL = "This agent token is not valid here, or no longer. Register again: POST /agents/register."
"""Whatever is wrong."""

Claims = dict[str, Any]


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def forged(header: object, claims: object, secret: bytes = SECRET, digest: str = "sha256") -> str:
    """A token of these parts, rightly signed with `secret`."""
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, claims)]
    signed = ".".join(map(encoded, parts))
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), digest))}"


@dataclass
class Scene:
    """A gateway with one good agent."""

    tokens: AgentTokens
    good: str = ""
    now: float = NOW
    refusals: set[str] = field(default_factory=set[str])

    @property
    def header(self) -> Claims:
        return jwt.get_unverified_header(self.good)

    @property
    def claims(self) -> Claims:
        return jwt.decode(self.good, options={"verify_signature": False})

    async def accepts(self, token: str) -> bool:
        """Whether it does."""
        try:
            await self.tokens.authenticate(token)
        except Unauthenticated as error:
            self.refusals.add(error.message)
            return False
        return True


@pytest.fixture
async def scene() -> AsyncGenerator[Scene]:
    def clock() -> float:
        return scene.now

    keys = SigningKeys([SigningKey("one", SECRET)])
    scene = Scene(AgentTokens(keys, MemoryAgentStore(clock), clock=clock))
    scene.good, _ = await scene.tokens.register(ALICE, "agent", "1.0")
    yield scene
    assert scene.refusals <= {REFUSAL}


async def test_what_is_forged_below_would_be_good_without_the_forgery(scene: Scene) -> None:
    assert forged(scene.header, scene.claims) == scene.good
    assert await scene.accepts(scene.good)
    assert await scene.accepts(scene.good)  # from memory
    assert scene.header == {"alg": "HS256", "kid": "one", "typ": "mcp-agent+jwt"}
    assert set(scene.claims) == {"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "grant"}


HEADERS: dict[str, Claims] = {
    "none": {"alg": "none"},
    "None": {"alg": "None"},
    "nOnE": {"alg": "nOnE"},
    "no alg": {"alg": None},
    "RS256": {"alg": "RS256"},
    "ES256": {"alg": "ES256"},
    "EdDSA": {"alg": "EdDSA"},
    "HS384": {"alg": "HS384"},
    "hs256": {"alg": "hs256"},
    "alg is a list": {"alg": ["HS256"]},
    "jku": {"jku": "http://127.0.0.1:9/jwks"},
    "x5u": {"x5u": "http://127.0.0.1:9/cert"},
    "x5c": {"x5c": ["AAAA"]},
    "jwk": {"jwk": {"kty": "oct", "k": encoded(SECRET)}},
    "crit": {"crit": ["exp"]},
    "b64": {"b64": False, "crit": ["b64"]},
    "zip": {"zip": "DEF"},
    "kid unknown": {"kid": "two"},
    "kid traverses": {"kid": "../../../../dev/null"},
    "kid absolute": {"kid": "/proc/sys/kernel/randomize_va_space"},
    "kid injects": {"kid": "one' OR '1'='1"},
    "kid has NUL": {"kid": "one\0"},
    "kid empty": {"kid": ""},
    "kid a number": {"kid": 1},
    "kid a list": {"kid": ["one"]},
    "kid an object": {"kid": {"one": "one"}},
    "kid long": {"kid": "one" * 2000},
    "kid null": {"kid": None},
    "typ JWT": {"typ": "JWT"},
    "typ of an access token": {"typ": "at+jwt"},
    "typ in capitals": {"typ": "MCP-AGENT+JWT"},
    "typ null": {"typ": None},
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
async def test_no_other_header_is_good_even_rightly_signed(scene: Scene, change: Claims) -> None:
    assert not await scene.accepts(forged(scene.header | change, scene.claims))


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
async def test_no_part_of_the_header_may_be_missing(scene: Scene, name: str) -> None:
    header = {key: value for key, value in scene.header.items() if key != name}
    assert not await scene.accepts(forged(header, scene.claims))


@pytest.mark.parametrize("secret", [b"", b"\0" * 32, b"one", b"secret", b"s" * 31], ids=repr)
async def test_no_other_key_signs(scene: Scene, secret: bytes) -> None:
    assert not await scene.accepts(forged(scene.header, scene.claims, secret))


@pytest.mark.parametrize("digest", ["sha384", "sha512", "sha1"])
async def test_no_other_hash_signs(scene: Scene, digest: str) -> None:
    assert not await scene.accepts(forged(scene.header, scene.claims, digest=digest))
    name = "HS" + digest.removeprefix("sha")
    assert not await scene.accepts(forged(scene.header | {"alg": name}, scene.claims, digest=digest))


async def test_no_asymmetric_key_signs(scene: Scene) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    headers = {"kid": "one", "typ": "mcp-agent+jwt"}
    assert not await scene.accepts(jwt.encode(scene.claims, key, algorithm="RS256", headers=headers))


GONE = object()
CLAIMS: dict[str, Claims] = {
    "iss of another": {"iss": "other-gateway"},
    "iss a list": {"iss": ["mcp-gateway"]},
    "no iss": {"iss": GONE},
    "aud of another": {"aud": "other-gateway"},
    "aud a list": {"aud": ["mcp-gateway", "other-gateway"]},
    "no aud": {"aud": GONE},
    "expired": {"exp": NOW},
    "expired long ago": {"exp": 0},
    "no exp": {"exp": GONE},
    "exp is text": {"exp": "9999999999"},
    "exp is true": {"exp": True},
    "exp is a list": {"exp": [9999999999]},
    "exp is not a number": {"exp": float("nan")},
    "exp is never": {"exp": float("inf")},
    "nbf is not a number": {"nbf": float("nan")},
    "nbf to come": {"nbf": NOW + 60},
    "nbf far to come": {"nbf": 9999999999},
    "no nbf": {"nbf": GONE},
    "nbf is text": {"nbf": "0"},
    "nbf is true": {"nbf": True},
    "no iat": {"iat": GONE},
    "jti of nobody": {"jti": "0" * 32},
    "jti traverses": {"jti": "../agents"},
    "jti a number": {"jti": 1},
    "jti a list": {"jti": []},
    "no jti": {"jti": GONE},
    "no sub": {"sub": GONE},
    "sub a number": {"sub": 1},
    "no grant": {"grant": GONE},
    "grant is text": {"grant": "all"},
    "grant is empty": {"grant": {}},
    "too many of them": {"more": "x" * 8000},
}


@pytest.mark.parametrize("change", CLAIMS.values(), ids=CLAIMS)
async def test_no_other_claims_are_good_even_rightly_signed(scene: Scene, change: Claims) -> None:
    claims = {key: value for key, value in (scene.claims | change).items() if value is not GONE}
    assert not await scene.accepts(forged(scene.header, claims))


@pytest.mark.parametrize("payload", [[], "text", 5, None, {"iss": "mcp-gateway"}], ids=repr)
async def test_a_payload_is_an_object(scene: Scene, payload: object) -> None:
    assert not await scene.accepts(forged(scene.header, payload))


def other_grant(good: str) -> str:
    header, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["grant"]["scopes"].append("admin")
    return f"{header}.{encoded(json.dumps(claims).encode())}.{signature}"


SHAPES: dict[str, Callable[[str], str]] = {
    "empty": lambda good: "",
    "no signature": lambda good: good.rpartition(".")[0],
    "an empty signature": lambda good: good.rpartition(".")[0] + ".",
    "a shorter signature": lambda good: good[:-4],
    "another signature": lambda good: good.rpartition(".")[0] + "." + encoded(hashlib.sha256(good.encode()).digest()),
    "another payload": other_grant,
    "a fourth part": lambda good: good + ".x",
    "five parts": lambda good: f"{good}.x.x",
    "dots": lambda good: "..",
    "a space before": lambda good: " " + good,
    "a line break behind": lambda good: good + "\n",
    "padded": lambda good: good + "=",
    "garbage that base64 skips": lambda good: good + "!",
    "letters that are none of ASCII's": lambda good: good + "é",
    "half a surrogate pair": lambda good: good + "\udc80",
    "NUL": lambda good: good + "\0",
    "a scheme": lambda good: "Bearer " + good,
    "long": lambda good: "a" * 100_000,
    "long parts": lambda good: f"{good.partition('.')[0]}.{'a' * 5000}.{'a' * 5000}",
    "deep": lambda good: encoded(b"[" * 5000) + "..",
    "JSON form": lambda good: json.dumps({"payload": good}),
}


@pytest.mark.parametrize("bend", SHAPES.values(), ids=SHAPES)
async def test_no_other_shape_is_good(scene: Scene, bend: Callable[[str], str]) -> None:
    assert not await scene.accepts(bend(scene.good))


@given(st.text(max_size=200) | st.from_regex(r"\A[\w-]{1,40}\.[\w-]{1,40}\.[\w-]{1,40}\Z"))
def test_nonsense_is_refused_and_nothing_else_happens(token: str) -> None:
    async def accepts() -> bool:
        tokens = AgentTokens(SigningKeys([SigningKey("one", SECRET)]), MemoryAgentStore())
        return await Scene(tokens).accepts(token)

    assert not anyio.run(accepts)


async def test_rightly_signed_depth_is_refused(scene: Scene) -> None:
    head = scene.good.partition(".")[0]
    signed = f"{head}.{encoded(b'[' * 5000)}"
    assert not await scene.accepts(f"{signed}.{encoded(hmac.digest(SECRET, signed.encode(), 'sha256'))}")


async def test_a_token_of_another_gateway_with_the_same_key_is_refused(scene: Scene) -> None:
    keys = SigningKeys([SigningKey("one", SECRET)])
    other = AgentTokens(keys, MemoryAgentStore(lambda: NOW), name="other", clock=lambda: NOW)
    token, _ = await other.register(ALICE, "agent", "1.0")
    assert await other.authenticate(token)
    assert not await scene.accepts(token)


async def test_a_good_token_ends_on_the_second_though_it_was_seen_before(scene: Scene) -> None:
    expires = scene.claims["exp"]
    scene.now = expires - 1
    assert await scene.accepts(scene.good)
    scene.now = expires
    assert not await scene.accepts(scene.good)


def test_times_are_the_tokens_own_whatever_the_store_remembers() -> None:
    session = AgentSession(
        "1", "agent", "1", "alice", ("key:alice",), ALICE.scopes, None, None, int(NOW), int(NOW) + 60
    )
    signer, retired = SigningKey("one", SECRET), SigningKey("one", SECRET, accepted_until=NOW + 30)
    token = AgentJwt(SigningKeys([signer]), "gateway").sign(session, ALICE)
    reader = AgentJwt(SigningKeys([SigningKey("two", b"t" * 32), retired]), "gateway")
    for _ in range(2):
        assert reader.read(token, NOW + 29).session_id == "1"
        with pytest.raises(BadToken, match="key of long ago"):
            reader.read(token, NOW + 30)
        with pytest.raises(BadToken, match="expired"):
            reader.read(token, NOW + 60)


@pytest.mark.parametrize(("behind", "good"), [(0, True), (5, True), (6, False)])
async def test_a_node_whose_clock_is_a_little_behind_accepts_it(scene: Scene, behind: float, good: bool) -> None:
    scene.now = NOW - behind
    assert await scene.accepts(scene.good) is good


async def test_no_token_is_logged_and_the_reason_is(scene: Scene) -> None:
    with capture_logs() as logs:
        await scene.accepts(SHAPES["another signature"](scene.good))
        await scene.accepts(forged(scene.header, scene.claims | {"exp": 1}))
    assert [entry["reason"].partition(":")[0] for entry in logs] == ["InvalidSignatureError", "expired"]
    for part in scene.good.split("."):
        assert part[:20] not in repr(logs)
