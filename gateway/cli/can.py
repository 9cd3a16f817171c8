"""`mcp-gateway can`: may somebody use something, and why (not)?"""

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Exit, check_profile, configure_logs, profile_option, with_config

if TYPE_CHECKING:
    from gateway.access.policy import Policy, PolicyVerdict
    from gateway.catalogue.catalogue import Catalogue, Owner
    from gateway.catalogue.intake import Kind
    from gateway.config.models import Config
    from gateway.request import Principal


@dataclass(frozen=True, slots=True)
class _Item:
    """What WHAT is, as far as that is known."""

    public: str
    upstream: str = ""
    kind: "Kind | None" = None
    own: str = ""
    """Its URI as the server knows it."""


@click.command("can")
@click.argument("who")
@click.argument("what")
@profile_option
@with_config
def command(config: "Config", who: str, what: str, profile: str | None) -> None:
    """Explain whether WHO may use WHAT.

    WHO is the owner or the id of an API key, or a selector as in a policy: owner:NAME, key:ID, oauth:ISSUER|SUBJECT,
    group:NAME, agent:NAME. WHAT is a public name such as github__create_issue, or the URI of a resource; with
    --profile, also a name that the profile gives. Exits with 0 for yes and 1 for no.
    """
    from gateway.access.configured import profiles, rules
    from gateway.access.policy import Policy

    check_profile(config, profile)
    configure_logs(config, at_least="error")
    policy = Policy(rules(config), profiles(config))
    item = _item_of(config, _public_name(config, what, profile))
    if not item.upstream:
        click.echo(f"No server is known to have {what!r}; what follows goes by its name alone.", err=True)
    principals = _principals(config, who)
    verdicts = [(principal, _verdict(config, policy, principal, item, profile)) for principal in principals]
    for principal, verdict in verdicts:
        reason = _sentence(verdict, principal, item.upstream)
        click.echo(f"{'yes' if verdict.allowed else 'no'}   {_described(principal)}: {reason}")
    sys.exit(Exit.FINE if all(verdict.allowed for _, verdict in verdicts) else Exit.FOUND)


def _verdict(
    config: "Config", policy: "Policy", principal: "Principal", item: _Item, profile: str | None
) -> "PolicyVerdict":
    from gateway.access.configured import profiles
    from gateway.access.policy import PolicyVerdict

    grant = policy.grant(principal, profile)
    if profile is None:
        return grant.explain(item.upstream, item.public, item.kind, item.own)
    if grant.is_shut:
        those = ", ".join(sorted(principal.profiles or ())) or "none"
        return PolicyVerdict(False, f"its credential is not for profile {profile!r} (for: {those})")
    names = [item.public, *([item.own] if item.own and item.kind not in ("tools", "prompts") else [])]
    if lacks := profiles(config)[profile].lacks(item.kind, item.upstream, names):
        return PolicyVerdict(False, lacks)
    verdict = grant.explain(item.upstream, item.public, item.kind, item.own)
    shown = _shown(config, item, profile) if verdict.allowed else ""
    return replace(verdict, reason=verdict.reason + shown)


def _shown(config: "Config", item: _Item, profile: str) -> str:
    """How a profile shows what it has, where that is not as everybody else sees it."""
    from gateway.catalogue.shapes import ViewShape

    given = config.profiles[profile]
    renamed = {**given.prompts.rename, **given.tools.rename}.get(item.public)
    words = f"; profile {profile!r} calls it {renamed!r}" if renamed else ""
    shape = ViewShape.of(given)
    if item.kind in ("tools", None) and shape.searches and not shape.pins(renamed or item.public):
        words += "; there it is found with find_tools, and not listed"
    return words


def _public_name(config: "Config", what: str, profile: str | None) -> str:
    """That of what a profile calls otherwise."""
    if profile is None:
        return what
    given = config.profiles[profile]
    renamed = {name: public for rules in (given.tools, given.prompts) for public, name in rules.rename.items()}
    return renamed.get(what, what)


def _sentence(verdict: "PolicyVerdict", principal: "Principal", upstream: str) -> str:
    if not upstream and principal.upstreams is not None:
        return "its credential is for some servers only, and none is known to have it"
    if verdict.allowed and "write" not in principal.scopes:
        return f"{verdict.reason}, but without the scope `write` a tool can be seen and not called"
    return verdict.reason


def _described(principal: "Principal") -> str:
    return f"{principal.owner} ({principal.id})" if principal.method == "api_key" else principal.id


def _principals(config: "Config", who: str) -> "list[Principal]":
    """The keys of that owner or id; without any, somebody of that name with nothing but the policy against them."""
    from gateway.access import key_file
    from gateway.access.api_keys import principal_of
    from gateway.access.policy import parse_selector
    from gateway.request import Principal

    kind, name = parse_selector(who)
    match kind:
        case "group":
            return [Principal(who, groups=frozenset({name}))]
        case "agent":
            return [Principal(who, agent_name=name)]
        case "oauth":
            return [Principal(who)]
        case _:
            pass
    file = config.gateway.auth.api_keys_file
    entries = key_file.load(file).entries if file is not None and file.exists() else ()
    owned = [
        entry
        for entry in entries
        if (kind == "owner" and name == entry.owner) or (who != f"owner:{name}" and name == entry.id)
    ]
    return [principal_of(entry) for entry in owned] or [Principal(who, owner=name if kind == "owner" else "")]


def _item_of(config: "Config", what: str) -> _Item:
    """What has a public name, and whose it is: by the catalogue as last seen, else by the prefix of the name."""
    from gateway.catalogue.library import CatalogueViews
    from gateway.catalogue.naming import SEPARATOR, public_prefix
    from gateway.cli.doctor.memory import remembered

    library = CatalogueViews(config.enabled, config.prefix)
    library.update(remembered(config).items())
    catalogue: Catalogue = library.whole(None)
    look_ups: list[tuple[Kind, Owner | None]] = [
        ("tools", catalogue.tool(what)),
        ("prompts", catalogue.prompt(what)),
        ("resources", catalogue.resource(what)),
        ("templates", catalogue.template(what)),
        ("resources", catalogue.unlisted(what)),
    ]
    for kind, owner in look_ups:
        if owner is not None:
            return _Item(what, owner.upstream, kind, owner.original if kind in ("resources", "templates") else "")
    by_prefix = [name for name in config.enabled if what.startswith(public_prefix(name) + SEPARATOR)]
    return _Item(what, by_prefix[0], "tools") if by_prefix else _Item(what)
