"""Finds the servers in a file, whichever client it was written for, and puts each entry into our own words.

Nothing is judged here but what only the spelling can get wrong: two names for one key, or a server named twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from gateway.config.reading.problems import Problems, closest, dotted, line_at, name_fault
from gateway.config.reading.source import ConfigDocument, Place, mapping, sequence

ROOTS: Final = ("servers", "mcpServers")

ALIASES: Final[Mapping[str, Place]] = {
    "transport": ("type",),
    "transportType": ("type",),
    "httpUrl": ("url",),
    "serverUrl": ("url",),
    "envFile": ("env_file",),
    "enabled": ("disabled",),
    "timeout_seconds": ("timeout",),
    "includeTools": ("tools", "allow"),
    "excludeTools": ("tools", "deny"),
    "disabledTools": ("tools", "deny"),
    "upstream_token": ("headers", "Authorization"),
    "oauth": ("auth",),
}
"""A client's key in a server entry → where its value belongs."""

FOREIGN: Final = frozenset(
    {
        "alwaysAllow",
        "alwaysLoad",
        "authProviderType",
        "autoApprove",
        "dev",
        "disableAutoApprove",
        "gallery",
        "headersHelper",
        "icon",
        "id",
        "inputs",
        "metadata",
        "name",
        "sandbox",
        "sandboxEnabled",
        "scopes",
        "targetAudience",
        "targetServiceAccount",
        "trust",
        "version",
        "watchPaths",
    }
)
"""Keys of a server entry that mean something to some client and nothing to a gateway."""

_SILENT_ROOTS: Final = frozenset({*ROOTS, "gateway", "profiles", "$schema"})
_YES: Final = frozenset({"true", "yes", "on", "1", "t", "y"})
_NO: Final = frozenset({"false", "no", "off", "0", "f", "n"})


@dataclass(slots=True)
class ServerEntry:
    """One server as it stands in a file."""

    name: str
    document: ConfigDocument
    place: Place
    values: dict[str, Any]
    """Ours: canonical keys, once `canonical` has run."""
    written: dict[Place, Place] = field(default_factory=dict[Place, Place])
    """Where a canonical place was written under another name, relative to `place`."""

    @property
    def about(self) -> str:
        """How messages name it."""
        return f"server {self.name!r}"

    def origin(self, place: Place) -> Place:
        """Where, in the document, the value at a canonical place was written."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.written:
                return (*self.place, *self.written[place[:length]], *place[length:])
        return (*self.place, *place)

    def label(self, place: Place) -> str:
        """The field as its author wrote it."""
        return dotted(self.origin(place)[len(self.place) :])


def find(
    document: ConfigDocument, problems: Problems, warnings: list[str], *, required: bool = True
) -> list[ServerEntry]:
    """Every server entry of a file, in its order; `required` says whether the absence of both roots is a problem."""
    if sequence(document.data) is not None:
        return _without_slashes(list(_from_list(document, (), problems)), warnings)
    keys = mapping(document.data)
    if keys is None:
        what = "is empty" if document.data is None else "is not a mapping"
        problems.add(document, (), f"{what}; begin with `servers:`, and the servers' names below it")
        return []
    _look_at_roots(document, keys, problems, warnings, required)
    found = [entry for root in keys if root in ROOTS for entry in _from_root(document, root, problems)]
    return _without_slashes(found, warnings)


def _without_slashes(found: list[ServerEntry], warnings: list[str]) -> list[ServerEntry]:
    """With names that can stand in a URL: galleries of servers write `com.example/server`."""
    taken = {entry.name for entry in found}
    for entry in found:
        if "/" in entry.name:
            wanted = entry.name.replace("/", "-").strip("-") or "server"
            name = next(
                name for number in count(1) if (name := wanted if number == 1 else f"{wanted}-{number}") not in taken
            )
            taken.add(name)
            what = f"is called {name!r} here, for a name cannot contain a slash"
            warnings.append(line_at(entry.document, entry.place, entry.about, what))
            entry.name = name
    return found


def _look_at_roots(
    document: ConfigDocument, keys: dict[str, Any], problems: Problems, warnings: list[str], required: bool
) -> None:
    strangers = [key for key in keys if key not in _SILENT_ROOTS and not key.startswith("x-")]
    if required and not any(root in keys for root in ROOTS):
        for key in strangers:
            if meant := closest(key, ROOTS):
                problems.add(document, (key,), key, f"unknown key; did you mean {meant!r}?")
                return
        found = f"; it has {', '.join(strangers[:5])}" if strangers else ""
        problems.add(document, (), f"has neither `servers` nor `mcpServers`{found}")
        return
    for key in strangers:
        meant = closest(key, _SILENT_ROOTS)
        hint = f"; did you mean {meant!r}?" if meant else ""
        warnings.append(line_at(document, (key,), key, f"ignored, not a key of ours{hint}"))


def _from_root(document: ConfigDocument, root: str, problems: Problems) -> Iterator[ServerEntry]:
    servers = document.data[root]
    if sequence(servers) is not None:
        yield from _from_list(document, (root,), problems)
    elif (named := mapping(servers)) is not None:
        for name, values in named.items():
            yield from _entry(document, (root, name), name, values, problems)
    elif servers is not None:
        problems.add(document, (root,), root, "must be a mapping of names to servers")


def _from_list(document: ConfigDocument, place: Place, problems: Problems) -> Iterator[ServerEntry]:
    for index, item in enumerate(document.written(place)):
        here = (*place, index)
        values = mapping(item) or {}
        name = values.get("name")
        if isinstance(name, str):
            rest = {key: value for key, value in values.items() if key != "name"}
            yield from _entry(document, here, name, rest, problems)
        else:
            problems.add(document, here, dotted(here), "must be a mapping with a `name`")


def _entry(document: ConfigDocument, place: Place, name: str, given: Any, problems: Problems) -> Iterator[ServerEntry]:
    about, values = f"server {name!r}", mapping(given)
    if fault := name_fault(name.replace("/", "-")):
        problems.add(document, place, about, fault)
    elif values is None:
        problems.add(document, place, about, "must be a mapping with `command` or `url`")
    else:
        yield ServerEntry(name, document, place, values)


def drop_foreign(entry: ServerEntry, warnings: list[str]) -> None:
    """Forget keys without a value, and those that only other clients know; the latter with a warning."""
    kept: dict[str, Any] = {}
    for key, value in entry.values.items():
        if key in FOREIGN:
            warnings.append(
                line_at(entry.document, (*entry.place, key), entry.about, key, "ignored, another client's key")
            )
        elif value is not None:
            kept[key] = value
    entry.values = kept


def canonical(entry: ServerEntry, problems: Problems) -> None:
    """Move every value of `entry` to where our own keys have it, remembering where it was written."""
    given, entry.values = entry.values, {}
    nested = {key: place for key, place in ALIASES.items() if len(place) == 2 and key in given}
    for key, value in given.items():
        target = str(ALIASES.get(key, (key,))[0])
        if key in nested:
            continue
        if target in entry.values:
            _says_it_twice(entry, key, (target,), problems)
            continue
        entry.values[target] = _negated(value) if key == "enabled" else value
        if key != target:
            entry.written[target,] = (key,)
    if (allowed := sequence(entry.values.get("tools"))) is not None:
        entry.values["tools"] = {"allow": allowed}
        entry.written["tools", "allow"] = ("tools",)
    for key, (outer, inner) in nested.items():
        _nest(entry, key, str(outer), str(inner), given[key], problems)


def _nest(entry: ServerEntry, key: str, outer: str, inner: str, value: Any, problems: Problems) -> None:
    group = mapping(entry.values.get(outer, {}))
    if group is None:
        return  # whatever stands there instead, validation will object to it; so below
    if key == "upstream_token":
        value = _bearer(value)
    taken = next((name for name in group if name.lower() == inner.lower()), None)
    if taken and outer == "headers":
        _says_it_twice(entry, key, (outer, taken), problems)
        return
    if taken:
        before, after = sequence(group[taken]), sequence(value)
        if before is None:
            return
        value = value if after is None else [*before, *after]
    entry.values[outer] = {**group, inner: value}
    entry.written[outer, inner] = (key,)


def _says_it_twice(entry: ServerEntry, key: str, place: Place, problems: Problems) -> None:
    what = f"says the same as `{entry.label(place)}`; keep one"
    problems.add(entry.document, (*entry.place, key), entry.about, key, what)


def _bearer(token: Any) -> Any:
    return type(token)(f"Bearer {token}") if isinstance(token, str) else token  # an `Unset` stays one


def _negated(value: Any) -> Any:
    word = str(value).lower()
    return word in _NO if word in _YES | _NO else value


def is_disabled(entry: ServerEntry) -> bool:
    """Whether a canonical entry says so; nonsense does not."""
    return str(entry.values.get("disabled")).lower() in _YES


def is_written_disabled(entry: ServerEntry) -> bool:
    """The same, of an entry as it stands in its file, before anything is expanded."""
    disabled, enabled = (str(entry.values.get(key)).lower() for key in ("disabled", "enabled"))
    return disabled in _YES or enabled in _NO
