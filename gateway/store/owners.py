"""`owners.json`: which URIs are whose to use bare, so that it is noticed when that changes. All of it but `inherited`
and `merged` blocks.

It is kept for each file of servers by itself, whose order decides: what one gateway is told to do must not change the
routes of another. Several gateways of one file share what is kept; each change is made to what the file says by then.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

from gateway import blocking, jsonrpc
from gateway.errors import ConfigError
from gateway.store import files

NAME: Final = "owners.json"
"""In `state_dir`."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Size of the file."""
MAX_CONFIGURATIONS: Final = 50
"""Those used last are kept."""
MAX_SERVERS: Final = 500
"""Of one configuration."""
MAX_SERVER_CHARACTERS: Final = 4 * 1024 * 1024
"""Of one server's URIs; those beyond are not remembered."""

_FORMAT: Final = "mcp-gateway owners"
_VERSION: Final = 1

Items = frozenset[tuple[str, str]]
"""`(kind, URI or template)`; the kind is `resources` or `templates`."""


@dataclass(frozen=True, slots=True)
class OwnershipRecord:
    """One server's URIs and templates. Servers are known by `key`."""

    owned: Items = frozenset()
    """What is its own to use bare."""
    shadowed: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """What is not → whose it is instead."""
    awaited: frozenset[str] = frozenset()
    """Who stood before it from the start and was not seen yet: when they come up, they take nothing over."""


Records = dict[str, OwnershipRecord]


def key(name: str, definition: str) -> str:
    """What a server is known by.

    Args:
        definition: hash of it.
    """
    return f"{name} {definition}"


def name_of(key: str) -> str:
    return key.rpartition(" ")[0]


def _definition(key: str) -> str:
    return key.rpartition(" ")[2]


def inherited(records: Mapping[str, OwnershipRecord], keys: Collection[str]) -> Records:
    """The records for servers of these keys: one that was only renamed goes on with what it had."""
    names = {name_of(each) for each in keys}
    unused = {_definition(each): each for each in records if name_of(each) not in names}
    new = {unused[_definition(each)]: each for each in keys if each not in records and _definition(each) in unused}
    return {
        new.get(each, each): replace(
            record,
            shadowed={item: new.get(other, other) for item, other in record.shadowed.items()},
            awaited=frozenset(new.get(other, other) for other in record.awaited),
        )
        for each, record in records.items()
    }


def approved(
    own: Mapping[str, OwnershipRecord], stored: Mapping[str, OwnershipRecord], waiting: Mapping[str, Items]
) -> Records:
    """One's own records, with what was approved meanwhile.

    Args:
        stored: what the file says.
        waiting: key → what must not be taken over by that server until somebody has approved it.
    """
    records = dict(own)
    for each, items in waiting.items():
        there = stored.get(each, OwnershipRecord())
        accepted = items & there.owned - there.shadowed.keys()
        if accepted and each in own:
            rest = {item: other for item, other in own[each].shadowed.items() if item not in accepted}
            records[each] = replace(own[each], owned=own[each].owned | accepted, shadowed=rest)
    return records


def load(path: Path, configuration: str) -> Records:
    """What is remembered of a configuration's servers; of one that is new, or was moved, what is of the one saved last.

    Raises:
        ConfigError: the file cannot be used.
    """
    return _latest(_load(path), configuration)


def update(path: Path, configuration: str, change: Callable[[Records], Records], now: float | None = None) -> Records:
    """Read the file, change what it says of a configuration, and replace it in one step; returns what it says now.

    Raises:
        ConfigError: the file cannot be used, or not be written.
    """
    try:
        with files.locked(path):
            everything = _load(path)
            stored = _latest(everything, configuration)
            before = everything.pop(configuration, None)
            after = change(stored)
            kept = {**after, **{each: record for each, record in stored.items() if each not in after}}
            kept = {each: kept[each] for each in list(kept)[:MAX_SERVERS]}
            if before is None or before[1] != kept:
                now = time.time() if now is None else now
                files.replace(path, _encode({configuration: (int(now), kept), **everything}))
            return kept
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def _latest(everything: Mapping[str, tuple[int, Records]], configuration: str) -> Records:
    if configuration in everything:
        return everything[configuration][1]
    return next((records for _, records in everything.values()), Records())


def _load(path: Path) -> dict[str, tuple[int, Records]]:
    """The one saved last first."""
    try:
        data = blocking.read(path, MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(_unusable(path, f"larger than {MAX_BYTES} bytes"))
        return _parse(data)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(_unusable(path, error.strerror or str(error))) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ConfigError(_unusable(path, "not what was saved")) from None


def _unusable(path: Path, reason: str) -> str:
    return (
        f"{path}: who owned which URI cannot be read: {reason}. Restore the file; or delete it, and URIs are whose the "
        "order of the servers says."
    )


def _encode(everything: Mapping[str, tuple[int, Records]]) -> bytes:
    latest = sorted(everything.items(), key=lambda each: -each[1][0])[:MAX_CONFIGURATIONS]
    configurations = {
        name: {"saved": saved, "servers": {each: _document(record) for each, record in records.items()}}
        for name, (saved, records) in latest
    }
    return jsonrpc.dumps({"format": _FORMAT, "version": _VERSION, "configurations": configurations})


def _document(record: OwnershipRecord) -> dict[str, Any]:
    left = MAX_SERVER_CHARACTERS
    owned: dict[str, list[str]] = {}
    for kind, text in sorted(record.owned, key=lambda each: (each[0] != "templates", each[1])):
        left -= len(text)
        if left >= 0:
            owned.setdefault(kind, []).append(text)
    shadowed: dict[str, dict[str, str]] = {}
    for (kind, text), other in sorted(record.shadowed.items()):
        left -= len(text)
        if left >= 0:
            shadowed.setdefault(kind, {})[text] = other
    return {"owned": owned, "shadowed": shadowed, "awaited": sorted(record.awaited)}


def _parse(data: bytes) -> dict[str, tuple[int, Records]]:
    document = jsonrpc.loads(data, len(data))
    if document["format"] != _FORMAT or document["version"] != _VERSION:
        raise ValueError("foreign, or of another version")
    everything = {
        name: (int(each["saved"]), {key: _record(record) for key, record in each["servers"].items()})
        for name, each in document["configurations"].items()
    }
    return dict(sorted(everything.items(), key=lambda each: -each[1][0]))


def _record(raw: dict[str, Any]) -> OwnershipRecord:
    owned, shadowed = raw["owned"], raw["shadowed"]
    record = OwnershipRecord(
        frozenset((kind, text) for kind, texts in owned.items() for text in texts),
        {(kind, text): other for kind, texts in shadowed.items() for text, other in texts.items()},
        frozenset(raw["awaited"]),
    )
    words = cast("list[object]", [*(text for _, text in record.owned), *record.shadowed.values(), *record.awaited])
    if not all(isinstance(word, str) for word in words):
        raise ValueError("not what was saved")
    return record
