"""`pins.json`: the definitions of all upstreams' items, as first seen or since approved. All of it blocks.

The file is made to be read, compared and kept under version control: sorted, a line for each member of an item's
fields, and plain ASCII, so that no character in it is invisible. It cannot be lost by half: what cannot be read is
never written over. Several gateways may share it: each change is made to what it says by then, the others kept out.

The pins of a server stand under its name. Another server that has the same name, in another file or since the entry was
changed, has pins of its own, under the name and the hash of its definition.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from gateway import blocking, jsonrpc
from gateway.errors import ConfigError
from gateway.store import files

NAME: Final = "pins.json"
"""In `state_dir`."""
MAX_BYTES: Final = 256 * 1024 * 1024
"""Size of the file."""
MAX_UPSTREAM_BYTES: Final = 8 * 1024 * 1024
"""Of one upstream's definitions as JSON, so that none takes the room of the others. In the file they are at most some
three times as large, for other alphabets are written as escapes."""

_FORMAT: Final = "mcp-gateway pins"
_VERSION: Final = 1
_LEVELS: Final = 6
"""Down to the members of an item's fields."""
_INSTRUCTIONS: Final = "instructions"
_SERVER: Final = "server"
_VARIANTS: Final = "variants"
_LABEL: Final = "label"
"""Stand beside the lists, which have other names."""

Definitions = dict[str, dict[str, Any]]
"""Name or URI → the item, as its upstream sent it."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What is pinned of one upstream."""

    items: Mapping[str, Definitions] = field(default_factory=dict[str, Definitions])
    """By kind (`tools`, …). A kind that is not there could not be listed yet."""
    instructions: str | None = None
    server: str | None = None
    """Hash of the server's definition; None for pins of a time when the name alone counted: they are those of the first
    server of that name that is seen."""
    variants: Mapping[str, Mapping[str, Definitions]] = field(default_factory=dict[str, dict[str, Definitions]])
    """Label of clients (`gateway.upstream.variants`) → by kind, what is pinned for them alone. A label that stands here
    was seen."""
    label: str = ""
    """That of the one client for which `items` were listed; empty if they were for all."""


def key(pins: Mapping[str, Pins], name: str, server: str | None) -> str:
    """Under which key the pins of a server stand, or would.

    Args:
        server: hash of its definition.
    """
    first = pins.get(name)
    is_its_own = first is None or server is None or first.server in (None, server)
    return name if is_its_own else f"{name} {server}"


def find(pins: Mapping[str, Pins], name: str, server: str, names: Collection[str]) -> Pins | None:
    """The pins of a server. If it has none, those of the same server under a name that is no longer in use.

    Args:
        server: hash of its definition.
        names: those in use.
    """
    found = pins.get(key(pins, name, server))
    if found is not None:
        return found
    same = {other.removesuffix(f" {server}"): each for other, each in pins.items() if each.server == server}
    return next((each for other, each in same.items() if other not in names), None)


def joined(first: Mapping[str, Pins], second: Mapping[str, Pins]) -> dict[str, Pins]:
    """The pins of both; of a list that both have pinned, the first's."""
    pins = dict(first)
    for name, added in second.items():
        where = key(pins, name.removesuffix(f" {added.server}"), added.server)
        known = pins.get(where)
        pins[where] = added if known is None else _both(known, added)
    return pins


def _both(first: Pins, second: Pins) -> Pins:
    items, variants = {**second.items, **first.items}, {**second.variants, **first.variants}
    return Pins(items, first.instructions, first.server or second.server, variants, first.label)


def size(pins: Pins) -> int:
    """Bytes of the definitions as JSON."""
    return len(jsonrpc.dumps([pins.items, pins.instructions, pins.variants]))


def load(path: Path) -> dict[str, Pins]:
    """All pins, by upstream; none when there is no file.

    Raises:
        ConfigError: the file cannot be used.
    """
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


def update(path: Path, change: Callable[[dict[str, Pins]], dict[str, Pins]]) -> dict[str, Pins]:
    """Read the file, change what it says, and replace it in one step; returns what it says now.

    Raises:
        ConfigError: the file cannot be used, or not be written.
    """
    try:
        with files.locked(path):
            before = load(path)
            after = change(dict(before))
            data = _encode(after)
            if len(data) > MAX_BYTES:
                raise ConfigError(f"{path}: what is to be pinned is larger than {MAX_BYTES} bytes.")
            if data != _encode(before):  # to Python, 1 and true would be equal
                files.replace(path, data)
            return after
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def add(path: Path, pins: Mapping[str, Pins]) -> None:
    """Have the file say these too, where it says nothing yet.

    Raises:
        ConfigError: the file cannot be used, or not be written.
    """
    update(path, lambda stored: joined(stored, pins))


_NOT_ASCII: Final = re.compile(r"[^ -~]+")
"""What a reader of the file might not see."""


def _unusable(path: Path, reason: str) -> str:
    return (
        f"{path}: the pinned definitions cannot be read: {reason}. Restore the file; or delete it, and what the "
        "servers offer then is pinned anew, unseen."
    )


def _encode(pins: Mapping[str, Pins]) -> bytes:
    upstreams = {name: document(each) for name, each in pins.items()}
    whole = {"format": _FORMAT, "version": _VERSION, "upstreams": upstreams}
    return _text(whole, _LEVELS).encode() + b"\n"


def document(pins: Pins) -> dict[str, Any]:
    """As it is written down."""
    main = {**pins.items, _INSTRUCTIONS: pins.instructions}
    rest = {_SERVER: pins.server, _VARIANTS: pins.variants, _LABEL: pins.label}
    return main | {name: value for name, value in rest.items() if value}


def _text(value: Any, levels: int, margin: str = "") -> str:
    """Indented so many levels deep and no deeper: what hostile upstreams nest would become a hundred times as long."""
    if not levels or not value or not isinstance(value, dict):
        text = jsonrpc.dumps(value, sort_keys=True).decode()
        return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    inner = margin + "  "
    members = cast("dict[str, Any]", value)
    lines = (f"{inner}{json.dumps(key)}: {_text(members[key], levels - 1, inner)}" for key in sorted(members))
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def _parse(data: bytes) -> dict[str, Pins]:
    whole = jsonrpc.loads(data, len(data))
    if whole["format"] != _FORMAT or whole["version"] != _VERSION:
        raise ValueError("foreign, or of another version")
    return {name: _pins(**upstream) for name, upstream in whole["upstreams"].items()}


def from_document(document: dict[str, Any]) -> Pins:
    """What `document` made.

    Raises:
        ValueError, TypeError: it is something else.
    """
    return _pins(**document)


def _pins(
    *,
    instructions: str | None,
    server: str | None = None,
    variants: Mapping[str, Mapping[str, Definitions]] | None = None,
    label: str = "",
    **items: Definitions,
) -> Pins:
    variants = variants or {}
    definitions = [each for some in (items, *variants.values()) for kind in some.values() for each in kind.values()]
    are_texts = all(isinstance(each, str | None) for each in (instructions, server, label))  # pyright: ignore[reportUnnecessaryIsInstance]
    if not are_texts or not all(isinstance(each, dict) for each in definitions):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError("not what was saved")
    return Pins(items, instructions, server, variants, label)
