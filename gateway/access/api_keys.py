"""API keys: finds the principal of a key, and follows the file they are kept in.

A key of our making names its id, a foreign one is found by its hash; either is then compared in constant time with what
is kept, or with a stand-in when nothing was found. Nothing here holds a key for longer than a request.
"""

import hashlib
import hmac
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

import anyio
import anyio.to_thread
import structlog

from gateway.access import key_file, key_hashes
from gateway.access.delegation import covers, heir
from gateway.access.key_file import KeyEntry, KeyFile, hash_command
from gateway.access.key_hashes import DEV_KEYS, MAX_KEY, OWN_KEY, KeyHash, Scrypt
from gateway.access.turns import Turns
from gateway.blocking import in_thread
from gateway.config.reading.problems import dotted
from gateway.errors import ConfigError, Unauthenticated
from gateway.request import Principal

log = structlog.stdlib.get_logger("gateway.access")

PREFIX: Final = "key:"
"""Of the principal ids."""
POLL_SECONDS: Final = 1.0
MAX_REMEMBERED: Final = 4096
"""Slow hashes that need not be computed again."""


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who has a key."""

    hash: KeyHash
    principal: Principal


_NOBODY: Final = KeyHash(bytes(32))
"""What a key is compared with when there is nobody it could belong to."""


class ApiKeys:
    """The keys of one file (an `Authenticator`). Constructing it reads the file, and blocks.

    Args:
        environment: the gateway's; keys that everybody knows are good in `development` only.
        loopback: whether the gateway listens to this machine only; they are not good otherwise either.
        on_revoked: told the principal ids whose keys are gone or may do less, so that what they have open can be
            closed.
        on_change: told `"keys"` and, by keyword, the principal ids that were added, removed or changed.
        on_use: told whenever another content of the file counts.

    Raises:
        ConfigError: the file cannot be used.
    """

    header: ClassVar[str] = "x-api-key"
    good_for: ClassVar[float] = math.inf

    def __init__(
        self,
        path: Path,
        *,
        environment: str,
        loopback: bool,
        on_revoked: Callable[[frozenset[str]], None] = lambda ids: None,
        on_change: Callable[..., None] | None = None,
        on_use: Callable[[], None] | None = None,
    ) -> None:
        self._path = path
        self._on_use = on_use
        self._allows_dev = environment == "development" and loopback
        self._on_revoked = on_revoked
        self._on_change: Callable[..., None] | None = None
        self._entries: tuple[KeyEntry, ...] = ()
        self._by_id: dict[str, _Holder] = {}
        self._by_hash: dict[KeyHash, _Holder] = {}
        self._scrypts: tuple[Scrypt, ...] = ()
        self._pepper = secrets.token_bytes(32)
        self._slow: OrderedDict[tuple[bytes, Scrypt], bytes] = OrderedDict()
        self._turns = Turns()
        self._trouble = ""
        text = key_file.read_text(path, str(path))
        self._seen = _fingerprint(text)
        self._use(self._parse(text))
        self._on_change = on_change  # what is there at the start has not changed

    # --- Recognising ----------------------------------------------------------------------------------------------

    def recognise(self, credential: str) -> Principal | None:
        """Whose a key is, as the file says now; None for one that nobody has, or that takes longer."""
        return self._match(credential) if self._is_possible(credential) else None

    def _is_possible(self, key: str) -> bool:
        return len(key) <= MAX_KEY and key.isascii() and (self._allows_dev or key not in DEV_KEYS)

    async def authenticate(self, credential: str, view: str | None = None, address: str = "") -> Principal:
        """
        Raises:
            Unauthenticated: nobody has that key.
        """
        principal = self.recognise(credential)
        if principal is None and self._is_possible(credential):
            principal = await self._match_slowly(credential, address)
        if principal is None:
            raise Unauthenticated("This API key is not known here. Check it with whoever runs the gateway.")
        return principal

    async def bound(self, agent: Principal, root: str) -> Principal | None:
        """What is left of an agent's grant, now that the key it was registered with may have less, or be gone (None).

        Args:
            root: the id of the principal that the agent descends from. If that is no API key, nothing changes.
        """
        if not root.startswith(PREFIX):
            return agent
        holder = self._by_id.get(root.removeprefix(PREFIX))
        return replace(heir(agent, holder.principal), key=holder.principal.key) if holder is not None else None

    def _match(self, key: str) -> Principal | None:
        kept = KeyHash(key_hashes.sha256(key))
        own = OWN_KEY.fullmatch(key)
        return _compared(self._by_id.get(own[1]) if own else self._by_hash.get(kept), kept)

    async def _match_slowly(self, key: str, address: str) -> Principal | None:
        """Keys that people chose, kept as scrypt. A file has one salt, as a rule, so that one hash finds the key."""
        found = None
        for scrypt in self._scrypts if not OWN_KEY.fullmatch(key) else ():
            kept = KeyHash(await self._hash(scrypt, key, address), scrypt)
            found = _compared(self._by_hash.get(kept), kept) or found
        return found

    async def _hash(self, scrypt: Scrypt, key: str, address: str) -> bytes:
        handle = hashlib.blake2b(key.encode(), key=self._pepper, digest_size=32).digest(), scrypt
        digest = self._slow.get(handle)
        if digest is not None:
            self._slow.move_to_end(handle)
            return digest
        await self._turns.acquire(address)  # one at a time, whoever knocks: each takes a core and 16 MiB
        try:
            digest = self._slow.get(handle) or await anyio.to_thread.run_sync(scrypt, key)
            self._slow[handle] = digest
            if len(self._slow) > MAX_REMEMBERED:
                self._slow.popitem(last=False)
            return digest
        finally:
            self._turns.release()

    # --- Following the file ---------------------------------------------------------------------------------------

    async def watch(self, interval: float = POLL_SECONDS) -> None:
        """Follow the file until cancelled. It is read, not watched: that works on network drives and for files that are
        replaced, linked or mounted, and costs next to nothing.
        """
        while True:
            await anyio.sleep(interval)
            await self.reload()

    async def reload(self) -> None:
        """Use the file as it is now. One that cannot be used changes nothing, and the log says why, once."""
        try:
            text = await in_thread(key_file.read_text, self._path, str(self._path))
            seen = _fingerprint(text)
            if seen == self._seen:
                return
            self._seen = seen
            self._use(await in_thread(self._parse, text))
            self._trouble = ""
        except ConfigError as error:
            if error.message != self._trouble:
                log.error("API keys not reloaded; those from before stay", reason=error.message)
            self._trouble = error.message

    def _parse(self, text: str) -> KeyFile:
        file = key_file.parse(text, self._path, self._entries)
        known = [dotted((index,)) for index, entry in enumerate(file.entries) if entry.is_dev]
        if known and not self._allows_dev:
            raise ConfigError(
                f"{self._path}: {known[0]}: is a key that everybody knows; it works only where gateway.environment is "
                "development and gateway.host is a loopback address. Remove it; `mcp-gateway keys create` makes others"
            )
        return file

    def _use(self, file: KeyFile) -> None:
        holders = [_Holder(entry.hash, principal_of(entry)) for entry in file.entries]
        before = [holder.principal for holder in self._by_id.values()]
        self._entries = file.entries
        self._by_id = {entry.id: holder for entry, holder in zip(file.entries, holders, strict=True)}
        self._by_hash = {holder.hash: holder for holder in holders}
        if self._on_use is not None:
            self._on_use()
        self._scrypts = tuple({entry.hash.scrypt: None for entry in file.entries if entry.hash.scrypt})
        log.info("API keys loaded", file=str(file.path), keys=len(holders))
        if file.exposed:
            log.warning(
                "API keys stand in plain text", file=str(file.path), keys=file.exposed, fix=hash_command(file.path)
            )
        now = {holder.principal.id: holder.principal for holder in holders}
        if self._on_change is not None:
            old = {principal.id: principal for principal in before}
            changed = sorted(id for id in now.keys() & old if not _is_same(now[id], old[id]))
            self._on_change("keys", added=sorted(now.keys() - old), removed=sorted(old.keys() - now), changed=changed)
        if less := frozenset(old.id for old in before if not _has_all_of(now.get(old.id), old)):
            log.info("API keys revoked or restricted", ids=sorted(less))
            self._on_revoked(less)


def _fingerprint(text: str) -> bytes:
    return hashlib.blake2b(text.encode()).digest()


def principal_of(entry: KeyEntry) -> Principal:
    """Whoever holds the key of an entry."""
    return Principal(
        id=PREFIX + entry.id,
        method="api_key",
        owner=entry.owner,
        scopes=entry.scopes,
        upstreams=entry.upstreams,
        profiles=entry.profiles,
        rate_limit_rpm=entry.rate_limit_rpm,
        key=hashlib.blake2b(str(entry.hash).encode(), digest_size=16).hexdigest(),
    )


def _has_all_of(new: Principal | None, old: Principal) -> bool:
    """Whether nobody was taken anything, and it is the same key: what is open may stay open."""
    return new is not None and new.key == old.key and covers(new, old)


def _is_same(one: Principal, other: Principal) -> bool:
    return one == other and one.key == other.key


def _compared(holder: _Holder | None, kept: KeyHash) -> Principal | None:
    """The holder's principal if the hashes are equal, in a time that tells nothing of either."""
    other = holder.hash if holder is not None and holder.hash.scrypt == kept.scrypt else _NOBODY
    is_equal = hmac.compare_digest(other.digest, kept.digest)
    return holder.principal if holder is not None and is_equal else None
