"""The issuer's public keys, kept: known ones at hand without a wait, new ones found soon, the issuer never flooded.

`KeySet.run` is the only one who fetches, so that there is one fetch at a time. `Freshness` and `Allowance` decide when;
they are pure.
"""

import base64
import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, cast

import anyio
import jwt
import structlog

from gateway.access.issuer import FETCH_SECONDS, Issuer, IssuerDocument, IssuerError
from gateway.access.oauth_settings import ALGORITHMS
from gateway.errors import IssuerUnavailable, KeyUnknown

log = structlog.stdlib.get_logger("gateway.access")

MAX_KEYS: Final = 64
"""Most keys of an issuer that are kept."""
PAUSE: Final = 60.0
"""Seconds between two fetches, whoever asks for unknown keys and however often."""
FIRST_RETRY: Final = 5.0
"""Seconds to the second fetch as long as there are no keys at all; then the pause doubles up to `PAUSE`."""
LIFETIME: Final = (300.0, 3600.0, 86_400.0)
"""Seconds that keys are fresh: at least, if the issuer does not say, at most."""
EARLY: Final = 0.8
"""The part of their lifetime after which they are fetched anew in the background."""
GRACE: Final = 86_400.0
"""Seconds that keys are good after their lifetime, if the issuer cannot be reached all that time."""


@dataclass(slots=True)
class Allowance:
    """How often keys are fetched because a token fits none: once a `PAUSE`, and once more for people who have been here
    before, so that what strangers send does not keep them out after a rotation."""

    left: float = 2.0
    at: float = -math.inf

    def consume(self, now: float, *, is_stranger: bool) -> float:
        """Take a fetch; returns 0, or the seconds until there is one to take."""
        self.left = min(2.0, self.left + max(0.0, now - self.at) / PAUSE)
        self.at = now
        needed = 2.0 if is_stranger else 1.0
        if self.left < needed:
            return (needed - self.left) * PAUSE
        self.left -= 1
        return 0.0


class Need(Enum):
    """How much a fetch is needed."""

    NONE = "none"
    SOON = "soon"
    """In the background."""
    NOW = "now"
    """The request waits for it."""


@dataclass(slots=True)
class Freshness:
    """How old the keys are, and what follows from that. Times are seconds of one monotonic clock."""

    fetched: float = -math.inf
    lifetime: float = 0.0
    tried: float = -math.inf
    failures: int = 0
    """Failed fetches since the last good one."""

    def usable(self, now: float) -> bool:
        return now < self.fetched + self.lifetime + GRACE

    def need(self, now: float, *, known: bool) -> Need:
        """
        Args:
            known: whether the key in question is among those we have.
        """
        if not known or not self.usable(now):
            return Need.NOW
        if now < self.fetched + self.lifetime * EARLY:
            return Need.NONE
        # A key may have been withdrawn; but nobody waits for an issuer that is known to be down.
        return Need.SOON if now < self.fetched + self.lifetime or self.failures else Need.NOW

    def wait(self, now: float) -> float:
        """Seconds until a fetch is allowed; 0 if it is now."""
        pause = PAUSE
        if self.failures and self.fetched == -math.inf:
            pause = min(PAUSE, FIRST_RETRY * 2.0 ** min(self.failures - 1, 10))
        return max(0.0, self.tried + pause - now)

    def start(self, now: float) -> None:
        self.tried = now

    def succeed(self, now: float, max_age: float | None) -> None:
        least, usual, most = LIFETIME
        self.fetched, self.failures = now, 0
        self.lifetime = usual if max_age is None else min(max(max_age, least), most)

    def fail(self) -> None:
        self.failures += 1


@dataclass(frozen=True, slots=True)
class Key:
    """One public key."""

    public: Any
    algorithms: frozenset[str]
    """What it may verify."""
    thumbprint: str
    """RFC 7638. Names the key itself, which a `kid` does not."""


Keys = Mapping[str | None, tuple[Key, ...]]
"""By `kid`. A token without one is good if the issuer has but one key: that is also there under None."""


def read_keys(document: Mapping[str, Any], allowed: Collection[str]) -> Keys:
    """The usable keys of a JWK set (RFC 7517): for signatures, of an allowed algorithm, and strong enough.

    Raises:
        IssuerError: it is not a JWK set.
    """
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise IssuerError("its JWK set has no list of keys")
    keys: dict[str | None, tuple[Key, ...]] = {}
    for jwk in cast(list[Any], listed)[:MAX_KEYS]:
        key = _read_key(cast(dict[str, Any], jwk), allowed) if isinstance(jwk, dict) else None
        kid: object = cast(dict[str, Any], jwk).get("kid") if key else None
        if key is not None and (kid is None or isinstance(kid, str)):
            keys[kid] = (*keys.get(kid, ()), key)
    if len(keys) == 1:
        keys[None] = next(iter(keys.values()))
    return keys


def _read_key(jwk: dict[str, Any], allowed: Collection[str]) -> Key | None:
    operations: Any = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    algorithms = frozenset(
        name
        for name in allowed
        if ALGORITHMS[name] == (jwk.get("kty"), jwk.get("crv", "")) and jwk.get("alg", name) == name
    )
    if not algorithms:
        return None
    # The public members only: an issuer that publishes its private key by mistake must not change what we hold.
    public = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk}
    try:
        key = jwt.PyJWK(public, min(algorithms))
    except jwt.PyJWTError:
        return None
    return None if key.Algorithm.check_key_length(key.key) else Key(key.key, algorithms, _thumbprint(public))


def _thumbprint(public: dict[str, Any]) -> str:
    canonical = json.dumps(public, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).decode().rstrip("=")


class KeySet:
    """
    Args:
        algorithms: those that are allowed.
        clock: monotonic, in seconds.
        on_withdrawn: told the thumbprints of keys that the issuer has no longer.
    """

    def __init__(
        self,
        issuer: Issuer,
        algorithms: Collection[str],
        clock: Callable[[], float],
        on_withdrawn: Callable[[frozenset[str]], None] = lambda gone: None,
    ) -> None:
        self._issuer = issuer
        self._algorithms = tuple(algorithms)
        self._clock = clock
        self._on_withdrawn = on_withdrawn
        self._keys: Keys = {}
        self._thumbprints: frozenset[str] = frozenset()
        self._freshness = Freshness()
        self._allowance = Allowance()
        self._wanted = anyio.Event()
        self._fetch_ended: anyio.Event | None = None
        """Set when the fetch that is under way or wanted has ended; None if there is none."""

    async def run(self) -> None:
        """Fetch the keys, and then whenever `find` wants it, until cancelled. Without it, nothing is ever fetched."""
        self._want()
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            try:
                await self._fetch()
            finally:
                if self._fetch_ended is not None:
                    self._fetch_ended.set()
                self._fetch_ended = None

    async def find(
        self, kid: str | None, algorithm: str, *, tried: Collection[Key] = (), is_stranger: bool = True
    ) -> tuple[Key, ...]:
        """The keys of that id. Waits only for one not known yet, or out of date.

        Args:
            tried: those that turned out not to fit; another under the same id is looked for.
            is_stranger: whether whoever needs it has never been here.

        Returns:
            None at all if the issuer, which was asked, has none.

        Raises:
            IssuerUnavailable: there are no keys to look in, or the issuer could not be asked for others.
        """
        if found := await self._find_fresh(kid, algorithm, tried):
            return found
        wait = self._allowance.consume(self._clock(), is_stranger=is_stranger) if self._fetch_ended is None else 0.0
        if wait:
            raise KeyUnknown(wait)
        await self._fetch_now()
        if self._freshness.failures:
            raise IssuerUnavailable(self._freshness.wait(self._clock()))
        return self._look_up(kid, algorithm, tried)

    def has(self, kid: str | None, algorithm: str, tried: Collection[Key] = ()) -> bool:
        return bool(self._look_up(kid, algorithm, tried))

    async def still_finds(self, kid: str | None, algorithm: str, key: Key) -> bool:
        """Whether a key that was found is found still.

        Raises:
            IssuerUnavailable: nobody knows.
        """
        await self.ensure()
        return any(found.thumbprint == key.thumbprint for found in self._look_up(kid, algorithm, ()))

    async def holds(self, thumbprint: str) -> bool:
        """Whether a key is the issuer's, as far as is known.

        Raises:
            IssuerUnavailable: nothing is.
        """
        await self.ensure()
        return thumbprint in self._thumbprints

    async def _find_fresh(self, kid: str | None, algorithm: str, tried: Collection[Key]) -> tuple[Key, ...]:
        """What is found in keys that are good, which may be none."""
        await self.ensure(known=bool(self._look_up(kid, algorithm, tried)))
        return self._look_up(kid, algorithm, tried)

    async def ensure(self, *, known: bool = True) -> None:
        """Have keys that are fresh enough, or any at all.

        Args:
            known: whether what is looked for is among them.

        Raises:
            IssuerUnavailable: the issuer has not been reached for so long, or ever, that there are none.
        """
        now = self._clock()
        need = self._freshness.need(now, known=known)
        if need is Need.SOON and self._may_fetch(now):
            self._want()
        elif need is Need.NOW and (known or not self._freshness.usable(now)) and self._may_fetch(now):
            await self._fetch_now()
        now = self._clock()
        if not self._freshness.usable(now):
            raise IssuerUnavailable(self._freshness.wait(now))

    def _may_fetch(self, now: float) -> bool:
        return self._fetch_ended is not None or not self._freshness.wait(now)

    async def _fetch_now(self) -> None:
        ended = self._want()
        with anyio.move_on_after(FETCH_SECONDS + 1):
            await ended.wait()

    def _look_up(self, kid: str | None, algorithm: str, tried: Collection[Key]) -> tuple[Key, ...]:
        return tuple(key for key in self._keys.get(kid, ()) if algorithm in key.algorithms and key not in tried)

    def _want(self) -> anyio.Event:
        if self._fetch_ended is None:
            self._fetch_ended = anyio.Event()
            self._freshness.start(self._clock())
            self._wanted.set()
        return self._fetch_ended

    async def _fetch(self) -> None:
        try:
            document = await self._issuer.keys()
            self._take(document)
        except IssuerError as error:
            self._freshness.fail()
            kept = "known keys stay in use" if self._keys else "no token can be checked"
            log.warning("cannot fetch the issuer's keys", issuer=self._issuer.url, reason=str(error), consequence=kept)
        except Exception:  # a defect in reading what strangers send must not end the gateway
            self._freshness.fail()
            log.exception("cannot read the issuer's keys", issuer=self._issuer.url)

    def _take(self, document: IssuerDocument) -> None:
        self._keys = read_keys(document.content, self._algorithms)
        before, self._thumbprints = self._thumbprints, frozenset(k.thumbprint for ks in self._keys.values() for k in ks)
        self._freshness.succeed(self._clock(), document.max_age)
        if gone := before - self._thumbprints:
            log.info("the issuer has withdrawn keys", issuer=self._issuer.url, keys=len(gone))
            self._on_withdrawn(gone)
        if not self._keys:
            log.warning("the issuer has no key that can be used", issuer=self._issuer.url, algorithms=self._algorithms)
