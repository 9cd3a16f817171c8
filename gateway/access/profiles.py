"""What of the catalogue a profile has: servers, and globs over public names and URIs. Pure.

A profile only takes away: whoever sees something through it may see it anyway. How it is shown there is another matter
(`catalogue.shapes`).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from gateway.catalogue.intake import Kind

ALL = ("*",)


@dataclass(frozen=True, slots=True)
class Globs:
    """What is to match."""

    allow: tuple[str, ...] = ALL
    deny: tuple[str, ...] = ()

    def admit(self, name: str) -> bool:
        return _matches(name, self.allow) and not _matches(name, self.deny)


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile of the configuration."""

    name: str
    servers: tuple[str, ...] = ALL
    tools: Globs = field(default_factory=Globs)
    prompts: Globs = field(default_factory=Globs)
    resources: Globs = field(default_factory=Globs)

    def has_server(self, upstream: str) -> bool:
        return _matches(upstream, self.servers)

    def admits(self, kind: Kind | None, upstream: str, names: Collection[str]) -> bool:
        """Whether it has an item of that kind, by all the names that it is known by; with None, of any kind."""
        if not self.has_server(upstream):
            return False
        if kind is None:
            return any(all(map(globs.admit, names)) for globs in (self.tools, self.prompts, self.resources))
        if kind in ("tools", "prompts"):
            globs = self.tools if kind == "tools" else self.prompts
            return all(map(globs.admit, names))
        # By the first of its URIs it must be allowed, and by none denied.
        first = next(iter(names))
        return _matches(first, self.resources.allow) and not any(_matches(each, self.resources.deny) for each in names)


def _matches(name: str, globs: Collection[str]) -> bool:
    return globs == ALL or any(fnmatchcase(name, glob) for glob in globs)
