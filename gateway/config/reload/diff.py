"""What separates two configurations, and what of it a running gateway can take up. Pure: the plan of a reload."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.config.models import Config, ServerConfig
from gateway.config.models.fields import Model

LIVE_SETTINGS: Final = frozenset(
    {
        *("confirm", "debug", "discovery", "drain_delay", "drain_timeout", "log_format", "log_level", "page_size"),
        *("pinned", "policy", "prefix", "public_names", "rate_limit", "results", "startup_wait"),
        "upstream_config_file",
    }
)
"""Settings of `gateway:` that a reload applies. Whatever else changes there needs a restart."""

LIVE_KEYS: Final = frozenset(
    {
        *("description", "env_file", "grace", "max_concurrency", "max_queue", "max_sessions", "max_timeout", "pin"),
        *("prefix", "propagate", "rate_limit", "required", "results", "tags", "timeout", "timeouts", "tools"),
    }
)
"""Keys of a server that are applied to the connection there is. Whatever else changes makes a new one. (`env_file` is
only where variables came from: those stand in `env`.)"""


@dataclass(frozen=True, slots=True)
class Diff:
    """How to get from one configuration to another."""

    config: Config
    """What is in force afterwards: the new one, but for the settings that need a restart."""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    """Servers that get a new connection."""
    adjusted: tuple[str, ...] = ()
    """Servers that keep theirs."""
    profiles: tuple[str, ...] = ()
    """Profiles that are new, gone or others."""
    settings: tuple[str, ...] = ()
    """Settings that change now, dotted."""
    needs_restart: tuple[str, ...] = ()
    """Settings that stay as they were, dotted."""

    @property
    def changes(self) -> dict[str, tuple[str, ...]]:
        """What changes now, by kind; empty when nothing does."""
        kinds = ("added", "removed", "replaced", "adjusted", "profiles", "settings")
        return {kind: names for kind in kinds if (names := getattr(self, kind))}


def diff(old: Config, new: Config) -> Diff:
    """From what is in force to what was read."""
    before, after = old.enabled, new.enabled
    both = [name for name in after if name in before]
    changed = [name for name in both if before[name] != after[name]]
    replaced = [name for name in changed if needs_successor(before[name], after[name])]
    settings = {place: place.partition(".")[0] in LIVE_SETTINGS for place in _leaves(old.gateway, new.gateway)}
    kept = {name: getattr(old.gateway, name) for name in type(old.gateway).model_fields if name not in LIVE_SETTINGS}
    return Diff(
        config=new.model_copy(update={"gateway": new.gateway.model_copy(update=kept)}),
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        replaced=tuple(replaced),
        adjusted=tuple(name for name in changed if name not in replaced),
        profiles=tuple(
            name for name in {**old.profiles, **new.profiles} if old.profiles.get(name) != new.profiles.get(name)
        ),
        settings=tuple(place for place, live in settings.items() if live),
        needs_restart=tuple(place for place, live in settings.items() if not live),
    )


def needs_successor(old: ServerConfig, new: ServerConfig) -> bool:
    """Whether what separates them takes another connection."""
    return adjusted(old, new) != new


def adjusted(server: ServerConfig, new: ServerConfig) -> ServerConfig:
    """What a server's connection can take up of another configuration, now."""
    return server.model_copy(update={key: getattr(new, key) for key in LIVE_KEYS})


def _leaves(old: Model, new: Model, outer: str = "") -> Iterator[str]:
    """The places where two models of one kind differ, as deep as both have a model there."""
    for name in type(old).model_fields:
        a: Any = getattr(old, name)
        b: Any = getattr(new, name)
        if isinstance(a, Model) and isinstance(b, Model):
            yield from _leaves(a, b, f"{outer}{name}.")
        elif a != b:
            yield outer + name
