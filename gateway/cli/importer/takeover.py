"""Decides which of another client's servers are taken over, under which names, and in which form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.cli.importer.foreign import Foreign
from gateway.cli.importer.withhold import SecretExtractor, Variable, exposed
from gateway.config.reading.source import mapping

_OWN_NAME: Final = re.compile(r"mcp-gateway(\.exe)?(@.*)?")
_RUNNERS: Final = frozenset({"uv", "uvx", "pipx"})
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(slots=True)
class Takeover:
    """What is to be written, and what to tell about it."""

    added: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    skipped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Name → why."""
    faulty: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    withheld: list[Variable] = field(default_factory=list[Variable])
    prompts: dict[str, str] = field(default_factory=dict[str, str])
    """Variable → what the client used to ask for."""


def decide(
    servers: list[Foreign],
    existing: Mapping[str, Any],
    port: int,
    known: Mapping[str, str] | None = None,
    *,
    rename: bool,
    keep_secrets: bool,
) -> Takeover:
    """
    Args:
        existing: the entries that are there already, as written.
        port: where this gateway listens.
        known: variables that are set already.
        rename: whether a name that is taken gets a number rather than being left out.
    """
    result, extractor = Takeover(), SecretExtractor(known)
    for server in servers:
        name, values = server.name, server.values
        if is_own(values, port):
            result.skipped.append((name, "is this gateway itself"))
            continue
        if server.fault:
            result.faulty.append((name, server.fault))
            continue
        variables: list[Variable] = []
        if not keep_secrets:
            values, variables = extractor.apply(name, values)
        taken = {**existing, **result.added}
        if name in taken:
            if _plain(taken[name]) == _plain(values):
                result.skipped.append((name, "is there already, just so"))
                continue
            if not rename:
                result.skipped.append((name, "another server has that name; --rename adds it under a new one"))
                continue
            name = next(new for number in count(2) if (new := f"{server.name}-{number}") not in taken)
            result.notes.append((name, f"was called {server.name!r}, a name that is taken"))
        result.added[name] = values
        result.withheld += variables
        result.prompts |= server.prompts
        result.notes += [(name, note) for note in dict.fromkeys(server.notes)]
        result.notes += [(name, f"`{key}` seems to hold a secret, and is as it was") for key in exposed(values)]
    return result


def is_own(values: Mapping[str, Any], port: int) -> bool:
    """Whether an entry starts or reaches this gateway."""
    words = [str(values.get("command") or ""), *map(str, values.get("args") or [])]
    program, is_run = re.split(r"[/\\]", words[0])[-1], ("-m", "gateway") in pairwise(words)
    is_run_by_tool = program in _RUNNERS and any(_OWN_NAME.fullmatch(word) for word in words[1:])
    if _OWN_NAME.fullmatch(program) or is_run or is_run_by_tool:
        return True
    return any(_is_own_url(word, port) for word in (str(values.get("url") or ""), *words))


def _is_own_url(url: str, port: int) -> bool:
    try:
        parts = urlsplit(url)
        return parts.hostname in _LOOPBACK and parts.port == port and parts.path.startswith(("/mcp", "/sse"))
    except ValueError:
        return False


def _plain(value: Any) -> Any:
    """For comparison: `true` is "true", wherever it stands."""
    if (items := mapping(value)) is not None:
        return {key: _plain(item) for key, item in items.items()}
    return "true" if value is True else "false" if value is False else value
