"""What `mcp-gateway keys` does to `api_keys.json`: read it whole, change a list, replace it in one step. All block.

A gateway that runs sees the change by itself. Two edits at the same instant would lose one of the two; they are made by
people.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from gateway.access import key_hashes
from gateway.access.key_file import DEFAULT_SCOPES, KeyEntry, KeyFile, Raw, load, parse
from gateway.access.key_hashes import OWN_KEY, KeyHash, Scrypt
from gateway.config.reading.problems import closest
from gateway.errors import ConfigError
from gateway.store import files


def create(
    path: Path,
    owner: str,
    upstreams: Collection[str] = (),
    rate_limit_rpm: int | None = None,
    scopes: Collection[str] = (),
    profiles: Collection[str] = (),
) -> tuple[str, KeyEntry]:
    """Add a new key to the file, which need not exist.

    Args:
        upstreams: those it may use; empty for all.
        rate_limit_rpm: requests a minute; None for the gateway's default, -1 for no limit.
        scopes: empty for read and write.
        profiles: those it is to see, and nothing besides; empty for no such limit.

    Returns:
        The key, which is not kept, and its entry.

    Raises:
        ConfigError: the file is not valid or cannot be written, or a value is none that it may have.
    """
    file = load(path) if path.exists() else KeyFile(path)
    key, id = key_hashes.mint()
    raw: Raw = {"id": id, "key_hash": str(KeyHash(key_hashes.sha256(key))), "owner": owner}
    raw |= {"allowed_upstreams": sorted(set(upstreams)), "rate_limit_rpm": rate_limit_rpm}
    raw |= {"scopes": sorted(set(scopes) or DEFAULT_SCOPES), "profiles": sorted(set(profiles)) or None}
    written = _write(file, [*file.raw, {name: value for name, value in raw.items() if value is not None}])
    return key, written.entries[-1]


def revoke(path: Path, id: str) -> KeyEntry:
    """Remove a key from the file; returns what it was.

    Raises:
        ConfigError: there is no such key, or the file is not valid or cannot be written.
    """
    file = load(path)
    ids = [entry.id for entry in file.entries]
    if id not in ids:
        meant = closest(id, ids)
        raise ConfigError(f"{path}: has no key {id!r}" + (f"; did you mean {meant}?" if meant else ""))
    place = ids.index(id)
    _write(file, [*file.raw[:place], *file.raw[place + 1 :]])
    return file.entries[place]


@dataclass(frozen=True, slots=True)
class Hashed:
    """What became of the keys of a file."""

    hashed: list[KeyEntry]
    left: list[KeyEntry]
    """Those everybody knows: no hash would hide them."""


def hash_in_place(path: Path) -> Hashed:
    """Replace the keys that stand in the file by hashes. They keep their ids, and go on working.

    Raises:
        ConfigError: the file is not valid or cannot be written.
    """
    file = load(path)
    scrypts = [entry.hash.scrypt for entry in file.entries if entry.hash.scrypt]
    scrypt = scrypts[0] if scrypts else Scrypt.fresh()
    exposed = [entry.is_plain and not entry.is_dev for entry in file.entries]
    raws = [
        _hashed(raw, entry, scrypt) if is_exposed else raw
        for raw, entry, is_exposed in zip(file.raw, file.entries, exposed, strict=True)
    ]
    if any(exposed):
        _write(file, raws)
    hashed = [entry for entry, is_exposed in zip(file.entries, exposed, strict=True) if is_exposed]
    return Hashed(hashed, [entry for entry in file.entries if entry.is_plain and entry.is_dev])


def _hashed(raw: Raw, entry: KeyEntry, scrypt: Scrypt) -> Raw:
    key = raw["key"]
    kept = entry.hash if OWN_KEY.fullmatch(key) else KeyHash(scrypt(key), scrypt)
    rest = {name: value for name, value in raw.items() if name not in ("id", "key", "key_hash")}
    return {"id": entry.id, "key_hash": str(kept), **rest}


def _write(file: KeyFile, raws: Collection[Raw]) -> KeyFile:
    lines = ",\n".join("  " + json.dumps(raw, ensure_ascii=False) for raw in raws)
    text = f"[\n{lines}\n]\n" if raws else "[]\n"
    written = parse(text, file.path, file.entries)  # what is about to be written is valid, or an error of its author
    try:
        files.replace(file.path, text.encode())
    except OSError as error:
        raise ConfigError(f"{file.path}: cannot be written: {error.strerror}") from None
    return written
