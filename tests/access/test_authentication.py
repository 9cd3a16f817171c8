"""The order of credentials, and what a flood of bad ones costs: nothing, and nobody else anything."""

import json
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from structlog.testing import capture_logs

from gateway.access.api_keys import ApiKeys
from gateway.access.authentication import Authentication
from gateway.access.failures import FAILURES
from gateway.access.key_hashes import KeyHash, Scrypt
from gateway.access.known import KnownCredentials
from gateway.access.rate_limit import MemoryLimiter
from gateway.errors import GatewayError, RateLimited, Unauthenticated
from gateway.request import Principal
from tests.support import wait_until

pytestmark = pytest.mark.anyio

HERE, THERE = "192.0.2.1", "192.0.2.2"
GOOD = {"x-first": "good"}


class Way:
    """Knows the credential `good`, notes what it is asked for, and may be made to fail or to wait."""

    header: ClassVar[str]
    good_for: ClassVar[float] = 60.0

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.good = {"good"}
        self.trouble: Exception | None = None
        self.gate: anyio.Event | None = None

    async def authenticate(self, credential: str, view: str | None, address: str) -> Principal:
        self.asked.append(credential)
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        if credential not in self.good:
            raise Unauthenticated("It is not good.")
        return Principal(self.header)


class First(Way):
    header: ClassVar[str] = "x-first"


class Second(Way):
    header: ClassVar[str] = "x-second"


class Third(Way):
    header: ClassVar[str] = "x-third"


class Door:
    def __init__(self) -> None:
        self.now = 0.0
        self.ways = (First(), Second(), Third())
        self.decisions: list[tuple[str, bool]] = []
        limiter = MemoryLimiter(lambda: self.now)
        self.authenticate = Authentication(self.ways, limiter, observe=self._observe)

    def _observe(self, limit: str, allowed: bool) -> None:
        self.decisions.append((limit, allowed))

    async def knock(self, headers: dict[str, str], address: str = HERE) -> str:
        """The principal's id, or the error's name."""
        try:
            return (await self.authenticate(headers, address)).id
        except (Unauthenticated, RateLimited) as error:
            return type(error).__name__

    async def flood(self, address: str = HERE) -> None:
        """As many bad credentials as an address has. `{}` in it becomes the number of the attempt."""
        for number in range(FAILURES.capacity):
            assert await self.knock({"x-first": f"bad-{number}"}, address.format(number)) == "Unauthenticated"


@pytest.fixture
def door() -> Door:
    return Door()


# --- The order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"x-third": "good", "x-second": "good", "x-first": "good"}, "x-first"),
        ({"x-third": "good", "x-second": "good"}, "x-second"),
        ({"x-third": "good"}, "x-third"),
        ({"x-first": "good", "x-second": "bad", "x-third": "bad"}, "x-first"),
        ({"x-first": "bad", "x-second": "good", "x-third": "good"}, "Unauthenticated"),
        ({"x-first": "", "x-second": "good"}, "Unauthenticated"),
        ({"x-second": "bad", "x-third": "good"}, "Unauthenticated"),
        ({"x-fourth": "good"}, "Unauthenticated"),
        ({}, "Unauthenticated"),
    ],
)
async def test_the_first_that_is_there_decides_for_better_or_worse(
    door: Door, headers: dict[str, str], outcome: str
) -> None:
    assert await door.knock(headers) == outcome
    present = [way for way in door.ways if way.header in headers]
    assert [len(way.asked) for way in present] == ([1] + [0] * (len(present) - 1) if present else [])


# --- Floods -------------------------------------------------------------------------------------------------------


async def test_after_too_many_failures_nothing_is_looked_at(door: Door) -> None:
    await door.flood()
    asked = len(door.ways[0].asked)
    for headers in ({"x-first": "bad"}, {"x-second": "good"}, {}):
        assert await door.knock(headers) == "RateLimited"
    assert [len(way.asked) for way in door.ways] == [asked, 0, 0]
    assert await door.knock({}, THERE) == "Unauthenticated"
    with pytest.raises(RateLimited) as refused:
        await door.authenticate({}, HERE)
    assert refused.value.headers["retry-after"] == "2"
    door.now = 2
    assert await door.knock(GOOD) == "x-first"


async def test_a_flood_of_bad_keys_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    real = Scrypt.__call__

    def counted(self: Scrypt, key: str) -> bytes:
        hashed.append(key)
        return real(self, key)

    scrypt = Scrypt(b"0123456789abcdef", log_n=10)
    entry = {"key_hash": str(KeyHash(scrypt("chosen"), scrypt)), "id": "alice", "owner": "alice"}
    (tmp_path / "keys.json").write_text(json.dumps([entry]))
    keys = ApiKeys(tmp_path / "keys.json", environment="production", loopback=False)
    authenticate = Authentication([keys], MemoryLimiter(lambda: 0.0))
    monkeypatch.setattr(Scrypt, "__call__", counted)
    assert await authenticate({"x-api-key": "chosen"}, HERE)
    for number in range(FAILURES.capacity * 5):
        with pytest.raises((Unauthenticated, RateLimited)):
            await authenticate({"x-api-key": f"guess-{number}"}, HERE)
    assert await authenticate({"x-api-key": "chosen"}, HERE)
    assert len(hashed) == FAILURES.capacity + 1


async def test_many_at_once_are_counted_before_the_first_has_failed(door: Door) -> None:
    door.ways[0].gate = anyio.Event()
    async with anyio.create_task_group() as tg:
        for number in range(FAILURES.capacity * 3):
            tg.start_soon(door.knock, {"x-first": f"bad-{number}"})
        await anyio.wait_all_tasks_blocked()
        assert len(door.ways[0].asked) == FAILURES.capacity
        door.ways[0].gate.set()


async def test_who_was_good_before_the_flood_goes_on_working(door: Door) -> None:
    assert await door.knock(GOOD) == "x-first"
    await door.flood()
    for _ in range(FAILURES.capacity * 2):
        assert await door.knock(GOOD) == "x-first"


async def test_what_was_good_elsewhere_or_in_another_header_is_new_here(door: Door) -> None:
    """Else a flood would be told which of its guesses are right."""
    assert await door.knock(GOOD, THERE) == "x-first"
    assert await door.knock({"x-second": "good"}) == "x-second"
    await door.flood()
    assert await door.knock(GOOD) == "RateLimited"


async def test_what_is_no_longer_good_is_as_any_other(door: Door) -> None:
    assert await door.knock(GOOD) == "x-first"
    door.ways[0].good.clear()
    assert await door.knock(GOOD) == "Unauthenticated"
    await door.flood()
    assert await door.knock(GOOD) == "RateLimited"


async def test_good_credentials_cost_nothing_however_many(door: Door) -> None:
    door.ways[0].good = {f"good-{number}" for number in range(FAILURES.capacity * 3)}
    for credential in door.ways[0].good:
        assert await door.knock({"x-first": credential}) == "x-first"
    await door.flood()


async def test_somebody_elses_trouble_is_no_failure(door: Door) -> None:
    door.ways[0].trouble = GatewayError("The issuer is down.")
    for _ in range(FAILURES.capacity * 2):
        with pytest.raises(GatewayError, match="issuer"):
            await door.authenticate(GOOD, HERE)
    door.ways[0].trouble = None
    await door.flood()


@pytest.mark.parametrize(
    ("flooding", "neighbour", "outcome"),
    [
        ("2001:db8::{}", "2001:db8::ffff", "RateLimited"),
        ("2001:db8::{}", "2001:db8:0:1::1", "Unauthenticated"),
        ("fe80::{}%eth0", "fe80::ffff%eth0", "RateLimited"),
        ("::ffff:192.0.2.{}", "::ffff:192.0.2.99", "Unauthenticated"),
        ("192.0.2.{}", "192.0.2.99", "Unauthenticated"),
        ("", "", "RateLimited"),
    ],
)
async def test_what_one_address_is(door: Door, flooding: str, neighbour: str, outcome: str) -> None:
    await door.flood(flooding)
    assert await door.knock({}, neighbour) == outcome


async def test_the_flood_is_counted_and_logged_without_what_it_sent(door: Door) -> None:
    with capture_logs() as logs:
        await door.flood()
        before = len(logs)
        for _ in range(10):
            await door.knock({"x-first": "bad-canary"})
    assert len(logs) == before  # what is not looked at is not written about either
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] != []
    assert "bad-" not in repr(logs)
    assert door.decisions == [("failures", True)] * FAILURES.capacity + [("failures", False)] * 10


# --- Who was here a moment ago --------------------------------------------------------------------------------------


def recognised(door: Door, address: str = HERE, view: str | None = None) -> str | None:
    known = door.authenticate.recognise(GOOD, address, view)
    return known.principal.id if known is not None else None


async def test_who_was_good_just_now_is_recognised_without_waiting(door: Door) -> None:
    assert recognised(door) is None
    await door.knock(GOOD)
    assert recognised(door) == "x-first"
    assert door.ways[0].asked == ["good"]
    assert (recognised(door, THERE), recognised(door, view="other")) == (None, None)


async def test_what_was_recognised_is_looked_at_again_when_it_is_due(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Way, "good_for", 0.0)
    await door.knock(GOOD)
    assert recognised(door) is None


async def test_nobody_is_recognised_once_somebody_may_be_less(door: Door) -> None:
    await door.knock(GOOD)
    known = door.authenticate.recognise(GOOD, HERE)
    door.authenticate.forget()
    assert (known is not None, door.authenticate.recognise(GOOD, HERE, None, known)) == (True, None)


async def test_what_changed_while_a_credential_was_looked_at_counts(door: Door) -> None:
    door.ways[0].gate = anyio.Event()
    async with anyio.create_task_group() as tg:
        tg.start_soon(door.knock, GOOD)
        await wait_until(lambda: door.ways[0].asked)
        door.authenticate.forget()
        door.ways[0].gate.set()
    assert recognised(door) is None


async def test_a_credential_is_recognised_no_longer_than_it_lasts() -> None:
    now = 100.0
    known = KnownCredentials(lambda: now)
    known.keep((b"handle", None), Principal("a", expires=110.0, leeway=5.0), known.term, 60.0)
    now = 114.0
    assert known.find((b"handle", None)) is not None
    now = 115.0
    assert known.find((b"handle", None)) is None
