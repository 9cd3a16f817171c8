"""What a configuration says of access, in the words of this room."""

from gateway.access.limits import UpstreamLimits
from gateway.access.policy import Rule
from gateway.access.profiles import Globs, Profile
from gateway.access.rate_limit import Limit
from gateway.config.models import Config, NameRules, ServerConfig, UriRules


def rules(config: Config) -> list[Rule]:
    """The policy."""
    return [
        Rule(tuple(r.who), None if r.allow is None else tuple(r.allow), tuple(r.deny)) for r in config.gateway.policy
    ]


def profiles(config: Config) -> dict[str, Profile]:
    """What each profile has, by name."""
    return {
        name: Profile(name, tuple(given.servers), _globs(given.tools), _globs(given.prompts), _globs(given.resources))
        for name, given in config.profiles.items()
    }


def _globs(given: NameRules | UriRules) -> Globs:
    return Globs(tuple(given.allow), tuple(given.deny))


def limits(config: Config) -> tuple[Limit, dict[str, UpstreamLimits]]:
    """The limit of principals whose credential does not say, and those of upstreams that have any."""
    settings = config.gateway.rate_limit
    upstreams = {name: _upstream_limits(server) for name, server in config.enabled.items()}
    some = {name: limits for name, limits in upstreams.items() if limits.whole is not None or limits.tools}
    return Limit(settings.default_rpm, settings.burst_allowance), some


def _upstream_limits(server: ServerConfig) -> UpstreamLimits:
    given = server.rate_limit
    whole = Limit(given.rpm, given.burst) if given.rpm is not None else None
    return UpstreamLimits(whole, {glob: Limit(rpm, given.burst) for glob, rpm in given.tools.items()})
