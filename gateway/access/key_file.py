"""`api_keys.json`: what it may say. Reading blocks, and takes its time where keys stand in it as they are.

The file is a JSON list of `{key | key_hash, id?, owner, allowed_upstreams?, profiles?, rate_limit_rpm?, scopes?}`.
Messages name the file, the entry's index from 0, and the field; they never repeat a key.
"""

import json
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.access import key_hashes
from gateway.access.key_hashes import DEV_KEYS, MAX_KEY, OWN_KEY, KeyHash
from gateway.config.reading.problems import Problems, closest, dotted
from gateway.config.reading.source import Place, mapping, read_text, sequence
from gateway.errors import ConfigError
from gateway.request import READ, SCOPES, WRITE

DEFAULT_SCOPES: Final = frozenset({READ, WRITE})
MAX_NAME: Final = 128
"""Characters of an owner."""

_KEY: Final = re.compile(rf"[!-~]{{1,{MAX_KEY}}}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Raw = dict[str, Any]
"""An entry as it stands in the file."""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One API key."""

    id: str
    owner: str
    hash: KeyHash
    upstreams: frozenset[str] | None = None
    """None means all."""
    profiles: frozenset[str] | None = None
    """None means that none limits it."""
    scopes: frozenset[str] = DEFAULT_SCOPES
    rate_limit_rpm: int | None = None
    """Requests a minute; None means the gateway's default, -1 no limit."""
    is_plain: bool = False
    """Whether the file has the key itself."""

    @property
    def is_dev(self) -> bool:
        """Whether everybody knows the key."""
        return self.hash.scrypt is None and self.hash.digest in {key_hashes.sha256(key) for key in DEV_KEYS}


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One valid file."""

    path: Path
    entries: tuple[KeyEntry, ...] = ()
    raw: tuple[Raw, ...] = field(default=(), repr=False)
    """The same entries as they were written."""

    @property
    def exposed(self) -> int:
        """How many keys stand in it as they are and should not: those that everybody knows do not count."""
        return sum(entry.is_plain and not entry.is_dev for entry in self.entries)


def hash_command(path: Path) -> str:
    """What hashes the keys of a file."""
    return f"mcp-gateway keys hash {shlex.quote(str(path))}"


def load(path: Path, known: Collection[KeyEntry] = ()) -> KeyFile:
    """
    Args:
        known: entries of an earlier reading, whose ids need not be computed again.

    Raises:
        ConfigError: it cannot be read, or is not valid. One line for each problem.
    """
    return parse(read_text(path, str(path)), path, known)


def parse(text: str, path: Path, known: Collection[KeyEntry] = ()) -> KeyFile:
    """As `load`, from text."""
    problems = Problems()
    ids = {(entry.hash.digest, entry.owner): entry.id for entry in known if entry.is_plain}
    entries: dict[int, KeyEntry] = {}
    raws: list[Raw] = []
    for index, value in enumerate(_list(text, path)):
        faults = list(_faults(value))
        for place, what in faults:
            problems.add_line(f"{path}: {dotted((index, *place))}: {what}")
        if not faults:
            entries[index] = _entry(value, ids)
            raws.append(value)
    for place, what in _duplicates(entries):
        problems.add_line(f"{path}: {dotted(place)}: {what}")
    problems.raise_if_any()
    return KeyFile(path, tuple(entries.values()), tuple(raws))


def _list(text: str, path: Path) -> list[Any]:
    try:
        value: object = json.loads(text, object_pairs_hook=_unambiguous)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: is not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None
    entries = sequence(value)
    if entries is None:
        raise ConfigError(f'{path}: must be a JSON list of keys: [{{"id": …, "key_hash": …, "owner": …}}, …]')
    return entries


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for index, (name, _) in enumerate(pairs) if name in dict(pairs[:index]))
        raise ValueError(f"an entry has {twice!r} twice; keep one")
    return found


def _entry(raw: Raw, ids: Mapping[tuple[bytes, str], str]) -> KeyEntry:
    key, owner, id = raw.get("key"), raw["owner"], raw.get("id")
    hash = KeyHash(key_hashes.sha256(key)) if key else key_hashes.parse(raw["key_hash"])
    assert hash is not None  # _faults has looked
    if key and not id:
        own = OWN_KEY.fullmatch(key)
        id = own[1] if own else ids.get((hash.digest, owner)) or key_hashes.derive_id(key, owner)
    return KeyEntry(
        id=str(id),
        owner=owner,
        hash=hash,
        upstreams=frozenset(raw.get("allowed_upstreams") or ()) or None,
        profiles=frozenset(raw["profiles"]) if raw.get("profiles") is not None else None,
        scopes=frozenset(raw.get("scopes") or DEFAULT_SCOPES),
        rate_limit_rpm=raw.get("rate_limit_rpm"),
        is_plain=key is not None,
    )


# --- What can be wrong --------------------------------------------------------------------------------------------

Fault = tuple[Place, str]
"""Where in the entry, and what is wrong."""


def _faults(value: object) -> Iterator[Fault]:
    raw = mapping(value)
    if raw is None:
        yield (), 'must be an object such as {"id": …, "key_hash": …, "owner": …}'
        return
    for name, given in raw.items():
        check = _CHECKS.get(name)
        if check is None:
            meant = closest(name, _CHECKS)
            yield (name,), "unknown field; " + (f"did you mean {meant!r}?" if meant else f"known are {_and(_CHECKS)}")
        elif given is not None and (what := check(given)):
            yield (name,), what
    if raw.get("owner") is None:
        yield ("owner",), "is required: the person or team that has the key"
    key, id = raw.get("key"), raw.get("id")
    if (key is None) == (raw.get("key_hash") is None):
        yield (), "must have a key or a key_hash, and not both"
    elif key is None and id is None:
        yield ("id",), "is required beside key_hash"
    elif isinstance(key, str) and (own := OWN_KEY.fullmatch(key)) and id not in (None, own[1]):
        yield ("id",), f"must be {own[1]}, as in the key; or leave it out"


def _duplicates(entries: Mapping[int, KeyEntry]) -> Iterator[Fault]:
    ids: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    for index, entry in entries.items():
        same_key = digests.setdefault(entry.hash.digest, index)
        same_id = ids.setdefault(entry.id, index)
        if same_key != index:
            yield (index,), f"has the same key as {dotted((same_key,))}; keep one"
        elif same_id != index:
            yield (index, "id"), f"is the same as that of {dotted((same_id,))}; choose another"


def _key(value: object) -> str:
    if isinstance(value, str) and _KEY.fullmatch(value):
        return ""
    return f"must be 1 to {MAX_KEY} characters of ASCII without spaces: it travels in a header"


def _key_hash(value: object) -> str:
    if isinstance(value, str) and key_hashes.parse(value):
        return ""
    return "must be sha256:… or scrypt:… as `mcp-gateway keys create` and `hash` write it"


def _id(value: object) -> str:
    if isinstance(value, str) and _ID.fullmatch(value):
        return ""
    return "must be 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first"


def _owner(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable():
        return ""
    return f"must be text of 1 to {MAX_NAME} printable characters"


def _upstreams(value: object) -> str:
    names = sequence(value)
    if names is not None and all(isinstance(name, str) and name for name in names):
        return ""
    return 'must be a list of upstreams such as ["github"]; leave it out for all'


def _profiles(value: object) -> str:
    names = sequence(value)
    if names and all(isinstance(name, str) and name for name in names):
        return ""
    return 'must be a list of profiles such as ["support"]; leave it out for a key that none limits'


def _rpm(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and (value > 0 or value == -1):
        return ""
    return "must be a whole number of requests a minute, or -1 for no limit; leave it out for the gateway's default"


def _scopes(value: object) -> str:
    names = sequence(value)
    if names and all(isinstance(name, str) and name in SCOPES for name in names):
        return ""
    meant = [closest(name, SCOPES) for name in names or () if isinstance(name, str) and name not in SCOPES]
    suggestion = f"; did you mean {meant[0]!r}?" if meant and meant[0] else "; leave it out for read and write"
    return f"must be a list of some of {_and(sorted(SCOPES))}{suggestion}"


def _and(names: Collection[str]) -> str:
    return ", ".join(names)


_CHECKS: Final[Mapping[str, Callable[[object], str]]] = {
    "key": _key,
    "key_hash": _key_hash,
    "id": _id,
    "owner": _owner,
    "allowed_upstreams": _upstreams,
    "profiles": _profiles,
    "rate_limit_rpm": _rpm,
    "scopes": _scopes,
}
"""Field → what is wrong with its value, or nothing."""
