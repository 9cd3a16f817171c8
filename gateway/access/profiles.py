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

    def lacks(self, kind: Kind | None, upstream: str, names: Collection[str]) -> str:
        """Why it does not have an item, as `admits` decides; empty if it has it. For the owner of the gateway."""
        if self.admits(kind, upstream, names):
            return ""
        if not self.has_server(upstream):
            of = f" of server {upstream!r}" if upstream else " of what no server is known to have"
            return f"profile {self.name!r} has nothing{of} (`servers`: {', '.join(self.servers)})"
        own = {"tools": self.tools, "prompts": self.prompts}
        globs = [self.tools, self.prompts, self.resources] if kind is None else [own.get(kind, self.resources)]
        denied = [glob for each in globs for glob in each.deny for name in names if fnmatchcase(name, glob)]
        if denied:
            return f"profile {self.name!r} denies {denied[0]!r}"
        return f"no `allow` of profile {self.name!r} matches it"

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
