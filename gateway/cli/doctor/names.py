"""What can be said about public names before any server is asked: from the file, and from the snapshot of last time."""

from collections.abc import Iterator
from typing import Final

from gateway.catalogue.naming import SEPARATOR, public_names, public_prefix
from gateway.cli.doctor.memory import remembered
from gateway.cli.doctor.shadows import shadows
from gateway.config.models import Config, ServerConfig
from gateway.config.reading import entries
from gateway.config.reading.entries import ServerEntry
from gateway.config.reading.problems import Problems, line_at
from gateway.config.reading.source import Place, read
from gateway.spelling import offers

_EVERYTHING: Final = ["*"]


def remarks(config: Config) -> list[str]:
    """One line each, with file and line."""
    known = remembered(config)
    shadowed: dict[str, list[Remark]] = {}
    for name, text in shadows(config, known):
        shadowed.setdefault(name, []).append(((), text))
    found: list[str] = []
    for entry in _entries(config):
        server = config.enabled.get(entry.name)
        if server is None:
            continue
        listing = known.get(entry.name)
        tools = [str(tool.get("name")) for tool in listing.tools] if listing is not None else None
        about = [
            *_prefix(entry, config),
            *_renames(entry, server, config),
            *_rules(server, tools),
            *shadowed.get(entry.name, ()),
        ]
        found += [line_at(entry.document, entry.origin(place), entry.about, *what) for place, *what in about]
    return found


Remark = tuple[Place, str] | tuple[Place, str, str]
"""Where in the entry, the field if there is one, and what to say."""


def _entries(config: Config) -> Iterator[ServerEntry]:
    """The entries as they stand in the files: a `Config` does not remember its lines."""
    paths = [config.path]
    if config.gateway.upstream_config_file is not None:
        paths.append(config.gateway.upstream_config_file)
    for path in dict.fromkeys(path.absolute() for path in paths):
        for entry in entries.find(read(path), Problems(), [], required=False):
            entries.canonical(entry, Problems())
            yield entry


def _prefix(entry: ServerEntry, config: Config) -> Iterator[Remark]:
    prefix = public_prefix(entry.name)
    if config.prefix == "upstream" and prefix != entry.name:
        yield (
            (),
            f"agents see its tools as {prefix}{SEPARATOR}…; for names without a hash call it by at most 32 letters, "
            "digits, hyphens and single underscores",
        )


def _renames(entry: ServerEntry, server: ServerConfig, config: Config) -> Iterator[Remark]:
    """Where a tool is renamed to something that agents do not accept, or two tools to the same."""
    renames = server.tools.rename
    prefixed = config.prefix == "upstream"
    published = public_names(entry.name if prefixed else None, renames, renames)
    head = public_prefix(entry.name) + SEPARATOR if prefixed else ""
    for tool, wanted in renames.items():
        if published[tool] != head + wanted:
            place = ("tools", "rename", tool)
            yield place, entry.label(place), f"agents will see {published[tool]}; {_why(tool, wanted, server)}"


def _why(tool: str, wanted: str, server: ServerConfig) -> str:
    if any(other != tool and name == wanted for other, name in server.tools.rename.items()):
        return "another tool is renamed to the same"
    return "agents accept at most 64 letters, digits, hyphens and underscores, the prefix included"


def _rules(server: ServerConfig, tools: list[str] | None) -> Iterator[Remark]:
    """Rules without effect. `tools` are those the server had when last seen."""
    rules = server.tools
    if not rules.allow:
        yield ("tools", "allow"), "tools.allow", "is empty: none of its tools is offered"
    for group in ("rename", "describe"):
        for tool in getattr(rules, group):
            if not server.offers(tool):
                yield ("tools", group, tool), f"tools.{group}.{tool}", "has no effect: allow and deny hide this tool"
            elif tools is not None and tool not in tools:
                yield ("tools", group, tool), f"tools.{group}.{tool}", _unseen("tool of that name", tools)
    for group in ("allow", "deny"):
        for index, glob in enumerate(getattr(rules, group)):
            if (
                tools is not None
                and glob not in _EVERYTHING
                and not any(_matches(server, glob, tool) for tool in tools)
            ):
                yield ("tools", group, index), f"tools.{group}", f"{glob!r}: " + _unseen("tool like that", tools)


def _matches(server: ServerConfig, glob: str, tool: str) -> bool:
    return offers(tool, [glob], [], words=server.openapi is not None)


def _unseen(what: str, tools: list[str]) -> str:
    known = ", ".join(sorted(tools)[:8]) + (", …" if len(tools) > 8 else "")
    return f"the server had no {what} when last seen; it had {known or 'none'}"
