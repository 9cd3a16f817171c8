"""The catalogue on disk, so that lists can be answered before any upstream is up. A cache: losing it costs time only.

Gateways with other files of servers may share it: what is saved of one's own servers leaves that of others, for as long
as it is not too old. All of it but `fingerprint`, `known` and `merged` blocks.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway import blocking, jsonrpc
from gateway.jsonrpc import as_object
from gateway.store import files
from gateway.upstream.listing import Listing

MAX_BYTES: Final = 64 * 1024 * 1024
"""Size of the file."""

DAY: Final = 24 * 3600.0
KEPT_SECONDS: Final = 30 * DAY
"""How long servers are kept that others have saved."""
KEPT_OTHERS: Final = 200

_HEAD: Final = b'{"format":"mcp-gateway catalogue","version":1,"upstreams":{'
_TAIL: Final = b"}}"
_IDENTITY: Final = ("type", "command", "args", "cwd", "url")
_API_IDENTITY: Final = ("document", "operations", "resources", "output")


@dataclass(frozen=True, slots=True)
class Stored:
    """What the snapshot knows of one upstream."""

    fingerprint: str
    """`fingerprint` of the config entry it was taken with. Another one means another server: do not use the listing."""
    listing: Listing | None
    """None: it did not come up, so that the next start need not wait for it."""
    seen: int = 0
    """The day it was last saved, in seconds since 1970."""


class UnreadableSnapshot(msgspec.Struct):
    """As `Stored`, of a server of somebody else's: what it offers stays the bytes it is. To decode a large catalogue
    takes long, and nothing else happens in the process meanwhile."""

    fingerprint: str
    listing: msgspec.Raw
    seen: int = 0


class _File(msgspec.Struct):
    upstreams: dict[str, UnreadableSnapshot]


def fingerprint(entry: Mapping[str, Any], key: bytes = b"") -> str:
    """Hash of what makes a configured server that server: type, command, args, cwd, url, and of an HTTP API where its
    document is and what of it counts. 32 hexadecimal digits.

    Environment and headers stay out, and so do rules: they are secrets, or change what is shown and not what is there.
    `args` and `url` may hold a secret too; with a `key` (at most 64 bytes) that is not stored beside the snapshot, the
    hash cannot even be used to test a guess.
    """
    identity = [entry.get(name) for name in _IDENTITY]
    if api := as_object(entry.get("openapi")):
        identity += [api.get(name) for name in _API_IDENTITY]
    return blake2b(jsonrpc.dumps(identity), digest_size=16, key=key, person=b"mcpgw-snapshot").hexdigest()


def known(stored: Mapping[str, Stored], name: str, fingerprint: str) -> Stored | None:
    """What the snapshot has of a server. Where several have its name, the first has it for its own, and the others'
    fingerprints stand after it."""
    for key in (name, f"{name} {fingerprint}"):
        found = stored.get(key)
        if found is not None and found.fingerprint == fingerprint:
            return found
    return None


def merged(
    stored: Mapping[str, UnreadableSnapshot], own: Mapping[str, Stored], now: float
) -> dict[str, Stored | UnreadableSnapshot]:
    """What is to be saved: one's own servers, by name, and then what others have saved of theirs."""
    result: dict[str, Stored | UnreadableSnapshot] = {}
    for name, each in own.items():
        first = stored.get(name)
        key = name if first is None or first.fingerprint == each.fingerprint else f"{name} {each.fingerprint}"
        before = stored.get(key)
        seen = before.seen if before is not None and 0 <= now - before.seen < DAY else int(now)
        if each.listing is None and before is not None and before.fingerprint == each.fingerprint:
            result[key] = before  # another gateway may have seen it come up
        else:
            result[key] = replace(each, seen=seen)
    recent = [key for key, each in stored.items() if key not in result and each.seen > now - KEPT_SECONDS]
    for key in sorted(recent, key=lambda key: -stored[key].seen)[:KEPT_OTHERS]:
        result[key] = stored[key]
    return result


def load(path: Path) -> tuple[dict[str, Stored], str | None]:
    """What was saved, by upstream, and a warning when the file is there but cannot be used (it is then as if empty)."""
    try:
        data = blocking.read(path, MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            return {}, f"{path} is larger than {MAX_BYTES} bytes; ignored."
        return _parse(data), None
    except FileNotFoundError:
        return {}, None
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror}); ignored."
    except (ValueError, RecursionError):
        return {}, f"{path} is not a catalogue snapshot of this version; ignored."


def save(path: Path, upstreams: Mapping[str, Stored]) -> str | None:
    """Replace the file in one step, readable by its owner only; what stands first is saved first, if not all can be.
    Returns a warning when it could not, or not wholly."""
    try:
        return _save(path, upstreams)
    except OSError as error:
        return unwritable(path, error)


def update(path: Path, own: Mapping[str, Stored], now: float, *, alone: bool = False) -> str | None:
    """Save one's own servers, and leave those of others as they are. Returns a warning when that could not be wholly.

    Args:
        alone: whether to leave out those of others, because they could not be read.

    Raises:
        OSError: it cannot be written.
    """
    with files.locked(path):
        return _save(path, merged({} if alone else _unread(path), own, now))


def _unread(path: Path) -> dict[str, UnreadableSnapshot]:
    """What was saved, as far as it can be used."""
    try:
        data = blocking.read(path, MAX_BYTES)
        return msgspec.json.decode(data, type=_File).upstreams if data.startswith(_HEAD) else {}
    except (OSError, ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return {}


def unwritable(path: Path, error: OSError) -> str:
    """A warning."""
    return f"{path} cannot be written ({error.strerror}); the next start will be slower."


def _save(path: Path, upstreams: Mapping[str, Stored] | Mapping[str, Stored | UnreadableSnapshot]) -> str | None:
    parts: list[bytes] = []
    left_out: list[str] = []
    size = len(_HEAD) + len(_TAIL)
    for name, stored in upstreams.items():
        part = _encode(name, stored)
        if part is None or size + len(part) > MAX_BYTES:
            left_out.append(name)
        else:
            parts.append(part)
            size += len(part) + len(b",")
    _replace(path, _HEAD + b",".join(parts) + _TAIL)
    return f"Too large or too deep for {path}, left out: {', '.join(left_out)}." if left_out else None


def encode(stored: Stored) -> bytes | None:
    """One upstream's, by itself; None if it is nested too deeply, and the catalogue leaves such items out as well."""
    known = stored.listing
    listing = {field.name: getattr(known, field.name) for field in fields(Listing)} if known is not None else None
    try:
        return jsonrpc.dumps({"fingerprint": stored.fingerprint, "seen": stored.seen, "listing": listing})
    except (ValueError, RecursionError):
        return None


def decode(data: bytes) -> Stored:
    """What `encode` made.

    Raises:
        ValueError, RecursionError: it is something else.
    """
    return _stored(_of(dict, jsonrpc.loads(data, len(data))))


def _encode(name: str, stored: Stored | UnreadableSnapshot) -> bytes | None:
    entry = msgspec.json.encode(stored) if isinstance(stored, UnreadableSnapshot) else encode(stored)
    return jsonrpc.dumps(name) + b":" + entry if entry is not None else None


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # creates it with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _parse(data: bytes) -> dict[str, Stored]:
    if not data.startswith(_HEAD):
        raise ValueError("foreign, or of another version")
    upstreams = _of(dict, jsonrpc.loads(data, len(data))["upstreams"])
    return {name: _stored(_of(dict, entry)) for name, entry in upstreams.items()}


def _stored(entry: dict[str, Any]) -> Stored:
    raw = _of(dict | None, entry.get("listing", "missing"))
    return Stored(
        fingerprint=_of(str, entry.get("fingerprint")),
        listing=_listing(raw) if raw is not None else None,
        seen=_of(int, entry.get("seen", 0)),
    )


def _listing(raw: dict[str, Any]) -> Listing:
    unknown = [_of(str, kind) for kind in _of(list, raw.get("unknown", []))]
    if "skills" not in raw:  # saved by a gateway that did not know them
        unknown.append("skills")
    return Listing(
        tools=_items(raw.get("tools")),
        resources=_items(raw.get("resources")),
        templates=_items(raw.get("templates")),
        prompts=_items(raw.get("prompts")),
        skills=_items(raw.get("skills", [])),
        capabilities=_of(dict, raw.get("capabilities")),
        server_info=_of(dict, raw.get("server_info")),
        instructions=_of(str | None, raw.get("instructions")),
        version=_of(str, raw.get("version")),
        ttl_ms=_of(int | None, raw.get("ttl_ms")),
        private=_of(bool, raw.get("private")),
        unknown=tuple(unknown),
        variants={label: _variation(_of(dict, each)) for label, each in _of(dict, raw.get("variants", {})).items()},
        label=_of(str, raw.get("label", "")),
    )


def _variation(raw: dict[str, Any]) -> dict[str, tuple[dict[str, Any], ...]]:
    return {kind: _items(raw[kind]) for kind in ("tools", "resources", "templates", "prompts", "skills") if kind in raw}


def _items(value: object) -> tuple[dict[str, Any], ...]:
    return tuple(_of(dict, item) for item in _of(list, value))


def _of(kind: Any, value: object) -> Any:
    if not isinstance(value, kind):
        raise ValueError("not what was saved")
    return value
