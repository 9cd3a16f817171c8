"""The issuer's keys: fetched once for all, at hand when the issuer is not, never fetched at a stranger's command."""

import math
from collections.abc import AsyncGenerator

import anyio
import pytest
from structlog.testing import capture_logs

from gateway.access.issuer import FETCH_SECONDS, IssuerDocument
from gateway.access.jwks import GRACE, LIFETIME, PAUSE, Freshness, Need
from gateway.access.oauth import OAuth
from gateway.errors import GatewayError, IssuerUnavailable
from gateway.request import Principal
from tests.oauth.local_issuer import (
    KID,
    Clock,
    KnownIssuer,
    LocalIssuer,
    SigningKey,
    claims_of,
    local_issuer,
    resource_server,
    segments,
    settings_for,
    signing_key,
)
from tests.support import wait_until

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-authorization-server"
NEVER = -math.inf


@pytest.fixture
async def issuer() -> AsyncGenerator[LocalIssuer]:
    async with local_issuer() as issuer:
        yield issuer


async def outcome(oauth: OAuth, token: str) -> str:
    """`ok`, or what the error is called."""
    try:
        await oauth.authenticate(f"Bearer {token}")
    except GatewayError as error:
        return error.outcome
    return "ok"


async def test_the_keys_are_there_before_anybody_asks(issuer: LocalIssuer) -> None:
    async with resource_server(settings_for(issuer.url), Clock()):
        await wait_until(lambda: issuer.fetches)


# --- How often --------------------------------------------------------------------------------------------------------


async def test_a_hundred_at_once_are_one_fetch(issuer: LocalIssuer) -> None:
    issuer.gate = anyio.Event()
    outcomes: list[str] = []
    async with resource_server(settings_for(issuer.url), Clock()) as oauth, anyio.create_task_group() as tg:

        async def ask() -> None:
            outcomes.append(await outcome(oauth, issuer.token()))

        for _ in range(100):
            tg.start_soon(ask)
        await wait_until(lambda: issuer.fetches)
        issuer.gate.set()
    assert outcomes == ["ok"] * 100
    assert issuer.fetches == issuer.hits[METADATA] == 1


async def test_a_flood_of_unknown_kids_is_one_fetch_a_minute(issuer: LocalIssuer) -> None:
    clock = Clock()
    signature = issuer.token().rpartition(".")[2]

    def forged(number: int) -> str:
        claims = claims_of(issuer.url, sub="a stranger")
        return segments({"alg": "RS256", "kid": f"kid-{number}"}, claims) + "." + signature

    async with resource_server(settings_for(issuer.url), clock) as oauth:
        assert await outcome(oauth, issuer.token()) == "ok"
        for minute in range(5):
            clock.now += PAUSE
            assert await outcome(oauth, forged(0)) == "unauthenticated", "the issuer was asked, and has none"
            for number in range(2000):
                assert await outcome(oauth, forged(number)) == "key_unknown", "it cannot be asked again yet"
            assert await outcome(oauth, issuer.token(sub=str(minute))) == "ok"
            assert issuer.fetches == 1 + (minute + 1)


async def test_a_flood_at_once_is_one_fetch(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with resource_server(settings_for(issuer.url), clock) as oauth:
        assert await outcome(oauth, issuer.token()) == "ok"
        clock.now += PAUSE
        issuer.gate = anyio.Event()
        outcomes: list[str] = []

        async def ask(number: int) -> None:
            token = issuer.key.sign(claims_of(issuer.url), kid=f"kid-{number}")
            outcomes.append(await outcome(oauth, token))

        async with anyio.create_task_group() as tg:
            for number in range(200):
                tg.start_soon(ask, number)
            await wait_until(lambda: issuer.fetches == 2)
            with anyio.fail_after(FETCH_SECONDS / 2):
                assert await outcome(oauth, issuer.token(sub="bob")) == "ok", "a known key waits for nobody"
            issuer.gate.set()
        assert outcomes == ["unauthenticated"] * 200
        assert issuer.fetches == 2


# --- Rotation ---------------------------------------------------------------------------------------------------------


async def test_a_new_key_is_found_and_a_withdrawn_one_is_forgotten(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with resource_server(settings_for(issuer.url), clock) as oauth:
        old = issuer.token()
        assert await outcome(oauth, old) == "ok"
        issuer.keys = [signing_key("rotated")]
        assert await outcome(oauth, issuer.token()) == "ok"
        assert await outcome(oauth, old) == "unauthenticated", "verified before, but its key is gone"
        issuer.keys = [signing_key("again")]
        new = issuer.token()
        assert await outcome(oauth, new) == "key_unknown", "too early to ask again"
        clock.now += PAUSE
        assert await outcome(oauth, new) == "ok"


@pytest.mark.parametrize("kid", [KID, None])
async def test_a_signature_that_does_not_fit_asks_for_the_keys_too(issuer: LocalIssuer, kid: str | None) -> None:
    """Some issuers give every key the same id, or none."""
    clock = Clock()

    def token(**claims: str) -> str:
        return issuer.keys[0].sign(claims_of(issuer.url, **claims), kid=kid)

    async with resource_server(settings_for(issuer.url), clock) as oauth:
        old, late = token(), token(sub="late")
        assert await outcome(oauth, old) == "ok"
        issuer.keys = [SigningKey(KID, "RS256", signing_key("rotated").private)]
        assert await outcome(oauth, token()) == "ok"
        assert issuer.fetches == 2
        clock.now += PAUSE
        for each in (old, late):
            assert await outcome(oauth, each) == "unauthenticated"
            clock.now += PAUSE


async def test_a_strangers_unknown_kid_does_not_keep_others_out(issuer: LocalIssuer) -> None:
    async with resource_server(settings_for(issuer.url), Clock()) as oauth:
        assert await outcome(oauth, issuer.token()) == "ok"
        mallory = signing_key("mallory")
        for sub, told in (("mallory", "unauthenticated"), ("mallory", "key_unknown"), ("eve", "key_unknown")):
            assert await outcome(oauth, mallory.sign(claims_of(issuer.url, sub=sub))) == told
        assert issuer.fetches == 2
        issuer.keys = [signing_key("rotated")]
        assert await outcome(oauth, issuer.token()) == "ok", "one who has been here before"
        assert issuer.fetches == 3
        assert await outcome(oauth, issuer.token(sub="new")) == "ok", "the key is known now"


@pytest.mark.parametrize("wrong", [{"aud": "https://other.example"}, {"iss": "https://other.example"}, {"exp": 1}])
async def test_what_could_not_be_good_makes_nobody_ask(issuer: LocalIssuer, wrong: dict[str, object]) -> None:
    async with resource_server(settings_for(issuer.url), Clock()) as oauth:
        assert await outcome(oauth, issuer.token()) == "ok"
        for _ in range(3):
            token = signing_key("mallory").sign({**claims_of(issuer.url), **wrong})
            assert await outcome(oauth, token) == "unauthenticated"
        assert issuer.fetches == 1


async def test_whoever_a_withdrawn_key_let_in_ends_with_it(issuer: LocalIssuer) -> None:
    revoked: list[frozenset[str]] = []
    async with resource_server(settings_for(issuer.url), Clock(), on_revoked=revoked.append) as oauth:
        parent = await oauth.authenticate(f"Bearer {issuer.token()}")
        agent = Principal("agent:1", root=parent.id, key=parent.key)
        assert await oauth.vouches(agent, parent.id)
        issuer.keys = [issuer.keys[0], signing_key("second")]
        assert await outcome(oauth, issuer.token(sub="bob")) == "ok"
        issuer.keys = [signing_key("rotated")]
        assert await outcome(oauth, issuer.token(sub="carol")) == "ok"
        assert revoked == [{parent.id, parent.id.replace("alice", "bob")}]
        assert not await oauth.vouches(agent, parent.id)


async def test_the_same_kid_may_get_another_key(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with resource_server(settings_for(issuer.url), clock) as oauth:
        old = issuer.token()
        assert await outcome(oauth, old) == "ok"
        issuer.keys = [type(issuer.key)(issuer.key.kid, "RS256", signing_key("rotated").private)]
        clock.now += LIFETIME[1]
        assert await outcome(oauth, old) == "unauthenticated"
        assert await outcome(oauth, issuer.token()) == "ok"


@pytest.mark.parametrize(
    ("cache_control", "lifetime"),
    [
        ("", 3600),
        ("max-age=1800", 1800),
        ('public, Max-Age="7200"', 7200),
        ("max-age=1", 300),
        ("no-store", 300),
        ("no-cache, max-age=7200", 300),
        ("max-age=999999999", 86_400),
        ("max-age=99999999999999999999", 3600),
        ("s-maxage=7200", 3600),
    ],
)
async def test_keys_live_as_long_as_the_issuer_says(issuer: LocalIssuer, cache_control: str, lifetime: int) -> None:
    issuer.headers = {"cache-control": cache_control}
    clock = Clock()
    async with resource_server(settings_for(issuer.url), clock) as oauth:
        token = issuer.token()
        assert await outcome(oauth, token) == "ok"
        clock.now += lifetime * 0.79
        assert await outcome(oauth, token) == "ok"
        assert issuer.fetches == 1
        issuer.gate = anyio.Event()
        clock.now += lifetime * 0.02
        with anyio.fail_after(FETCH_SECONDS / 2):
            assert await outcome(oauth, token) == "ok", "the fetch is in the background"
        await wait_until(lambda: issuer.fetches == 2)


# --- The issuer is away -----------------------------------------------------------------------------------------------


async def test_known_keys_work_while_the_issuer_is_down(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with resource_server(settings_for(issuer.url), clock) as oauth:
        assert await outcome(oauth, issuer.token()) == "ok"
        await issuer.down()
        with capture_logs() as logs:
            for hour in range(24):
                clock.now += 3600
                assert await outcome(oauth, issuer.token(sub=str(hour))) == "ok"
        assert {(entry["log_level"], entry["event"]) for entry in logs} == {
            ("warning", "cannot fetch the issuer's keys")
        }
        assert all(issuer.url in entry["reason"] for entry in logs)
        await issuer.up()
        clock.now += PAUSE
        assert await outcome(oauth, issuer.token()) == "ok"
        await wait_until(lambda: issuer.fetches == 2)


async def test_an_unknown_key_is_nobodys_fault_while_the_issuer_is_down(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with resource_server(settings_for(issuer.url), clock) as oauth:
        assert await outcome(oauth, issuer.token()) == "ok"
        await issuer.down()
        clock.now += PAUSE
        assert await outcome(oauth, signing_key("rotated").sign(claims_of(issuer.url))) == "issuer_unavailable"


async def test_keys_that_nobody_could_confirm_for_long_are_not_used(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with resource_server(settings_for(issuer.url), clock) as oauth:
        token = issuer.token()
        assert await outcome(oauth, token) == "ok"
        await issuer.down()
        clock.now += LIFETIME[1] + GRACE
        assert await outcome(oauth, token) == "issuer_unavailable"


async def test_an_issuer_that_was_never_reached_is_not_the_clients_fault(issuer: LocalIssuer) -> None:
    await issuer.down()
    clock = Clock()
    async with resource_server(settings_for(issuer.url), clock) as oauth:
        for pause in (5, 10, 20, 40, 60, 60):
            with pytest.raises(IssuerUnavailable) as caught:
                await oauth.authenticate(f"Bearer {issuer.token()}")
            assert caught.value.status == 503
            assert caught.value.headers["retry-after"] == str(pause)
            clock.now += pause
        await issuer.up()
        assert await outcome(oauth, issuer.token()) == "ok"


async def test_a_defect_in_reading_keys_ends_nothing(issuer: LocalIssuer) -> None:
    class Broken(KnownIssuer):
        async def keys(self) -> IssuerDocument:
            raise RuntimeError("a defect")

    clock = Clock()
    with capture_logs() as logs:
        async with resource_server(settings_for(issuer.url), clock, Broken()) as oauth:
            assert await outcome(oauth, issuer.token()) == "issuer_unavailable"
            clock.now += 5
            assert await outcome(oauth, issuer.token()) == "issuer_unavailable"
    assert [entry["log_level"] for entry in logs] == ["error", "error"]


async def test_who_waits_is_answered_when_the_issuer_goes_down_meanwhile(issuer: LocalIssuer) -> None:
    issuer.gate = anyio.Event()
    outcomes: list[str] = []
    async with resource_server(settings_for(issuer.url), Clock()) as oauth, anyio.create_task_group() as tg:

        async def ask() -> None:
            outcomes.append(await outcome(oauth, issuer.token()))

        tg.start_soon(ask)
        await wait_until(lambda: issuer.fetches)
        await issuer.down()
    assert outcomes == ["issuer_unavailable"]


# --- Freshness, as a table --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "failures", "known", "need"),
    [
        (0, 0, True, Need.NONE),
        (799, 0, True, Need.NONE),
        (800, 0, True, Need.SOON),
        (999, 3, True, Need.SOON),
        (1000, 0, True, Need.NOW),
        (1000, 1, True, Need.SOON),
        (1000 + GRACE, 1, True, Need.NOW),
        (0, 0, False, Need.NOW),
        (0, 5, False, Need.NOW),
    ],
)
def test_how_much_a_fetch_is_needed(age: float, failures: int, known: bool, need: Need) -> None:
    freshness = Freshness(fetched=100.0, lifetime=1000.0, tried=100.0, failures=failures)
    assert freshness.need(100.0 + age, known=known) is need


@pytest.mark.parametrize(
    ("fetched", "failures", "waits"),
    [
        (NEVER, 0, 60),
        (NEVER, 1, 5),
        (NEVER, 2, 10),
        (NEVER, 4, 40),
        (NEVER, 5, 60),
        (NEVER, 5000, 60),
        (7.0, 0, 60),
        (7.0, 1, 60),
    ],
)
def test_how_long_until_the_next_fetch(fetched: float, failures: int, waits: float) -> None:
    freshness = Freshness(fetched, 300.0, tried=1000.0, failures=failures)
    assert freshness.wait(1000.0) == waits
    assert freshness.wait(1001.0) == waits - 1
    assert freshness.wait(1100.0) == 0
    assert Freshness().wait(0.0) == 0
