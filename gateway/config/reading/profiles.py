"""Reads `profiles:` of a file, and says what in it leads nowhere."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from gateway.config.models import ProfileConfig
from gateway.config.reading.entries import ServerEntry
from gateway.config.reading.problems import Problems, closest, details, dotted, explain, line_at, name_fault
from gateway.config.reading.source import ConfigDocument, Place, mapping

ROOT: Final = "profiles"
_WILD: Final = frozenset("*?[")


def read(
    document: ConfigDocument, values: Mapping[str, Any], servers: Iterable[ServerEntry], problems: Problems
) -> dict[str, ProfileConfig]:
    """
    Args:
        values: the block, expanded.
        servers: all there are, disabled ones too: profiles and servers share one name space.
    """
    taken = {entry.name: entry for entry in servers}
    found: dict[str, ProfileConfig] = {}
    for name, given in values.items():
        about, place = f"profile {name!r}", (ROOT, name)
        if fault := name_fault(name):
            problems.add(document, place, about, fault)
        if (entry := taken.get(name)) is not None:
            where = line_at(entry.document, entry.place).removesuffix(": ")
            problems.add(document, place, about, f"is the name of a server too ({where}); both would be at /mcp/{name}")
        if mapping(given) is None and given is not None:
            problems.add(document, place, about, "must be a mapping such as {servers: [NAME]}")
            continue
        try:
            profile = found[name] = ProfileConfig.model_validate(given or {})
        except ValidationError as error:
            for each in details(error):
                inner = tuple(each["loc"])
                what = explain(each, ProfileConfig, document.written((*place, *inner)))
                problems.add(document, (*place, *inner), about, dotted(inner), what)
            continue
        for index, server in enumerate(profile.servers):
            if server not in taken and not _WILD & {*server}:
                what = f"there is no server {server!r}"
                hint = f"; did you mean {meant!r}?" if (meant := closest(server, taken)) else ""
                inner: Place = ("servers", index)
                problems.add(document, (*place, *inner), about, dotted(inner), what + hint)
    return found
